"""Waiting with open eyes: nothing is lost, it stops by itself, and is not done where processors are scarce."""

from __future__ import annotations

import os
import sys
import threading
import time
from pathlib import Path

import pytest

from lading_worker import eager
from lading_worker.eager import Eager, processors
from tests.worker.harness import running

CODE = "def predict(text: str) -> str:\n    return text\n"


def test_it_waits_for_what_comes_soon_and_what_comes_late():
    reading, writing = os.pipe()
    one = Eager(reading)
    for pause in (0.0, 0.0, 0.0, 0.05, 0.0):
        threading.Timer(pause, os.write, (writing, b"x")).start()
        assert one.wait(lambda: os.read(reading, 1)) == b"x"
    os.close(writing)
    assert one.wait(lambda: os.read(reading, 1)) == b""
    os.close(reading)


def test_processors_are_those_it_may_use():
    assert 0 < processors() <= (os.cpu_count() or 1)


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system does not bind processes to processors")
def test_nobody_looks_on_a_single_processor():
    before = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(before)})
        assert processors() == 1
        assert Eager.of(0) is None
    finally:
        os.sched_setaffinity(0, before)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("max 100000", []), ("150000 100000", [1.5]), ("-1", []), ("", []), ("nonsense", [])],
)
def test_limits_of_control_groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, expected: list[float]):
    (tmp_path / "cpu.max").write_text(text)
    monkeypatch.setattr(eager, "_QUOTAS", ((str(tmp_path / "cpu.max"), None),))
    assert list(eager._quotas()) == expected


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_a_worker_that_nobody_asks_takes_no_time(tmp_path: Path):
    with running(tmp_path, CODE, object="predict") as worker:
        for _ in range(200):
            worker.predict(text="x")

        def spent() -> int:
            fields = Path(f"/proc/{worker.pid}/stat").read_text().rpartition(")")[2].split()
            return int(fields[11]) + int(fields[12])

        before = spent()
        time.sleep(0.5)
        assert spent() - before <= 10  # looking all the time would be 50
        assert worker.predict(text="again").output == "again"
        assert worker.quit() == 0
