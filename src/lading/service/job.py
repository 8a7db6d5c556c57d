"""One job in a container of its own, for schedulers: ``python -m lading.service.job API SUBMISSION``.

Starts the container's server for this API alone, submits the job, prints what its workers print, and ends with it: exit status 0 if it
succeeded, 1 if not. SIGTERM stops the job.
"""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import Any, NoReturn

from lading.service.container import APIS, DEFAULT_PORT, SERVICE

_POLL_SECONDS = 0.2
_START_SECONDS = 600.0
_OVER = "status_succeeded"
_RUNNING = ("status_enqueuing", "status_running")


def main(arguments: list[str]) -> int:
    """Run the job; returns the exit status."""
    api, submission = arguments
    port = int(os.environ.get("PORT") or DEFAULT_PORT)
    environ = {**os.environ, APIS: api, "LADING_HOST": "127.0.0.1"}
    server = subprocess.Popen([sys.executable, "-m", "lading.service.container"], env=environ)
    signal.signal(signal.SIGTERM, _end)
    try:
        place = _started(server, port, api)
        answer = _ask(port, "POST", place, Path(submission).read_bytes())
        if "job_id" not in answer:
            _line(f"error: {answer.get('message') or answer}")
            return 1
        return _watched(port, f"{place}?jobID={answer['job_id']}", _logs() / api / f"{answer['job_id']}.log")
    except ChildProcessError as error:
        _line(f"error: {error}")
        return 1
    finally:
        server.terminate()
        server.wait()


def _end(_number: int, _frame: object) -> NoReturn:
    raise SystemExit(128 + signal.SIGTERM)


def _started(server: subprocess.Popen[bytes], port: int, api: str) -> str:
    """Wait until the server answers; the path of the API.

    Raises:
        ChildProcessError: if it ends, or takes too long.
    """
    until = time.monotonic() + _START_SECONDS
    while time.monotonic() < until:
        if server.poll() is not None:
            raise ChildProcessError(f"the server ended with exit status {server.returncode}")
        try:
            return str(_ask(port, "GET", "/")["apis"][api])
        except (OSError, ValueError, http.client.HTTPException, KeyError):
            time.sleep(_POLL_SECONDS)
    raise ChildProcessError("the server did not start")


def _logs() -> Path:
    """The folder of the logs of jobs."""
    named = os.environ.get("LADING_JOBS") or ""
    if not named or "://" in named:
        named = json.loads(Path(os.environ[SERVICE]).read_bytes())["jobs_folder"]
    return Path(named) / "logs"


def _watched(port: int, place: str, log: Path) -> int:
    """Wait until the job is over, saying how far it is and what its workers print."""
    before, position = "", 0
    try:
        while True:
            status = _ask(port, "GET", place)["job_status"]
            position = _copied(log, position)
            line = _told(status)
            if line != before:
                before = line
                _line(line)
            if status["status"] not in _RUNNING:
                return 0 if status["status"] == _OVER else 1
            time.sleep(_POLL_SECONDS)
    except SystemExit:
        _ask(port, "DELETE", place)
        raise


def _copied(log: Path, position: int) -> int:
    """Print what has come into the log since; returns how far it was read."""
    try:
        with log.open("rb") as stream:
            stream.seek(position)
            piece = stream.read()
    except FileNotFoundError:
        return position
    sys.stderr.buffer.write(piece)
    sys.stderr.flush()
    return position + len(piece)


def _told(status: dict[str, Any]) -> str:
    metrics = status["batch_metrics"]
    done = metrics["succeeded"] + metrics["failed"]
    word = status["status"].removeprefix("status_").replace("_", " ")
    error = f": {status['error']}" if status.get("error") else ""
    return f"job {status['job_id']}: {word}, {done} of {status['total_batch_count']} done, {metrics['failed']} failed{error}"


def _ask(port: int, method: str, path: str, body: bytes | None = None) -> dict[str, Any]:
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=60)) as connection:
        connection.request(method, path, body, {"content-type": "application/json"})
        answer: dict[str, Any] = json.loads(connection.getresponse().read())
        return answer


def _line(text: str) -> None:
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
