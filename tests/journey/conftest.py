"""Using the product as a user does: a folder, the command, a browser's view of the server. Packages come from the local index."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.service.support import children_of, free_port, is_alive
from tests.support.index import LocalIndex


class Finished:
    """A command that has ended."""

    def __init__(self, process: subprocess.CompletedProcess[str]) -> None:
        self.code, self.out, self.err = process.returncode, process.stdout, process.stderr

    @property
    def data(self) -> Any:
        """Standard output as JSON."""
        return json.loads(self.out)


class Service:
    """A running ``lading serve``."""

    def __init__(self, process: subprocess.Popen[str], port: int, log: Path) -> None:
        self.process, self.port, self._log = process, port, log
        self.workers: list[int] = []
        self.client = httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30)

    @property
    def log(self) -> str:
        """What it has said so far."""
        return self._log.read_text()

    def wait_ready(self, seconds: float = 60) -> None:
        """Wait until predictions are taken."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            assert self.process.poll() is None, self.log
            with contextlib.suppress(httpx.TransportError):
                status = self.client.get("/health-check").json()["status"]
                assert status != "SETUP_FAILED", self.log
                if status in ("READY", "BUSY"):
                    return
            time.sleep(0.05)
        raise AssertionError(f"not ready:\n{self.log}")

    def wait_for_log(self, text: str, seconds: float = 60) -> None:
        """Wait until it has said something: what it says is written a moment after it happened."""
        until = time.monotonic() + seconds
        while text not in self.log:
            assert time.monotonic() < until, self.log
            time.sleep(0.02)

    def stop(self, number: int = signal.SIGINT) -> int:
        """Send a signal and wait for the end."""
        self.workers = children_of(self.process.pid)
        self.process.send_signal(number)
        return self.process.wait(60)


@pytest.fixture
def project(tmp_path: Path) -> Callable[..., Path]:
    """Write a project's files; returns its folder."""

    def write(files: Mapping[str, str], name: str = "my-model") -> Path:
        for path, text in files.items():
            place = tmp_path / name / path
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text(text)
        return tmp_path / name

    return write


def command(*words: str | Path) -> list[str]:
    return [sys.executable, "-m", "lading", *map(str, words)]


def environ(index: LocalIndex | None, **variables: str) -> dict[str, str]:
    places = {"UV_DEFAULT_INDEX": index.url} if index else {}
    return {**os.environ, **places, "NO_COLOR": "1", "COLUMNS": "120", **variables}


@pytest.fixture
def lading(index: LocalIndex, tmp_path: Path) -> Callable[..., Finished]:
    """Run the command to its end, with the local index as this machine's own."""

    def run(*words: str | Path, cwd: Path = tmp_path, stdin: str = "", **variables: str) -> Finished:
        process = subprocess.run(
            command(*words), cwd=cwd, env=environ(index, **variables), input=stdin, capture_output=True, text=True, timeout=120, check=False
        )
        assert "Traceback" not in process.stderr or "predict.py" in process.stderr or "predictor.py" in process.stderr, process.stderr
        return Finished(process)

    return run


@pytest.fixture
def served(index: LocalIndex, tmp_path: Path) -> Callable[..., contextlib.AbstractContextManager[Service]]:
    """Start ``lading serve`` and wait until it is ready; at the end nothing of it may be left."""

    @contextlib.contextmanager
    def serve(*words: str | Path, ready: bool = True, **variables: str) -> Iterator[Service]:
        port = free_port()
        log = tmp_path / f"serve-{port}.log"
        with log.open("w") as stream:
            process = subprocess.Popen(
                command("serve", *words, "-p", str(port)),
                cwd=tmp_path,
                env=environ(index, **variables),
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=stream,
                text=True,
            )
        service = Service(process, port, log)
        try:
            if ready:
                service.wait_ready()
            yield service
        finally:
            if process.poll() is None:
                service.workers = children_of(process.pid)
                process.terminate()
                try:
                    process.wait(60)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()
            service.client.close()
            assert not [pid for pid in service.workers if is_alive(pid)], log.read_text()

    return serve


def names_in(folder: Path) -> list[str]:
    """What lies in a folder, sorted."""
    return sorted(path.name for path in folder.iterdir())
