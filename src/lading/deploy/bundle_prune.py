"""Bundles that lie unpacked on this machine: who uses them, and what may go. POSIX alone, as the locks that say so are."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from lading.deploy.bundle import FOLDER, MANIFEST, absent
from lading.environments.claims import same_file, try_lock
from lading.environments.home import home

_LEFT_SECONDS = 86400.0
"""After which what was being unpacked, or removed, was left there by a process that was killed."""


@contextmanager
def hold_bundle(root: Path) -> Iterator[None]:
    """Use a bundle, whose project lies in ``root``: as long as this lasts, nothing removes it. The system ends it with the process.

    Raises:
        LadingError: if it has been removed.
    """
    manifest = root.parent / MANIFEST
    try:
        descriptor = os.open(manifest, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise absent(root.parent.name) from error
    try:
        with suppress(OSError):  # a file system without locks
            fcntl.flock(descriptor, fcntl.LOCK_SH)
        if not same_file(descriptor, str(manifest)):
            raise absent(root.parent.name)
        with suppress(OSError):
            os.utime(manifest)
        yield
    finally:
        os.close(descriptor)


def prune_bundles(
    older_than: float = 0.0, *, only: Iterable[str] | None = None, dry_run: bool = False, environ: Mapping[str, str] | None = None
) -> tuple[int, int]:
    """Remove bundles that no deployment of this machine names, no process uses, and that were not used for ``older_than`` seconds.

    ``only`` are the digests that may go; None means all, and what killed processes left as well. Returns how many there were, and their bytes.
    """
    store = Path(home(environ)) / FOLDER
    names = {place.name for place in store.iterdir()} if store.is_dir() else set()
    wanted = (names if only is None else names & set(only)) - _named(store.parent)
    limit = time.time() - older_than
    removed = [size for name in sorted(wanted) if (size := _remove(store / name, limit, dry_run=dry_run)) is not None]
    return len(removed), sum(removed)


def _named(store: Path) -> set[str]:
    """The digests of all revisions of the deployments that this machine serves."""
    found: set[str] = set()
    for path in store.glob("deployments/local/*/state.json"):
        with suppress(OSError, ValueError, KeyError, TypeError, AttributeError):
            found.update(str(one["digest"]) for one in json.loads(path.read_bytes())["assignments"].values())
    return found


def _remove(place: Path, limit: float, *, dry_run: bool) -> int | None:
    """The bytes of a bundle that was removed, or would be; None if it stays."""
    if place.name.startswith("."):
        return _sweep(place, dry_run=dry_run)
    try:
        with (place / MANIFEST).open("rb") as stream:
            if os.fstat(stream.fileno()).st_mtime > limit or not try_lock(stream.fileno(), fcntl.LOCK_EX):
                return None
            size = _size(place)
            if not dry_run:
                aside = place.with_name(f".removing-{place.name}-{os.getpid()}")
                place.rename(aside)
                shutil.rmtree(aside, ignore_errors=True)
            return size
    except OSError:
        return None


def _sweep(place: Path, *, dry_run: bool) -> int | None:
    with suppress(OSError):
        if place.name.startswith(".removing-") or place.stat().st_mtime < time.time() - _LEFT_SECONDS:
            size = _size(place)
            if not dry_run:
                shutil.rmtree(place, ignore_errors=True)
            return size
    return None


def _size(place: Path) -> int:
    return sum(path.lstat().st_size for path in place.rglob("*") if not path.is_dir())
