"""One job in a container of its own, for schedulers: ``python -m lading.service.job API SUBMISSION``.

Starts the container's server for this API alone, submits the job, prints what its workers print, and ends with it: exit status 0 if it
succeeded, 1 if not. SIGTERM stops the job. ``LADING_JOB_KEY`` is what the job is known by: a container that is started again with the same
one goes on with the job that the store has of it, and submits no other.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any, NoReturn

from lading.jobs.opening import VARIABLE, is_database
from lading.service.container import APIS, DEFAULT_PORT, SERVICE

KEY = "LADING_JOB_KEY"
_POLL_SECONDS = 0.2
_AWAY_SECONDS = 1.0
_AWAY = (502, 503, 504)
_START_SECONDS = 600.0
_SHOWN = 500  # bytes of an answer that should not be
_OVER = "status_succeeded"
_RUNNING = ("status_enqueuing", "status_running")


class _AwayError(Exception):
    """The server cannot answer now."""


_BROKEN = (OSError, ValueError, http.client.HTTPException, _AwayError)


def main(arguments: list[str]) -> int:
    """Run the job; returns the exit status."""
    api, submission = arguments
    try:
        submitted = Path(submission).read_bytes()
    except OSError as error:
        _line(f"error: the job's submission cannot be read: {error}")
        return 1
    port = int(os.environ.get("PORT") or DEFAULT_PORT)
    environ = {**os.environ, APIS: api, "LADING_HOST": "127.0.0.1"}
    server = subprocess.Popen([sys.executable, "-m", "lading.service.container"], env=environ)
    signal.signal(signal.SIGTERM, _end)
    try:
        place = _started(server, port, api)
        key = os.environ.get(KEY) or uuid.uuid4().hex
        answer = _surely(server, port, "POST", place, submitted, {"idempotency-key": key})
        if "job_id" not in answer:
            _line(f"error: {answer.get('message') or answer}")
            return 1
        return _watched(server, port, f"{place}?jobID={answer['job_id']}", _logs() / api / f"{answer['job_id']}.log")
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
        except (*_BROKEN, KeyError):
            time.sleep(_POLL_SECONDS)
    raise ChildProcessError("the server did not start")


def _logs() -> Path:
    """The folder of the logs of jobs."""
    named = os.environ.get(VARIABLE) or ""
    if not named or is_database(named):
        named = json.loads(Path(os.environ[SERVICE]).read_bytes())["jobs_folder"]
    return Path(named) / "logs"


def _watched(server: subprocess.Popen[bytes], port: int, place: str, log: Path) -> int:
    """Wait until the job is over, saying how far it is and what its workers print.

    Raises:
        ChildProcessError: if the server ends, or does not know the job.
    """
    before, position = "", 0
    try:
        while True:
            answer = _surely(server, port, "GET", place)
            if "job_status" not in answer:
                raise ChildProcessError(f"the server does not tell of the job: {answer.get('message') or answer}")
            status = answer["job_status"]
            position = _copied(log, position)
            line = _told(status)
            if line != before:
                before = line
                _line(line)
            if status["status"] not in _RUNNING:
                return 0 if status["status"] == _OVER else 1
            time.sleep(_POLL_SECONDS)
    except SystemExit:
        with contextlib.suppress(*_BROKEN):
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


def _surely(server: subprocess.Popen[bytes], *asked: Any) -> dict[str, Any]:
    """`_ask` until there is an answer: the store of jobs may be away for a while, and the job waits for it.

    Raises:
        ChildProcessError: if the server ends, or answers what is no JSON: it would again.
    """
    before = ""
    while True:
        try:
            return _ask(*asked)
        except ValueError as error:
            raise ChildProcessError(f"the server's answer is no JSON: {error}") from error
        except _BROKEN as error:
            if server.poll() is not None:
                raise ChildProcessError(f"the server ended with exit status {server.returncode}") from error
            if str(error) != before:
                before = str(error)
                _line(f"asking again: {before}")
            time.sleep(_AWAY_SECONDS)


def _ask(port: int, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None) -> dict[str, Any]:
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=60)) as connection:
        connection.request(method, path, body, {"content-type": "application/json", **(headers or {})})
        response = connection.getresponse()
        text = response.read()
        if response.status in _AWAY:
            raise _AwayError(text.decode(errors="replace") or response.reason)
        try:
            answer: dict[str, Any] = json.loads(text)
        except ValueError as error:
            raise ValueError(f"{response.status} {text[:_SHOWN].decode(errors='replace')}") from error
        return answer


def _line(text: str) -> None:
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
