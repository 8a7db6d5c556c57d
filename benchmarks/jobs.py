"""What jobs cost: a million items submitted, empty items worked off, and a realtime call beside the bare predictor.

    python benchmarks/jobs.py [--items 1000000] [--empty 20000]

Prints seconds, the server's largest resident memory, items per second with two workers, and medians of realtime calls.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent
PREDICTOR = """
class PythonPredictor:
    def __init__(self, config):
        pass

    def predict(self, payload):
        return payload
"""
PROGRAM = """
import sys
from lading.model.project import ProjectKind
from lading.model.service import ServedApi, ServiceSpec, WorkerSpec
from lading.service.server import serve
root, port = sys.argv[1:]
def api(name, kind):
    worker = WorkerSpec(python=sys.executable, root=root, style="cortex", file="predictor.py", object="PythonPredictor", cortex={"kind": kind})
    return ServedApi(name=name, worker=worker)
spec = ServiceSpec(kind=ProjectKind.CORTEX, title="b", apis=(api("now", "RealtimeAPI"),), job_apis=(api("many", "BatchAPI"),),
                   jobs_folder=root + "/jobs", port=int(port))
sys.exit(serve(spec, lambda event: None))
"""


@contextlib.contextmanager
def server(port: int) -> Iterator[int]:
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "predictor.py").write_text(PREDICTOR)
        process = subprocess.Popen([sys.executable, "-c", PROGRAM, folder, str(port)], env={**os.environ, "PYTHONPATH": str(ROOT / "src")})
        try:
            until = time.monotonic() + 30
            while time.monotonic() < until:
                with contextlib.suppress(OSError):
                    if json.load(urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz"))["ready"]:
                        break
                time.sleep(0.05)
            yield process.pid
        finally:
            process.terminate()
            process.wait(30)


def peak_mib(pid: int) -> float:
    """The largest resident memory so far."""
    text = Path(f"/proc/{pid}/status").read_text()
    return int(text.split("VmHWM:")[1].split()[0]) / 1024


def submission(count: int, batch_size: int, workers: int) -> Iterator[bytes]:
    """The body piece by piece, so that this program needs no memory either."""
    yield b'{"workers": %d, "item_list": {"batch_size": %d, "items": [0' % (workers, batch_size)
    for start in range(1, count, 10_000):
        yield b"".join(b',{"id":%d,"text":"a short text"}' % number for number in range(start, min(count, start + 10_000)))
    yield b"]}}"


def submit(port: int, count: int, batch_size: int, workers: int) -> str:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=600)
    connection.request(
        "POST", "/many", body=submission(count, batch_size, workers), headers={"content-type": "application/json"}, encode_chunked=True
    )
    answer = json.loads(connection.getresponse().read())
    return str(answer["job_id"])


def status(port: int, job: str) -> dict:
    return dict(json.load(urllib.request.urlopen(f"http://127.0.0.1:{port}/many?jobID={job}"))["job_status"])


def wait(port: int, job: str, *wanted: str) -> dict:
    while (now := status(port, job))["status"] in wanted:
        time.sleep(0.1)
    return now


def measure_submit(port: int, pid: int, count: int) -> None:
    before, began = peak_mib(pid), time.perf_counter()
    job = submit(port, count, 100, 1)
    answered = time.perf_counter() - began
    wait(port, job, "status_enqueuing")
    stored = time.perf_counter() - began
    print(
        f"submit {count:,} items: answered in {answered:.1f} s, all stored in {stored:.1f} s; memory {before:.0f} -> {peak_mib(pid):.0f} MiB"
    )
    urllib.request.urlopen(urllib.request.Request(f"http://127.0.0.1:{port}/many?jobID={job}", method="DELETE"))


def measure_empty(port: int, count: int) -> None:
    job = submit(port, count, 1, 2)
    wait(port, job, "status_enqueuing")
    while not status(port, job)["batch_metrics"]["succeeded"]:
        time.sleep(0.01)
    first, began = status(port, job)["batch_metrics"]["succeeded"], time.perf_counter()
    end = wait(port, job, "status_running")
    seconds = time.perf_counter() - began
    assert end["status"] == "status_succeeded", end
    rate = (count - first) / seconds
    print(f"empty items, 2 workers: {rate:,.0f} items per second ({count:,} items); goal of 2,000: {'met' if rate >= 2000 else 'missed'}")


def measure_realtime(port: int, calls: int = 2000) -> None:
    scope: dict = {}
    exec(PREDICTOR, scope)
    predictor = scope["PythonPredictor"]({})
    connection = http.client.HTTPConnection("127.0.0.1", port)
    body = b'{"a": 1}'
    bare, served = [], []
    for _ in range(calls):
        began = time.perf_counter()
        json.dumps(predictor.predict(json.loads(body)))
        bare.append(time.perf_counter() - began)
        began = time.perf_counter()
        connection.request("POST", "/now", body=body, headers={"content-type": "application/json"})
        connection.getresponse().read()
        served.append(time.perf_counter() - began)
    ours, theirs = statistics.median(served) * 1e6, statistics.median(bare) * 1e6
    print(f"realtime call: {ours:.0f} us over HTTP (http.client's share included), {theirs:.1f} us bare; overhead {ours - theirs:.0f} us")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, default=1_000_000)
    parser.add_argument("--empty", type=int, default=20_000)
    parser.add_argument("--port", type=int, default=5987)
    given = parser.parse_args()
    with server(given.port) as pid:
        measure_realtime(given.port)
        measure_empty(given.port, given.empty)
        measure_submit(given.port, pid, given.items)


if __name__ == "__main__":
    main()
