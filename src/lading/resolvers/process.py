"""Running another program: its words read line by line, and no trace of it left when the user interrupts."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from lading.model.records import dataclass

PATIENCE = 5.0
"""Seconds between asking a program to end and killing it."""


@dataclass(frozen=True, slots=True)
class Finished:
    """How a program ended, and all that it wrote to standard error."""

    returncode: int
    stderr: str


def program() -> str:
    """Where the uv is that is installed beside Lading.

    In a virtual environment it is where `uv.find_uv_bin` looks first, which takes 2 ms to find out where that is.

    Raises:
        FileNotFoundError: if it is not there.
    """
    beside = Path(sys.prefix, "bin", "uv")
    if sys.prefix != sys.base_prefix and beside.is_file():
        return str(beside)
    import uv  # noqa: PLC0415 -- it need not be loaded to be run

    return uv.find_uv_bin()


def run(
    command: Sequence[str],
    *,
    env: Mapping[str, str],
    cwd: Path,
    heard: Callable[[str], None],
    inherit: Sequence[int] = (),
    meanwhile: Callable[[], None] | None = None,
) -> Finished:
    """Run a program in a process group of its own; ``heard`` gets each line of its standard error as it comes.

    ``inherit`` are file descriptors that it keeps open as long as it runs. ``meanwhile`` is done while it begins; its words wait as long.
    Whatever interrupts the wait (Ctrl-C, an error in ``heard``) ends the program and its children before it goes on.

    Raises:
        OSError: if the program cannot be started.
    """
    lines = []
    with subprocess.Popen(
        command,
        env=dict(env),
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        encoding="utf-8",
        errors="replace",
        start_new_session=True,
        pass_fds=inherit,
    ) as process:
        try:
            assert process.stderr is not None
            if meanwhile is not None:
                meanwhile()
            for line in process.stderr:
                lines.append(line)
                heard(line.rstrip("\n"))
            process.wait()
        except BaseException:
            _end(process)
            raise
    return Finished(process.returncode, "".join(lines))


def _end(process: subprocess.Popen[str]) -> None:
    """SIGTERM to the group, then SIGKILL: a build's compiler must not outlive the build."""
    _signal_group(process, signal.SIGTERM)
    try:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(PATIENCE)
    finally:
        # Those of the group that are left, the leader among them if it did not listen or the user would not wait.
        _signal_group(process, signal.SIGKILL)
        process.wait()


def _signal_group(process: subprocess.Popen[str], number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, number)
