"""Nothing is left behind if this process is killed, either: a process of its own sees to that, and outlives it by a moment.

It is nobody's child (`lading.service.guarding`). It learns through a pipe what there is, and by the pipe's end that we are gone. If it
is killed itself, another one is started, and told all, as soon as there is something to tell.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from lading.service.descendants import ControlGroup

_PROGRAM = str(Path(__file__).with_name("guarding.py"))


class Guard:
    """What would be left behind: workers' descendants, folders of temporary files, containers."""

    def __init__(self) -> None:
        self._pipe: int | None = None
        self._told: dict[str, dict[str, Any]] = {}
        self._lock = threading.Lock()

    def worker(self, mark: str, pid: int | None = None, group: ControlGroup | None = None) -> None:
        """Look after the worker of this mark from now on; before it is started, its process is not known yet."""
        self._tell(mark, {"mark": mark, "pid": pid, "group": group and group.folder})

    def folder(self, path: str) -> None:
        """Look after a folder."""
        self._tell(path, {"folder": path})

    def container(self, pid: int, command: Sequence[str]) -> Callable[[], None]:
        """Look after a container: the group of the process that runs it, and the command that ends it. What is returned forgets it."""
        key = f"container-{pid}"
        self._tell(key, {"pid": pid, "command": list(command)})
        return lambda: self.forget(key)

    def forget(self, key: str) -> None:
        """A worker (by its mark) or a folder has ended in good order."""
        self._tell(key, None)

    def _tell(self, key: str, facts: dict[str, Any] | None) -> None:
        # Where no such process can be started, all is as it was, but for a front that is killed.
        with self._lock, contextlib.suppress(OSError):
            if facts is None:
                self._told.pop(key, None)
            else:
                self._told[key] = facts
            if self._pipe is not None:
                try:
                    os.write(self._pipe, _line(key, facts))
                except BrokenPipeError:
                    os.close(self._pipe)
                    self._pipe = None
                else:
                    return
            if self._told:
                self._pipe = _start()
                os.write(self._pipe, b"".join(_line(*one) for one in self._told.items()))


def _line(key: str, facts: dict[str, Any] | None) -> bytes:
    return f"{json.dumps(key)}\t{json.dumps(facts)}\n".encode()


GUARD = Guard()
"""This process's."""


def _start() -> int:
    theirs, ours = os.pipe()
    try:
        process = subprocess.Popen(
            [sys.executable, "-I", "-S", _PROGRAM],
            stdin=theirs,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd="/",
            start_new_session=True,
        )
    except OSError:
        os.close(ours)
        raise
    finally:
        os.close(theirs)
    threading.Thread(target=process.wait, name="guard", daemon=True).start()
    return ours
