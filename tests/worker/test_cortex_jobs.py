"""Predictors of batch, asynchronous and task APIs in a worker of their own, on old and new Pythons."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.worker import harness
from tests.worker.harness import Answer, Worker, running

VERSIONS = ("3.6", "3.11", "3.13")


def _do(worker: Worker, body: Any = None, **head: Any) -> Answer:
    return worker.predict(head=head, body=b"" if body is None else json.dumps(body).encode())


BATCH = """
    class PythonPredictor:
        def __init__(self, config, job_spec, metrics_client):
            self.seen, self.job = [], job_spec["job_id"]

        def predict(self, payload, batch_id, headers, query_params):
            assert headers is None and query_params is None
            if "bad" in payload:
                raise ValueError("bad item")
            self.seen.append([batch_id, payload])
            print("saw", batch_id)
            return object()

        def on_job_complete(self):
            print(self.job, self.seen)
"""


@pytest.mark.parametrize("version", VERSIONS)
def test_a_batch_api_gets_batches_and_is_told_of_the_end(version, tmp_path):
    cortex = {"kind": "BatchAPI", "type": "python", "job_spec": {"job_id": "j"}}
    with running(tmp_path, BATCH, style="cortex", python=harness.python(version), config={}, cortex=cortex) as worker:
        answer = _do(worker, ["a", 1], batch_id="0")
        assert (answer.status, answer.body, answer.text) == ("succeeded", b"", "saw 0\n")
        assert answer.head["predict_time"] >= 0
        failed = _do(worker, ["bad"], batch_id="1")
        assert (failed.status, failed.error) == ("failed", "bad item")
        assert failed.text.endswith("ValueError: bad item\n")
        assert _do(worker, do="on_job_complete").text == "j [['0', ['a', 1]]]\n"


ASYNC = """
    class PythonPredictor:
        def __init__(self, config):
            pass

        def predict(self, payload, request_id):
            return {"kind": type(payload).__name__, "id": request_id} if payload != "text" else payload
"""


@pytest.mark.parametrize("version", VERSIONS)
def test_an_async_api_gets_a_payload_and_must_return_a_dict(version, tmp_path):
    cortex = {"kind": "AsyncAPI", "type": "python"}
    with running(tmp_path, ASYNC, style="cortex", python=harness.python(version), config={}, cortex=cortex) as worker:
        head = {"request_id": "r", "content_type": "application/json; charset=utf-8"}
        assert worker.predict(head=head, body=b"[1]").output == {"kind": "list", "id": "r"}
        assert worker.predict(head={**head, "content_type": "text/plain"}, body="ö".encode()).output["kind"] == "str"
        assert worker.predict(head={**head, "content_type": "image/png"}, body=b"\xff").output["kind"] == "bytes"
        wrong = worker.predict(head={**head, "content_type": "text/plain"}, body=b"text")
        assert (wrong.status, wrong.error) == ("failed", "the answer of predict must be a dict, and it is str")
        assert worker.predict(head=head, body=b"{").status == "failed"


TASK = """
    import sys

    class Task:
        def __init__(self, metrics_client):
            metrics_client.gauge("begun", 1)

        def __call__(self, config):
            if config.get("exit"):
                sys.exit(3)
            return {"sum": config["a"] + config["b"]}
"""


@pytest.mark.parametrize("version", VERSIONS)
def test_a_task_is_called_with_its_config(version, tmp_path):
    options: dict[str, Any] = {"style": "cortex", "object": "Task", "config": {}, "cortex": {"kind": "TaskAPI", "type": "python"}}
    with running(tmp_path, TASK, python=harness.python(version), **options) as worker:
        assert _do(worker, {"a": 1, "b": 2}, do="task").output == {"sum": 3}
        assert (failed := _do(worker, {"a": 1}, do="task")).status == "failed"
        assert failed.error == "'b'"
        worker.send(head={"do": "task"}, body=b'{"exit": true}')
        assert worker.answer() is None
        assert worker.end() == 3


HANDLER = """
    class Handler:
        def __init__(self, config):
            pass

        def handle_batch(self, payload, batch_id):
            print(payload)

        def handle_async(self, payload, request_id):
            return {"payload": payload}
"""


def test_a_handler_has_methods_for_batches_and_for_asynchronous_requests(tmp_path):
    options: dict[str, Any] = {"style": "cortex", "object": "Handler", "config": {}}
    with running(tmp_path, HANDLER, cortex={"kind": "BatchAPI", "type": "python"}, **options) as worker:
        assert _do(worker, [1], batch_id="0").text == "[1]\n"
    with running(tmp_path, HANDLER, cortex={"kind": "AsyncAPI", "type": "python"}, **options) as worker:
        assert _do(worker, 1, request_id="0").output == {"payload": 1}


@pytest.mark.parametrize(
    ("kind", "name", "code", "message"),
    [
        ("AsyncAPI", "PythonPredictor", ASYNC.replace("request_id", "batch_id"), '"batch_id" is not a supported argument'),
        ("TaskAPI", "Task", TASK.replace("self, config", "self"), '"config" is a required argument, but was not provided'),
        ("TaskAPI", "Task", TASK.replace("__call__", "run"), '"config" is a required argument, but was not provided'),
    ],
)
def test_a_wrong_signature_is_an_error_at_the_start(kind, name, code, message, tmp_path):
    options: dict[str, Any] = {"style": "cortex", "object": name, "config": {}, "cortex": {"kind": kind, "type": "python"}, "ready": False}
    with running(tmp_path, code, **options) as worker:
        assert worker.failure is not None
        assert worker.failure["error"].endswith(message) or "__call__" in worker.failure["error"]
