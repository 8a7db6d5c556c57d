"""What a worker has started ends with it, whatever it did to get away.

Its process group holds what stayed in it. A process that made a session of its own is found by a variable that it inherited, and one
that dropped its variables, too, by the worker's control group (cgroup v2), where this process may make one. Linux only; elsewhere the
process group is all there is.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from pathlib import Path

VARIABLE = "LADING_WORKER"
_ROUNDS = 20  # a process may fork while it is looked for
_PAUSE = 0.01
_ENDING_ROUNDS = 100  # on a machine with much to do, what was killed takes its time to be gone
_PROC = Path("/proc")


def kill_marked(mark: str) -> None:
    """Kill every process whose environment says that it descends from the worker of this mark."""
    wanted = f"{VARIABLE}={mark}".encode()
    for _ in range(_ROUNDS):
        found = [pid for pid in _processes() if wanted in _environment(pid)]
        if not found:
            return
        for pid in found:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(_PAUSE)


def _processes() -> list[int]:
    try:
        return [int(name) for name in os.listdir(_PROC) if name.isdigit()]  # noqa: PTH208 - names, and hundreds of them
    except OSError:
        return []


def _environment(pid: int) -> list[bytes]:
    """A process's variables; empty for one that is somebody else's, or has ended and waits to be reaped."""
    try:
        with open(f"/proc/{pid}/environ", "rb") as file:  # noqa: PTH123 - see above
            return file.read().split(b"\0")
    except OSError:
        return []


class ControlGroup:
    """A control group of one worker's own."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @classmethod
    def make(cls, mark: str, pid: int) -> ControlGroup | None:
        """Put a process that was just started into a new group; None where that is not possible."""
        parent = own_group()
        if parent is None or not os.access(parent, os.W_OK):
            return None
        folder = parent / f"lading-{mark}"
        try:
            folder.mkdir()
            (folder / "cgroup.procs").write_text(str(pid))
        except OSError:
            with contextlib.suppress(OSError):
                folder.rmdir()
            return None
        return cls(folder)

    @property
    def folder(self) -> str:
        """Where it is."""
        return str(self._folder)

    def end(self) -> None:
        """Kill what is left in it, and remove it."""
        for _ in range(_ENDING_ROUNDS):
            self._kill()
            try:
                self._folder.rmdir()
            except FileNotFoundError:
                return
            except OSError:
                time.sleep(_PAUSE)  # what was killed is not gone yet
            else:
                return

    def _kill(self) -> None:
        with contextlib.suppress(OSError):
            if (self._folder / "cgroup.kill").exists():
                (self._folder / "cgroup.kill").write_text("1")
                return
            for pid in (self._folder / "cgroup.procs").read_text().split():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(int(pid), signal.SIGKILL)


def own_group() -> Path | None:
    """The folder of this process's control group in the unified hierarchy; None where there is none."""
    return control_groups()[0]


def control_groups(proc: Path = Path("/proc/self"), controllers: tuple[str, ...] = ()) -> tuple[Path | None, Path | None, dict[str, Path]]:
    """The control groups of a process, this one by default; nothing where the system has none.

    That of the unified hierarchy, where that is mounted, and those of the older hierarchies by controller.
    """
    try:
        mounts = (proc / "mountinfo").read_text().splitlines()
        groups = [line.split(":", 2) for line in (proc / "cgroup").read_text().splitlines()]
    except OSError:
        return None, None, {}
    unified = mount = None
    older = {}
    for fields, kind, options in map(_mounted, mounts):
        if kind == "cgroup2":
            mount = Path(fields[4])
            unified = _inside(fields, next((path for number, names, path in groups if number == "0" and not names), None))
        for controller in controllers if kind == "cgroup" else ():
            path = next((path for _, names, path in groups if controller in names.split(",")), None)
            place = _inside(fields, path) if controller in options else None
            if place is not None:
                older[controller] = place
    return unified, mount, older


def _mounted(line: str) -> tuple[list[str], str, list[str]]:
    """A line of ``mountinfo``: its fields, the kind of file system, and the options of that."""
    fields, _, rest = line.partition(" - ")
    kind, _source, options = [*rest.split(), "", "", ""][:3]
    return fields.split(), kind, options.split(",")


def _inside(fields: list[str], path: str | None) -> Path | None:
    if path is None:
        return None
    root, mount = fields[3:5]
    return Path(mount) / path.removeprefix(root.rstrip("/")).lstrip("/")
