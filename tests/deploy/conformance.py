"""What HTTP clients may rely on wherever a project is served: one list, held against every engine."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx

PROJECT = {
    "cog.yaml": "build:\n  python_requirements: requirements.txt\npredict: predict.py:Predictor\n",
    "requirements.txt": "",
    "predict.py": """\
import time
import uuid

from cog import BasePredictor, Input


class Predictor(BasePredictor):
    def setup(self) -> None:
        self.version = "v1"

    def predict(self, text: str, seconds: float = Input(default=0, ge=0)) -> str:
        time.sleep(seconds)
        if text == "fail":
            raise ValueError("asked to fail")
        if text == "once":
            return uuid.uuid4().hex
        return f"{self.version} {text}"
""",
}


def check(url: str) -> None:
    """Hold the server at ``url`` to what it promises."""
    with httpx.Client(base_url=url, timeout=30) as client:
        _check_discovery(client)
        _check_predictions(client)
        _check_idempotent(client)
        _check_refusals(client)
        _check_many(client)


def _check_discovery(client: httpx.Client) -> None:
    assert client.get("/").json()["predictions_url"] == "/predictions"
    assert client.get("/health-check").json()["status"] in ("READY", "BUSY")
    assert client.get("/livez").status_code == 200
    assert client.get("/readyz").status_code == 200
    assert client.get("/v2/health/ready").status_code == 200
    assert "lading_requests_total" in client.get("/metrics").text
    assert client.get("/openapi.json").json()["components"]["schemas"]["Input"]["properties"]["text"]["type"] == "string"


def _check_predictions(client: httpx.Client) -> None:
    answer = client.post("/predictions", json={"input": {"text": "hello"}})
    assert (answer.status_code, answer.json()["status"], answer.json()["output"]) == (200, "succeeded", "v1 hello")
    failed = client.post("/predictions", json={"input": {"text": "fail"}}).json()
    assert (failed["status"], failed["error"]) == ("failed", "asked to fail")
    begun = client.post("/predictions", json={"input": {"text": "later"}}, headers={"prefer": "respond-async"})
    assert begun.status_code == 202
    place = client.base_url.join(begun.headers["location"])
    assert _until(lambda: httpx.get(place, timeout=30).json().get("output")) == "v1 later"
    large = "x" * 2_000_000
    assert client.post("/predictions", json={"input": {"text": large}}).json()["output"] == f"v1 {large}"


def _check_idempotent(client: httpx.Client) -> None:
    """One id is one run: what a client asks for again while it runs, and when it is done, is not begun again."""

    def put(name: str, seconds: float = 0) -> httpx.Response:
        return client.put(f"/predictions/{name}", json={"input": {"text": "once", "seconds": seconds}})

    name, other = uuid.uuid4().hex, uuid.uuid4().hex
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(put, name, 3)
        joined = _until(lambda: _of(client.get(f"/predictions/{name}"), 200))
        assert joined.json()["status"] in ("starting", "processing")
        again = put(name, 3)
        assert (again.status_code, again.json()["id"]) == (202, name)
        answer = running.result()
    assert (answer.status_code, answer.json()["id"], answer.json()["status"]) == (200, name, "succeeded")
    late = put(name, 3)
    assert (late.status_code, late.json()["output"]) == (200, answer.json()["output"])
    assert put(other).json()["output"] != answer.json()["output"]


def _of(answer: httpx.Response, status: int) -> httpx.Response | None:
    return answer if answer.status_code == status else None


def _until(look: Callable[[], Any], seconds: float = 60) -> Any:
    """What ``look`` finds, as soon as it finds something."""
    until = time.monotonic() + seconds
    while not (found := look()):
        assert time.monotonic() < until
        time.sleep(0.05)
    return found


def _check_refusals(client: httpx.Client) -> None:
    wrong = client.post("/predictions", json={"input": {"text": "hello", "seconds": -1}})
    assert (wrong.status_code, wrong.json()["detail"][0]["loc"][-1]) == (422, "seconds")
    broken = client.post("/predictions", content=b"{", headers={"content-type": "application/json"})
    assert broken.status_code in (400, 422)
    assert client.get("/nowhere").status_code == 404
    assert client.delete("/predictions").status_code == 405


def _check_many(client: httpx.Client) -> None:
    with ThreadPoolExecutor(16) as pool:
        answers = pool.map(lambda number: client.post("/predictions", json={"input": {"text": str(number)}}).json()["output"], range(64))
    assert list(answers) == [f"v1 {number}" for number in range(64)]


# A project with a TrafficSplitter

SPLIT = {
    "cortex.yaml": """\
- name: a
  kind: RealtimeAPI
  predictor: {type: python, path: named.py, config: {name: a}}
- name: b
  kind: RealtimeAPI
  predictor: {type: python, path: named.py, config: {name: b}}
- name: c
  kind: RealtimeAPI
  predictor: {type: python, path: named.py, config: {name: c}}
- name: both
  kind: TrafficSplitter
  apis: [{name: a, weight: 75}, {name: b, weight: 25}, {name: c, weight: 50, shadow: true}]
""",
    "requirements.txt": "",
    "named.py": """\
class PythonPredictor:
    def __init__(self, config):
        self.name, self.seen = config["name"], 0

    def predict(self, payload):
        self.seen += payload != "seen"
        return {"name": self.name, "seen": self.seen}
""",
}


def check_split(url: str) -> None:
    """Hold a server of `SPLIT` at ``url`` to the weights; a splitter with several replicas shares out by them in each."""
    with httpx.Client(base_url=url, timeout=30) as client:

        def seen(name: str) -> int:
            return int(client.post(f"/{name}", json="seen").json()["seen"])

        assert [seen(name) for name in ("a", "b", "c")] == [0, 0, 0]
        answers = [client.post("/both", json=number).json()["name"] for number in range(80)]
        assert (set(answers), abs(answers.count("a") - 60) <= 2) == ({"a", "b"}, True)
        assert client.get("/both").status_code == 200
        assert client.post("/both/").status_code == 307
        _until(lambda: abs(seen("c") - 40) <= 2)
        assert [seen(name) for name in ("a", "b")] == [answers.count("a"), answers.count("b")]


# A project with Cortex's kinds of APIs

CORTEX = {
    "cortex.yaml": """\
- name: now
  kind: RealtimeAPI
  predictor: {type: python, path: now.py}
- name: later
  kind: AsyncAPI
  predictor: {type: python, path: now.py}
- name: many
  kind: BatchAPI
  predictor: {type: python, path: many.py}
""",
    "requirements.txt": "",
    "now.py": """\
import uuid


class PythonPredictor:
    def __init__(self, config):
        pass

    def predict(self, payload):
        if payload == "fail":
            raise ValueError("asked to fail")
        return {"got": payload, "run": uuid.uuid4().hex}
""",
    "many.py": """\
class PythonPredictor:
    def __init__(self, config):
        pass

    def predict(self, payload):
        assert payload != [13], "unlucky"
""",
}


def check_cortex(url: str, later: str | None = None, many: str | None = None) -> None:
    """Hold a server of `CORTEX` at ``url`` to what Cortex's clients rely on; an API may have a server of its own."""
    for check_api, place in ((_check_realtime, url), (_check_async, later or url), (_check_batch, many or url)):
        with httpx.Client(base_url=place, timeout=30) as client:
            check_api(client)


def _check_realtime(client: httpx.Client) -> None:
    assert client.get("/now").status_code == 200
    assert client.post("/now", json={"a": [1, None, "ä"]}).json()["got"] == {"a": [1, None, "ä"]}
    assert client.post("/now", content=b"text", headers={"content-type": "text/plain"}).json()["got"] == "text"
    assert client.post("/now", json="fail").status_code == 500
    assert client.post("/now", content=b"{", headers={"content-type": "application/json"}).status_code == 400


def _check_async(client: httpx.Client) -> None:
    def result(key: str) -> Any:
        return _until(lambda: client.get(f"/later/{key}").json().get("result"))

    name = uuid.uuid4().hex
    assert client.get(f"/later/{name}").status_code == 404
    assert client.post("/later", json={"b": 2}, headers={"x-request-id": name}).json()["id"] == name
    first = result(name)
    assert first["got"] == {"b": 2}
    assert client.post("/later", json={"b": 2}, headers={"x-request-id": name}).json()["id"] == name
    assert result(name) == first, "one id is one run"
    failed = client.post("/later", json="fail").json()["id"]
    _until(lambda: client.get(f"/later/{failed}").json()["status"] == "failed")


def _check_batch(client: httpx.Client) -> None:
    body = {"workers": 2, "item_list": {"items": list(range(30)), "batch_size": 1}}
    key = {"idempotency-key": uuid.uuid4().hex}
    job = client.post("/many", json=body, headers=key).json()["job_id"]
    assert client.post("/many", json=body, headers=key).json()["job_id"] == job

    def over() -> Any:
        status = client.get("/many", params={"jobID": job}).json()["job_status"]
        return None if status["status"] in ("status_enqueuing", "status_running") else status

    status = _until(over)
    counts = status["batch_metrics"]
    assert (status["status"], counts["succeeded"], counts["failed"]) == ("status_completed_with_failures", 29, 1)
    (letter,) = client.get("/many", params={"jobID": job, "deadLetters": "true"}).text.splitlines()
    assert (json.loads(letter)["payload"], "unlucky" in json.loads(letter)["error"]) == ([13], True)
    assert client.delete("/many", params={"jobID": job}).status_code == 400
    assert client.post("/many", json={"workers": 2}).json()["message"]
