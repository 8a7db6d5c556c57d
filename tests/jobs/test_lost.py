"""Servers that end over what they work on, or while they do: real servers, killed with their workers, or stopped."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.jobs.support import api, start, wait_for_answers, wait_over
from tests.service.support import Server, free_port

KILLS = """
    import os, time

    class PythonPredictor:
        def __init__(self, config):
            self.config = config

        def predict(self, payload):
            with open(self.config["out"], "a") as stream:
                stream.write("%s\\n" % payload[0])
            if payload == ["all memory"]:
                # What the kernel does with a container that takes too much.
                os.kill(os.getppid(), 9)
                os.kill(os.getpid(), 9)
            time.sleep(0.02)
            if payload == ["slow"] and not os.path.exists(self.config["go"]):
                time.sleep(60)
            elif payload == ["slow"] and not os.path.exists(self.config["tried"]):
                os.mkdir(self.config["tried"])
                raise ValueError("the first time")
"""


class Restarted:
    """A server that is started again whenever it has ended, as a container's scheduler does."""

    def __init__(self, root: Path) -> None:
        self.root, self.port = root, free_port()
        self.config = {name: str(root / name) for name in ("out", "go", "tried")}
        self.api = api(root, "many", "BatchAPI", KILLS, config=self.config)
        self.server = self.start()

    def start(self) -> Server:
        self.server = start(self.root, self.port, self.root / "log", job_apis=[self.api])
        wait_for_answers(self.server)
        return self.server

    def submit(self, items: list[str], **body: object) -> str:
        body = {"workers": 1, "item_list": {"items": items, "batch_size": 1}, **body}
        return str(self.server.client.post("/many", json=body).json()["job_id"])

    def seen(self, word: str) -> int:
        path = self.root / "out"
        return path.read_text().split("\n").count(word) if path.exists() else 0

    def close(self) -> None:
        self.server.process.terminate()
        self.server.process.wait(60)
        self.server.client.close()


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Restarted]:
    made = Restarted(tmp_path)
    yield made
    made.close()


def test_a_batch_that_ends_the_whole_server_is_a_dead_letter_after_three_times_and_its_neighbours_are_not(place):
    job = place.submit(["a", "b", "all memory", *"cdefghijkl"])
    for _ in range(3):
        place.server.process.wait(60)
        place.server.client.close()
        place.start()
    status = wait_over(place.server, "many", job)
    assert (status["status"], status["batch_metrics"]["succeeded"], status["batch_metrics"]["failed"]) == (
        "status_completed_with_failures",
        12,
        1,
    )
    (letter,) = place.server.client.get("/many", params={"jobID": job, "deadLetters": "true"}).text.splitlines()
    assert "ended 3 times" in json.loads(letter)["error"]
    assert place.seen("all memory") == 3


def test_a_server_that_is_stopped_takes_no_try_from_what_it_works_on(place, tmp_path):
    job = place.submit(["slow", "a"], sqs_dead_letter_queue={"arn": "a", "max_receive_count": 2})
    for number in range(1, 4):
        until = time.monotonic() + 60
        while place.seen("slow") < number:
            assert time.monotonic() < until
            time.sleep(0.02)
        if number == 3:
            (tmp_path / "go").touch()
        place.close()
        place.start()
    status = wait_over(place.server, "many", job)
    assert (status["status"], status["batch_metrics"]["succeeded"]) == ("status_succeeded", 2)
