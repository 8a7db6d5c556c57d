"""A TrafficSplitter: exact shares, and a shadow that nobody notices."""

from __future__ import annotations

import time
from collections import Counter
from typing import Any

import pytest

from lading.service.splitter import Turns
from tests.jobs.support import api, running

PREDICTOR = """
    import sys

    class PythonPredictor:
        def __init__(self, config):
            self.name, self.path = config["name"], config["path"]

        def predict(self, payload, query_params):
            with open(self.path, "a") as stream:
                stream.write(payload + query_params.get("q", "") + "\\n")
            if self.name == "new":
                raise ValueError("not ready for this")
            return self.name
"""


@pytest.mark.parametrize("weights", [{"a": 90, "b": 10}, {"a": 50, "b": 25, "c": 25}, {"a": 100, "b": 0}, {"a": 1, "b": 99}])
def test_every_hundred_requests_are_shared_out_exactly(weights):
    turns = Turns(weights)
    for _ in range(3):
        counted = Counter(turns.next() for _ in range(100))
        assert counted == {name: weight for name, weight in weights.items() if weight}


def test_small_shares_are_spread_evenly():
    turns = Turns({"a": 90, "b": 10})
    drawn = "".join(turns.next() for _ in range(100))
    assert [drawn[start : start + 10].count("b") for start in range(0, 100, 10)] == [1] * 10


def test_requests_go_to_the_apis_and_copies_to_the_shadow(tmp_path):
    def one(name: str) -> dict[str, Any]:
        return api(tmp_path, name, "RealtimeAPI", PREDICTOR, config={"name": name, "path": str(tmp_path / f"{name}.txt")})

    shares = [{"name": "one", "weight": 75}, {"name": "two", "weight": 25}, {"name": "new", "weight": 50, "shadow": True}]
    splitter = {"name": "split", "endpoint": "/split", "shares": shares}
    with running(tmp_path, apis=[one("one"), one("two"), one("new")], splitters=[splitter]) as server:
        server.wait_for("READY")
        answers = [server.client.post("/split?q=1", content=f"{number}-", headers={"content-type": "text/plain"}) for number in range(40)]
        assert {answer.status_code for answer in answers} == {200}
        assert Counter(answer.text for answer in answers) == {"one": 30, "two": 10}
        until = time.monotonic() + 60
        copies = tmp_path / "new.txt"
        while not copies.exists() or len(copies.read_text().splitlines()) < 20:  # nobody waits for the copies
            assert time.monotonic() < until
            time.sleep(0.02)
        lines = {name: (tmp_path / f"{name}.txt").read_text().splitlines() for name in ("one", "two", "new")}
        assert len(set(lines["one"]) | set(lines["two"])) == 40
        assert set(lines["new"]) <= {f"{number}-1" for number in range(40)}
        assert len(lines["new"]) == 20
        assert server.client.get("/split").status_code == 200
        assert server.client.options("/split").status_code == 204
        assert server.client.get("/").json()["apis"]["split"] == "/split"
