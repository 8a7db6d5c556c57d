"""Locked weights where a predictor on this machine looks for them: links in the project's folder."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from lading.model.problems import ExitCode, LadingError, Problem
from lading.model.weights import LOCK, LockedWeight, Weight, WeightFile
from lading.weights.locking import Weights, files


def put(weights: Weights, locked: Sequence[LockedWeight]) -> list[Path]:
    """Have the files where a predictor on this machine looks for them; returns what was put there.

    A target below ``/src`` is in the project's folder; another one must be on the machine already.

    Raises:
        LadingError: if a target is no place that Lading may write to, or something else lies there.
    """
    declared = {weight.name: weight for weight in weights.declared}
    lacking = [
        (one, file, place)
        for one in locked
        for file in one.files
        if not is_file_of_lock(weights, place := _target(weights, one, file), file)
    ]
    for one, _, _ in lacking:
        if one.inside is None:
            raise LadingError(_not_here(declared[one.name]))
    needed = {one.name for one, _, _ in lacking}
    here = {(one.weight.name, one.file.path): one.here for one in files(weights, [one for one in locked if one.name in needed])}
    for one, file, place in lacking:
        if place.exists():
            if not _is_ours(weights, place):
                raise LadingError(_in_the_way(declared[one.name], place))
            place.unlink()
        _link(here[one.name, file.path], place)
    return [place for _, _, place in lacking]


def _target(weights: Weights, locked: LockedWeight, file: WeightFile) -> Path:
    return (weights.root / locked.inside if locked.inside is not None else Path(locked.target)) / file.path


def is_file_of_lock(weights: Weights, place: Path, file: WeightFile) -> bool:
    """Whether a file is the one that the lock names. New weights often have the size of the old ones, so that says too little."""
    if not place.is_file() or place.stat().st_size != file.size:
        return False
    kept = weights.store.path(file.digest)
    return (kept.is_file() and place.samefile(kept)) or weights.store.digest_of(place) == file.digest


def _is_ours(weights: Weights, place: Path) -> bool:
    """Whether a file is a link to one of the store: Lading put it there, from an earlier lock."""
    if not place.is_file() or place.stat().st_nlink == 1:
        return False
    kept = weights.store.path(weights.store.digest_of(place))
    return kept.is_file() and place.samefile(kept)


def _link(source: Path, place: Path) -> None:
    """A hard link where that is possible: weights are large, and one copy is enough."""
    place.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source, place)
    except OSError:
        aside = place.with_name(f".{place.name}.{os.getpid()}")
        shutil.copyfile(source, aside)
        aside.replace(place)


def _not_here(weight: Weight) -> Problem:
    return Problem(
        rule="weights-not-in-place",
        what=f"The weights {weight.name} are to lie in {weight.target}, and are not there.",
        origin=weight.origin,
        why="That is a place in containers; on this machine Lading writes to the project's folder alone, which is /src there.",
        instead=f"Write target: /src/weights/{weight.name}, or build an image and run it: `lading build -t NAME`, `lading serve NAME`.",
        code=ExitCode.BUILD,
    )


def _in_the_way(weight: Weight, place: Path) -> Problem:
    return Problem(
        rule="weights-in-the-way",
        what=f"{place} is not the file of the weights {weight.name} that {LOCK} names.",
        origin=weight.origin,
        why="It has another content.",
        instead=f"Move it away, or run `lading weights import {weight.name}` if it is the source.",
        code=ExitCode.LOCK,
    )
