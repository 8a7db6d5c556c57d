"""Projects on a real Ray cluster of one host: models of two Pythons, updates, failures, jobs."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from lading.environments.interpreters import find_interpreters
from tests.deploy import conformance
from tests.ray.cluster import LADING, Cluster, Load, missing, unasked
from tests.support import postgres
from tests.support.command import write_files

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

PREDICT = """\
import sys, time
from cog import BasePredictor


class Predictor(BasePredictor):
    def setup(self):
        {setup}
        print("set up on", sys.version.split()[0])

    def predict(self, text: str, sleep: float = 0.0) -> str:
        time.sleep(sleep)
        print("asked for", text)
        return "{word} %s on %s.%s" % (text, *sys.version_info[:2])
"""


def project(folder: Path, python: str, word: str = "says", setup: str = "pass") -> Path:
    """A Cog project without packages, for one version of Python."""
    return write_files(
        folder,
        {
            "cog.yaml": f'build:\n  python_version: "{python}"\n  python_requirements: requirements.txt\npredict: predict.py:Predictor\n',
            "requirements.txt": "",
            "predict.py": PREDICT.format(word=word, setup=setup),
        },
    )


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The home of this module's commands; one for all tests, since the cluster's nodes have it."""
    folder = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYENV_ROOT", os.environ.get("PYENV_ROOT") or str(Path.home() / ".pyenv"))
        patch.setenv("HOME", str(folder))
        patch.setenv("LADING_HOME", str(folder / "lading"))
        yield folder


@pytest.fixture(scope="module")
def cluster(home: Path) -> Iterator[Cluster]:
    reason = unasked() or missing()
    if reason is not None:
        pytest.skip(reason)
    with Cluster(os.environ) as running:
        yield running


@pytest.fixture(scope="module")
def old(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """The oldest Python here that Ray does not run on, and a deployment for it."""
    found = [one for one in find_interpreters(cluster.environ) if one.implementation == "cpython"]
    minors = sorted({one.minor for one in found if one.minor in ("3.6", "3.7", "3.8", "3.9")}, reverse=True)
    if not minors:
        pytest.skip("there is no Python below 3.10 here")
    cluster.deploy(project(tmp_path_factory.mktemp("old"), minors[-1]), "--name", "old")
    return minors[-1], "old"


def ask(cluster: Cluster, name: str, text: str = "x", **inputs: Any) -> Any:
    answer = httpx.post(f"{cluster.url}/{name}/predictions", json={"input": {"text": text, **inputs}}, timeout=20)
    assert answer.status_code == 200, answer.text
    return answer.json()["output"]


def test_models_of_different_pythons_run_side_by_side(cluster, old, tmp_path):
    python, name = old
    status = cluster.deploy(project(tmp_path, "3.12"), "--name", "new")
    assert (status["state"], status["apis"][0]["replicas"]) == ("live", {"wanted": 1, "ready": 1, "updated": 1})
    assert ask(cluster, "new") == "says x on 3.12"
    assert ask(cluster, name) == f"says x on {python}"
    assert status["endpoints"][0]["url"].endswith("/new")
    assert status["dashboard"].startswith("http://")
    again = httpx.put(f"{cluster.url}/new/predictions/one", json={"input": {"text": "y"}}, timeout=20)
    assert (again.status_code, again.json()["id"]) == (201, "one") or again.json()["status"] == "succeeded"
    assert httpx.get(f"{cluster.url}/new/openapi.json", timeout=20).json()["info"]["title"] == "new"
    assert "set up on 3.12" in str(cluster.verb("logs", "new"))
    cluster.verb("delete", "new")
    assert cluster.verb("status", "new", code=7)["state"] == "absent"
    assert httpx.post(f"{cluster.url}/new/predictions", json={}, timeout=20).status_code == 404


@contextlib.contextmanager
def gateway(*urls: str) -> Iterator[httpx.Client]:
    """A client of a gateway before these servers, as wide as is needed."""
    command = [*LADING, "gateway", *urls, "-p", "0"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True) as process:
        assert process.stderr is not None
        found = re.search(r"http://\S+", process.stderr.readline())
        assert found
        with httpx.Client(base_url=found[0], timeout=125, limits=httpx.Limits(max_connections=None)) as client:
            yield client
        process.terminate()


def test_an_update_loses_no_request_and_is_rolled_back(cluster, old, tmp_path):
    python, name = old

    def send(number: int) -> str | None:
        body = {"input": {"text": str(number), "sleep": 0.02}}
        answer = client.put(f"/predictions/{uuid.uuid4()}", json=body)
        good = answer.status_code in (200, 201) and answer.json()["output"].endswith(f" {number} on {python}")
        return None if good else f"{answer.status_code} {answer.text}"

    cluster.verb("scale", name, "predict", "2")
    with gateway(f"{cluster.url}/{name}") as client, Load(send, rate=20).running() as load:
        status = cluster.deploy(project(tmp_path, python, word="sings"), "--name", name)
        assert ask(cluster, name) == f"sings x on {python}"
        before = status["revisions"][0]["number"]
        cluster.verb("rollback", name)
        until = time.monotonic() + 60
        while ask(cluster, name) != f"says x on {python}":
            assert time.monotonic() < until
            time.sleep(0.5)
    assert load.bad == []
    assert load.good == load.sent > 50
    assert before == 1


def test_an_update_whose_setup_fails_leaves_what_was_served(cluster, old, tmp_path):
    python, name = old
    failed = cluster.deploy(project(tmp_path, python, setup='raise ValueError("no weights")'), "--name", name, code=1)
    (problem,) = failed["problems"]
    assert problem["rule"] == "deployment-failed"
    assert "no weights" in problem["what"]
    assert "is served again" in problem["what"]
    assert ask(cluster, name).endswith(f"x on {python}")


CONNECTED = """\
import json, os, sys, time
from lading.deploy import ray_store as kept
from lading.deploy.engine import Place
from lading.deploy.ray_session import session
from lading.model.problems import LadingError

def connected():
    return session(Place(engine="ray", address=sys.argv[1]), os.environ)

"""
KEYS = """
with connected():
    print(json.dumps([*kept._keys("secrets/"), *kept._keys("bundle/"), *kept._keys("deployment/"), *kept._keys("changing/")]))
"""


def test_what_fails_leaves_nothing_in_the_cluster(cluster, old, tmp_path):
    before = cluster.program(CONNECTED + KEYS)
    broken = project(tmp_path, "3.12", setup='raise ValueError("no weights")')
    cluster.deploy(broken, "--name", "broken", "--secret-env", "TOKEN=hush", code=1)
    assert cluster.verb("status", "broken", code=7)["state"] == "absent"
    assert cluster.program(CONNECTED + KEYS) == before


OTHERS = """
from ray import serve

@serve.deployment(ray_actor_options={"num_cpus": 0})
class Mine:
    async def __call__(self, request):
        return "mine"

with connected():
    serve.run(Mine.bind(), name="mine", route_prefix="/taken")
    serve.run(Mine.bind(), name="fresh.predict", route_prefix="/other")
    print("true")
"""


def test_an_application_of_somebody_else_is_not_touched(cluster, old, tmp_path):
    python, name = old
    assert cluster.program(CONNECTED + OTHERS)
    before = cluster.program(CONNECTED + KEYS)
    folder = project(tmp_path, python, word="sings")
    for words in (("--name", name, "--route", "taken"), ("--name", "fresh"), ("--name", "another", "--route", "taken")):
        refused = cluster.deploy(folder, *words, "--secret-env", "TOKEN=hush", code=7)
        assert [one["rule"] for one in refused["problems"]] == ["ray-application-taken"]
    assert cluster.program(CONNECTED + KEYS) == before
    assert ask(cluster, name) == f"says x on {python}"
    for path in ("taken", "other"):
        assert httpx.get(f"{cluster.url}/{path}", timeout=20).text == "mine"


def test_what_never_was_ready_is_not_served_again(cluster, old, tmp_path):
    python, name = old
    number = next(one["number"] for one in cluster.verb("status", name)["revisions"] if one["current"])
    cluster.deploy(project(tmp_path / "one", python, setup='raise ValueError("no weights")'), "--name", name, "--no-wait")
    failed = cluster.deploy(project(tmp_path / "two", python, setup='raise ValueError("nor here")'), "--name", name, code=1)
    assert f"Revision {number} is served again." in failed["problems"][0]["what"]
    status = cluster.verb("status", name)
    assert ([one["number"] for one in status["revisions"] if one["current"]], status["state"]) == ([number], "live")
    assert ask(cluster, name).endswith(f"x on {python}")


HELD = """
with connected(), kept.changing(sys.argv[2]):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_two_at_once_do_not_change_one_deployment(cluster, old):
    _python, name = old
    command = [sys.executable, "-c", CONNECTED + HELD, cluster.address, name]
    with subprocess.Popen(command, env=cluster.environ, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdin is not None
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        refused = cluster.lading("scale", "predict", "3", "--to", "ray", cluster.address, "--name", name, code=7)
        assert [one["rule"] for one in refused["problems"]] == ["deployment-changing"]
        other.stdin.close()
    cluster.verb("scale", name, "predict", "2")


def test_the_logs_of_every_replica_are_followed(cluster, old):
    _python, name = old
    cluster.verb("scale", name, "predict", "2")
    command = [*LADING, "logs", "--to", "ray", cluster.address, "--name", name, "--follow"]
    with subprocess.Popen(command, env=cluster.environ, stdout=subprocess.PIPE, text=True, cwd=cluster.folder) as process:
        assert process.stdout is not None
        answering: set[str] = set()
        until = time.monotonic() + 90
        while len(answering) < 2:
            assert time.monotonic() < until, answering
            ask(cluster, name, "follow")
            while "asked for follow" not in (line := process.stdout.readline()):
                assert line, "the command ended"
            answering.add(line.partition("]")[0])
        process.kill()


FAILURES = """
import ray
from ray import serve
from lading.deploy.ray_serve import log_of

def told(work):
    try:
        with connected():
            work()
    except LadingError as error:
        return error.problems[0].rule

@ray.remote(num_cpus=0)
def bad():
    raise ValueError("bad")

works = (lambda: None, lambda: ray.get(bad.remote()), lambda: serve.get_app_handle("nowhere"), lambda: list(log_of("a" * 32, follow=False)))
print(json.dumps([told(work) for work in works]))
"""


def test_what_ray_says_is_told_in_every_session(cluster, old):
    assert cluster.program(CONNECTED + FAILURES) == [None, "ray-failed", "ray-failed", "ray-failed"]


def from_outside(cluster: Cluster, *words: str | Path, **more: Any) -> Any:
    """A command that reaches the cluster as other machines do. On a busy machine Ray often gives up the start of what takes its connection."""
    done: Any = "ray-unreachable"
    until = time.monotonic() + 240
    while "ray-unreachable" in str(done) and time.monotonic() < until:
        with contextlib.suppress(ValueError):  # of `logs`, an error is no line of JSON
            done = cluster.lading(*words, code=None, **more)
    return done


def test_a_cluster_is_reached_from_outside_too(cluster, old, tmp_path):
    python, name = old
    words = ("--to", "ray", cluster.client, "--name")
    status = from_outside(cluster, "status", *words, name)
    assert (status["state"], status["dashboard"].startswith("http://")) == ("live", True)
    assert "set up on" in str(from_outside(cluster, "logs", *words, name))
    found = from_outside(cluster, "doctor", "--to", "ray", cluster.client)["findings"][0]
    assert {one["rule"] for one in found["problems"]} <= {"ray-head-without-storage"}
    folder = project(tmp_path, python)
    from_outside(cluster, "deploy", folder, "--to", "ray", "--name", "remote", environ={"RAY_ADDRESS": cluster.client})
    assert from_outside(cluster, "status", "-C", folder)["place"] == cluster.client
    assert ask(cluster, "remote") == f"says x on {python}"
    cluster.verb("delete", "remote")


def test_clients_find_what_they_find_on_every_engine(cluster, tmp_path):
    cluster.deploy(write_files(tmp_path, conformance.PROJECT), "--name", "same")
    conformance.check(f"{cluster.url}/same")
    cluster.verb("delete", "same")


def test_a_splitter_shares_requests_out_as_on_every_engine(cluster, tmp_path):
    deployed = cluster.deploy(write_files(tmp_path, conformance.SPLIT), "--name", "split")
    assert [(one["name"], one["kind"]) for one in deployed["apis"]][-1] == ("both", "TrafficSplitter")
    conformance.check_split(f"{cluster.url}/split")
    refused = cluster.verb("delete", "split", "a", code=7)
    assert [one["rule"] for one in refused["problems"]] == ["api-in-use"]
    cluster.verb("scale", "split", "both", "1")
    cluster.verb("delete", "split")


def test_clients_of_cortex_find_what_they_find_on_every_engine(cluster, tmp_path):
    reason = postgres.missing()
    if reason is not None:
        pytest.skip(reason)
    with postgres.Postgres() as server:
        cluster.deploy(write_files(tmp_path, conformance.CORTEX), "--name", "kinds", "--secret-env", f"LADING_JOBS={server.database()}")
        conformance.check_cortex(f"{cluster.url}/kinds")
        cluster.verb("delete", "kinds")


def test_what_will_hurt_is_named_before_it_does(cluster):
    found = cluster.lading("doctor", "--to", "ray", cluster.address, code=7)["findings"][0]
    assert found["subject"] == "cluster"
    assert [one["rule"] for one in found["problems"]] == ["ray-head-without-storage"]
    token = {"RAY_AUTH_TOKEN_PATH": str(cluster.folder / "other")}
    (cluster.folder / "other").write_text("0" * 64)
    found = cluster.lading("doctor", "--to", "ray", cluster.address, environ=token, code=None)["findings"][0]
    assert [one["rule"] for one in found["problems"]] == ["ray-token"]
    found = cluster.lading("doctor", "--to", "ray", "127.0.0.1:9", code=None)["findings"][0]
    assert [one["rule"] for one in found["problems"]] == ["ray-unreachable"]


BUSY = {
    "cortex.yaml": """\
- name: busy
  kind: RealtimeAPI
  predictor: {type: python, path: busy.py, threads_per_process: 8}
  autoscaling:
    max_replicas: 3
    target_replica_concurrency: 1
    window: 10s
    upscale_stabilization_period: 0s
    downscale_stabilization_period: 5s
""",
    "requirements.txt": "",
    "busy.py": "import time\n\n\nclass PythonPredictor:\n    def __init__(self, config):\n        pass\n\n"
    "    def predict(self, payload):\n        time.sleep(0.5)\n        return payload\n",
}


def test_replicas_come_with_the_load_and_go_with_it(cluster, tmp_path):
    cluster.deploy(write_files(tmp_path, BUSY), "--name", "scaled")

    def send(number: int) -> str | None:
        answer = httpx.post(f"{cluster.url}/scaled/busy", json=number, timeout=60)
        return None if (answer.status_code, answer.json()) == (200, number) else answer.text

    def ready() -> int:
        return int(cluster.verb("status", "scaled")["apis"][0]["replicas"]["ready"])

    def until(done: Callable[[int], bool]) -> None:
        late = time.monotonic() + 180
        while not done(ready()):
            assert time.monotonic() < late
            time.sleep(1)

    assert ready() == 1
    with Load(send, rate=6).running() as load:
        until(lambda count: count > 1)
    assert (load.bad, load.good) == ([], load.sent)
    until(lambda count: count == 1)
    cluster.verb("delete", "scaled")


CORTEX = {
    "cortex.yaml": """\
- name: now
  kind: RealtimeAPI
  predictor: {type: python, path: now.py}
  autoscaling: {min_replicas: 1, max_replicas: 3, target_replica_concurrency: 2}
- name: later
  kind: AsyncAPI
  predictor: {type: python, path: now.py}
- name: many
  kind: BatchAPI
  predictor: {type: python, path: many.py}
""",
    "requirements.txt": "",
    "now.py": "class PythonPredictor:\n    def __init__(self, config):\n        pass\n\n    def predict(self, payload):\n        return payload\n",
    "many.py": "import time\n\n\nclass PythonPredictor:\n    def __init__(self, config):\n        pass\n\n"
    "    def predict(self, payload):\n        time.sleep(0.01)\n        assert payload != [13]\n",
}


def test_jobs_run_on_replicas_that_share_a_database(cluster, tmp_path):
    reason = postgres.missing()
    if reason is not None:
        pytest.skip(reason)
    folder = write_files(tmp_path, CORTEX)
    refused = cluster.deploy(folder, "--name", "jobs", code=7)
    assert [one["rule"] for one in refused["problems"]] == ["jobs-need-database"]
    with postgres.Postgres() as server:
        secret = f"LADING_JOBS={server.database()}"
        shown = cluster.deploy(folder, "--name", "jobs", "--secret-env", secret, "--dry-run")
        assert postgres.PASSWORD not in str(shown)
        cluster.deploy(folder, "--name", "jobs", "--secret-env", secret)
        cluster.verb("scale", "jobs", "many", "2")
        assert httpx.post(f"{cluster.url}/jobs/now", json={"a": 1}, timeout=20).json() == {"a": 1}
        body = {"workers": 2, "item_list": {"items": list(range(300)), "batch_size": 1}}
        job = httpx.post(f"{cluster.url}/jobs/many", json=body, timeout=20).json()["job_id"]
        until = time.monotonic() + 60
        while True:
            status = httpx.get(f"{cluster.url}/jobs/many", params={"jobID": job}, timeout=20).json()["job_status"]
            if status["status"] not in ("status_running", "status_enqueuing"):
                break
            assert time.monotonic() < until, status
            time.sleep(0.2)
        assert (status["status"], status["batch_metrics"]["succeeded"]) == ("status_completed_with_failures", 299)
        key = httpx.post(f"{cluster.url}/jobs/later", json={"b": 2}, timeout=20).json()["id"]
        while (answer := httpx.get(f"{cluster.url}/jobs/later/{key}", timeout=20).json())["status"] != "completed":
            assert time.monotonic() < until, answer
            time.sleep(0.2)
        assert answer["result"] == {"b": 2}
        cluster.verb("delete", "jobs")


STARTED = """
import sys, ray
from ray import serve

ray.init(sys.argv[1], namespace="somebody", log_to_driver=False)
serve.start(proxy_location="EveryNode", http_options={"host": "0.0.0.0", "port": int(sys.argv[2])})
"""


def test_where_somebody_else_started_serve_its_slow_ingress_is_told_and_does(home, tmp_path):
    reason = unasked() or missing()
    if reason is not None:
        pytest.skip(reason)
    with Cluster(os.environ) as cluster:
        subprocess.run([sys.executable, "-c", STARTED, cluster.address, str(cluster.http)], env=cluster.environ, check=True, timeout=120)
        cluster.deploy(write_files(tmp_path, conformance.PROJECT), "--name", "slow")
        conformance.check(f"{cluster.url}/slow")
        found = cluster.lading("doctor", "--to", "ray", cluster.address, code=7)["findings"][0]
        assert {one["rule"] for one in found["problems"]} == {"ray-slow-ingress", "ray-head-without-storage"}
