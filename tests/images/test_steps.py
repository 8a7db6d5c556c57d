"""What has to run while an image is built: in a build container, with secrets that leave no trace; and system packages."""

from __future__ import annotations

import gzip
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import certifi
import pytest

from lading.images.folders import walk
from lading.images.layout import Layout
from lading.images.media import Image
from lading.images.secrets import scan, values_of
from lading.images.steps import read_by
from lading.images.store import Store
from lading.model.problems import LadingError
from lading.model.records import replace
from tests.images.support import PROJECT, Command, content_of, files_of, manifest_of, which, without_engines, write

CORTEX = {
    "cortex.yaml": "- name: model\n  kind: RealtimeAPI\n  predictor:\n    type: python\n    path: predictor.py\n",
    "requirements.txt": "greeting==1.0\n",
    "predictor.py": "class PythonPredictor:\n    def __init__(self, config):\n        pass\n\n    def predict(self, payload):\n        return payload\n",
}


@pytest.fixture
def shelled(base: Path, tmp_path: Path) -> Path:
    """The base with a shell under the name of bash."""
    folder = shutil.copytree(base, tmp_path / "shelled", symlinks=True)
    if not (folder / "usr/bin/bash").exists():
        (folder / "usr/bin/bash").symlink_to("sh")
    return folder


def _files(layout: Path) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    for layer in manifest_of(layout)["layers"]:
        found |= content_of(Layout(layout).read(layer["digest"]))
    return found


def _require_clean(layout: Path, value: bytes) -> None:
    """The value is in no layer, configuration, manifest or index."""
    for path in layout.rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            assert value not in (gzip.decompress(content) if content[:2] == b"\x1f\x8b" else content)


def test_a_script_of_cortex_runs_before_the_packages_and_once(lading: Command, shelled: Path, tmp_path: Path) -> None:
    which("buildah")
    script = "mkdir -p /opt/made data/new\ncat note.txt > /opt/made/by-script\necho new > data/new/x\necho changed > data/own\n"
    own = {"dependencies.sh": script, "note.txt": "from the project\n", "data/own": "as it was\n"}
    project = write(tmp_path / "scripted", {**CORTEX, **own})
    lading.environ["TMPDIR"] = str(write(tmp_path / "Temp_-_", {"x": ""}))  # no image's name may hold this
    built = lading("build", project, "-t", "scripted:v1", "--base", shelled, "-o", f"oci:{tmp_path / 'image'}", "--json")
    kinds = [layer["kind"] for layer in built.data["images"][0]["layers"]]
    assert kinds.index("build steps") < kinds.index("packages")
    files = _files(tmp_path / "image")
    assert files["opt/made/by-script"] == b"from the project\n"
    step = next(layer for layer in built.data["images"][0]["layers"] if layer["kind"] == "build steps")
    kept = content_of(Layout(tmp_path / "image").read(step["digest"]))
    assert {name: content for name, content in kept.items() if name.startswith("src")} == {"src/data/new/x": b"new\n"}
    assert files["src/data/own"] == b"as it was\n"
    assert [one["asked"] for one in built.data["decisions"] if one["rule"] == "step-project-files"] == [
        "/src/data/own (8 B), which it changed"
    ]
    assert not (project / "data/new").exists()
    again = lading("build", project, "-t", "scripted:v1", "--base", shelled, "--json")
    assert again.data["digest"] == built.data["digest"]
    assert "Running build steps" not in again.err
    write(project, {"predictor.py": CORTEX["predictor.py"] + "# changed\n"})
    unread = lading("build", project, "-t", "scripted:v1", "--base", shelled, "--json")
    assert unread.data["digest"] != built.data["digest"]
    assert "Running build steps" not in unread.err
    write(project, {"note.txt": "changed\n"})
    lading("build", project, "-t", "scripted:v1", "--base", shelled, "-o", f"oci:{tmp_path / 'later'}")
    assert _files(tmp_path / "later")["opt/made/by-script"] == b"changed\n"


@pytest.mark.parametrize(
    ("script", "read"),
    [
        ("apt-get install -y thing && rm -rf /var/lib/apt/lists/*\n", []),
        ("# note.txt\npip install -r requirements.txt\n", ["requirements.txt"]),
        ("bash -e ./more.sh\n", ["data/a.txt", "more.sh"]),
        ("python -m tool\n", ["tool.py"]),
        ("cp data/* /opt\n", ["data/a.txt"]),
        ("cat 'note.txt'>/opt/x\n", ["note.txt"]),
        ("pip install .\n", None),
        ("cat *.txt\n", None),
        ("cp -r /src /opt/copy\n", None),
    ],
)
def test_a_script_depends_on_the_files_that_it_may_read(script: str, read: list[str] | None, tmp_path: Path) -> None:
    others = dict.fromkeys(("requirements.txt", "note.txt", "data/a.txt", "tool.py", "predictor.py"), "x")
    folder = write(tmp_path / "project", {**others, "more.sh": "cat data/a.txt\n", "dependencies.sh": script})
    files = walk(folder, "src")
    found = [one.path.removeprefix("src/") for one in read_by(folder / "dependencies.sh", files)]
    assert found == ([one.path.removeprefix("src/") for one in files] if read is None else read)


@pytest.mark.slow
def test_the_scripts_of_several_apis_all_run_and_run_again_when_asked_to(lading: Command, shelled: Path, tmp_path: Path) -> None:
    which("buildah")
    api = "- name: {0}\n  kind: RealtimeAPI\n  predictor:\n    type: python\n    path: predictor.py\n    dependencies: {{shell: {0}.sh}}\n"
    scripts = {f"{name}.sh": f"mkdir -p /opt/made\necho {name} > /opt/made/{name}\n" for name in ("one", "two")}
    project = write(tmp_path / "scripted", {**CORTEX, "cortex.yaml": api.format("one") + api.format("two"), **scripts})
    words = ["build", project, "-t", "scripts:v1", "--base", shelled]
    lading(*words, "-o", f"oci:{tmp_path / 'image'}")
    assert {"opt/made/one", "opt/made/two"} <= set(_files(tmp_path / "image"))
    assert "Running build steps" not in lading(*words).err
    assert "Running build steps" in lading(*words, "--no-cache").err


def test_commands_of_cog_run_after_the_packages_with_a_secret_that_leaves_no_trace(lading: Command, shelled: Path, tmp_path: Path) -> None:
    which("buildah")
    config = (
        "build:\n  python_requirements: requirements.txt\n  run:\n"
        "    - command: mkdir -p /opt/made && cat /run/here/token | cat > /dev/null && ls /opt/venv/lib > /opt/made/seen\n"
        "      mounts: [{type: secret, id: token, target: /run/here/token}]\n"
        "predict: predict.py:Predictor\n"
    )
    project = write(tmp_path / "commanded", {**PROJECT, "cog.yaml": config})
    words = [
        "build",
        project,
        "-t",
        "commanded:v1",
        "--base",
        shelled,
        "-o",
        f"oci:{tmp_path / 'image'}",
        "--secret",
        "id=token,env=PLANTED",
        "-v",
    ]
    ran = lading(*words, PLANTED="planted-0123456789")
    assert "planted" not in ran.out + ran.err
    assert _files(tmp_path / "image")["opt/made/seen"].startswith(b"python3")
    _require_clean(tmp_path / "image", b"planted-0123")


_SEPARATE = (
    "mkdir -p /opt/made && echo first > /opt/made/first  # and a note",
    "cd /opt/made && export LEFT=over && : > here",
    "exit 0",
    """echo "$PWD ${LEFT-unset} it's 'quoted'" $HOME > /opt/made/second""",
)


@pytest.mark.parametrize("engine", ["buildah", pytest.param("podman", marks=pytest.mark.slow)])
def test_each_command_runs_in_a_shell_of_its_own(engine: str, lading: Command, shelled: Path, tmp_path: Path) -> None:
    """As Cog's do: a comment, an exit, a folder and a variable of one are nothing to those after it."""
    tools = Path(without_engines(tmp_path))
    (tools / engine).symlink_to(which(engine))
    config = {"build": {"python_requirements": "requirements.txt", "run": _SEPARATE}, "predict": "predict.py:Predictor"}
    project = write(tmp_path / "separate", {**PROJECT, "cog.yaml": json.dumps(config), "requirements.txt": "greeting==1.0\n"})
    lading("build", project, "-t", f"sep-{engine}:v1", "--base", shelled, "-o", f"oci:{tmp_path / 'image'}", PATH=str(tools))
    files = _files(tmp_path / "image")
    assert files["opt/made/first"] == b"first\n"
    assert files["opt/made/second"] == b"/ unset it's 'quoted' /root\n"


def test_the_password_in_a_command_stands_nowhere(lading: Command, shelled: Path, tmp_path: Path) -> None:
    which("buildah")
    url = "https://alice:planted-in-a-command@index.example.org/simple"
    config = f"build:\n  python_requirements: requirements.txt\n  run:\n    - mkdir -p /opt/made && echo {url} | cat > /dev/null\n"
    files = {**PROJECT, "cog.yaml": f"{config}predict: predict.py:Predictor\n", "requirements.txt": "greeting==1.0\n"}
    project = write(tmp_path / "passing", files)
    refused = lading("build", project, "-t", "x", "--base", shelled, "--json", check=False, PATH=without_engines(tmp_path))
    assert refused.data["problems"][0]["rule"] == "build-engine-missing"
    ran = lading("build", project, "-t", "passing:v1", "--base", shelled, "-o", f"oci:{tmp_path / 'image'}", "-v")
    assert "planted" not in ran.out + ran.err + refused.out + refused.err
    _require_clean(tmp_path / "image", b"planted-in")


_KEY = "MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIB"
_FILES = {
    "netrc": (
        "machine a.example login alice\n  password first-planted\nmachine b.example login bob password second-planted\n",
        "second-planted",
    ),
    "one-line": ("machine a.example login alice password first-planted\n", "first-planted"),
    "pip.conf": (
        "[global]\nindex-url = https://pypi.org/simple\nextra-index-url = https://bob:pl%40nted-url@b.example/simple\n",
        "pl@nted-url",
    ),
    "lone-user": ("[global]\nextra-index-url = https://planted-user@b.example/simple\n", "planted-user"),
    "env": ("NAME=ordinary\nexport API_TOKEN='planted-token'\n", "planted-token"),
    "json": ('{"project_id": "my-project",\n "private_key": "-----BEGIN PRIVATE KEY-----\\n' + _KEY + '\\n"}', _KEY),
    "pem": (f"-----BEGIN PRIVATE KEY-----\n{_KEY}\n-----END PRIVATE KEY-----\n", _KEY),
}


@pytest.mark.parametrize("name", _FILES)
def test_the_values_in_a_given_file_are_looked_for_each(name: str, tmp_path: Path) -> None:
    text, value = _FILES[name]
    path = write(tmp_path, {name: text}) / name
    known = values_of((), {}, {name: path})
    assert known[value.encode()] == f"--secret id={name}"
    assert not {b"https://pypi.org/simple", b"ordinary", b"my-project", b"-----BEGIN", b"-----BEGIN PRIVATE KEY-----", b"alice"} & set(
        known
    )


def test_a_password_of_a_given_netrc_in_a_file_of_the_project_stops_the_build(lading: Command, base: Path, tmp_path: Path) -> None:
    given = write(tmp_path, {"given": "machine a.example\n  login alice\n  password planted-in-netrc\n"}) / "given"
    project = write(
        tmp_path / "leaky", {**PROJECT, "requirements.txt": "greeting==1.0\n", "settings.py": "PASSWORD = 'planted-in-netrc'\n"}
    )
    words = ["build", project, "-t", "leaky", "--base", base, "--json", "--secret", f"id=netrc,src={given}"]
    ran = lading(*words, check=False)
    assert ran.data["problems"][0]["rule"] == "secret-in-image"
    assert "--secret id=netrc" in ran.data["problems"][0]["what"]
    assert "planted" not in ran.out + ran.err


@pytest.mark.parametrize("variable", ["HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "UV_INDEX_X_PASSWORD", "AWS_SECRET_ACCESS_KEY"])
def test_the_values_of_variables_that_hold_secrets_are_looked_for(variable: str) -> None:
    assert values_of((), {variable: "planted-0123"}, {})[b"planted-0123"] == f"${{{variable}}}"


def test_a_password_in_the_configuration_stops_the_build_unless_it_is_the_bases(tmp_path: Path) -> None:
    said = b'{"config": {"Env": ["INDEX=https://alice:planted-in-a-url@example.org/"]}}'
    image = Image(manifest=b"{}", config=said, layers=(), blobs=Store(tmp_path), platform="linux/amd64")
    with pytest.raises(LadingError) as caught:
        scan(image, {}, Store(tmp_path))
    assert caught.value.problems[0].rule == "secret-in-image"
    assert "planted" not in caught.value.problems[0].what
    scan(image, {}, Store(tmp_path), base=said)
    scan(replace(image, config=said.replace(b"planted-in-a-url", b"****")), {}, Store(tmp_path))


@pytest.mark.slow
def test_a_command_that_writes_a_secret_into_the_image_stops_the_build(lading: Command, shelled: Path, tmp_path: Path) -> None:
    which("buildah")
    config = "build:\n  python_requirements: requirements.txt\n  run:\n    - cat /run/secrets/token > /opt/leaked\npredict: predict.py:Predictor\n"
    project = write(tmp_path / "leaking", {**PROJECT, "cog.yaml": config})
    words = ["build", project, "-t", "leaking:v1", "--base", shelled, "--secret", "id=token,env=PLANTED", "--json"]
    ran = lading(*words, PLANTED="planted-0123456789", check=False)
    assert ran.data["problems"][0]["rule"] == "secret-in-image"
    assert "/opt/leaked" in ran.data["problems"][0]["what"]
    assert "planted-0123" not in ran.out + ran.err


def test_a_command_that_fails_is_shown_with_its_output(lading: Command, shelled: Path, tmp_path: Path) -> None:
    which("buildah")
    config = "build:\n  python_requirements: requirements.txt\n  run:\n    - echo about to fail && false\npredict: predict.py:Predictor\n"
    project = write(tmp_path / "failing", {**PROJECT, "cog.yaml": config})
    ran = lading("build", project, "-t", "failing:v1", "--base", shelled, "--json", check=False)
    (problem,) = ran.data["problems"]
    assert (problem["rule"], ran.code) == ("build-step-failed", 6)
    assert "about to fail" in problem["detail"]


def test_without_an_engine_the_fix_is_named(lading: Command, shelled: Path, tmp_path: Path) -> None:
    project = write(tmp_path / "scripted", {**CORTEX, "dependencies.sh": "true\n"})
    tools = tmp_path / "none"
    tools.mkdir()
    ran = lading("build", project, "-t", "x", "--base", shelled, "--json", check=False, PATH=str(tools))
    assert ran.data["problems"][0]["rule"] == "build-engine-missing"
    assert "apt-get install buildah" in ran.data["problems"][0]["instead"]


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["podman", "docker"])
def test_podman_and_docker_make_the_same_of_commands_and_scripts(
    engine: str, lading: Command, shelled: Path, tmp_path: Path, podman_environ: dict[str, str]
) -> None:
    """podman stands in for docker, whose command line it has: Lading talks to it as it does to docker."""
    certificates = Path(certifi.where()).read_bytes()
    tools = Path(without_engines(tmp_path))
    log = tmp_path / "called"
    if engine == "podman":
        (tools / "podman").symlink_to(which("podman"))
    else:
        write(tools, {"docker": f'#!/bin/sh\necho "$@" >> {log}\n[ "$1" = version ] && echo 27.0 && exit\nexec {which("podman")} "$@"\n'})
        (tools / "docker").chmod(0o755)
    config = (
        "build:\n  python_requirements: requirements.txt\n  run:\n"
        "    - command: mkdir -p /opt/made && cat /run/here/token | cat > /dev/null && ls /opt/venv/lib > /opt/made/seen\n"
        "      mounts: [{type: secret, id: token, target: /run/here/token}]\n"
        '    - echo "it\'s two" > /opt/made/two\n'
        '    - cat "$SSL_CERT_FILE" > /opt/made/certificates\n'
        "    - exit 0\n"
        "predict: predict.py:Predictor\n"
    )
    project = write(tmp_path / "commanded", {**PROJECT, "cog.yaml": config, "requirements.txt": "greeting==1.0\n"})
    words = [
        "build",
        project,
        "-t",
        f"commanded-{engine}:v1",
        "--base",
        shelled,
        "-o",
        f"oci:{tmp_path / 'image'}",
        "--secret",
        "id=token,env=PLANTED",
    ]
    variables: dict[str, Any] = {name: value for name, value in podman_environ.items() if name != "PATH"}
    variables["SSL_CERT_FILE"] = str(write(tmp_path, {"ca.pem": certificates}) / "ca.pem")
    ran = lading(*words, "--json", "-v", PLANTED="planted-0123456789", PATH=str(tools), **variables)
    assert "planted" not in ran.out + ran.err
    assert "commands-run-in-build-container" in ran.err
    assert "commands-not-run" not in ran.err
    (layer,) = [one for one in ran.data["images"][0]["layers"] if one["kind"] == "run steps"]
    blob = Layout(tmp_path / "image").read(layer["digest"])
    found = content_of(blob)
    assert found["opt/made/seen"].startswith(b"python3")
    assert found["opt/made/two"] == b"it's two\n"
    assert found["opt/made/certificates"] == certificates
    assert not [name for name in found if name.startswith(("src", "run/"))]
    _require_clean(tmp_path / "image", b"planted-0123")
    if engine == "docker":
        assert [line.split()[0] for line in log.read_text().splitlines()] == ["version", "image", "build", "image", "image"]
    beside = "echo made > made\n" if engine == "podman" else ""  # to docker the project's files are only to be read
    scripted = write(
        tmp_path / "scripted",
        {**CORTEX, "dependencies.sh": f"mkdir -p /opt/made\ncat note.txt > /opt/made/by-script\n{beside}", "note.txt": "n\n"},
    )
    lading(
        "build", scripted, "-t", f"scripted-{engine}:v1", "--base", shelled, "-o", f"oci:{tmp_path / 'other'}", PATH=str(tools), **variables
    )
    assert _files(tmp_path / "other")["opt/made/by-script"] == b"n\n"
    assert ("src/made" in _files(tmp_path / "other")) is (engine == "podman")
    if engine == "docker":  # whose images are those of everybody on the machine
        tags = [words[words.index("-t") + 1] for words in map(str.split, log.read_text().splitlines()) if words[0] == "build"]
        assert len(set(tags)) == 2


_WRITING = (
    # as a library writes its cache: for its user alone, with links
    "umask 077; mkdir -p ~/.cache/hub/blobs ~/.cache/hub/refs && echo weights > ~/.cache/hub/blobs/b",
    "ln -s blobs/b /root/.cache/hub/model.bin && echo main > ~/.cache/hub/refs/main && head -c 20000 /dev/zero > ~/.cache/hub/large",
    "umask 077; mkdir -p /opt/models && echo other > /opt/models/m && mkdir -p ~/.ssh && echo key > ~/.ssh/id_rsa",
    "mkdir -p ~/.cache/pip ~/.cache/uv /var/cache/apt && echo wheel > ~/.cache/pip/w && echo x > ~/.cache/uv/x && echo y > /var/cache/apt/y",
    "echo scratch > /tmp/scratch; mkdir -p /var/log/apt && echo log > /var/log/apt/history.log && umask 077 && echo s > /etc/secret",
)
_READING = """\
import os
from pathlib import Path


class Predictor:
    def predict(self) -> str:
        hub = Path.home() / ".cache/hub"
        (hub / "refs/main").write_text("moved")
        (hub / "new").write_text("by the library")
        said = [(hub / "model.bin").read_text().strip(), Path("/opt/models/m").read_text().strip(), str((hub / "large").stat().st_size)]
        said.append(Path("/root/.cache/hub/model.bin").read_text().strip())
        return " ".join([*said, str(os.geteuid()), str((Path.home() / ".ssh/id_rsa").exists())])
"""


@pytest.mark.parametrize("engine", ["buildah", pytest.param("podman", marks=pytest.mark.slow)])
def test_what_commands_fetch_is_kept_for_the_user_that_the_service_runs_as(
    engine: str, lading: Command, shelled: Path, tmp_path: Path
) -> None:
    """As in Cog's images, whose services run as root and find it in root's home; caches of package managers are in neither."""
    tools = Path(without_engines(tmp_path))
    for tool in (engine, "head", "ln", "unshare", "chroot", "mount", "chmod"):
        (tools / tool).symlink_to(which(tool))
    for tool in ("head", "ln"):
        if not (shelled / "usr/bin" / tool).exists():
            shutil.copy2(which(tool), shelled / "usr/bin" / tool)
    config = {"build": {"run": _WRITING}, "predict": "predict.py:Predictor"}
    project = write(tmp_path / "caching", {"cog.yaml": json.dumps(config), "predict.py": _READING})
    words = ["build", project, "-t", f"caching-{engine}:v1", "--base", shelled]
    ran = lading(*words, "-o", f"oci:{tmp_path / 'image'}", "--json", PATH=str(tools))
    (digest,) = [one["digest"] for one in ran.data["images"][0]["layers"] if one["kind"] == "run steps"]
    entries = files_of(tmp_path / "image", digest)
    kept = {"root/.cache/hub/blobs/b", "root/.cache/hub/model.bin", "root/.cache/hub/refs/main", "root/.cache/hub/large"}
    kept |= {"opt/models/m", "root/.ssh/id_rsa", "tmp/scratch", "etc/secret"}
    assert {name for name, entry in entries.items() if not entry.isdir()} == kept
    assert oct(entries["root"].mode | entries["root/.cache/hub"].mode | entries["opt/models"].mode) == "0o755"
    assert [oct(entries[name].mode) for name in ("opt/models/m", "etc/secret", "root/.ssh/id_rsa")] == ["0o644", "0o600", "0o600"]
    told = {one["rule"]: one["asked"] for one in ran.data["decisions"]}
    assert told["step-caches-left-out"] == "/root/.cache/pip (6 B), /root/.cache/uv (2 B), /var/cache/apt (2 B)"
    assert told["step-home-kept"] == "/root/.cache/hub (20 kB)"
    assert told["step-temporary-files"] == "/tmp (8 B)"
    again = lading(*words, "--json", PATH=str(tools))
    assert (again.data["digest"], again.data["decisions"]) == (ran.data["digest"], ran.data["decisions"])
    (tools / engine).unlink()
    if os.geteuid() == 0:
        answer = lading("predict", f"caching-{engine}:v1", PATH=str(tools)).out
        assert answer == "weights other 20000 weights 65532 False\n"


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["buildah", "podman"])
def test_ctrl_c_in_a_step_ends_it_and_leaves_nothing(engine: str, lading: Command, shelled: Path, tmp_path: Path) -> None:
    tools = Path(without_engines(tmp_path))
    for tool in (engine, "umount"):
        (tools / tool).symlink_to(which(tool))
    config = {"build": {"run": ["echo be''gun; sleep 300"]}, "predict": "predict.py:Predictor"}
    project = write(tmp_path / "slow", {"cog.yaml": json.dumps(config), "predict.py": _READING})
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    # whoever runs these tests in the background of a shell may have told them to ignore Ctrl-C
    start = (
        "import runpy, signal; signal.signal(signal.SIGINT, signal.default_int_handler); runpy.run_module('lading', run_name='__main__')"
    )
    words = [sys.executable, "-c", start, "build", str(project), "-t", "slow:v1", "--base", str(shelled), "-v"]
    variables = lading.variables({"PATH": str(tools), "TMPDIR": str(temporary)})
    with subprocess.Popen(words, env=variables, cwd=tmp_path, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        said = []
        for line in process.stderr:
            said.append(line)
            if "begun" in line:
                process.send_signal(signal.SIGINT)
    assert process.returncode == 130, "".join(said)
    assert not list(temporary.iterdir())
    assert str(temporary) not in Path("/proc/self/mounts").read_text()


_ON_OVERLAY = (
    'mount -t overlay overlay -o "lowerdir=$1/l,upperdir=$1/u,workdir=$1/w" "$1/m" || exit 77; export TMPDIR="$1/m"; shift; exec "$@"'
)


@pytest.mark.slow
def test_steps_run_where_folders_cannot_be_laid_over_each_other(lading: Command, shelled: Path, tmp_path: Path) -> None:
    """As in a container of a CI service; the project's files are only to be read there."""
    which("buildah")
    for name in "luwm":
        (tmp_path / "overlay" / name).mkdir(parents=True)
    script = "mkdir -p /opt/made\ncat note.txt > /opt/made/by-script\n"
    project = write(tmp_path / "scripted", {**CORTEX, "dependencies.sh": script, "note.txt": "read\n"})
    inside = [which("unshare"), "-m", "/bin/sh", "-c", _ON_OVERLAY, "sh", str(tmp_path / "overlay"), sys.executable, "-m", "lading"]
    words = ["build", str(project), "-t", "inside:v1", "--base", str(shelled), "-o", f"oci:{tmp_path / 'image'}", "--no-cache"]
    done = subprocess.run([*inside, *words], env=lading.variables({}), cwd=tmp_path, capture_output=True, text=True, check=False)
    if done.returncode in (1, 77) and "Reading dependencies" not in done.stderr:
        pytest.skip(f"nothing can be mounted here: {done.stderr.strip()[:200]}")
    assert done.returncode == 0, done.stderr
    assert _files(tmp_path / "image")["opt/made/by-script"] == b"read\n"
