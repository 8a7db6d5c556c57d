"""Jobs that several servers work off together by one database: real servers, real workers, servers and databases that are killed."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.jobs.support import api, start, wait_for_answers, wait_over
from tests.service.support import Server, children_of, free_port
from tests.support import postgres

BATCH = """
    import glob, os, time

    class PythonPredictor:
        def __init__(self, config, job_spec):
            self.config, self.spec = config, job_spec
            assert "LADING_JOBS" not in os.environ
            open("%s-here-%d" % (config["out"], os.getpid()), "w").close()

        def note(self, text):
            with open(self.config["out"], "a") as stream:
                stream.write(text + "\\n")

        def predict(self, payload, batch_id):
            until = time.monotonic() + 30
            while len(glob.glob(self.config["out"] + "-here-*")) < self.config.get("workers", 1) and time.monotonic() < until:
                time.sleep(0.02)
            time.sleep(self.config.get("sleep", 0.02))
            if "bad" in payload:
                raise ValueError("bad item")
            self.note("item %s %s" % (batch_id, os.getpid()))

        def on_job_complete(self):
            self.note("complete %s" % self.spec["workers"])
"""
TASK = """
    import os, time

    class Task:
        def __call__(self, config):
            with open(config["out"], "a") as stream:
                stream.write("begun\\n")
            time.sleep(config["sleep"])
"""
ASYNC = """
    import os, time

    class PythonPredictor:
        def __init__(self, config):
            pass

        def predict(self, payload):
            time.sleep(payload.get("sleep", 0))
            return {"got": payload, "pid": os.getpid()}
"""
BOTH = {"workers": 2}
"""Configuration of a job whose items wait until it has two workers, however long the second one takes to start."""
LEASE = 2.0
"""Seconds, instead of the usual 30."""


class Hosts:
    """Servers with folders of their own, as on machines of their own, and one database."""

    def __init__(self, root: Path, database: str) -> None:
        self.root, self.database = root, database
        self.servers: list[Server] = []

    def start(self, kinds: str = "BTA", **spec: Any) -> Server:
        """Start one more, and wait until it answers."""
        number = len(self.servers)
        config = {"out": str(self.root / "out"), "sleep": 0.02}
        later = {"B": api(self.root, "many", "BatchAPI", BATCH, config=config), "T": api(self.root, "once", "TaskAPI", TASK, config=config)}
        given: dict[str, Any] = {
            "apis": [api(self.root, "later", "AsyncAPI", ASYNC)] if "A" in kinds else [],
            "job_apis": [one for kind, one in later.items() if kind in kinds],
            "jobs_folder": str(self.root / f"jobs-{number}"),
            "job_lease_seconds": LEASE,
        }
        environ = {"LADING_JOBS": self.database}
        server = start(self.root, free_port(), self.root / f"log-{number}", environ=environ, **given, **spec)
        self.servers.append(server)
        wait_for_answers(server)
        return server

    def notes(self) -> list[list[str]]:
        """What predictors wrote."""
        path = self.root / "out"
        return [line.split() for line in path.read_text().splitlines()] if path.exists() else []

    def close(self) -> None:
        for server in self.servers:
            if server.process.poll() is None:
                server.process.terminate()
        for server in self.servers:
            server.process.wait(60)
            server.client.close()


@pytest.fixture
def hosts(tmp_path: Path, database: str) -> Iterator[Hosts]:
    made = Hosts(tmp_path, database)
    yield made
    made.close()


def submit(server: Server, items: list[Any], **body: Any) -> str:
    answer = server.client.post("/many", json={"workers": 2, "item_list": {"items": items, "batch_size": 1}, **body})
    assert answer.status_code == 200, answer.text
    return str(answer.json()["job_id"])


def wait_until(what: Callable[[], Any], seconds: float = 60) -> None:
    until = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < until
        time.sleep(0.02)


def kill(server: Server) -> None:
    """As a machine that loses its power: the server, and its workers with it."""
    children = Path(f"/proc/{server.process.pid}/task/{server.process.pid}/children").read_text().split()
    server.process.kill()
    for child in children:
        with contextlib.suppress(ProcessLookupError):
            os.kill(int(child), 9)
    server.process.wait()


def test_two_servers_work_one_job_off_and_either_tells_how_it_is(hosts):
    one, two = hosts.start(), hosts.start()
    time.sleep(1.2)  # both have looked around, so that shares are fair
    job = submit(one, [*(f"{number}" for number in range(100)), "bad"], config=BOTH)
    status = wait_over(two, "many", job)
    assert status["status"] == "status_completed_with_failures"
    assert (status["batch_metrics"]["succeeded"], status["batch_metrics"]["failed"]) == (100, 1)
    assert wait_over(one, "many", job) == status
    notes = hosts.notes()
    assert sorted(int(words[1]) for words in notes if words[0] == "item") == list(range(100))
    assert len({words[2] for words in notes if words[0] == "item"}) == 2
    assert [words for words in notes if words[0] == "complete"] == [["complete", "2"]]
    assert one.client.get("/many", params={"jobID": job, "deadLetters": "true"}).json()["error"] == "bad item"
    assert postgres.PASSWORD not in one.talk + two.talk


def test_what_a_killed_server_had_is_done_by_the_others(hosts):
    one, two = hosts.start("B"), hosts.start("B")
    time.sleep(1.2)
    job = submit(one, [f"{number}" for number in range(150)], config=BOTH)
    wait_until(lambda: len({words[2] for words in hosts.notes()}) == 2)
    kill(one)
    status = wait_over(two, "many", job)
    assert (status["status"], status["batch_metrics"]["succeeded"]) == ("status_succeeded", 150)
    notes = hosts.notes()
    assert {int(words[1]) for words in notes if words[0] == "item"} == set(range(150))
    assert len([words for words in notes if words[0] == "complete"]) == 1


def test_a_job_whose_server_was_killed_right_after_taking_it_is_done_by_another(hosts):
    one = hosts.start("B", job_workers=0)
    job = submit(one, [f"{number}" for number in range(5)])
    kill(one)
    two = hosts.start("B")
    assert wait_over(two, "many", job)["status"] == "status_succeeded"


@pytest.mark.slow
def test_a_server_that_is_stopped_gives_its_part_back_at_once(hosts):
    one, two = hosts.start("B"), hosts.start("B")
    time.sleep(1.2)
    job = submit(one, [f"{number}" for number in range(150)], config=BOTH)
    wait_until(lambda: len({words[2] for words in hosts.notes()}) == 2)
    one.process.terminate()
    assert one.process.wait(60) == 0
    assert wait_over(two, "many", job)["batch_metrics"]["succeeded"] == 150


@pytest.mark.slow
def test_any_server_stops_a_job(hosts):
    one, two = hosts.start("B"), hosts.start("B")
    job = submit(one, [f"{number}" for number in range(400)])
    wait_until(hosts.notes)
    assert two.client.delete("/many", params={"jobID": job}).json()["message"] == f"stopped job {job}"
    wait_until(lambda: not [child for server in (one, two) for child in children_of(server.process.pid)])
    before = len(hosts.notes())
    time.sleep(0.5)
    assert len(hosts.notes()) == before < 400
    assert wait_over(one, "many", job)["status"] == "status_stopped"


@pytest.mark.slow
def test_a_job_that_takes_too_long_ends_wherever_it_is(hosts):
    one = hosts.start("B")
    job = submit(one, ["1", "2"], timeout=1, config={"sleep": 30})
    assert wait_over(one, "many", job)["status"] == "status_timed_out"


def test_an_asynchronous_request_is_answered_by_any_server(hosts):
    one, two = hosts.start("A"), hosts.start("A")
    for server in (one, two):
        server.wait_for("READY")
    keys = [str((one, two)[number % 2].client.post("/later", json={"n": number, "sleep": 0.1}).json()["id"]) for number in range(20)]
    answers = []
    for server, key in zip([one, two] * 10, reversed(keys), strict=True):

        def completed(server: Server = server, key: str = key) -> bool:
            return bool(server.client.get(f"/later/{key}").json()["status"] == "completed")

        wait_until(completed)
        answers.append(server.client.get(f"/later/{key}").json()["result"])
    assert sorted(answer["got"]["n"] for answer in answers) == list(range(20))
    assert len({answer["pid"] for answer in answers}) == 2


@pytest.mark.slow
def test_a_task_of_a_killed_server_is_begun_again_by_another(hosts):
    one = hosts.start("T")
    submitted = one.client.post("/once", json={"config": {"sleep": 1.5}})
    job = submitted.json()["job_id"]
    wait_until(hosts.notes)
    kill(one)
    two = hosts.start("T")
    assert wait_over(two, "once", job)["status"] == "status_succeeded"
    assert hosts.notes() == [["begun"], ["begun"]]


@pytest.mark.slow
def test_a_server_takes_part_again_when_the_database_no_longer_refuses_it(hosts, database):
    one = hosts.start("B")
    with psycopg.connect(f"{database}?options=-csearch_path%3Dlading_t", autocommit=True) as connection:
        connection.execute("ALTER TABLE members RENAME TO away")
        wait_until(lambda: "refuses what this server asks" in one.talk)
        connection.execute("ALTER TABLE away RENAME TO members")
    job = submit(one, ["1", "2"])
    assert wait_over(one, "many", job)["status"] == "status_succeeded"


@pytest.mark.slow
def test_jobs_wait_for_a_database_that_restarts(tmp_path):
    reason = postgres.missing()
    if reason is not None:
        pytest.skip(reason)
    with postgres.Postgres() as server:
        hosts = Hosts(tmp_path, server.database())
        one = hosts.start("AB")
        job = submit(one, [f"{number}" for number in range(100)])
        wait_until(hosts.notes)
        server.kill()
        answer = one.client.post("/later", json={"n": 1})
        assert (answer.status_code, answer.json()["kind"]) == (503, "jobs.out_of_reach")
        assert one.client.get("/livez").status_code == 200
        wait_until(lambda: "out of reach" in one.talk)
        server.start()
        status = wait_over(one, "many", job)
        assert (status["status"], status["batch_metrics"]["succeeded"]) == ("status_succeeded", 100)
        assert one.client.post("/later", json={"n": 1}).status_code == 200
        hosts.close()
