"""Locked weights where a predictor on this machine looks for them: in the project's folder, without a second copy where that is safe."""

from __future__ import annotations

import fcntl
import hashlib
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from lading.model.decisions import Decision
from lading.model.problems import ExitCode, LadingError, Problem
from lading.model.weights import LOCK, LockedWeight, Weight, WeightFile
from lading.weights.locking import Weights, files, settle

_PIECE = 1 << 20
_MODE = 0o444
"""A write to weights by mistake fails."""
_FICLONE = 0x40049409
"""``linux/fs.h``: share the extents of another file."""


def put(weights: Weights, locked: Sequence[LockedWeight], *, here: bool = True) -> list[Path]:
    """Have the files where a predictor looks for them; returns what was put there.

    A target below ``/src`` is in the project's folder; another one must be on the machine already. Where the predictor is to run is not
    ``here``, that is not looked at.

    Raises:
        LadingError: if a target is no place that Lading may write to, or something else lies there.
    """
    declared = {weight.name: weight for weight in weights.declared}
    lacking = [
        (one, file, place)
        for one in locked
        if here or one.inside is not None
        for file in one.files
        if not is_file_of_lock(weights, place := _target(weights, one, file), file)
    ]
    for one, file, place in lacking:
        if one.inside is None:
            raise LadingError(_not_here(declared[one.name]))
        if place.exists() and not _is_source(weights, declared[one.name], one, file, place) and not _is_ours(weights, place):
            raise LadingError(_in_the_way(weights, declared[one.name], file, place))
    needed = {one.name for one, _, _ in lacking}
    kept = {(one.weight.name, one.file.path): one.here for one in files(weights, [one for one in locked if one.name in needed])}
    for one, file, place in lacking:
        _put(weights, kept[one.name, file.path], file, place)
    return [place for _, _, place in lacking]


def put_settled(
    weights: Weights, *, locked: bool = False, frozen: bool = False, here: bool = True
) -> tuple[list[Path], tuple[Decision, ...]]:
    """`settle`, then `put`: what was put, and what was decided. Before something of the project runs.

    Raises:
        LadingError: as they do.
    """
    settled, decisions = settle(weights, locked=locked, frozen=frozen)
    return put(weights, settled, here=here), decisions


def _target(weights: Weights, locked: LockedWeight, file: WeightFile) -> Path:
    return (weights.root / locked.inside if locked.inside is not None else Path(locked.target)) / file.path


def is_file_of_lock(weights: Weights, place: Path, file: WeightFile) -> bool:
    """Whether a file is the one that the lock names. New weights often have the size of the old ones, so that says too little."""
    if not place.is_file() or place.stat().st_size != file.size:
        return False
    kept = weights.store.path(file.digest)
    linked = kept.is_file() and place.samefile(kept)
    return weights.store.digest_of(kept if linked else place) == file.digest


def _is_source(weights: Weights, weight: Weight, locked: LockedWeight, file: WeightFile, place: Path) -> bool:
    """Whether a file is where it comes from; what is to be done about another content is told of sources, then."""
    source = weights.source(weight, locked.sources[file.source]).place(file)
    return source is not None and source.exists() and place.samefile(source)


def _is_ours(weights: Weights, place: Path) -> bool:
    """Whether a file may be replaced: Lading put it there, from an earlier lock, and nobody has changed it; or the store has the same."""
    if not place.is_file():
        return False
    found = weights.store.digest_of(place)
    return found == weights.store.placed(place) or weights.store.has(found)


def _put(weights: Weights, source: Path, file: WeightFile, place: Path) -> None:
    """Weights are large, so that one copy is to be enough: a clone, which shares what neither writes to, where the file system makes some.

    Else a link, where the system keeps this user from writing to the file: whoever opens the link for writing would write to the store, for
    every project. The superuser may write to all files, and gets a copy.
    """
    aside = place.with_name(f".{place.name}.{os.getpid()}")
    try:
        if weights.store.digest_of(source) != file.digest:
            raise LadingError(_written_to(file))
        place.parent.mkdir(parents=True, exist_ok=True)
        aside.unlink(missing_ok=True)  # of a process that was killed
        if not _cloned(source, aside):
            if os.access(source, os.W_OK) or not _linked(source, aside):
                _copy(source, aside, file)
            else:
                weights.store.know(source, file.digest)  # whose status a link changes
        aside.replace(place)
    except OSError as error:
        raise LadingError(_not_written(place, error)) from error
    finally:
        with suppress(OSError):
            aside.unlink()
    weights.store.know(place, file.digest)
    weights.store.put_at(place, file.digest)


def _cloned(source: Path, place: Path) -> bool:
    """Whether a file could be cloned (btrfs, XFS, bcachefs)."""
    if sys.platform != "linux":
        return False
    with source.open("rb") as origin, place.open("xb") as target:
        try:
            fcntl.ioctl(target, _FICLONE, origin.fileno())
        except OSError:
            place.unlink()
            return False
        os.fchmod(target.fileno(), _MODE)
    return True


def _linked(source: Path, place: Path) -> bool:
    try:
        os.link(source, place)
    except OSError:  # another file system, or one without links
        return False
    return True


def _copy(source: Path, place: Path, file: WeightFile) -> None:
    found = hashlib.sha256()
    with source.open("rb") as origin, place.open("xb") as target:
        while piece := origin.read(_PIECE):
            found.update(piece)
            target.write(piece)
        os.fchmod(target.fileno(), _MODE)
    if f"sha256:{found.hexdigest()}" != file.digest:
        raise LadingError(_written_to(file))


def _not_here(weight: Weight) -> Problem:
    return Problem(
        rule="weights-not-in-place",
        what=f"The weights {weight.name} are to lie in {weight.target}, and are not there.",
        origin=weight.origin,
        why="That is a place in containers; on this machine Lading writes to the project's folder alone, which is /src there.",
        instead=f"Write target: /src/weights/{weight.name}, or build an image and run it: `lading build -t NAME`, `lading serve NAME`.",
        code=ExitCode.BUILD,
    )


def _in_the_way(weights: Weights, weight: Weight, file: WeightFile, place: Path) -> Problem:
    was = weights.store.placed(place) == file.digest
    return Problem(
        rule="weights-in-the-way",
        what=f"{place} is not the file of the weights {weight.name} that {LOCK} names.",
        origin=weight.origin,
        why="It was what the lock says when Lading put it there, and was changed since." if was else "It has another content.",
        instead=f"Move it away, or run `lading weights import {weight.name}` if it is the source.",
        code=ExitCode.LOCK,
    )


def _not_written(place: Path, error: OSError) -> Problem:
    return Problem(
        rule="weights-not-written",
        what=f"{place} cannot be written: {error.strerror or error}.",
        why="Weights with a target below /src are put into the project's folder.",
        instead="Free some space there, or make the folder writable; or build an image and run it.",
        code=ExitCode.BUILD,
    )


def _written_to(file: WeightFile) -> Problem:
    return Problem(
        rule="weights-changed",
        what=f"{file.path} was written to while it was put in place.",
        why="It was what the lock says just before.",
        instead="Run the command again when nothing writes to it any more.",
        code=ExitCode.LOCK,
    )
