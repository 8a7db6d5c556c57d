"""What the worker adds to a prediction: its processor time per call, beside the same work done in one process. Prints medians in microseconds.

    python benchmarks/worker.py [--rounds N] [--calls N] [PYTHON...]

PYTHON are interpreters to run the worker on (default: this one). Each round measures, in turn: ``json.loads``, ``predict`` and
``json.dumps`` in a loop of that interpreter (what cannot be avoided); a worker that gets its calls one by one; one that gets them eight
ahead, as from a busy server; the same for an asynchronous predictor, and for one that prints a line.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lading.model.files import MemoryFiles
from lading.model.service import WorkerSpec
from lading.schema.static import read_signature
from lading.service.frames import CONTROL_KINDS, SLOT_KINDS, FrameReader, Kind, encode
from lading.service.process import Child, spawn

AHEAD = 8
PREDICTORS = {
    "sync": "def predict(text: str, n: int = 2) -> str:\n    return text\n",
    "async": "async def predict(text: str, n: int = 2) -> str:\n    return text\n",
    "print": "def predict(text: str, n: int = 2) -> str:\n    print(text)\n    return text\n",
}
BODY = json.dumps({"text": "hello"}).encode()
IN_PROCESS = """
import json, sys, time
def predict(text, n=2):
    return text
body, calls = sys.argv[1].encode(), int(sys.argv[2])
began = time.process_time()
for _ in range(calls):
    json.dumps(predict(**json.loads(body.decode()))).encode()
print((time.process_time() - began) / calls * 1e6)
"""


class Bench:
    """One worker, spoken to without a server."""

    def __init__(self, child: Child) -> None:
        self.child, self.slot = child, child.slots[0]
        for end in (child.control, self.slot):
            end.settimeout(30)
        reader = FrameReader(CONTROL_KINDS)
        while not any(frame.kind == Kind.READY for frame in reader.feed(child.control.recv(65536))):
            pass
        self.reader = FrameReader(SLOT_KINDS)
        self.number = 0

    def run(self, calls: int, ahead: int) -> float:
        """Processor time of the worker per call, in microseconds."""
        before = self._processor_time()
        waiting: deque[int] = deque()
        for _ in range(calls):
            self.number += 1
            waiting.append(self.number)
            self.slot.sendall(encode(Kind.PREDICT, self.number, b'{"scratch":""}', BODY))
            while len(waiting) >= ahead:
                self._receive(waiting)
        while waiting:
            self._receive(waiting)
        return (self._processor_time() - before) / calls * 1e6

    def _receive(self, waiting: deque[int]) -> None:
        for frame in self.reader.feed(self.slot.recv(65536)):
            if frame.kind == Kind.DONE and waiting.popleft() != frame.call:
                sys.exit("an answer is out of order")

    def _processor_time(self) -> float:
        return int(Path(f"/proc/{self.child.pid}/schedstat").read_text().split()[0]) / 1e9


@contextmanager
def worker(python: str, root: Path, code: str) -> Iterator[Bench]:
    """A worker that serves ``code``."""
    (root / "predict.py").write_text(code)
    signature = read_signature(MemoryFiles({"predict.py": code}), "predict.py", "predict").as_json()
    child = spawn(WorkerSpec(python=python, root=str(root), style="cog", file="predict.py", object="predict", signature=signature))
    try:
        yield Bench(child)
    finally:
        child.kill()
        child.wait()
        child.close()


def measure(python: str, calls: int) -> dict[str, float]:
    """One round on one interpreter."""
    told = subprocess.run([python, "-c", IN_PROCESS, BODY.decode(), str(calls)], capture_output=True, text=True, check=True)
    times = {"in process": float(told.stdout)}
    for name, code in PREDICTORS.items():
        with tempfile.TemporaryDirectory() as root, worker(python, Path(root), code) as bench:
            bench.run(calls // 10, 1)
            times[f"{name}, one by one"] = bench.run(calls, 1)
            times[f"{name}, {AHEAD} ahead"] = bench.run(calls, AHEAD)
    return times


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--calls", type=int, default=5000)
    parser.add_argument("python", nargs="*", default=[sys.executable])
    options = parser.parse_args()
    for python in options.python:
        print(python)
        rounds = [measure(python, options.calls) for _ in range(options.rounds)]
        for name in rounds[0]:
            print(f"  {name:<20} {statistics.median(times[name] for times in rounds):8.1f} us of processor time per call")


if __name__ == "__main__":
    main()
