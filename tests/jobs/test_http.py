"""Jobs over HTTP as a Cortex user knows them: submit, look, stop, and what a restart finds."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lading.client import Client
from tests.jobs.support import api, running, start, wait_for_answers, wait_over
from tests.service.support import Server, children_of, free_port

BATCH = """
    import os, sys, time

    class PythonPredictor:
        def __init__(self, config, job_spec):
            self.config, self.spec = config, job_spec
            self.path = config["out"]

        def predict(self, payload, batch_id):
            if "sleep" in payload:
                time.sleep(30)
            if "bad" in payload:
                raise ValueError("bad item")
            if "exit" in payload:
                os._exit(3)
            with open(self.path, "a") as stream:
                stream.write("%s %s %s\\n" % (batch_id, payload, self.config["mark"]))

        def on_job_complete(self):
            with open(self.path, "a") as stream:
                stream.write("complete %s\\n" % self.spec["job_id"])
"""
TASK = """
    class Task:
        def __call__(self, config):
            print("task prints", config)
            if "bad" in config:
                raise ValueError("bad task")
            if "exit" in config:
                raise SystemExit(config["exit"])
"""
ASYNC = """
    import os, time

    class PythonPredictor:
        def __init__(self, config):
            pass

        def predict(self, payload, request_id):
            time.sleep(payload.get("sleep", 0))
            while "until" in payload and not os.path.exists(payload["until"]):
                time.sleep(0.02)
            return {"got": payload} if "bad" not in payload else 1 / 0
"""


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("project")


@pytest.fixture(scope="module")
def server(root: Path) -> Iterator[Server]:
    config = {"out": str(root / "out"), "mark": "api", "nested": {"a": 1}}
    with running(
        root,
        apis=[api(root, "later", "AsyncAPI", ASYNC)],
        job_apis=[api(root, "many", "BatchAPI", BATCH, config=config), api(root, "once", "TaskAPI", TASK)],
    ) as one:
        yield one


def _submit(server: Server, place: str = "/many", **body: Any) -> Any:
    answer = server.client.post(place, json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()


def _refused(server: Server, body: Any, place: str = "/many") -> tuple[str, str]:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    answer = server.client.post(place, content=content)
    assert answer.status_code == 400
    return answer.json()["kind"], answer.json()["message"]


def test_a_list_of_items_is_worked_off_in_batches(server, root):
    (root / "out").unlink(missing_ok=True)
    job = _submit(server, workers=2, item_list={"items": [1, {"a": "ö"}, [2], None, "x"], "batch_size": 2}, config={"mark": "job"})
    assert {"job_id", "api_name", "kind", "workers", "config", "timeout", "total_batch_count", "start_time", "sqs_url"} <= set(job)
    assert (job["api_name"], job["kind"], job["workers"], job["total_batch_count"]) == ("many", "BatchAPI", 2, 3)
    status = wait_over(server, "many", job["job_id"])
    assert status["status"] == "status_succeeded"
    assert status["batch_metrics"]["succeeded"] == 3
    assert status["batch_metrics"]["average_time_per_batch"] >= 0
    assert (status["batches_in_queue"], status["worker_counts"]) == (0, None)
    *lines, last = (root / "out").read_text().splitlines()
    assert sorted(lines) == ["0 [1, {'a': 'ö'}] job", "1 [[2], None] job", "2 ['x'] job"]
    assert last == f"complete {job['job_id']}"


def test_a_failing_batch_fails_alone_and_once_and_is_a_dead_letter(server):
    job = _submit(server, workers=1, item_list={"items": ["bad", "good"], "batch_size": 1})
    status = wait_over(server, "many", job["job_id"])
    assert (status["status"], status["batch_metrics"]["succeeded"], status["batch_metrics"]["failed"]) == (
        "status_completed_with_failures",
        1,
        1,
    )
    (letter,) = server.client.get("/many", params={"jobID": job["job_id"], "deadLetters": "true"}).text.splitlines()
    assert json.loads(letter) == {"batch_id": "0", "error": "bad item", "payload": ["bad"]}


def test_with_a_dead_letter_queue_a_batch_is_tried_again(server, root):
    queue = {"arn": "arn:aws:sqs:us-west-2:1:q", "max_receive_count": 3}
    job = _submit(server, workers=1, item_list={"items": ["bad"], "batch_size": 1}, sqs_dead_letter_queue=queue)
    assert wait_over(server, "many", job["job_id"])["batch_metrics"]["failed"] == 1
    log = (root / "jobs" / "logs" / "many" / f"{job['job_id']}.log").read_text()
    assert log.count("ValueError: bad item") == 3


def test_a_worker_that_ends_is_replaced_and_its_batch_fails_after_some_tries(server):
    job = _submit(server, workers=1, item_list={"items": ["exit", "good"], "batch_size": 1})
    status = wait_over(server, "many", job["job_id"])
    assert (status["status"], status["batch_metrics"]["succeeded"], status["batch_metrics"]["failed"]) == (
        "status_completed_with_failures",
        1,
        1,
    )


def test_a_job_is_stopped(server):
    job = _submit(server, workers=1, item_list={"items": ["sleep"], "batch_size": 1})
    _until(
        lambda: (
            (server.client.get("/many", params={"jobID": job["job_id"]}).json()["job_status"]["worker_counts"] or {}).get("running") == 1
        )
    )
    answer = server.client.delete("/many", params={"jobID": job["job_id"]})
    assert answer.json() == {"message": f"stopped job {job['job_id']}"}
    assert wait_over(server, "many", job["job_id"])["status"] == "status_stopped"
    again = server.client.delete("/many", params={"jobID": job["job_id"]})
    assert (again.status_code, again.json()["kind"]) == (400, "job.not_running")


def test_a_job_that_is_stopped_while_it_enqueues_leaves_nothing_behind(tmp_path):
    with running(
        tmp_path, job_apis=[api(tmp_path, "many", "BatchAPI", BATCH, config={"out": str(tmp_path / "out"), "mark": "m"})]
    ) as server:
        job = _submit(server, workers=1, item_list={"items": [0] * 400_000, "batch_size": 1})["job_id"]
        assert server.client.delete("/many", params={"jobID": job}).status_code == 200
        status = wait_over(server, "many", job)
        assert (status["status"], status["batches_in_queue"]) == ("status_stopped", 0)
        assert list((tmp_path / "jobs" / "submissions").iterdir()) == []
        after = _submit(server, workers=1, item_list={"items": [1], "batch_size": 1})["job_id"]
        assert wait_over(server, "many", after)["status"] == "status_succeeded"
        server.stop()
    with contextlib.closing(sqlite3.connect(tmp_path / "jobs" / "jobs.sqlite")) as store:
        assert store.execute("SELECT count(*) FROM items WHERE job = ?", (job,)).fetchone() == (0,)


def test_a_server_that_stops_while_a_job_enqueues_goes_on_later(tmp_path):
    spec = {"job_apis": [api(tmp_path, "many", "BatchAPI", BATCH, config={"out": str(tmp_path / "out"), "mark": "m"})]}
    with running(tmp_path, **spec) as server:
        job = _submit(server, workers=1, item_list={"items": [0] * 200_000, "batch_size": 100})["job_id"]
        began = time.monotonic()
        assert server.stop() == 0
        assert time.monotonic() - began < 20
    with running(tmp_path, **spec) as server:
        status = wait_over(server, "many", job)
        assert (status["status"], status["batch_metrics"]["succeeded"]) == ("status_succeeded", 2000)


def test_a_deleted_api_stops_its_jobs(tmp_path):
    slow = BATCH.replace("def predict(self, payload, batch_id):", "def predict(self, payload, batch_id):\n            time.sleep(0.5)")
    spec = {"job_apis": [api(tmp_path, "many", "BatchAPI", slow, config={"out": str(tmp_path / "out"), "mark": "m"})]}
    with running(tmp_path, **spec) as server:
        job = _submit(server, workers=1, item_list={"items": list(range(1000)), "batch_size": 1})["job_id"]
        _until((tmp_path / "out").exists)
        client = Client(server.url, token=json.loads((tmp_path / "jobs" / "server.json").read_text())["token"])
        assert client.delete_api("many")["message"] == "deleted many"
        assert server.client.get("/many").status_code == 404
        assert "many" not in server.client.get("/").json()["apis"]
        _until(lambda: children_of(server.process.pid) == [])
        done = (tmp_path / "out").read_text()
        assert server.stop() == 0
    with running(tmp_path, **spec) as again:
        status = again.client.get("/many", params={"jobID": job}).json()["job_status"]
        assert status["status"] == "status_stopped"
        assert (tmp_path / "out").read_text() == done


def test_a_job_that_takes_too_long_is_ended(server):
    job = _submit(server, workers=1, timeout=1, item_list={"items": ["sleep"], "batch_size": 1})
    status = wait_over(server, "many", job["job_id"])
    assert (status["status"], status["error"]) == ("status_timed_out", "it took longer than 1 s")


def test_files_are_listed_and_their_lines_are_read(server, root):
    (root / "data" / "sub").mkdir(parents=True)
    for name, text in (("a.json", '{"n": 1}\n\n{"n": 2}\n'), ("b.txt", "x"), ("sub/c.json", '{"n": 3}')):
        (root / "data" / name).write_text(text)
    lister = {"s3_paths": ["data/"], "includes": ["**.json"], "excludes": ["**/sub/*"], "batch_size": 1}
    dry = server.client.post("/many", params={"dryRun": "true"}, json={"workers": 1, "file_path_lister": lister})
    assert (dry.headers["content-type"], dry.text) == ("text/plain; charset=utf-8", f"{root}/data/a.json\nvalidations passed\n")
    (root / "out").unlink(missing_ok=True)
    job = _submit(server, workers=1, file_path_lister=lister)
    assert wait_over(server, "many", job["job_id"])["status"] == "status_succeeded"
    assert (root / "out").read_text().startswith(f"0 ['{root}/data/a.json'] api\n")
    (root / "out").unlink()
    job = _submit(
        server, workers=1, delimited_files={"s3_paths": ["file://" + str(root / "data")], "includes": ["**.json"], "batch_size": 2}
    )
    assert wait_over(server, "many", job["job_id"])["total_batch_count"] == 2
    assert (root / "out").read_text().startswith("0 [{'n': 1}, {'n': 2}] api\n1 [{'n': 3}] api\n")


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"{", "the body is no valid JSON"),
        (b"[]", "the body is no valid JSON"),
        (b"\xff", "the body is not UTF-8"),
        ({"workers": 1}, "specify exactly one of the following keys: item_list, file_path_lister, or delimited_files"),
        (
            {"workers": 1, "item_list": {"items": [1], "batch_size": 1}, "delimited_files": {"s3_paths": ["a"], "batch_size": 1}},
            "please specify either the item_list or delimited_files field (but not more than one at the same time)",
        ),
        ({"item_list": {"items": [1], "batch_size": 1}}, "workers: must be defined"),
        ({"workers": 0, "item_list": {"items": [1], "batch_size": 1}}, "workers: must be greater than or equal to 1 (got 0)"),
        ({"workers": "2", "item_list": {"items": [1], "batch_size": 1}}, "workers: invalid type (expected integer)"),
        ({"workers": 1, "item_list": {"items": [1]}}, "item_list: batch_size: must be defined"),
        ({"workers": 1, "item_list": {"items": [], "batch_size": 1}}, "item_list: items: cannot be empty"),
        ({"workers": 1, "item_list": {"items": "x", "batch_size": 1}}, "item_list: items: invalid type (expected a list)"),
        ({"workers": 1, "timeout": 0, "item_list": {"items": [1], "batch_size": 1}}, "timeout: must be greater than or equal to 1 (got 0)"),
        ({"workers": 1, "wrong": 1}, 'key "wrong" is not supported'),
        ({"workers": 1, "file_path_lister": {"s3_paths": ["nowhere/"], "batch_size": 1}}, "no s3 files match search criteria"),
        (
            {"workers": 1, "file_path_lister": {"s3_paths": [], "batch_size": 1}},
            "file_path_lister: s3_paths: invalid type (expected a list of strings)",
        ),
        (
            {"workers": 1, "sqs_dead_letter_queue": {"arn": "a"}, "item_list": {"items": [1], "batch_size": 1}},
            "sqs_dead_letter_queue: max_receive_count: must be defined",
        ),
    ],
)
def test_a_wrong_submission_is_refused_in_cortexs_words(server, body, message):
    kind, said = _refused(server, body)
    assert kind.startswith("job.")
    assert said.startswith(message)


def test_lines_that_are_no_json_fail_the_job_with_their_place(server, root):
    (root / "broken.json").write_text('{"n": 1}\n{"n": \n')
    job = _submit(server, workers=1, delimited_files={"s3_paths": ["broken.json"], "batch_size": 1})
    status = wait_over(server, "many", job["job_id"])
    assert status["status"] == "status_enqueue_failed"
    assert status["error"].startswith(f"{root}/broken.json, line 2: no valid JSON")


def test_an_unknown_job_is_said_to_be_so(server):
    answer = server.client.get("/many", params={"jobID": "none"})
    assert (answer.status_code, answer.json()) == (400, {"kind": "job.not_found", "message": "unable to find job none of many"})


def test_a_task_runs_once(server, root):
    job = _submit(server, "/once", config={"a": 1})
    assert wait_over(server, "once", job["job_id"])["status"] == "status_succeeded"
    assert "task prints {'a': 1}" in (root / "jobs" / "logs" / "once" / f"{job['job_id']}.log").read_text()
    job = _submit(server, "/once", config={"bad": 1})
    status = wait_over(server, "once", job["job_id"])
    assert (status["status"], status["error"]) == ("status_worker_error", "bad task")
    assert _refused(server, {"workers": 2}, "/once")[1] == "workers: must be equal to 1 for TaskAPI (got 2)"


def test_a_task_that_ends_its_process_has_run_once_and_its_exit_code_says_how(server, root):
    for code, status in ((0, "status_succeeded"), (3, "status_worker_error")):
        job = _submit(server, "/once", config={"exit": code})["job_id"]
        told = wait_over(server, "once", job)
        assert (told["status"], told["error"]) == (status, "the model's process ended with exit code 3" if code else None)
        log = root / "jobs" / "logs" / "once" / f"{job}.log"
        _until(lambda log=log: log.read_text().count("task prints") == 1)


def test_an_asynchronous_request_is_kept_worked_off_and_asked_for(server, tmp_path):
    taken = server.client.post("/later", json={"a": 1}, headers={"x-request-id": "mine"})
    assert (taken.status_code, taken.headers["content-type"], taken.json()) == (200, "application/json", {"id": "mine"})
    _until(lambda: server.client.get("/later/mine").json()["status"] == "completed")
    answer = server.client.get("/later/mine").json()
    assert answer["result"] == {"got": {"a": 1}}
    assert answer["timestamp"].endswith("Z")
    failed = server.client.post("/later", json={"bad": 1}).json()["id"]
    _until(lambda: server.client.get(f"/later/{failed}").json()["status"] == "failed")
    assert server.client.get(f"/later/{failed}").json()["error"] == "division by zero"
    slow = server.client.post("/later", json={"until": str(tmp_path / "go")}).json()["id"]
    _until(lambda: server.client.get(f"/later/{slow}").json()["status"] == "in_progress")
    (tmp_path / "go").touch()
    _until(lambda: server.client.get(f"/later/{slow}").json()["status"] == "completed")
    assert server.client.get("/later/unknown").status_code == 404
    assert server.client.post("/later", content=b"1").status_code == 400


def test_the_root_names_every_api_and_browsers_may_ask(server):
    told = server.client.get("/").json()
    assert told["apis"] == {"later": "/later", "many": "/many", "once": "/once"}
    assert told["kinds"] == {"later": "AsyncAPI", "many": "BatchAPI", "once": "TaskAPI"}
    asked = server.client.options("/many", headers={"access-control-request-headers": "x-a"})
    assert asked.headers["lading-idempotency-key"] == "honored"
    assert (asked.status_code, asked.headers["access-control-allow-headers"]) == (204, "x-a")
    job = _submit(server, workers=1, item_list={"items": ["one"], "batch_size": 1})["job_id"]
    assert job in {one["job_id"] for one in server.client.get("/many").json()["jobs"]}
    wait_over(server, "many", job)


def test_a_job_goes_on_after_the_server_was_killed(tmp_path):
    config = {"out": str(tmp_path / "out"), "mark": "m"}
    slow = BATCH.replace("def predict(self, payload, batch_id):", "def predict(self, payload, batch_id):\n            time.sleep(0.02)")
    spec = {"job_apis": [api(tmp_path, "many", "BatchAPI", slow, config=config)], "apis": [api(tmp_path, "later", "AsyncAPI", ASYNC)]}
    port = free_port()
    server = start(tmp_path, port, tmp_path / "log", **spec)
    wait_for_answers(server)
    job = _submit(server, workers=2, item_list={"items": list(range(60)), "batch_size": 1})["job_id"]
    _until(lambda: server.client.get("/many", params={"jobID": job}).json()["job_status"]["batch_metrics"]["succeeded"] > 5)
    server.client.post("/later", json={"sleep": 0.3}, headers={"x-request-id": "r"})
    server.process.send_signal(signal.SIGKILL)
    server.process.wait()
    server.client.close()
    with running(tmp_path, **spec) as again:
        status = wait_over(again, "many", job)
        assert (status["status"], status["batch_metrics"]["succeeded"], status["total_batch_count"]) == ("status_succeeded", 60, 60)
        _until(lambda: again.client.get("/later/r").json()["status"] == "completed")
    seen = {line.split()[0] for line in (tmp_path / "out").read_text().splitlines()}
    assert {str(number) for number in range(60)} <= seen


@pytest.mark.slow
def test_the_server_and_its_workers_are_killed_again_and_again_and_nothing_is_lost(tmp_path):
    """What is started may be started again, and ends once: each number was seen, and the store counts each once.

    An item that a kill hits three times counts as the fault behind it, and fails; by chance that may come to a few.
    """
    chance = random.Random(5)
    config = {"out": str(tmp_path / "out"), "mark": "m"}
    slow = BATCH.replace("def predict(self, payload, batch_id):", "def predict(self, payload, batch_id):\n            time.sleep(0.01)")
    spec = {"job_apis": [api(tmp_path, "many", "BatchAPI", slow, config=config)]}
    job, rounds, total = "", 0, 1500
    while True:
        server = start(tmp_path, free_port(), tmp_path / "log", **spec)
        wait_for_answers(server)
        job = job or _submit(server, workers=2, item_list={"items": list(range(total)), "batch_size": 1})["job_id"]
        until = time.monotonic() + chance.uniform(0.3, 1.5)
        while time.monotonic() < until:
            time.sleep(chance.uniform(0.1, 0.4))
            workers = children_of(server.process.pid)
            if workers and rounds < 20:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(chance.choice(workers), signal.SIGKILL)
        status = server.client.get("/many", params={"jobID": job}).json()["job_status"]
        server.client.close()
        server.process.send_signal(signal.SIGKILL)
        server.process.wait()
        rounds += 1
        if status["status"] != "status_running":
            break
        assert rounds < 100
    assert rounds > 5
    succeeded, failed = (status["batch_metrics"][name] for name in ("succeeded", "failed"))
    assert status["status"] == ("status_completed_with_failures" if failed else "status_succeeded")
    assert succeeded + failed == total
    assert failed <= 3
    seen = {line.split()[0] for line in (tmp_path / "out").read_text().splitlines() if not line.startswith("complete")}
    assert len({str(number) for number in range(total)} - seen) <= failed


def test_a_second_server_of_the_same_jobs_is_refused(server, root):
    other = start(root, free_port(), root / "other.log", job_apis=[api(root, "many", "BatchAPI", BATCH, config={"out": "x", "mark": ""})])
    assert other.process.wait(60) == 2
    assert "jobs-in-use" in other.talk
    other.client.close()


def _until(condition: Any, seconds: float = 60) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.02)
