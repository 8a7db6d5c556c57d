"""Running another program: its words read line by line, and no trace of it left when the user interrupts."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

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
    streams = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE}
    with started(command, _end, env=dict(env), cwd=cwd, pass_fds=inherit, **streams) as process:
        assert process.stderr is not None
        if meanwhile is not None:
            meanwhile()
        for line in process.stderr:
            lines.append(line)
            heard(line.rstrip("\n"))
        process.wait()
    return Finished(process.returncode, "".join(lines))


@contextlib.contextmanager
def started(command: Sequence[str], end: Callable[[subprocess.Popen[str]], None], **options: Any) -> Iterator[subprocess.Popen[str]]:
    """A program in a process group of its own, as `subprocess.Popen` starts it with further ``options``; waited for at the end of the block.

    Whatever interrupts the block, or the start, has ``end`` end the program and its children.

    Raises:
        OSError: if the program cannot be started.
    """
    process: subprocess.Popen[str] | None = None
    try:
        with _interrupts_held():
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, encoding="utf-8", errors="replace", start_new_session=True, **options
            )
        yield process
    except BaseException:
        if process is not None:
            end(process)
        raise
    finally:
        if process is not None:
            with process:  # closes its streams, and waits
                pass


@contextlib.contextmanager
def _interrupts_held() -> Iterator[None]:
    """Hear Ctrl-C afterwards: while a program is started it would leave that running, known to nobody."""
    before = signal.getsignal(signal.SIGINT)
    if before is None or threading.current_thread() is not threading.main_thread():
        yield
        return
    heard: list[int] = []
    signal.signal(signal.SIGINT, lambda number, _frame: heard.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
        if heard:
            signal.raise_signal(signal.SIGINT)


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
