"""The cache that conda prefixes are linked from: what of it no environment uses, and its removal.

A prefix's files are hard links into it, so removing an environment frees nothing as long as its packages are cached.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from lading.environments.home import ENVIRONMENTS
from lading.model.records import dataclass
from lading.resolvers.conda_client import caches


@dataclass(frozen=True, slots=True)
class Cached:
    """An unpacked package in the cache that no environment is linked from. ``bytes`` is what removing it frees."""

    name: str
    path: str
    bytes: int


def is_shared(environ: Mapping[str, str]) -> bool:
    """Whether other programs keep their packages in the same cache, so that what they use is not known here."""
    return bool(environ.get("RATTLER_CACHE_DIR"))


def unused_packages(store: str, environ: Mapping[str, str]) -> tuple[Cached, ...]:
    """The packages in the cache that no environment of the store is linked from, nor one that is being built."""
    folder = Path(caches(store, environ).packages)
    records = (f"{ENVIRONMENTS}/*/conda-meta/*.json", "building/*/env/conda-meta/*.json")
    used = {record.name.removesuffix(".json") for pattern in records for record in Path(store).glob(pattern)}
    try:
        places = sorted(entry for entry in folder.iterdir() if entry.is_dir() and entry.name not in used)
    except OSError:
        return ()
    return tuple(Cached(place.name, str(place), sum(_sizes(place))) for place in places)


def remove_packages(unused: tuple[Cached, ...]) -> tuple[Cached, ...]:
    """Remove packages from the cache, except those that somebody reads at this moment; returns those that were removed."""
    return tuple(one for one in unused if _remove(one))


def mend(packages: str, names: Iterable[str]) -> bool:
    """Remove those of the packages from the cache that lack a file, so that they are fetched again; whether there were any.

    py-rattler takes a package that it has unpacked once for whole; a program that cleans up may have taken files of it.
    """
    damaged = [place for name in names if not _is_whole(place := os.path.join(packages, name))]
    for place in damaged:
        shutil.rmtree(place, ignore_errors=True)
        with contextlib.suppress(OSError):
            os.unlink(f"{place}.lock")
    return bool(damaged)


def _is_whole(place: str) -> bool:
    """Whether a package in the cache has every file that it lists; one that is not there lacks none."""
    if not os.path.isdir(place):
        return True
    try:
        with open(os.path.join(place, "info", "paths.json"), encoding="utf-8") as stream:
            listed = [str(one["_path"]) for one in json.load(stream)["paths"]]
    except (OSError, ValueError, KeyError, TypeError):
        return False
    return all(os.path.lexists(os.path.join(place, path)) for path in listed)


def _remove(cached: Cached) -> bool:
    """py-rattler holds a lock on the file beside a package while it unpacks or links it."""
    lock = f"{cached.path}.lock"
    try:
        descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        aside = f"{cached.path}.removed-{os.getpid()}"
        os.rename(cached.path, aside)
        os.unlink(lock)
        shutil.rmtree(aside, ignore_errors=True)
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return True


def _sizes(folder: Path) -> Iterator[int]:
    for parent, _, names in os.walk(folder):
        for name in names:
            status = os.lstat(os.path.join(parent, name))
            if status.st_nlink == 1:
                yield status.st_size
