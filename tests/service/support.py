"""Servers for the tests: a real process, a real port, the stand-in worker behind it."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx

from tests.support import ports

free_port = ports.free_port
STANDIN = str(Path(__file__).with_name("standin.py"))
_PROGRAM = """
import json, sys
import msgspec
from lading.model.problems import LadingError
from lading.model.service import ServedApi, ServiceSpec, WorkerSpec
from lading.service.server import serve

given = json.loads(sys.argv[1])
def served(api):
    return ServedApi(**{**api, "worker": msgspec.convert(api["worker"], WorkerSpec)})

apis = tuple(map(served, given.pop("apis")))
if "training" in given:
    given["training"] = served(given["training"])
extra = given.pop("extra")
def reporter(event):
    print(f"{event.step}|{event.phase}|{event.message}", file=sys.stderr, flush=True)
try:
    sys.exit(serve(ServiceSpec(apis=apis, **given), reporter, **extra))
except LadingError as error:
    print(json.dumps([problem.as_json() for problem in error.problems]))
    sys.exit(int(error.exit_code))
"""


def worker(root: Path | str, style: str = "cog", **config) -> dict[str, Any]:
    threads = config.pop("threads", 1)
    env = config.pop("env", {})
    signature = config.pop("signature", None)
    return {
        "python": sys.executable,
        "root": str(root),
        "style": style,
        "file": "predict.py",
        "object": "Predictor",
        "config": config,
        "threads": threads,
        "env": env,
        "signature": signature,
    }


def api(
    root: Path | str, name: str = "model", style: str = "cog", processes: int = 1, endpoint: str | None = None, **config
) -> dict[str, Any]:
    return {"name": name, "worker": worker(root, style, **config), "processes": processes, "endpoint": endpoint}


class Server:
    """A running server. ``url`` is its address, ``talk`` what it said on standard error so far."""

    def __init__(self, process: subprocess.Popen[bytes], port: int, log: Path) -> None:
        self.process, self.port, self._log = process, port, log
        self.url = f"http://127.0.0.1:{port}"
        self.client = httpx.Client(base_url=self.url, timeout=30)

    @property
    def talk(self) -> str:
        return self._log.read_text()

    def predict(self, do: str = "echo", headers: dict[str, str] | None = None, **given) -> httpx.Response:
        return self.client.post("/predictions", json={"input": {"do": do, **given}}, headers=headers)

    def health(self) -> dict[str, Any]:
        health: dict[str, Any] = self.client.get("/health-check").json()
        return health

    def wait_for(self, *statuses: str, seconds: float = 60) -> dict[str, Any]:
        until = time.monotonic() + seconds
        while True:
            health = self.health()
            if health["status"] in statuses:
                return health
            assert time.monotonic() < until, (health, self.talk)
            time.sleep(0.01)

    def wait_for_talk(self, text: str, seconds: float = 60) -> None:
        until = time.monotonic() + seconds
        while text not in self.talk:
            assert time.monotonic() < until, self.talk
            time.sleep(0.01)

    def workers(self) -> list[int]:
        return children_of(self.process.pid)

    def stop(self, number: int = signal.SIGTERM, seconds: float = 60) -> int:
        self.process.send_signal(number)
        return self.process.wait(seconds)

    def raw(self, request: bytes) -> bytes:
        """Send bytes, read until the server closes."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=10) as connection:
            connection.sendall(request)
            answer = b""
            while piece := connection.recv(65536):
                answer += piece
            return answer


def children_of(pid: int) -> list[int]:
    """What a process has started, without the first process of its guard (`lading.service.guarding`), which ends as soon as it has begun."""
    children = [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return [child for child in children if not _is_guard(child)]


def _is_guard(pid: int) -> bool:
    with contextlib.suppress(OSError):
        return b"guarding.py\0" in Path(f"/proc/{pid}/cmdline").read_bytes()
    return False


def is_alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):  # the second where it goes while the file is open
        return False
    return state != "Z"


def command(root: Path, apis: list[dict[str, Any]], port: int, **spec) -> list[str]:
    extra = {"worker_main": STANDIN, **spec.pop("extra", {})}
    given = {"kind": "cog", "title": "test", "apis": apis, "port": port, "extra": extra, **spec}
    return [sys.executable, "-c", _PROGRAM, json.dumps(given)]


@contextlib.contextmanager
def running(root: Path, *apis: dict[str, Any], ready: bool = True, env: dict[str, str] | None = None, **spec) -> Iterator[Server]:
    """A server as a process of its own, stopped at the end whatever happened."""
    port = free_port()
    log = root / f"server-{port}.log"
    files = spec.pop("files", None)
    with log.open("wb") as talk:
        arguments = command(root, list(apis) or [api(root)], port, **spec)
        if files is not None:
            arguments = ["sh", "-c", f'ulimit -n {files}; exec "$0" "$@"', *arguments]
        process = subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=talk, env={**os.environ, **(env or {})})
    server = Server(process, port, log)
    try:
        _wait_for_port(server)
        if ready:
            server.wait_for("READY")
        yield server
    finally:
        server.client.close()
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(60)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        assert process.stdout is not None
        process.stdout.close()


def _wait_for_port(server: Server) -> None:
    until = time.monotonic() + 60
    while True:
        assert server.process.poll() is None, server.talk
        with contextlib.suppress(httpx.TransportError):
            server.client.get("/livez")
            return
        assert time.monotonic() < until, server.talk
        time.sleep(0.01)
