"""How weights stand: the configuration, the lock and this machine compared."""

from __future__ import annotations

from lading.locks.weights import drift
from lading.model.records import dataclass
from lading.model.weights import LockedWeight, Weight
from lading.weights.locking import Weights
from lading.weights.placing import is_file_of_lock


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """How one set stands.

    ``state`` is ``ready``, ``incomplete`` (files are not on this machine, or damaged in the store), ``modified`` (files of the project are not what the lock says),
    ``changed`` (the configuration is not), ``pending`` or ``orphaned``.
    """

    name: str
    target: str
    state: str
    detail: str = ""
    size: int = 0
    files: int = 0


def status(weights: Weights) -> list[Status]:
    """How each set stands: in the configuration's order, then what the lock alone names."""
    lock = weights.read()
    differing = {one.name: one for one in drift(lock, weights.declared)}
    names = [*(weight.name for weight in weights.declared), *(name for name, one in differing.items() if one.kind == "orphaned")]
    declared = {weight.name: weight for weight in weights.declared}
    found = []
    for name in names:
        locked, differs = lock.find(name), differing.get(name)
        state, detail = (differs.kind, differs.detail) if differs else ("ready", "")
        if locked is not None and state == "ready":
            state, detail = _state_of_files(weights, declared[name], locked)
        size, count = (locked.size, len(locked.files)) if locked else (0, 0)
        target = declared[name].target if name in declared else (locked.target if locked else "")
        found.append(Status(name=name, target=target, state=state, detail=detail, size=size, files=count))
    return found


def _state_of_files(weights: Weights, weight: Weight, locked: LockedWeight) -> tuple[str, str]:
    missing: list[str] = []
    damaged: list[str] = []
    modified: list[str] = []
    for file in locked.files:
        place = weights.source(weight, locked.sources[file.source]).place(file)
        if place is None and not weights.store.intact(file.digest):
            (damaged if weights.store.has(file.digest) else missing).append(file.path)
        elif place is not None and not place.is_file():
            missing.append(file.path)
        elif place is not None and not is_file_of_lock(weights, place, file):
            modified.append(file.path)
    if modified:
        return "modified", f"not what the lock says: {', '.join(modified[:5])}"
    said = [f"{len(missing)} of {len(locked.files)} files are not on this machine"] if missing else []
    said += [f"changed in Lading's store, to be fetched again: {', '.join(damaged[:5])}"] if damaged else []
    return ("incomplete", "; ".join(said)) if said else ("ready", "")
