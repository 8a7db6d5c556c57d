"""What HTTP clients may rely on wherever a project is served: one list, held against every engine."""

from __future__ import annotations

import uuid
from concurrent.futures import ThreadPoolExecutor

import httpx

PROJECT = {
    "cog.yaml": "build:\n  python_requirements: requirements.txt\npredict: predict.py:Predictor\n",
    "requirements.txt": "",
    "predict.py": """\
import time

from cog import BasePredictor, Input


class Predictor(BasePredictor):
    def setup(self) -> None:
        self.version = "v1"

    def predict(self, text: str, seconds: float = Input(default=0, ge=0)) -> str:
        time.sleep(seconds)
        if text == "fail":
            raise ValueError("asked to fail")
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
    large = "x" * 2_000_000
    assert client.post("/predictions", json={"input": {"text": large}}).json()["output"] == f"v1 {large}"


def _check_idempotent(client: httpx.Client) -> None:
    name = uuid.uuid4().hex
    answer = client.put(f"/predictions/{name}", json={"input": {"text": "once"}})
    assert (answer.status_code, answer.json()["id"], answer.json()["output"]) == (200, name, "v1 once")


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
