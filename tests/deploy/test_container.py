"""What the pods of a cluster run: a part of an image's APIs, or one job until it is over."""

from __future__ import annotations

import contextlib
import http.server
import json
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lading.jobs.sqlite import SqliteJobStore
from lading.model.problems import LadingError
from lading.model.service import ServedApi, ServiceSpec
from lading.service.container import _with_environment, as_json
from lading.service.job import _surely
from tests.deploy.support import CORTEX, SPLIT, deployment_of
from tests.support import postgres
from tests.support.ports import free_port

JOBS = {
    "cortex.yaml": """\
- name: many
  kind: BatchAPI
  predictor: {type: python, path: batch.py}
- name: nightly
  kind: TaskAPI
  definition: {path: task.py}
""",
    "requirements.txt": "",
    "batch.py": """\
class PythonPredictor:
    def __init__(self, config, job_spec):
        pass

    def predict(self, payload, batch_id):
        print("worked on", payload)
        if 13 in payload:
            raise ValueError("thirteen")
""",
    "task.py": """\
import os
import time


class Task:
    def __call__(self, config):
        print("began", flush=True)
        until = time.monotonic() + config.get("seconds", 0)
        while time.monotonic() < until and not os.path.exists(config.get("until", "")):
            time.sleep(0.02)
        if config.get("fail"):
            raise ValueError("no rows")
""",
}


def names(spec: ServiceSpec) -> list[str]:
    return [*(one.name for one in (*spec.apis, *spec.job_apis)), *(one.name for one in spec.splitters)]


def test_a_container_serves_what_it_is_told(tmp_path: Path) -> None:
    spec = deployment_of(tmp_path / "a", CORTEX).service
    assert names(_with_environment(spec, {})) == ["iris", "words", "many", "nightly"]
    assert names(_with_environment(spec, {"LADING_APIS": "words,nightly"})) == ["words", "nightly"]
    split = deployment_of(tmp_path / "b", SPLIT).service
    assert names(_with_environment(split, {"LADING_APIS": "a,b,both"})) == ["a", "b", "both"]
    with pytest.raises(LadingError) as caught:
        _with_environment(spec, {"LADING_APIS": "iris,rose"})
    assert "rose" in caught.value.problems[0].what


def test_jobs_are_kept_where_the_variable_says_unless_it_is_a_database(tmp_path: Path) -> None:
    spec = replace(deployment_of(tmp_path, CORTEX).service, jobs_folder="/tmp/lading-jobs")
    assert _with_environment(spec, {"LADING_JOBS": "/var/lib/jobs"}).jobs_folder == "/var/lib/jobs"
    assert _with_environment(spec, {"LADING_JOBS": "postgresql://db/jobs"}).jobs_folder == "/tmp/lading-jobs"


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    """The variables of a container whose image serves `JOBS`."""
    spec = deployment_of(tmp_path / "project", JOBS).service

    def placed(api: ServedApi) -> ServedApi:
        return replace(api, worker=replace(api.worker, python=sys.executable, root=str(tmp_path / "project")))

    spec = replace(spec, job_apis=tuple(map(placed, spec.job_apis)), jobs_folder=str(tmp_path / "jobs"))
    (tmp_path / "service.json").write_text(json.dumps(as_json(spec)))
    return {**os.environ, "LADING_SERVICE": str(tmp_path / "service.json"), "PORT": str(free_port())}


def start(environ: dict[str, str], api: str, submission: Any) -> subprocess.Popen[str]:
    path = Path(environ["LADING_SERVICE"]).with_name("submission.json")
    path.write_text(json.dumps(submission))
    return subprocess.Popen([sys.executable, "-m", "lading.service.job", api, path], env=environ, stderr=subprocess.PIPE, text=True)


@pytest.mark.parametrize(
    ("api", "submission", "status", "words"),
    [
        ("nightly", {}, 0, "began"),
        pytest.param("nightly", {"config": {"fail": True}}, 1, "no rows", marks=pytest.mark.slow),
        pytest.param(
            "many", {"workers": 1, "item_list": {"items": [1, 2, 3], "batch_size": 2}}, 0, "worked on [1, 2]", marks=pytest.mark.slow
        ),
        ("many", {"workers": 1, "item_list": {"items": [1, 13], "batch_size": 1}}, 1, "1 failed"),
        pytest.param("many", {"workers": 1}, 1, "specify exactly one", marks=pytest.mark.slow),
    ],
)
def test_a_job_in_a_container_ends_as_its_work_does(api: str, submission: Any, status: int, words: str, environ: dict[str, str]) -> None:
    done = start(environ, api, submission)
    _, err = done.communicate(timeout=60)
    assert done.returncode == status, err
    assert words in err


def test_a_pod_that_is_to_end_stops_its_job(environ: dict[str, str]) -> None:
    job = start(environ, "nightly", {"config": {"seconds": 120}})
    assert job.stderr is not None
    for line in job.stderr:
        if "began" in line:
            break
    before = time.monotonic()
    job.send_signal(signal.SIGTERM)
    _, err = job.communicate(timeout=30)
    assert job.returncode == 128 + signal.SIGTERM, err
    assert time.monotonic() - before < 20


def test_a_job_without_a_submission_says_so(environ: dict[str, str], tmp_path: Path) -> None:
    command = [sys.executable, "-m", "lading.service.job", "nightly", str(tmp_path / "none.json")]
    done = subprocess.run(command, env=environ, stderr=subprocess.PIPE, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("error: the job's submission cannot be read: ")
    assert "none.json" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_job_whose_server_dies_ends_and_says_so(environ: dict[str, str]) -> None:
    job = start(environ, "nightly", {"config": {"seconds": 60}})
    wait_for(job, "began")
    (server,) = Path(f"/proc/{job.pid}/task/{job.pid}/children").read_text().split()
    os.kill(int(server), signal.SIGKILL)
    _, err = job.communicate(timeout=30)
    assert job.returncode == 1, err
    assert "error: the server ended with exit status -9\n" in err
    assert "Traceback" not in err


def test_an_answer_that_is_no_json_ends_a_job_and_is_shown() -> None:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(500)
            self.end_headers()
            self.wfile.write(b"Out of order")

        def log_message(self, *_: object) -> None:
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server, subprocess.Popen(["sleep", "60"]) as alive:
        answering = threading.Thread(target=server.handle_request)
        answering.start()
        try:
            with pytest.raises(ChildProcessError, match="no JSON: 500 Out of order"):
                _surely(alive, server.server_port, "GET", "/")
        finally:
            alive.kill()
            answering.join()


def end_at_once(job: subprocess.Popen[str]) -> None:
    """As a node that loses its power: the job's process, its server, and the workers of that."""
    everything, queue = [], [job.pid]
    while queue:
        pid = queue.pop()
        everything.append(pid)
        queue += map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())
    for pid in everything:
        with contextlib.suppress(ProcessLookupError):  # it ended with the one above it
            os.kill(pid, signal.SIGKILL)
    job.communicate()


def wait_for(job: subprocess.Popen[str], words: str) -> None:
    assert job.stderr is not None
    assert any(words in line for line in job.stderr), f"it never said {words}"


def test_a_pod_that_is_started_again_goes_on_with_the_job_of_the_one_before(environ: dict[str, str], tmp_path: Path) -> None:
    environ = {**environ, "LADING_JOB_KEY": "1f0c"}
    first = start(environ, "nightly", {"config": {"seconds": 60, "until": str(tmp_path / "go")}})
    wait_for(first, "began")
    end_at_once(first)
    (tmp_path / "go").touch()
    for _ in range(2):
        again = start(environ, "nightly", {"config": {"seconds": 60, "until": str(tmp_path / "go")}})
        _, err = again.communicate(timeout=60)
        assert again.returncode == 0, err
    store = SqliteJobStore(tmp_path / "jobs")
    (job,) = store.jobs()
    assert (job.total, job.succeeded) == (1, 1)
    store.close()


@pytest.mark.slow
def test_a_job_that_was_stopped_is_done_when_its_pod_is_started_elsewhere(environ: dict[str, str], tmp_path: Path) -> None:
    environ = {**environ, "LADING_JOB_KEY": "1f0c"}
    submission = {"config": {"seconds": 60, "until": str(tmp_path / "go")}}
    drained = start(environ, "nightly", submission)
    wait_for(drained, "began")
    drained.send_signal(signal.SIGTERM)
    drained.communicate(timeout=30)
    (tmp_path / "go").touch()
    again = start(environ, "nightly", submission)
    _, err = again.communicate(timeout=60)
    assert again.returncode == 0, err


@pytest.mark.slow
def test_a_job_waits_for_a_database_that_is_away(environ: dict[str, str], tmp_path: Path) -> None:
    if (reason := postgres.missing()) is not None:
        pytest.skip(reason)
    with postgres.Postgres() as server:
        environ = {**environ, "LADING_JOBS": server.database()}
        job = start(environ, "nightly", {"config": {"seconds": 60, "until": str(tmp_path / "go")}})
        wait_for(job, "began")
        server.kill()
        wait_for(job, "asking again")
        server.start()
        (tmp_path / "go").touch()
        _, err = job.communicate(timeout=60)
        assert job.returncode == 0, err
        assert "Traceback" not in err
