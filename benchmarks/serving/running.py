"""One server as processes: started until it gives a right answer, weighed, stopped with everything that it has started."""

from __future__ import annotations

import contextlib
import http.client
import os
import signal
import socket
import subprocess
import tempfile
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from servers import APPS, SOURCE, Server
from workloads import Request

_START_SECONDS = 90.0
_MARK = "LADING_BENCHMARK"


@dataclass
class Running:
    """A server that answers. ``start`` is seconds from its start to its first right answer."""

    port: int
    start: float
    mark: str

    def memory(self) -> tuple[float, int]:
        """MB of memory of all its processes, each shared page divided by those that share it (PSS), and their number."""
        sizes = [size for process in marked(self.mark) if (size := _pss(process)) is not None]
        return sum(sizes) / 1e6, len(sizes)


def marked(mark: str) -> list[int]:
    """The processes that carry our mark in their environment: the server and all that it has started."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                if mark.encode() in (entry / "environ").read_bytes():
                    found.append(int(entry.name))
    return found


def _pss(process: int) -> int | None:
    try:
        text = Path(f"/proc/{process}/smaps_rollup").read_text()
    except OSError:
        return None
    return next((int(line.split()[1]) * 1024 for line in text.splitlines() if line.startswith("Pss:")), None)


@contextlib.contextmanager
def running(server: Server, environment: Path, workload: str, request: Request) -> Iterator[Running]:
    """The server with one workload.

    Raises:
        RuntimeError: if it gives no right answer; the message has what it printed last.
    """
    port = _free_ports()
    mark = f"{_MARK}={uuid.uuid4().hex}"
    with tempfile.TemporaryDirectory(prefix="lading-benchmark-") as temporary:
        folder = server.folder
        if server.project is not None:
            folder = Path(temporary, "project")
            server.project(folder, workload)
        log = Path(temporary, "log")
        command = [part.format(python=environment / "bin" / "python", bin=environment / "bin", port=port) for part in server.command]
        with log.open("wb") as output:
            began = time.monotonic()
            process = subprocess.Popen(
                command,
                cwd=folder,
                env=_environ(server, environment, workload, port, mark),
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        try:
            _wait(process, port, server.path, request, log)
            yield Running(port, time.monotonic() - began, mark)
        finally:
            _stop(process, mark)


def _environ(server: Server, environment: Path, workload: str, port: int, mark: str) -> dict[str, str]:
    path = [str(SOURCE)] if server.ours else [str(APPS), str(server.folder)]
    name, _, value = mark.partition("=")
    given = {key: text.format(batch=32 if workload == "batch" else 0) for key, text in server.environ.items()}
    # Bytecode is kept, as where servers are installed.
    inherited = {key: text for key, text in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
    return {
        **inherited,
        "PATH": f"{environment / 'bin'}{os.pathsep}{os.environ.get('PATH', '')}",
        "PYTHONPATH": os.pathsep.join(path),
        "WORKLOAD": workload,
        "PORT": str(port),
        "MLSERVER_HTTP_PORT": str(port),
        "MLSERVER_GRPC_PORT": str(port + 1),
        "MLSERVER_METRICS_PORT": str(port + 2),
        "MLSERVER_HOST": "127.0.0.1",
        "OPENBLAS_NUM_THREADS": "1",
        name: value,
        **given,
    }


def _free_ports() -> int:
    """The first of three ports in a row that were free a moment ago."""
    for port in range(20000 + os.getpid() % 5000, 30000, 5):
        with contextlib.ExitStack() as stack, contextlib.suppress(OSError):
            for number in range(3):
                probe = stack.enter_context(socket.socket())
                probe.bind(("127.0.0.1", port + number))
            return port
    raise RuntimeError("no free port was found")


def _wait(process: subprocess.Popen[bytes], port: int, path: str, request: Request, log: Path) -> None:
    until = time.monotonic() + _START_SECONDS
    told = "nothing"
    while time.monotonic() < until and process.poll() is None:
        with contextlib.suppress(OSError, http.client.HTTPException):
            status, body = _post(port, path, request)
            if status == 200 and request.expected.encode() in body:
                return
            told = f"{status} {body[:200]!r}"
        time.sleep(0.005)
    raise RuntimeError(f"it gave no right answer but {told}; it printed: …{log.read_text(errors='replace')[-400:]}")


def _post(port: int, path: str, request: Request) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("POST", path, request.body, request.headers)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def _stop(process: subprocess.Popen[bytes], mark: str) -> None:
    for number, seconds in ((signal.SIGTERM, 5.0), (signal.SIGKILL, 5.0)):
        for found in marked(mark):
            with contextlib.suppress(OSError):
                os.kill(found, number)
        until = time.monotonic() + seconds
        while time.monotonic() < until and marked(mark):
            process.poll()
            time.sleep(0.05)
    process.wait(5)
