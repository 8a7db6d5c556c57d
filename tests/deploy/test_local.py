"""Deploying to this machine, by the command line: a server in the background, with its revisions."""

from __future__ import annotations

import json
import os
import signal
import socket
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lading import LadingError, Options, Place, deploy, lock, plan, read
from lading.deploy.node import Assignment, assigned
from lading.environments.claims import try_claim
from lading.model.cluster import Limits
from tests.deploy import conformance
from tests.deploy.support import COG, CORTEX, deployment_of
from tests.deploy.test_container import JOBS
from tests.support import postgres
from tests.support.command import lading, write_files
from tests.support.index import LocalIndex

BROKEN = "from cog import BasePredictor\n\n\nclass Predictor(BasePredictor):\n    def setup(self) -> None:\n        raise ValueError('no weights')\n\n    def predict(self, text: str) -> str:\n        return text\n"


@pytest.fixture
def port() -> int:
    """A port that nobody has."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def project(index: LocalIndex, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    """A project whose deployment ends with the test."""
    monkeypatch.setenv("UV_DEFAULT_INDEX", index.url)
    folder = write_files(tmp_path / "shop", COG)
    yield folder
    lading("delete", "-C", folder, "--to", "local")


def predict(port: int, text: str) -> Any:
    body = json.dumps({"input": {"text": text}}).encode()
    request = urllib.request.Request(f"http://127.0.0.1:{port}/predictions", body, {"content-type": "application/json"})
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.loads(answer.read())["output"]


def unpacked(home: Path) -> list[str]:
    """The bundles that lie in a store."""
    return [path.name for path in (home / "bundles").iterdir()]


def state(project: Path) -> Any:
    return lading("status", "-C", project, "--json").data


def test_clients_find_what_they_may_rely_on(project: Path, port: int) -> None:
    write_files(project, conformance.PROJECT)
    assert lading("deploy", project, "--to", "local", "--port", str(port)).code == 0
    conformance.check(f"http://127.0.0.1:{port}")


@pytest.mark.slow
def test_clients_of_cortex_find_what_they_may_rely_on(project: Path, port: int) -> None:
    (project / "cog.yaml").unlink()
    write_files(project, conformance.CORTEX)
    assert lading("deploy", project, "--to", "local", "--port", str(port)).code == 0
    conformance.check_cortex(f"http://127.0.0.1:{port}")


@pytest.mark.slow
def test_a_splitter_shares_requests_out_as_on_every_engine(project: Path, port: int) -> None:
    (project / "cog.yaml").unlink()
    write_files(project, conformance.SPLIT)
    assert lading("deploy", project, "--to", "local", "--port", str(port)).code == 0
    conformance.check_split(f"http://127.0.0.1:{port}")


def test_deploy_change_and_go_back(project: Path, port: int, lading_home: Path) -> None:
    done = lading("deploy", project, "--to", "local", "--port", str(port))
    assert (done.code, "shop on local: live" in done.out) == (0, True), done.err
    assert predict(port, "hello") == "HELLO"
    (project / "predict.py").write_text(COG["predict.py"].replace("upper", "title"))
    assert predict(port, "hello") == "HELLO", "what is deployed does not follow the folder"
    assert lading("deploy", project, "--to", "local", "--port", str(port)).code == 0
    assert predict(port, "hello") == "Hello"
    assert [(one["number"], one["current"]) for one in state(project)["revisions"]] == [(1, False), (2, True)]
    assert lading("rollback", "-C", project).code == 0
    assert predict(port, "hello") == "HELLO"
    assert lading("scale", "-C", project, "2").code == 0
    assert state(project)["apis"][0]["replicas"]["ready"] == 2
    assert len(unpacked(lading_home)) == 2
    logs = lading("logs", "--to", "local", "-C", project)
    assert "Serving: shop on" in logs.out
    assert lading("delete", "-C", project, "--to", "local").code == 0
    with pytest.raises(OSError, match="refused"):
        predict(port, "hello")
    assert lading("status", "-C", project, "--json").problem["rule"] == "nothing-deployed"
    assert unpacked(lading_home) == [], "nothing needs the project's copies any more"


@pytest.mark.slow
def test_cogs_variables_are_followed_whether_the_project_or_a_deployment_sets_them(tmp_path: Path) -> None:
    service = deployment_of(tmp_path, COG).service
    told = Assignment(digest="", host="127.0.0.1", port=5000, variables={"COG_MAX_CONCURRENCY": "3", "COG_SETUP_TIMEOUT": "7"})
    spec = assigned(service, told, {"COG_SETUP_TIMEOUT": "9"})
    assert (spec.apis[0].worker.threads, spec.setup_timeout) == (3, 7)
    assert assigned(service, replace(told, variables={}), {"COG_SETUP_TIMEOUT": "9"}).setup_timeout == 9


def test_processes_share_what_an_api_may_use(tmp_path: Path) -> None:
    told = Assignment(digest="", host="127.0.0.1", port=5000, processes={"iris": 4})
    (iris, _words) = assigned(deployment_of(tmp_path, CORTEX).service, told, {}).apis
    assert (iris.processes, iris.worker.limits) == (4, Limits(cpu=0.125, memory=256 << 20))


def test_a_deployment_that_fails_is_told_with_its_own_words_and_the_old_one_is_served_again(project: Path, port: int) -> None:
    assert lading("deploy", project, "--to", "local", "--port", str(port)).code == 0
    (project / "predict.py").write_text(BROKEN)
    assert lading("deploy", project, "--to", "local", "--port", str(port), "--no-wait").code == 0
    (project / "predict.py").write_text(BROKEN + "# still\n")
    failed = lading("deploy", project, "--to", "local", "--port", str(port), "--json")
    assert failed.code == 1, failed.out + failed.err
    problem = failed.problem
    assert (failed.code, problem["rule"]) == (1, "deployment-failed")
    assert "no weights" in problem["detail"]
    assert "Revision 1 is served again" in problem["what"]
    assert [(one["number"], one["current"]) for one in state(project)["revisions"]] == [(1, True)]
    assert predict(port, "hello") == "HELLO"


@pytest.mark.slow
def test_a_server_that_was_killed_is_shown_as_stopped(project: Path, port: int, lading_home: Path) -> None:
    assert lading("deploy", project, "--to", "local", "--port", str(port), "-e", "MODE=fast", "--secret-env", "TOKEN=hush-hush").code == 0
    kept = lading_home / "deployments" / "local" / "shop" / "state.json"
    assert kept.stat().st_mode & 0o077 == 0, "it holds secrets"
    os.killpg(json.loads(kept.read_bytes())["pid"], signal.SIGKILL)
    until = time.monotonic() + 60
    while state(project)["state"] != "stopped" and time.monotonic() < until:
        time.sleep(0.05)
    assert lading("status", "-C", project).code == 7
    assert "hush-hush" not in lading("logs", "--to", "local", "-C", project).out


@pytest.mark.slow
def test_the_verbs_of_a_running_server_find_a_deployment_of_its_folder(project: Path, port: int) -> None:
    (project / "cog.yaml").unlink()
    write_files(project, JOBS)
    assert lading("deploy", project, "--to", "local", "--port", str(port)).code == 0
    assert "nightly" in lading("get", "-C", project).out
    done = lading("batch", "submit", "nightly", "-C", project, "--watch")
    assert (done.code, "succeeded" in done.out) == (0, True), done.err


def test_jobs_are_kept_in_the_folder_that_a_deployment_names(
    project: Path, port: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Seen from where it was deployed, and whatever holds for who deploys it."""
    (project / "cog.yaml").unlink()
    write_files(project, JOBS)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LADING_JOBS", str(tmp_path / "mine"))
    assert lading("deploy", project, "--to", "local", "--port", str(port), "--secret-env", "LADING_JOBS=of-shop").code == 0
    assert ((tmp_path / "of-shop/jobs.sqlite").exists(), (tmp_path / "mine").exists()) == (True, False)
    monkeypatch.setenv("LADING_JOBS", "of-shop")
    assert "nightly" in lading("get", "-C", project).out


@pytest.mark.slow
def test_jobs_are_kept_in_the_database_that_a_deployment_names(project: Path, port: int) -> None:
    if (reason := postgres.missing()) is not None:
        pytest.skip(reason)
    (project / "cog.yaml").unlink()
    write_files(project, JOBS)
    with postgres.Postgres() as server:
        secret = f"LADING_JOBS={server.database()}"
        assert lading("deploy", project, "--to", "local", "--port", str(port), "--secret-env", secret).code == 0
        done = lading("batch", "submit", "nightly", "-C", project, "--watch")
        assert (done.code, "succeeded" in done.out) == (0, True), done.err
        told = lading("logs", "--to", "local", "-C", project).out
        assert ("jobs are kept in" in told, postgres.PASSWORD in told) == (True, False), told
        assert lading("delete", "-C", project, "--to", "local").code == 0


def test_two_processes_do_not_change_one_deployment(project: Path, port: int, lading_home: Path) -> None:
    with try_claim(str(lading_home), "deployment-shop"):
        done = lading("deploy", project, "--to", "local", "--port", str(port), "--json")
    assert (done.code, done.problem["rule"]) == (7, "deployment-changing")


def test_a_port_that_is_taken_is_told_before_anything_stops(project: Path, port: int) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", port))
        other.listen()
        done = lading("deploy", project, "--to", "local", "--port", str(port), "--json")
    assert done.problem["rule"] == "port-in-use"
    assert lading("status", "-C", project, "--to", "local", "--json").data["state"] == "absent"


def test_a_program_deploys_as_the_command_line_does(project: Path, port: int) -> None:
    """Weights included, which the predictor finds where its configuration says."""
    weights = "weights:\n  - name: words\n    target: /src/weights/words\n    source: {uri: words}\n"
    predictor = COG["predict.py"].replace("text.upper()", "open('weights/words/a.txt').read() + text")
    write_files(project, {"cog.yaml": COG["cog.yaml"] + weights, "words/a.txt": "hello ", "predict.py": predictor})
    options = Options(directory=project)
    read_project = read(options)
    locked = lock(plan(read_project, options), read_project, options)
    status = deploy(locked, read_project, options, Place(engine="local"), settings={"port": str(port)})
    assert (status.name, status.state, [one.number for one in status.revisions]) == ("shop", "live", [1])
    assert predict(port, "you") == "hello you"
    assert state(project)["state"] == "live", "the command line knows of it"
    with pytest.raises(LadingError) as caught:
        deploy(locked, read_project, options, Place(engine="local"), name="No Name")
    assert caught.value.problems[0].rule == "deployment-name"
