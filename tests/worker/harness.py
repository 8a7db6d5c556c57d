"""A real worker process on any Python, started as the front starts it, and spoken to frame by frame."""

from __future__ import annotations

import json
import os
import select
import shutil
import subprocess
import sys
import tempfile
import textwrap
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from lading.model.files import MemoryFiles
from lading.model.service import WorkerSpec
from lading.schema.static import read_signature
from lading.service.frames import CONTROL_KINDS, SLOT_KINDS, Frame, FrameReader, Kind, encode
from lading.service.process import Child, spawn

VERSIONS = ("3.6", "3.7", "3.8", "3.9", "3.10", "3.11", "3.12", "3.13", "3.14")
SECONDS = 60.0
"""No answer takes longer."""


@dataclass
class Answer:
    """What came on a slot for one call, up to its DONE or INVALID."""

    kind: Kind
    head: dict[str, Any]
    body: bytes
    logs: list[tuple[str, str]] = field(default_factory=list)
    chunks: list[Any] = field(default_factory=list)
    metrics: list[dict[str, Any]] = field(default_factory=list)

    @property
    def status(self) -> str | int | None:
        return self.head.get("status")

    @property
    def error(self) -> str | None:
        return self.head.get("error")

    @property
    def output(self) -> Any:
        return json.loads(self.body)

    @property
    def text(self) -> str:
        """Everything that the prediction printed."""
        return "".join(text for _, text in self.logs)


class End:
    """Our end of one socket."""

    def __init__(self, socket: Any, kinds: frozenset[Kind]) -> None:
        self.socket = socket
        self.reader = FrameReader(kinds)
        self.frames: list[Frame] = []
        self.closed = False

    def send(self, kind: int, call: int, head: Mapping[str, Any], body: bytes = b"") -> None:
        self.socket.settimeout(SECONDS)
        self.socket.sendall(encode(kind, call, json.dumps(head).encode(), body))

    def next(self, seconds: float = SECONDS) -> Frame | None:
        """The next frame; None when the worker has closed its end."""
        until = time.monotonic() + seconds
        while not self.frames and not self.closed:
            self.socket.settimeout(max(0.001, until - time.monotonic()))
            try:
                data = self.socket.recv(1 << 20)
            except ConnectionResetError:
                data = b""
            self.closed = not data
            self.frames.extend(self.reader.feed(data))
        return self.frames.pop(0) if self.frames else None


class Worker:
    """A worker that runs. ``ready`` is READY's head, or None; ``failure`` SETUP_FAILED's; ``setup_logs`` what setup printed."""

    def __init__(self, child: Child, scratch: Path) -> None:
        self.child, self.scratch = child, scratch
        self.control = End(child.control, CONTROL_KINDS)
        self.slots = [End(slot, SLOT_KINDS) for slot in child.slots]
        self.setup_logs: list[tuple[str, str]] = []
        self.hello: dict[str, Any] = {}
        self.ready: dict[str, Any] | None = None
        self.failure: dict[str, Any] | None = None
        self.calls = 0
        child.control.settimeout(SECONDS)
        child.control.sendall(child.unsent)

    @property
    def pid(self) -> int:
        return self.child.pid

    def start(self) -> None:
        """Wait for READY or SETUP_FAILED, or the end of the process."""
        while True:
            frame = self.control.next()
            if frame is None:
                return
            if frame.kind == Kind.LOG:
                self.setup_logs.append((json.loads(frame.head)["source"], frame.body.decode()))
            elif frame.kind == Kind.HELLO:
                self.hello = json.loads(frame.head)
            elif frame.kind == Kind.READY:
                self.ready = json.loads(frame.head)
                return
            else:
                assert frame.kind == Kind.SETUP_FAILED, frame
                self.failure = json.loads(frame.head)
                return

    # Predictions

    def send(self, given: Any = None, *, slot: int = 0, head: Mapping[str, Any] | None = None, body: bytes | None = None, **inputs) -> int:
        """Put a prediction on its way; returns its number. ``inputs`` are Cog's, unless ``given`` or ``body`` is."""
        self.calls += 1
        asked = body if body is not None else json.dumps(inputs if given is None else given).encode()
        self.slots[slot].send(Kind.PREDICT, self.calls, {"scratch": f"{self.scratch}/{self.calls}"} if head is None else head, asked)
        return self.calls

    def answer(self, slot: int = 0, seconds: float = SECONDS) -> Answer | None:
        """The answer to the next prediction of a slot; None if the worker ends before."""
        logs: list[tuple[str, str]] = []
        chunks: list[Any] = []
        metrics: list[dict[str, Any]] = []
        while True:
            frame = self.slots[slot].next(seconds)
            if frame is None:
                return None
            head = json.loads(frame.head)
            if frame.kind == Kind.LOG:
                logs.append((head["source"], frame.body.decode("utf-8", "replace")))
            elif frame.kind == Kind.CHUNK:
                assert head["index"] == len(chunks)
                chunks.append(json.loads(frame.body))
            elif frame.kind == Kind.METRIC:
                metrics.append(head)
            else:
                return Answer(Kind(frame.kind), head, frame.body, logs, chunks, metrics)

    def predict(self, given: Any = None, **options) -> Answer:
        """One prediction from beginning to end."""
        slot = options.get("slot", 0)
        self.send(given, **options)
        answer = self.answer(slot)
        assert answer is not None, f"the worker has ended: {self.end()}"
        return answer

    def wait_for_log(self, text: str, slot: int = 0) -> None:
        """Wait until the running prediction has printed something."""
        seen = ""
        while text not in seen:
            frame = self.slots[slot].next()
            assert frame is not None
            assert frame.kind == Kind.LOG, frame
            seen += frame.body.decode()

    def cancel(self, number: int) -> None:
        self.control.send(Kind.CANCEL, number, {})

    def check(self) -> dict[str, Any]:
        """Run the health check."""
        self.control.send(Kind.CHECK, 0, {})
        frame = self.control.next()
        while frame is not None and frame.kind == Kind.LOG:
            frame = self.control.next()
        assert frame is not None
        assert frame.kind == Kind.HEALTH
        head: dict[str, Any] = json.loads(frame.head)
        return head

    def quit(self, seconds: float = SECONDS) -> int:
        """Ask it to end; returns how it did (as `subprocess.Popen.returncode`)."""
        self.control.send(Kind.QUIT, 0, {})
        return self.end(seconds)

    def end(self, seconds: float = SECONDS) -> int:
        """Wait for its end."""
        return self.child.process.wait(seconds)

    def raw_output(self, source: str = "stdout") -> str:
        """What has arrived on the pipe of descriptor 1 or 2 so far."""
        number = self.child.outputs[0 if source == "stdout" else 1]
        data = b""
        while select.select([number], [], [], 0.05)[0]:
            piece = os.read(number, 1 << 16)
            if not piece:
                break
            data += piece
        return data.decode("utf-8", "replace")


def make_spec(root: Path, code: str | None = None, **options) -> WorkerSpec:
    """A project in ``root`` with ``code`` as its predictor; ``options`` are `WorkerSpec`'s. Its signature is read as `lading` does."""
    file = options.pop("file", "predict.py")
    style = options.pop("style", "cog")
    name = options.pop("object", "Predictor" if style == "cog" else "PythonPredictor")
    if code is not None:
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        (root / file).write_text(textwrap.dedent(code))
    if style == "cog" and "signature" not in options:
        sources = {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*.py")}
        options["signature"] = read_signature(MemoryFiles(sources), file, name, python_path=options.get("python_path")).as_json()
    options.setdefault("python", sys.executable)
    return WorkerSpec(root=str(root), style=style, file=file, object=name, **options)


@contextmanager
def running(root: Path, code: str | None = None, *, ready: bool = True, **options) -> Iterator[Worker]:
    """A worker that has loaded ``code``; killed at the end with everything that it started."""
    child = spawn(make_spec(root, code, **options))
    scratch = Path(tempfile.mkdtemp(prefix="scratch-"))
    worker = Worker(child, scratch)
    try:
        worker.start()
        if ready:
            assert worker.ready is not None, (worker.failure, worker.raw_output("stderr"))
        yield worker
    finally:
        child.kill()
        child.wait()
        child.close()
        shutil.rmtree(scratch)


@cache
def python(version: str) -> str:
    """An interpreter of a version (``3.6``); skips the test, saying so, where the machine has none."""
    for path in _candidates(version):
        told = subprocess.run(
            [path, "-c", "import sys; print('%d.%d' % sys.version_info[:2])"], capture_output=True, text=True, check=False
        )
        if told.stdout.strip() == version:
            return path
    pytest.skip(f"this machine has no Python {version}")


def _candidates(version: str) -> Iterator[str]:
    root = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv") / "versions"
    yield from (str(path) for path in sorted(root.glob(f"{version}.*/bin/python")))
    for name in (f"python{version}", "python3"):
        found = shutil.which(name)
        if found:
            yield found
    if sys.version_info[:2] == tuple(map(int, version.split("."))):
        yield sys.executable


def eventually(condition: Callable[[], Any], seconds: float = 60.0) -> None:
    """Wait until something is true."""
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "it did not happen"
        time.sleep(0.01)


def is_alive(pid: int) -> bool:
    """Whether a process runs."""
    try:
        os.kill(pid, 0)
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (ProcessLookupError, FileNotFoundError):
        return False
    return state != "Z"
