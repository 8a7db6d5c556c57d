"""Containers of an image: by podman, and straight from the store; predictions over HTTP, and by ``lading predict IMAGE``."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO, cast

import httpx
import pytest

from lading.images.running import rootfs
from lading.images.store import Store
from lading.images.stored import load
from lading.model.records import replace
from tests.images.support import PREDICTOR, PROJECT, Command, container, podman, which, write
from tests.support.ports import free_port

Build = Callable[..., Any]


def wait_ready(port: int, seconds: float = 60) -> float:
    start = time.monotonic()
    while time.monotonic() - start < seconds:
        try:
            status = httpx.get(f"http://127.0.0.1:{port}/health-check", timeout=5).json()["status"]
        except (httpx.HTTPError, ValueError):
            status = None
        if status in ("READY", "SETUP_FAILED"):
            assert status == "READY"
            return time.monotonic() - start
        time.sleep(0.05)
    raise AssertionError("not ready")


def wait_until(what: Callable[[], bool], seconds: float = 60) -> None:
    start = time.monotonic()
    while not what():
        assert time.monotonic() - start < seconds
        time.sleep(0.05)


@pytest.fixture
def loaded(lading: Command, project: Path, base: Path, tmp_path: Path, podman_environ: dict[str, str]) -> str:
    """The image in podman, by way of a docker-archive."""
    archive = tmp_path / "image.tar"
    lading("build", project, "-t", "my-model:v1", "--base", base, "-o", f"docker-archive:{archive}")
    podman(podman_environ, "load", "-q", "-i", str(archive))
    return "my-model:v1"


def test_an_image_is_unpacked_by_two_processes_at_once(build: Build, project: Path, tmp_path: Path, lading: Command) -> None:
    """One that comes while another unpacks finds nothing half done, and neither takes anything from the other."""
    build(project, "-t", "my-model:v1")
    store = Store(lading.home / "images")
    (image,) = load("my-model:v1", store=store)
    place = store.root / "rootfs" / image.digest.removeprefix("sha256:")
    seen: list[bool] = []

    class Meanwhile:
        """Blobs, while whose second layer is asked for another process unpacks the same image."""

        def open(self, digest: str) -> BinaryIO:
            if digest == image.layers[1].descriptor.digest:
                seen.append(place.exists())
                assert rootfs(image, store) == place
                (place / "in-use").touch()
            return store.open(digest)

    assert rootfs(replace(image, blobs=Meanwhile()), store) == place
    assert seen == [False]
    assert (place / "in-use").exists()
    assert (place / "src/predict.py").read_text() == PREDICTOR
    assert place.stat().st_mode & 0o777 == 0o755
    assert not list((store.root / "work").iterdir())


def test_a_container_serves_read_only_as_nobody_and_drains(loaded: str, podman_environ: dict[str, str]) -> None:
    with container(podman_environ, loaded, "--read-only") as (name, port):
        wait_ready(port)
        answer = httpx.post(f"http://127.0.0.1:{port}/predictions", json={"input": {"name": "bee", "times": 2}}).json()
        assert (answer["status"], answer["output"]) == ("succeeded", "hello bee 1.0 hello bee 1.0 ")
        assert "/predictions" in httpx.get(f"http://127.0.0.1:{port}/openapi.json").json()["paths"]
        assert podman(podman_environ, "exec", name, "id", "-u").stdout.strip() == "65532"
        check = ["exec", name, "/opt/lading/bin/python", "-I", "-m", "lading.service.healthcheck"]
        assert podman(podman_environ, *check).returncode == 0
        start = time.monotonic()
        podman(podman_environ, "stop", "-t", "20", name)
        assert time.monotonic() - start < 15
        assert podman(podman_environ, "inspect", "-f", "{{.State.ExitCode}}", name).stdout.strip() == "0"


@pytest.mark.slow
def test_the_records_of_every_package_hold_in_the_container(loaded: str, podman_environ: dict[str, str]) -> None:
    """RECORD of each distribution, checked where it lies, in both environments; no one sees the other's packages."""
    for python, others in (("/opt/venv/bin/python", "uvicorn"), ("/opt/lading/bin/python", "greeting")):
        done = podman(podman_environ, "run", "--rm", "--entrypoint", python, loaded, "-I", "-c", _CHECK, others)
        assert done.stdout.strip() == "0 wrong, apart", done.stdout


_CHECK = """
import base64, hashlib, importlib.metadata as metadata, importlib.util as util, sys
wrong = 0
for dist in metadata.distributions():
    for path in dist.files or ():
        if path.hash:
            digest = hashlib.new(path.hash.mode, dist.locate_file(path).read_bytes()).digest()
            wrong += base64.urlsafe_b64encode(digest).rstrip(b"=").decode() != path.hash.value
print(wrong, "wrong,", "mixed" if util.find_spec(sys.argv[1]) else "apart")
"""


def test_predict_and_serve_take_an_image(
    lading: Command, project: Path, base: Path, podman_environ: dict[str, str], tmp_path: Path
) -> None:
    lading("build", project, "-t", "my-model:v1", "--base", base)
    lading.environ.update(podman_environ)
    lading.environ["TMPDIR"] = str(write(tmp_path / "Temp_-_", {"x": ""}))  # no image's name may hold this
    assert lading("predict", "my-model:v1", "-i", "name=cat").out == "hello cat 1.0 \n"
    refused = lading("predict", "my-model:v1", "-i", "times=0", "-i", "name=x", check=False)
    assert refused.code == 2
    assert "Running the image" not in refused.err
    _serves(lading, tmp_path, podman_environ)


def _serves(lading: Command, tmp_path: Path, environ: dict[str, str]) -> None:
    port = free_port()
    command = [sys.executable, "-m", "lading", "serve", "my-model:v1", "-p", str(port)]
    variables = {**os.environ, "LADING_HOME": str(lading.home), **environ}
    with (tmp_path / "serve.log").open("w") as log:
        process = subprocess.Popen(command, cwd=tmp_path, env=variables, stdout=log, stderr=log)
        try:
            wait_ready(port)
            assert httpx.post(f"http://127.0.0.1:{port}/predictions", json={"input": {"name": "dog"}}).json()["output"] == "hello dog 1.0 "
            process.send_signal(signal.SIGTERM)
            assert process.wait(40) == 0, (tmp_path / "serve.log").read_text()
        finally:
            process.kill()
            process.wait()


@pytest.fixture
def no_engine(tmp_path: Path) -> dict[str, str]:
    """Variables of a machine without podman and docker."""
    tools = tmp_path / "tools"
    tools.mkdir()
    for tool in ("unshare", "chroot", "sh", "mount", "chmod"):
        (tools / tool).symlink_to(which(tool))
    if subprocess.run([which("unshare"), "--mount", *([] if os.geteuid() == 0 else ["--map-root-user"]), "true"], check=False).returncode:
        pytest.skip("this machine gives out no namespaces")
    return {"PATH": str(tools)}


def test_without_an_engine_an_image_runs_from_the_store(lading: Command, project: Path, base: Path, no_engine: dict[str, str]) -> None:
    lading("build", project, "-t", "my-model:v1", "--base", base)
    lading.environ.update(no_engine)
    ran = lading("predict", "my-model:v1", "-i", "name=owl")
    assert ran.out == "hello owl 1.0 \n"
    assert "without an engine" in ran.err
    record = json.loads(lading("run", "my-model:v1", "-i", "name=owl", "--json").out)
    assert (record["status"], record["output"]) == ("succeeded", "hello owl 1.0 ")
    assert record["metrics"]["predict_time"] >= 0


_MANY = """\
import os
import tempfile
import time
from typing import Any
from cog import BasePredictor, ConcatenateIterator, Path, current_scope


class Predictor(BasePredictor):
    def setup(self) -> None:
        time.sleep(float(os.environ.get("SETUP", "0")))

    def predict(self, do: str, file: Path = None) -> Any:
        if do == "sleep":
            time.sleep(30)
        if do == "raise":
            raise ValueError("the reason")
        if do == "context":
            return dict(current_scope().context)
        made = Path(tempfile.mkdtemp()) / "made.bin"
        made.write_bytes((file.read_bytes() if file else b"made") + b"!")
        return made


def spell(text: str) -> ConcatenateIterator[str]:
    yield from text
"""


@pytest.mark.slow
def test_an_images_answers_are_given_out_as_a_projects(lading: Command, base: Path, tmp_path: Path, no_engine: dict[str, str]) -> None:
    """Files are written, a failure says why, limits hold, pieces of a text are one text."""
    files = {"cog.yaml": "predict: predict.py:Predictor\n", "requirements.txt": "", "predict.py": _MANY, "in.txt": "in"}
    project = write(tmp_path / "many", files)
    lading("build", project, "-t", "many:v1", "--base", base)
    (project / "cog.yaml").write_text("predict: predict.py:spell\n")
    lading("build", project, "-t", "spell:v1", "--base", base)
    lading.environ.update(no_engine)
    lading("predict", "many:v1", "-i", "do=file", "-i", f"file=@{project / 'in.txt'}", "-o", "out.bin")
    assert (tmp_path / "out.bin").read_bytes() == b"in!"
    token = lading("predict", "many:v1", "-i", "do=context", "--use-replicate-token", REPLICATE_API_TOKEN="r8_x")
    assert token.data == {"replicate_api_token": "r8_x"}
    failed = lading("predict", "many:v1", "-i", "do=raise", check=False)
    assert (failed.code, failed.out) == (1, "")
    assert "predict.py: The prediction failed: the reason" in failed.err
    late = lading("predict", "many:v1", "-i", "do=sleep", "--timeout", "0.5", check=False)
    assert "The prediction failed: prediction timed out after 0.5 s" in late.err
    slow = lading("predict", "many:v1", "-i", "do=file", "--setup-timeout", "0.3", "-e", "SETUP=30", check=False)
    assert (slow.code, "setup did not finish within 0.3 s" in slow.err) == (1, True)
    assert lading("predict", "spell:v1", "-i", "text=abc").out == "abc\n"


def test_a_served_image_follows_the_options_of_serve(lading: Command, base: Path, tmp_path: Path, no_engine: dict[str, str]) -> None:
    files = {"cog.yaml": "predict: predict.py:Predictor\n", "requirements.txt": "", "predict.py": _MANY}
    lading("build", write(tmp_path / "many", files), "-t", "many:v1", "--base", base)
    port = free_port()
    command = [
        sys.executable,
        "-m",
        "lading",
        "serve",
        "many:v1",
        "-p",
        str(port),
        "--workers",
        "2",
        "--timeout",
        "0.5",
        "--max-body",
        "20k",
    ]
    with (tmp_path / "serve.log").open("w") as log:
        variables = {**os.environ, "LADING_HOME": str(lading.home), **no_engine}
        process = subprocess.Popen(command, cwd=tmp_path, env=variables, stdout=subprocess.PIPE, stderr=log)
        try:
            wait_ready(port)
            url = f"http://127.0.0.1:{port}/predictions"
            assert httpx.post(url, json={"input": {"do": "sleep"}}).json()["error"] == "prediction timed out after 0.5 s"
            assert httpx.post(url, json={"input": {"do": "x" * 30_000}}).status_code == 413
            # The worker of the prediction that took too long is started again.
            wait_until(lambda: 'lading_workers_ready{api="predict"} 2.0' in httpx.get(f"http://127.0.0.1:{port}/metrics").text)
            process.send_signal(signal.SIGTERM)
            assert process.communicate(timeout=60)[0] == b""
            assert process.returncode == 0, (tmp_path / "serve.log").read_text()
        finally:
            process.kill()
            process.communicate()


def test_a_container_ends_with_a_command_that_is_killed(
    lading: Command, project: Path, base: Path, tmp_path: Path, no_engine: dict[str, str]
) -> None:
    lading("build", project, "-t", "my-model:v1", "--base", base)
    _ends_when_killed(lading, tmp_path, no_engine)


@pytest.mark.slow
def test_a_container_of_podman_ends_with_a_command_that_is_killed(
    lading: Command, project: Path, base: Path, tmp_path: Path, podman_environ: dict[str, str]
) -> None:
    lading("build", project, "-t", "my-model:v1", "--base", base)
    _ends_when_killed(lading, tmp_path, podman_environ)
    until = time.monotonic() + 20
    while "lading-" in podman(podman_environ, "ps", "-a", "--format", "{{.Names}}").stdout:
        assert time.monotonic() < until
        time.sleep(0.2)


def _ends_when_killed(lading: Command, tmp_path: Path, environ: dict[str, str]) -> None:
    port = free_port()
    command = [sys.executable, "-m", "lading", "serve", "my-model:v1", "-p", str(port)]
    with (tmp_path / "serve.log").open("w") as log:
        process = subprocess.Popen(
            command, cwd=tmp_path, env={**os.environ, "LADING_HOME": str(lading.home), **environ}, stdout=log, stderr=log
        )
        try:
            wait_ready(port)
        finally:
            process.kill()
            process.wait()
    until = time.monotonic() + 20
    with contextlib.suppress(httpx.TransportError):
        while time.monotonic() < until:
            httpx.get(f"http://127.0.0.1:{port}/livez", timeout=1)
            time.sleep(0.1)
        raise AssertionError("it still answers")


@pytest.mark.slow
def test_a_cortex_project_keeps_its_route(lading: Command, base: Path, tmp_path: Path, podman_environ: dict[str, str]) -> None:
    files = {
        "cortex.yaml": "- name: shout\n  kind: RealtimeAPI\n  predictor:\n    type: python\n    path: predictor.py\n    config: {mark: '!'}\n",
        "requirements.txt": "greeting==1.0\n",
        "predictor.py": "import greeting\n\n\nclass PythonPredictor:\n    def __init__(self, config):\n        self.mark = config['mark']\n\n"
        "    def predict(self, payload):\n        return {'said': payload['word'] + self.mark + greeting.__version__}\n",
    }
    lading("build", write(tmp_path / "empty", PROJECT), "-t", "my-base:v1", "--base", base)
    files["cortex.yaml"] += "    image: my-base:v1\n"
    project = write(tmp_path / "shouting", files)
    built = lading("build", project, "-t", "shout:v1")  # on the image that the configuration names
    assert "my-base:v1" in built.err
    ran = lading("predict", "shout:v1", "--json", '{"word": "hey"}', **cast("Any", podman_environ))
    assert json.loads(ran.out) == {"said": "hey!1.0"}


@pytest.mark.slow
def test_a_model_for_an_old_python_is_served_by_a_new_one(
    lading: Command, base: Path, tmp_path: Path, podman_environ: dict[str, str]
) -> None:
    """Two interpreters as layers, on a base that has none."""
    from lading.environments.interpreters import find_interpreters

    old = next(
        (one for one in find_interpreters(os.environ) if one.minor in ("3.8", "3.9", "3.10") and one.implementation == "cpython"), None
    )
    if old is None:
        pytest.skip("no Python 3.8, 3.9 or 3.10 on this machine")
    predictor = PREDICTOR.replace("return f", "import sys\n        return '%d.%d ' % sys.version_info[:2] + f")
    files = {**PROJECT, "predict.py": predictor, "requirements.txt": "greeting==1.0\n"}
    project = write(tmp_path / "old", files)
    lading("build", project, "-t", "old:v1", "--base", base, "--python", old.minor)
    ran = lading("predict", "old:v1", "-i", "name=elk", **cast("Any", podman_environ))
    assert ran.out == f"{old.minor} hello elk 1.0 \n"


def test_a_report_shows_what_fills_the_image(lading: Command, project: Path, base: Path, tmp_path: Path) -> None:
    first = lading("build", project, "-t", "reported:v1", "--base", base, "--json").data["images"][0]
    (project / "requirements.txt").write_text("greeting==2.0\nlarge==1.0\n")
    second = lading("build", project, "-t", "reported:v1", "--base", base, "--json").data["images"][0]
    data = lading("report", "reported:v1", "--json", "-o", tmp_path / "page.html").data
    assert data["bytes"]["large"] > 11_000_000
    page = (tmp_path / "page.html").read_text()
    assert page.index("<svg") < page.index("<table")  # a picture before a table
    assert re.search(r"<title>large: 11 MB \(packages\)</title>", page)
    assert "What changed since" in page
    changes, _, layers = page.partition("What changed since")[2].partition("<h2>Layers</h2>")
    assert "<td>greeting</td><td>1.0</td><td>2.0</td>" in changes
    fresh = {one["digest"] for one in second["layers"]} - {one["digest"] for one in first["layers"]}
    assert re.findall(r"<code>(\w+)</code></td><td>new</td>", layers) == [
        one["digest"][7:19] for one in second["layers"] if one["digest"] in fresh
    ]
    for layer in {one["digest"] for one in first["layers"]} - {one["digest"] for one in second["layers"]}:
        Store(lading.home / "images").path(layer).unlink()
    lading("report", "reported:v1", "-o", tmp_path / "page.html")
    assert "This is the first image" in (tmp_path / "page.html").read_text()  # of the one before, a part was pruned


@pytest.mark.slow
def test_podman_runs_the_layout_too(layout: Path, podman_environ: dict[str, str]) -> None:
    lower = layout.parent / "lower"
    shutil.copytree(layout, lower)
    name = podman(podman_environ, "pull", "-q", f"oci:{lower}:v1").stdout.strip()
    done = podman(podman_environ, "run", "--rm", "--entrypoint", "/opt/venv/bin/greet", name, check=False)
    assert "AttributeError" in done.stderr or "ImportError" in done.stderr  # the script runs; the module of a test has no function


_LIMITED = """\
import os


def first(*paths):
    return next((open(path).read().split()[0] for path in paths if os.path.exists(path)), None)


class PythonPredictor:
    def __init__(self, config):
        pass

    def predict(self, payload):
        shared = os.statvfs("/dev/shm")
        return {
            "memory": first("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"),
            "cpu": first("/sys/fs/cgroup/cpu.max", "/sys/fs/cgroup/cpu/cpu.cfs_quota_us"),
            "shared": shared.f_blocks * shared.f_frsize,
        }
"""


@pytest.mark.slow
def test_a_container_gets_no_more_than_its_apis_ask_for(
    lading: Command, base: Path, tmp_path: Path, podman_environ: dict[str, str]
) -> None:
    config = "- name: a\n  kind: RealtimeAPI\n  predictor: {type: python, path: predictor.py, shm_size: 32Mi}\n  compute: {cpu: 500m, mem: 512Mi}\n"
    project = write(tmp_path / "limited", {"cortex.yaml": config, "predictor.py": _LIMITED})
    lading("build", project, "-t", "limited:v1", "--base", base)
    lading.environ.update(podman_environ)
    assert lading("predict", "limited:v1", "--json", "1").data == {"memory": str(768 << 20), "cpu": "50000", "shared": 32 << 20}
