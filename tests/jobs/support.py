"""A server with jobs: a real process, real workers, a store in a folder of the test's."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx

from tests.service.support import Server, free_port

_PROGRAM = """
import json, sys
from lading.model.cortex import Share, Splitter
from lading.model.origin import Origin
from lading.model.problems import LadingError
from lading.model.project import ProjectKind
from lading.model.service import ServedApi, ServiceSpec, WorkerSpec
from lading.service.server import serve

given = json.loads(sys.argv[1])
def apis(key):
    return tuple(ServedApi(**{**api, "worker": WorkerSpec(**api["worker"])}) for api in given.pop(key, []))
splitters = tuple(
    Splitter(name=one["name"], endpoint=one["endpoint"], shares=tuple(Share(**share) for share in one["shares"]), origin=Origin("cortex.yaml", 1))
    for one in given.pop("splitters", [])
)
spec = ServiceSpec(kind=ProjectKind.CORTEX, title="t", apis=apis("apis"), job_apis=apis("job_apis"), splitters=splitters, **given)
def reporter(event):
    print(f"{event.step}|{event.phase}|{event.message}", file=sys.stderr, flush=True)
try:
    sys.exit(serve(spec, reporter))
except LadingError as error:
    print(json.dumps([problem.as_json() for problem in error.problems]), file=sys.stderr)
    sys.exit(int(error.exit_code))
"""


def api(root: Path, name: str, kind: str, code: str, **worker: Any) -> dict[str, Any]:
    """An API of a project in ``root`` whose predictor is ``code``."""
    file = f"{name.replace('-', '_')}.py"
    (root / file).write_text(textwrap.dedent(code))
    given = {
        "python": sys.executable,
        "root": str(root),
        "style": "cortex",
        "file": file,
        "object": "Task" if kind == "TaskAPI" else "PythonPredictor",
    }
    return {"name": name, "worker": {**given, "cortex": {"kind": kind, "type": "python"}, **worker}}


def start(root: Path, port: int, log: Path, **spec: Any) -> Server:
    """Start a server; it is not waited for. ``environ`` are variables beside the test's, ``files`` how many descriptors it may have."""
    environ, files = {**os.environ, **spec.pop("environ", {})}, spec.pop("files", None)
    limited = [] if files is None else ["sh", "-c", f'ulimit -n {files}; exec "$0" "$@"']
    given = {"port": port, "jobs_folder": str(root / "jobs"), **spec}
    with log.open("ab") as stream:
        process = subprocess.Popen(
            [*limited, sys.executable, "-c", _PROGRAM, json.dumps(given)],
            stdout=stream,
            stderr=stream,
            stdin=subprocess.DEVNULL,
            env=environ,
        )
    return Server(process, port, log)


@contextlib.contextmanager
def running(root: Path, **spec: Any) -> Iterator[Server]:
    """A server that answers."""
    server = start(root, free_port(), root / "log", **spec)
    try:
        wait_for_answers(server)
        yield server
    finally:
        if server.process.poll() is None:
            server.process.terminate()
            try:
                server.process.wait(60)
            except subprocess.TimeoutExpired:
                server.process.kill()
                server.process.wait()
        server.client.close()


def wait_for_answers(server: Server, seconds: float = 60) -> None:
    until = time.monotonic() + seconds
    while True:
        assert server.process.poll() is None, server.talk
        with contextlib.suppress(httpx.TransportError):
            if server.client.get("/livez").status_code == 200:
                return
        assert time.monotonic() < until, server.talk
        time.sleep(0.02)


def wait_over(server: Server, api: str, job: str, seconds: float = 60) -> dict[str, Any]:
    """A job's status once it is over."""
    until = time.monotonic() + seconds
    while True:
        status: dict[str, Any] = server.client.get(f"/{api}", params={"jobID": job}).json()["job_status"]
        if status["status"] not in ("status_running", "status_enqueuing"):
            return status
        assert time.monotonic() < until, (status, server.talk)
        time.sleep(0.02)
