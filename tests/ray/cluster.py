"""A Ray cluster of one host, and the command line beside it."""

from __future__ import annotations

import contextlib
import importlib.util
import itertools
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

LADING = [sys.executable, "-m", "lading"]
_AT_A_TIME = 1024
_PORTS = ("--min-worker-port", "30000", "--max-worker-port", "31999")

VARIABLE = "LADING_TEST_CLUSTER"


def missing() -> str | None:
    """Why no cluster can be started here; None if one can."""
    return None if importlib.util.find_spec("ray") else "ray is not installed: pip install 'lading[ray]'"


def unasked() -> str | None:
    """Why the suites that start clusters do not run; None if they are asked for: `.ci/test --cluster`."""
    return None if os.environ.get(VARIABLE) == "1" else f"clusters of Ray take minutes: set {VARIABLE}=1"


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on, outside of those that Ray's workers take."""
    found: list[int] = []
    while len(found) < count:
        with socket.socket() as probe:
            probe.bind(("", 0))
            port = probe.getsockname()[1]
        if port not in found and not 30000 <= port < 32000:
            found.append(port)
    return found


def own_address() -> str:
    """This machine's address on its network; nothing is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe, contextlib.suppress(OSError):
        probe.connect(("192.0.2.1", 9))
        return str(probe.getsockname()[0])
    return "127.0.0.1"


class Cluster:
    """A head with some CPUs, started as its own process group. A context manager."""

    def __init__(self, environ: Mapping[str, str], cpus: int = 8) -> None:
        # Ray puts sockets there, whose names have to be short.
        self.folder = Path(tempfile.mkdtemp(prefix="ray-", dir="/tmp"))
        (self.folder / "token").write_text(secrets.token_hex(32))
        self.port, self.dashboard, client, self.http, statistics, metrics = free_ports(6)
        self.address = f"{own_address()}:{self.port}"
        self.client = f"ray://{own_address()}:{client}"
        self.environ = {
            **environ,
            "RAY_USAGE_STATS_ENABLED": "0",
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN_PATH": str(self.folder / "token"),
            "RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S": "3",
            "RAY_SERVE_HAPROXY_STARTUP_TIMEOUT_S": "120",
            # Another cluster may run on this machine.
            "RAY_SERVE_HAPROXY_STATS_PORT": str(statistics),
            "RAY_SERVE_HAPROXY_METRICS_PORT": str(metrics),
        }
        self.command = [sys.executable, "-m", "ray.scripts.scripts", "start", "--head", "--block", "--disable-usage-stats"]
        self.command += ["--node-ip-address", own_address(), "--port", str(self.port), "--dashboard-port", str(self.dashboard)]
        self.command += ["--num-cpus", str(cpus), "--temp-dir", str(self.folder), "--ray-client-server-port", str(client), *_PORTS]
        self.process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        log = (self.folder / "head.log").open("wb")
        self.process = subprocess.Popen(
            self.command, env=self.environ, stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True
        )
        log.close()
        until = time.monotonic() + 90
        while b"Ray runtime started" not in (self.folder / "head.log").read_bytes():
            assert self.process.poll() is None, (self.folder / "head.log").read_text()
            assert time.monotonic() < until
            time.sleep(0.1)
        return self

    def __exit__(self, *_: object) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(3)
        self._end_all()
        self.process.wait(10)
        shutil.rmtree(self.folder, ignore_errors=True)

    def _end_all(self) -> None:
        """Kill what is left of this cluster: every process that was started with its token."""
        mark = f"RAY_AUTH_TOKEN_PATH={self.folder / 'token'}".encode()
        for entry in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError, ProcessLookupError):
                if int(entry.name) != os.getpid() and mark in (entry / "environ").read_bytes().split(b"\0"):
                    os.kill(int(entry.name), signal.SIGKILL)

    def lading(self, *words: str | Path, environ: Mapping[str, str] | None = None, code: int | None = 0) -> Any:
        """Run ``lading WORDS --json`` beside the cluster; standard output as data."""
        command = [*LADING, *map(str, words), "--json"]
        ran = subprocess.run(
            command, env={**self.environ, **(environ or {})}, capture_output=True, text=True, timeout=170, check=False, cwd=self.folder
        )
        assert code is None or ran.returncode == code, ran.stdout + ran.stderr
        lines = ran.stdout.splitlines()
        return [json.loads(line) for line in lines] if words[0] == "logs" else json.loads(ran.stdout)

    def deploy(self, project: Path, *words: str, code: int = 0) -> Any:
        """``lading deploy``."""
        return self.lading("deploy", project, "--to", "ray", self.address, "--http-port", str(self.http), *words, code=code)

    def verb(self, verb: str, name: str, *words: str, code: int = 0) -> Any:
        """A verb about a deployment."""
        return self.lading(verb, *words, "--to", "ray", self.address, "--name", name, code=code)

    def program(self, text: str) -> Any:
        """Run a Python program beside the cluster, which is its first argument; what it prints as JSON."""
        command = [sys.executable, "-c", text, self.address]
        ran = subprocess.run(command, env=self.environ, capture_output=True, text=True, timeout=120, check=False, cwd=self.folder)
        assert ran.returncode == 0, ran.stdout + ran.stderr
        return json.loads(ran.stdout)

    @property
    def url(self) -> str:
        return f"http://{own_address()}:{self.http}"


@dataclass
class Load:
    """Requests at a steady rate, however long the ones before take; each is sent once, and what came of it is counted.

    ``send`` says what is wrong with the answer to the request of a number; None if nothing is.
    """

    send: Callable[[int], str | None]
    rate: float
    sent: int = 0
    good: int = 0
    bad: list[str] = field(default_factory=list)

    @contextlib.contextmanager
    def running(self) -> Iterator[Load]:
        """Send while the context lasts."""
        over, guard = threading.Event(), threading.Lock()

        def one(number: int) -> None:
            try:
                wrong = self.send(number)
            except Exception as failure:  # noqa: BLE001 -- whatever it is, the request was lost
                wrong = repr(failure)
            with guard:
                self.good += wrong is None
                self.bad += [] if wrong is None else [wrong]

        def tick() -> None:
            began = time.monotonic()
            for number in itertools.count():
                if over.wait(max(0.0, began + number / self.rate - time.monotonic())):
                    return
                self.sent += 1
                pool.submit(one, number)

        with ThreadPoolExecutor(_AT_A_TIME) as pool:
            clock = threading.Thread(target=tick)
            clock.start()
            try:
                yield self
            finally:
                over.set()
                clock.join()
