"""The yardstick itself: the benchmark's drivers count right answers alone, whatever else a server says."""

from __future__ import annotations

import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parent.parent.parent / "benchmarks" / "serving"
_PROGRAM = """
import sys
sys.path.insert(0, sys.argv[1])
import asyncio, load
from workloads import Request
request = Request(b'{"text": "bob"}', "hello bob", {"Content-Type": "application/json"})
port, path, own = int(sys.argv[2]), sys.argv[3], sys.argv[4] == "own"
found = asyncio.run(load._drive(port, path, request, 3, 1.0)) if own else load.drive(port, path, request, 3, 1.0)
print(found.good, found.bad, found.p50 <= found.p99)
"""


class _Handler(BaseHTTPRequestHandler):
    """Every third answer is right; others have the wrong status, or the right one and the wrong text."""

    protocol_version = "HTTP/1.1"
    numbers = count()

    def do_POST(self) -> None:
        given = self.rfile.read(int(self.headers["content-length"]))
        number = next(self.numbers) % 3 if self.path == "/mixed" else 0
        body = b"hello bob" if number != 1 else b"hello nobody"
        assert given == b'{"text": "bob"}'
        self.send_response(200 if number != 2 else 409)
        if self.path == "/chunked":
            self.send_header("transfer-encoding", "chunked")
            self.end_headers()
            self.wfile.write(b"6\r\nhello \r\n3\r\nbob\r\n0\r\n\r\n")
            return
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_) -> None:
        pass


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_address[1]
        server.shutdown()


@pytest.mark.parametrize("driver", ["own", "wrk"])
@pytest.mark.parametrize(("path", "bad"), [("/right", 0.0), ("/mixed", 2 / 3), ("/chunked", 0.0)])
def test_right_answers_are_counted_alone(port: int, driver: str, path: str, bad: float):
    if driver == "wrk" and shutil.which("wrk") is None:
        pytest.skip("wrk is not installed")
    told = subprocess.run(
        [sys.executable, "-c", _PROGRAM, str(FOLDER), str(port), path, driver], capture_output=True, text=True, check=True, timeout=60
    )
    good, share, ordered = told.stdout.split()
    assert float(good) > 1
    assert float(share) == pytest.approx(bad, abs=0.15)  # on a machine with much to do there are few, and the last ones do not count
    assert ordered == "True"


def test_a_server_that_is_not_there_gives_no_good_answers():
    told = subprocess.run(
        [sys.executable, "-c", _PROGRAM, str(FOLDER), "1", "/", "own"], capture_output=True, text=True, check=True, timeout=60
    )
    assert told.stdout.split()[:2] == ["0.0", "1.0"]
