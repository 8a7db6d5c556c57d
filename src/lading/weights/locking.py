"""What becomes of weights, stage by stage: imported into the lock, compared with it, brought to this machine.

::

    import_weights -> weights.lock -> settle (before build, serve, predict) -> files -> layers of an image, or `lading.weights.placing`
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from lading.environments.threads import threads
from lading.explain.text import count
from lading.locks.weights import Drift, WeightsLock, drift, read_lock, write_lock
from lading.locks.writing import write_lock_file
from lading.model.decisions import Decision, Kind
from lading.model.events import Event, Phase, Reporter, silent
from lading.model.origin import Origin
from lading.model.problems import ExitCode, LadingError, Problem, ProblemCollector
from lading.model.records import dataclass, field, replace
from lading.model.weights import LOCK, LockedWeight, Weight, WeightFile, WeightSource, is_inside
from lading.weights.sources import Source, keeps, make_source
from lading.weights.store import Part, WeightStore

if TYPE_CHECKING:
    from lading.model.project import ProjectConfig

IMPORTING, CHECKING, FETCHING = "Importing weights", "Checking weights", "Fetching weights"
_AT_ONCE = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    """The weights of one project. ``folder`` is that of its configuration, where the lock and relative sources are; ``root`` the project's."""

    root: Path
    folder: Path
    declared: tuple[Weight, ...]
    environ: Mapping[str, str] = field(default_factory=lambda: os.environ)
    offline: bool = False
    reporter: Reporter = silent
    store: WeightStore = field(default_factory=WeightStore)

    @property
    def path(self) -> Path:
        """The lock's file."""
        return self.folder / LOCK

    def read(self) -> WeightsLock:
        """The lock on disk.

        Raises:
            LadingError: if it cannot be read.
        """
        try:
            return read_lock(self.path.read_bytes())
        except FileNotFoundError:
            return read_lock(None)

    def source(self, weight: Weight, source: WeightSource) -> Source:
        """What a source's files are read from."""
        return make_source(source, self.folder, self.store, self.environ, weight.origin, offline=self.offline)


def weights_of(root: Path, config: ProjectConfig, environ: Mapping[str, str], reporter: Reporter, *, offline: bool) -> Weights:
    """The weights that a configuration names; ``root`` is the project's folder."""
    folder = root / PurePosixPath(config.path or ".").parent
    return Weights(root=root, folder=folder, declared=config.weights, environ=environ, offline=offline, reporter=reporter)


@dataclass(frozen=True, slots=True, kw_only=True)
class Placed:
    """A file of locked weights on this machine: its path in the set, where it lies here, and what the lock says of it."""

    weight: LockedWeight
    file: WeightFile
    here: Path


_Wanted = tuple[LockedWeight, Weight, WeightFile]


# -- import


def import_weights(weights: Weights, names: Sequence[str] = (), *, write: bool = True) -> tuple[LockedWeight, ...]:
    """Look at the sources as they are now, write the lock, and fetch what this machine lacks. ``names`` leaves the other sets as they are.

    Raises:
        LadingError: with every set that cannot be had, or of a name that there is not; the lock is then as it was.
    """
    before = weights.read()
    asked = _named(weights, names)
    problems = ProblemCollector()
    made: dict[str, LockedWeight] = {}
    for weight in asked:
        weights.reporter(Event(step=IMPORTING, phase=Phase.STARTED, message=weight.name))
        with problems.catching():
            made[weight.name] = _imported(weights, weight)
        phase = Phase.FINISHED if weight.name in made else Phase.FAILED
        weights.reporter(Event(step=IMPORTING, phase=phase, message=weight.name))
    problems.raise_if_any()
    kept = {one.name: one for one in before.weights} if names else {}
    ordered = [made.get(weight.name) or kept.get(weight.name) for weight in weights.declared]
    locked = tuple(one for one in ordered if one is not None)
    if write:
        content = write_lock(locked, before)
        if not weights.path.exists() or weights.path.read_bytes() != content:
            _write(weights.path, content)
        files(weights, tuple(made.values()))
    return locked


def _named(weights: Weights, names: Sequence[str]) -> tuple[Weight, ...]:
    known = {weight.name: weight for weight in weights.declared}
    unknown = [name for name in names if name not in known]
    if unknown:
        raise LadingError(
            Problem(
                rule="weights-unknown",
                what=f"The configuration names no weights {', '.join(unknown)}.",
                origin=Origin("NAME"),
                instead=f"Its weights are {', '.join(known)}." if known else "Write weights: into cog.yaml.",
            )
        )
    return tuple(weight for weight in weights.declared if not names or weight.name in names)


def _imported(weights: Weights, weight: Weight) -> LockedWeight:
    def told(done: int, total: int | None) -> None:
        weights.reporter(Event(step=IMPORTING, phase=Phase.PROGRESS, done=done, total=total, unit="bytes"))

    found: list[WeightFile] = []
    fingerprints = []
    for number, source in enumerate(weight.sources):
        inventory = weights.source(weight, source).inventory(keeps(source), told)
        if not inventory.files:
            raise LadingError(_nothing_left(weight, source))
        found += [replace(file, source=number) for file in inventory.files]
        fingerprints.append(inventory.fingerprint)
    _paths_inside(weight, found)
    _no_path_twice(weight, found)
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    return LockedWeight(
        name=weight.name,
        target=weight.target,
        sources=weight.sources,
        fingerprints=tuple(fingerprints),
        files=tuple(sorted(found, key=lambda file: file.path)),
        imported_at=now,
    )


def _nothing_left(weight: Weight, source: WeightSource) -> Problem:
    patterns = (("include", source.include), ("exclude", source.exclude))
    shown = "; ".join(f"{name}: {', '.join(texts)}" for name, texts in patterns if texts)
    return Problem(
        rule="weights-empty",
        what=f"{source.uri} gives {weight.name} no file.",
        origin=weight.origin,
        why=f"None is left by {shown}." if shown else "It is empty.",
        instead="Correct the patterns." if shown else "Put the weights there, or correct the address.",
        code=ExitCode.RESOLUTION,
    )


def _paths_inside(weight: Weight, found: Sequence[WeightFile]) -> None:
    for file in found:
        if not is_inside(file.path):
            raise LadingError(
                Problem(
                    rule="weights-file-outside",
                    what=f"{weight.sources[file.source].uri} names the file {file.path!r}, which would lie outside of {weight.target}.",
                    origin=weight.origin,
                    why="No honest source has such a file.",
                    instead="Leave it out with exclude, or take the weights from elsewhere.",
                    code=ExitCode.RESOLUTION,
                )
            )


def _no_path_twice(weight: Weight, found: Sequence[WeightFile]) -> None:
    seen: dict[str, WeightFile] = {}
    for file in found:
        other = seen.setdefault(file.path, file)
        if other is not file:
            raise LadingError(
                Problem(
                    rule="weights-file-twice",
                    what=f"Two sources of {weight.name} have the file {file.path}.",
                    origin=weight.origin,
                    why=f"They are {weight.sources[other.source].uri} and {weight.sources[file.source].uri}, and one would hide the other's.",
                    instead="Leave it out of one of them with exclude.",
                    code=ExitCode.RESOLUTION,
                )
            )


def _write(path: Path, content: bytes) -> None:
    try:
        write_lock_file(path, content)
    except OSError as error:
        raise LadingError(
            Problem(
                rule="lock-not-written",
                what=f"{path.name} cannot be written: {error.strerror}.",
                origin=Origin(path.name),
                instead="Make the project's folder writable.",
                code=ExitCode.LOCK,
            )
        ) from error


# -- compare


def settle(weights: Weights, *, locked: bool = False, frozen: bool = False) -> tuple[tuple[LockedWeight, ...], tuple[Decision, ...]]:
    """The lock's sets, after what the configuration says anew was imported; and what was decided.

    With ``locked`` nothing is imported: a lock that is out of date is an error. With ``frozen`` it is not looked whether it is.

    Raises:
        LadingError: if the lock is out of date and must not change, or a set cannot be imported.
    """
    lock = weights.read()
    found = drift(lock, weights.declared)
    if not found or (frozen and all(one.kind != "pending" for one in found)):
        declared = {weight.name for weight in weights.declared}
        return tuple(one for one in lock.weights if one.name in declared), ()
    if locked or frozen:
        raise LadingError(_out_of_date(found))
    names = [one.name for one in found if one.kind != "orphaned"]
    made = import_weights(weights, names) if names else _without_orphans(weights, lock)
    return made, tuple(_decided(one, weights) for one in found)


def _without_orphans(weights: Weights, lock: WeightsLock) -> tuple[LockedWeight, ...]:
    named = {weight.name for weight in weights.declared}
    kept = tuple(one for one in lock.weights if one.name in named)
    _write(weights.path, write_lock(kept, lock))
    return kept


def _out_of_date(found: Sequence[Drift]) -> Problem:
    return Problem(
        rule="weights-lock-stale",
        what=f"{LOCK} does not say what the configuration says.",
        origin=Origin(LOCK),
        why=" ".join(f"{one.name}: {one.detail}." for one in found),
        instead="Run `lading weights import`, and keep the new lock.",
        code=ExitCode.LOCK,
    )


def _decided(one: Drift, weights: Weights) -> Decision:
    declared = {weight.name: weight for weight in weights.declared}.get(one.name)
    chose = "removed from the lock" if one.kind == "orphaned" else "imported now"
    return Decision(
        rule="weights-imported",
        kind=Kind.CHOSEN,
        subject=one.name,
        asked=one.name,
        chose=chose,
        because=one.detail,
        origin=declared.origin if declared else Origin(LOCK),
        instead="--locked, which refuses to change a lock",
    )


# -- bring


def files(weights: Weights, locked: Sequence[LockedWeight]) -> tuple[Placed, ...]:
    """Every file of the sets on this machine, each what the lock says; what is missing is fetched.

    Raises:
        LadingError: with every source that a file cannot be had from, and every file that has another content than the lock says.
    """
    declared = {weight.name: weight for weight in weights.declared}
    wanted = [(one, declared[one.name], file) for one in locked if one.name in declared for file in one.files]
    missing = _not_intact(weights, [entry for entry in wanted if entry[0].sources[entry[2].source].scheme != "file"])
    if missing:
        _tell_damaged(weights, missing)
        _fetch(weights, missing)
    problems = ProblemCollector()
    found = []
    with threads(os.cpu_count() or 1) as pool:
        tasks = [(one, file, pool.submit(_checked, weights, one, weight, file)) for one, weight, file in wanted]
        for one, file, task in tasks:
            with problems.catching():
                found.append(Placed(weight=one, file=file, here=task.result()))
    problems.raise_if_any()
    return tuple(found)


def addresses(weights: Weights, locked: Sequence[LockedWeight]) -> tuple[tuple[LockedWeight, WeightFile, str], ...]:
    """Where every file of the sets is to be had, for a builder that fetches them itself: an address, or a path on this machine."""
    declared = {weight.name: weight for weight in weights.declared}
    return tuple(
        (one, file, weights.source(declared[one.name], one.sources[file.source]).address(file, one.fingerprints[file.source]))
        for one in locked
        for file in one.files
    )


def _checked(weights: Weights, locked: LockedWeight, weight: Weight, file: WeightFile) -> Path:
    """Where a file is; a file of the project is compared with the lock."""
    source = locked.sources[file.source]
    here = weights.source(weight, source).place(file)
    if here is None:
        return weights.store.use(file.digest)
    try:
        found = weights.store.digest_of(here)
    except OSError as error:
        raise LadingError(_changed(weight, file, error.strerror or "it cannot be read")) from error
    if found != file.digest:
        raise LadingError(_changed(weight, file, f"the lock has {file.digest[:19]}…, and the file {found[:19]}…"))
    return here


def _changed(weight: Weight, file: WeightFile, why: str) -> Problem:
    return Problem(
        rule="weights-changed",
        what=f"{file.path} of the weights {weight.name} is not what {LOCK} says.",
        origin=weight.origin,
        why=f"{why[:1].upper()}{why[1:]}.",
        instead=f"Put the file back, or run `lading weights import {weight.name}` if the new one is right.",
        code=ExitCode.LOCK,
    )


def _not_intact(weights: Weights, wanted: Sequence[_Wanted]) -> list[_Wanted]:
    """Those whose file is not in the store, or is damaged there: a project's link to it may have been written through."""
    unique = {file.digest: (one, weight, file) for one, weight, file in wanted}
    with threads(os.cpu_count() or 1) as pool:
        intact = list(pool.map(weights.store.intact, unique))
    return [entry for entry, right in zip(unique.values(), intact, strict=True) if not right]


def _tell_damaged(weights: Weights, missing: Sequence[_Wanted]) -> None:
    damaged = [(one, file) for one, _, file in missing if weights.store.has(file.digest)]
    if damaged:
        weights.reporter(Event(step=CHECKING, phase=Phase.STARTED, message=f"in {weights.store.root}"))
    for one, file in damaged:
        message = f"{file.path} of {one.name} was changed in the store or cannot be read there, and is fetched again"
        weights.reporter(Event(step=CHECKING, phase=Phase.FAILED, message=message))


def _fetch(weights: Weights, missing: Sequence[_Wanted]) -> None:
    total = sum(file.size for _, _, file in missing)
    heard = _Progress(weights.reporter, total)
    weights.reporter(Event(step=FETCHING, phase=Phase.STARTED, message=count(len(missing), "file")))
    problems = ProblemCollector()
    with threads(_AT_ONCE) as pool:
        for task in [pool.submit(_fetch_one, weights, *one, heard) for one in missing]:
            with problems.catching():
                task.result()
    phase = Phase.FAILED if problems.problems else Phase.FINISHED
    weights.reporter(Event(step=FETCHING, phase=phase, message=count(len(missing), "file"), done=heard.done, total=total, unit="bytes"))
    problems.raise_if_any()


def _fetch_one(weights: Weights, locked: LockedWeight, weight: Weight, file: WeightFile, heard: _Progress) -> None:
    uri, fingerprint = locked.sources[file.source].uri, locked.fingerprints[file.source]
    if uri in heard.away:
        return
    source = weights.source(weight, locked.sources[file.source])

    def receive(part: Part) -> None:
        heard(part.done)
        source.receive(file, fingerprint, part, heard)

    try:
        digest, _ = weights.store.take(file.digest, receive)
    except LadingError as error:
        if heard.away.setdefault(uri, error) is not error:
            return
        raise
    if digest != file.digest:
        raise LadingError(_changed(weight, file, f"the lock has {file.digest[:19]}…, and {uri} gives {digest[:19]}…"))


class _Progress:
    """Counts bytes of several threads.

    ``away`` has the sources of which a file could not be had: to ask for their hundreds more would take long, and tell nothing new.
    """

    def __init__(self, reporter: Reporter, total: int) -> None:
        self._reporter, self._total = reporter, total
        self.done, self._lock = 0, threading.Lock()
        self.away: dict[str, LadingError] = {}

    def __call__(self, size: int) -> None:
        with self._lock:
            self.done += size
            self._reporter(Event(step=FETCHING, phase=Phase.PROGRESS, done=self.done, total=max(self._total, self.done), unit="bytes"))
