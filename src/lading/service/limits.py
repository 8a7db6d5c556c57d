"""What a worker may use of the machine: control groups for memory and processor time, where this process may make them.

Both hierarchies of Linux are known: the unified one (cgroup v2; systemd delegates a part of it to a user's own services) and the older
ones, one for each controller. Where processor time cannot be limited so, a worker is kept to as many processors as it may use.
"""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from lading.model.cluster import Limits
from lading.model.records import dataclass
from lading.service.descendants import ControlGroup, control_groups

MEMORY, CPU = "memory", "cpu"
_PERIOD = 100_000  # microseconds, the kernel's usual one
_LEAST_QUOTA = 1_000  # the kernel takes no less


@dataclass(frozen=True, slots=True)
class Place:
    """A folder of the hierarchy that groups for a controller can be made in. ``unified``: it is the one of cgroup v2."""

    folder: Path
    unified: bool


@dataclass(frozen=True, slots=True)
class Hierarchies:
    """The control groups that this process is in: that of the unified hierarchy, where that lies, and of the others by controller."""

    unified: Path | None
    unified_mount: Path | None
    older: dict[str, Path]

    @classmethod
    def read(cls, proc: Path = Path("/proc/self")) -> Hierarchies:
        """Those of a process, this one by default; nothing where the system has none."""
        return cls(*control_groups(proc, (MEMORY, CPU)))

    def places_for(self, controllers: Sequence[str]) -> dict[str, Place]:
        """Where groups with these controllers can be made, for those where they can; the ones named first count more.

        In the unified hierarchy a process is in one group alone: the nearest folder above that gives them all on, failing that one of them.
        What is limited itself is not left: whoever limited this process meant its workers, too.
        """
        places: dict[str, Place] = {}
        for together in (controllers, *([one] for one in controllers)):
            folder = self._giving(together)
            if folder is not None:
                places = {controller: Place(folder, unified=True) for controller in together}
                break
        for controller in controllers:
            older = self.older.get(controller)
            if controller not in places and older is not None and _writable(older):
                places[controller] = Place(older, unified=False)
        return places

    def _giving(self, controllers: Sequence[str]) -> Path | None:
        folder = self.unified
        while folder is not None and self.unified_mount is not None and folder.is_relative_to(self.unified_mount):
            if _writable(folder) and set(controllers) <= set(_words(folder / "cgroup.subtree_control")):
                return folder
            folder = None if _is_limited(folder) else folder.parent
        return None


def _writable(folder: Path) -> bool:
    return os.access(folder, os.W_OK) and os.access(folder / "cgroup.procs", os.W_OK)


def _is_limited(folder: Path) -> bool:
    return any(_words(folder / name)[:1] not in ([], ["max"]) for name in ("memory.max", "memory.high", "cpu.max"))


def _words(path: Path) -> list[str]:
    try:
        return path.read_text().split()
    except OSError:
        return []


class LimitGroup:
    """The control groups that limit one worker and what it starts.

    ``limited`` are the controllers that do, ``failed`` those that the system did not let limit it though there is a place for them, and why.
    """

    def __init__(
        self, folders: Iterable[Path], limited: frozenset[str], memory: int | None = None, failed: Mapping[str, str] | None = None
    ) -> None:
        self.groups, self.limited, self._memory, self.failed = tuple(map(ControlGroup, folders)), limited, memory, dict(failed or {})

    @classmethod
    def make(cls, mark: str, pid: int, limits: Limits, hierarchies: Hierarchies | None = None) -> LimitGroup:
        """Put a process that was just started into groups with these limits, as far as the system lets us."""
        found = hierarchies or Hierarchies.read()
        wanted = {controller: value for controller, value in ((MEMORY, limits.memory), (CPU, limits.cpu)) if value is not None}
        folders: dict[Path, None] = {}
        limited: list[str] = []
        failed: dict[str, str] = {}
        for controller, place in found.places_for(list(wanted)).items():
            try:
                folder = _made(place.folder, mark, pid)
                folders[folder] = None
                _limit(folder, controller, wanted[controller], unified=place.unified)
                limited.append(controller)
            except OSError as error:
                failed[controller] = str(error)
        return cls(folders, frozenset(limited), limits.memory, failed)

    def used_up(self) -> int | None:
        """The memory, in bytes, if something in it was killed because all of it had used that up."""
        lines = [
            line for group in self.groups for name in ("memory.events", "memory.oom_control") for line in _lines(Path(group.folder, name))
        ]
        return self._memory if any(line.startswith("oom_kill ") and line.split()[1] != "0" for line in lines) else None

    def end(self) -> None:
        """Kill what is left in it, and remove it."""
        for group in self.groups:
            group.end()


def _made(parent: Path, mark: str, pid: int) -> Path:
    folder = parent / f"lading-{mark}"
    try:
        folder.mkdir(exist_ok=True)
        (folder / "cgroup.procs").write_text(str(pid))
    except OSError:
        with contextlib.suppress(OSError):
            folder.rmdir()
        raise
    return folder


def _limit(folder: Path, controller: str, value: float, *, unified: bool) -> None:
    """Write a limit; without swap, which would only make a worker slow that has too little."""
    quota = max(_LEAST_QUOTA, round(value * _PERIOD))
    if unified:
        wanted = {"cpu.max": f"{quota} {_PERIOD}"} if controller == CPU else {"memory.max": f"{value:.0f}"}
        extra = {} if controller == CPU else {"memory.swap.max": "0", "memory.oom.group": "1"}
    else:
        wanted = {"cpu.cfs_period_us": f"{_PERIOD}", "cpu.cfs_quota_us": f"{quota}"}
        wanted = wanted if controller == CPU else {"memory.limit_in_bytes": f"{value:.0f}"}
        extra = {} if controller == CPU else {"memory.memsw.limit_in_bytes": f"{value:.0f}"}
    for name, text in wanted.items():
        (folder / name).write_text(text)
    for name, text in extra.items():
        with contextlib.suppress(OSError):
            if (folder / name).exists():
                (folder / name).write_text(text)


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text().splitlines()
    except OSError:
        return []


def keep_to_processors(pid: int, cpu: float, turn: int) -> bool:
    """Keep a process that was just started to as many processors as it may use; ``turn`` spreads workers over them.

    Returns whether that limits it: on a machine with fewer processors it does not.
    """
    if not hasattr(os, "sched_setaffinity"):
        return False
    there = sorted(os.sched_getaffinity(0))
    count = math.ceil(cpu)
    if count >= len(there):
        return False
    chosen = {there[(turn * count + offset) % len(there)] for offset in range(count)}
    with contextlib.suppress(OSError):
        os.sched_setaffinity(pid, chosen)
        return True
    return False
