"""The server of a deployment on this machine as a process: its files, its start, its end, what it answers."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lading.deploy.engine import Revision
from lading.deploy.node import Assignment

_POLL_SECONDS = 0.05
_STOP_SECONDS = 45.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """A deployment as its file keeps it. ``pid`` and ``started`` (in clock ticks of the kernel, empty where unknown) are the server's.

    ``live`` are the numbers of the revisions that were ever ready.
    """

    revisions: tuple[Revision, ...] = ()
    assignments: Mapping[int, Assignment] = field(default_factory=dict)
    pid: int = 0
    started: str = ""
    live: tuple[int, ...] = ()

    @property
    def current(self) -> Revision:
        """The revision that is, or should be, served."""
        return next(one for one in self.revisions if one.current)


def url_of(assignment: Assignment) -> str:
    """The address that a server is asked at on this machine."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(assignment.host, assignment.host)  # noqa: S104 -- the address to ask, not to bind
    return f"http://{f'[{host}]' if ':' in host else host}:{assignment.port}"


def ask(assignment: Assignment, path: str) -> dict[str, Any] | None:
    """The answer as data; None where there is none yet."""
    try:
        with urllib.request.urlopen(url_of(assignment) + path, timeout=5) as answer:  # noqa: S310 -- our own server's address
            found: dict[str, Any] = json.loads(answer.read())
            return found
    except (OSError, ValueError, urllib.error.URLError):
        return None


def start(assignment: Path, log: Path, environ: Mapping[str, str]) -> int:
    """Start a server that outlives us; returns its process id."""
    command = [sys.executable, "-m", "lading.deploy.node", str(assignment)]
    with opened_private(log) as stream:
        # Not subprocess, whose objects want to be waited for.
        actions = [
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_DUP2, stream.fileno(), 1),
            (os.POSIX_SPAWN_DUP2, stream.fileno(), 2),
        ]
        return os.posix_spawn(sys.executable, command, dict(environ), file_actions=actions, setsid=True)


def start_time(pid: int) -> str:
    """When a process started, as the kernel says it: with the id it names one process for ever. Empty where that is not to be had."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()[19]
    except (OSError, IndexError, ValueError):
        return ""


def is_alive(state: Kept) -> bool:
    """Whether the server runs: that very process, not another one that has got its id since."""
    if not state.pid:
        return False
    with contextlib.suppress(ChildProcessError, OSError):
        os.waitpid(state.pid, os.WNOHANG)  # one that this very process started and that ended would else count as alive
    try:
        os.kill(state.pid, 0)
    except OSError:
        return False
    return not state.started or start_time(state.pid) == state.started


def stop(state: Kept) -> None:
    """End the server: running predictions may finish, as after SIGTERM to ``lading serve``; what takes too long is killed."""
    if not is_alive(state):
        return
    with contextlib.suppress(ProcessLookupError):
        os.kill(state.pid, signal.SIGTERM)
    until = time.monotonic() + _STOP_SECONDS
    while is_alive(state):
        if time.monotonic() > until:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(state.pid, signal.SIGKILL)
        time.sleep(_POLL_SECONDS)


def opened_private(path: Path) -> Any:
    """A file for its owner alone, empty and open for writing."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    return open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb")  # noqa: PTH123 -- the caller closes it


def write_private(path: Path, content: bytes) -> None:
    """Write a file for its owner alone: all of it or nothing."""
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    with opened_private(aside) as stream:
        stream.write(content)
    aside.replace(path)
