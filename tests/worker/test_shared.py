"""Large bodies come to a worker through memory, small ones and those to a worker that cannot through the socket; nothing gets mixed up."""

from __future__ import annotations

import hashlib
import json
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from lading.service.frames import Kind
from lading.service.shared import LEAST, MOST, Region, make_region
from tests.service.support import api
from tests.service.support import running as serving
from tests.worker import harness
from tests.worker.harness import VERSIONS, running

pytestmark = pytest.mark.skipif(not hasattr(os, "memfd_create"), reason="this system has no memfd_create")

CODE = """
import hashlib
import os

def predict(data: str, fork: bool = False) -> str:
    if fork:
        pid = os.fork()
        if pid == 0:
            os._exit(0)
        os.waitpid(pid, 0)
    return "%d %s" % (len(data), hashlib.sha256(data.encode()).hexdigest())
"""


def expected(text: str) -> str:
    return f"{len(text)} {hashlib.sha256(text.encode()).hexdigest()}"


@pytest.mark.parametrize("version", VERSIONS)
def test_bodies_by_memory_on_every_python(tmp_path: Path, version: str):
    with running(tmp_path, CODE, object="predict", python=harness.python(version)) as worker:
        assert worker.ready is not None
        assert worker.ready["shared"] is True
        region = Region(worker.child.regions[0])
        for number, size in enumerate((LEAST, 3_000_000, 100_000, 9_000_000, 70_000), start=100):
            text = chr(97 + number % 26) * size
            body = json.dumps({"data": text, "fork": number == 101}).encode()
            assert region.put(body)
            worker.slots[0].send(Kind.SHARED, number, {"scratch": ""}, len(body).to_bytes(8, "big"))
            answer = worker.answer()
            assert answer is not None
            assert answer.output == expected(text)
            assert worker.predict(data="small").output == expected("small")
        region.close()


def test_only_large_bodies_go_by_memory():
    number = make_region()
    assert number is not None
    region = Region(number)
    assert not region.put(b"x" * LEAST)
    assert not region.put(b"x" * (MOST + 1))
    assert os.fstat(number).st_size == 0
    assert region.put(b"y" * (LEAST + 1))
    assert os.pread(number, LEAST + 2, 0).rstrip(b"\0") == b"y" * (LEAST + 1)
    region.close()
    os.close(number)
    assert not Region(number).put(b"x" * (LEAST + 1))


@pytest.mark.parametrize("threads", [1, 3])
def test_large_and_small_bodies_side_by_side(tmp_path: Path, threads: int):
    (tmp_path / "predict.py").write_text(CODE)
    one = api(tmp_path, threads=threads)
    one["worker"]["object"] = "predict"
    with serving(tmp_path, one, extra={"worker_main": None}) as server, ThreadPoolExecutor(8) as pool:
        texts = [chr(97 + number % 26) * (200_000 if number % 3 else 10 + number) for number in range(60)]
        answers = pool.map(lambda text: server.client.post("/predictions", json={"input": {"data": text}}).json(), texts)
        assert [answer["output"] for answer in answers] == [expected(text) for text in texts]
        assert server.client.post("/predictions", json={"input": {"data": "b" * (MOST + 5)}}).json()["output"] == expected("b" * (MOST + 5))


def test_a_worker_without_memory_gets_large_bodies_too(tmp_path: Path):
    with serving(tmp_path) as server:  # the tests' own worker knows nothing of it
        assert server.predict(value="x" * 1_000_000).json()["output"] == "x" * 1_000_000


def test_a_dead_workers_memory_is_given_back(tmp_path: Path):
    (tmp_path / "predict.py").write_text(
        "import os\ndef predict(data: str) -> str:\n    os._exit(1) if data[0] == 'x' else 0\n    return data[0]\n"
    )
    one = api(tmp_path)
    one["worker"]["object"] = "predict"
    with serving(tmp_path, one, extra={"worker_main": None}) as server:
        for _ in range(3):
            assert server.client.post("/predictions", json={"input": {"data": "x" * 100_000}}).json()["status"] == "failed"
            assert server.client.post("/predictions", json={"input": {"data": "y" * 100_000}}).json()["output"] == "y"
        harness.eventually(lambda: Path(f"/proc/{server.process.pid}/maps").read_text().count("lading-body") == 1)
