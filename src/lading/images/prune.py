"""What nothing needs any more in the store of images: found, and removed.

A name keeps its image. What no name needs stays as long as it was used lately, as the next build would make it anew; "used" is the time that its
file carries, which every use sets.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from lading.images.store import Store, name_of
from lading.model.records import dataclass

_LEFTOVER = 86400.0
"""Files of runs that were killed are this old (seconds) at least: no run takes so long."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Unused:
    """Something that nothing needs. ``kind`` is ``image`` (a name), ``layer``, ``wheel``, ``root`` (an image unpacked) or ``leftover``.

    ``bytes`` is what its removal frees.
    """

    kind: str
    name: str
    bytes: int
    path: Path

    def as_json(self) -> dict[str, Any]:
        """The record as JSON data."""
        return {"kind": self.kind, "name": self.name, "bytes": self.bytes}


@dataclass(frozen=True, slots=True, kw_only=True)
class Named:
    """An image of the store. ``bytes`` are those of its layers, which it may share with others."""

    name: str
    digest: str
    bytes: int
    used: float

    def as_json(self) -> dict[str, Any]:
        """The record as JSON data; the time is in UTC."""
        used = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(self.used))
        return {"name": self.name, "digest": self.digest, "bytes": self.bytes, "used": used}


def list_images(store: Store) -> tuple[Named, ...]:
    """Every name with its image, the last used first."""
    found = []
    for entry in store.entries():
        name, digest = name_of(entry), str(entry["digest"])
        if name and store.has(digest):
            layers = [one for one in _reached(store, [digest]) if store.has(one)]
            size = sum(store.path(one).stat().st_size for one in layers)
            found.append(Named(name=name, digest=digest, bytes=size, used=store.path(digest).stat().st_mtime))
    return tuple(sorted(found, key=lambda one: -one.used))


def prune_images(store: Store, *, older_than: float, names: bool = False, dry_run: bool = False) -> tuple[Unused, ...] | None:
    """Remove what no name needs and was not used for ``older_than`` seconds; with ``names`` also such names. None while a build runs.

    Returns what was removed, or would be with ``dry_run``.

    Raises:
        LadingError: if the store cannot be written.
    """
    if not (store.root / "index.json").exists() and not (store.root / "layers").is_dir():
        return ()
    with store.alone() as free:
        if not free:
            return None
        limit = time.time() - older_than
        old = [one for one in (list_images(store) if names else ()) if one.used <= limit]
        gone = {one.name for one in old}
        kept = _reached(store, [str(entry["digest"]) for entry in store.entries() if name_of(entry) not in gone])
        images = [Unused(kind="image", name=one.name, bytes=0, path=store.path(one.digest)) for one in old]
        found = (*images, *_records(store, kept, limit), *_blobs(store, kept, limit), *_files(store, kept, limit))
        if not dry_run:
            store.forget(gone)
            for one in found:
                if one.kind != "image":
                    _remove(one.path)
        return tuple(one for one in found if one.kind != "record")


def _reached(store: Store, digests: Iterable[str]) -> set[str]:
    """Every blob that some images are made of, themselves included."""
    found: set[str] = set()
    waiting = list(digests)
    while waiting:
        digest = waiting.pop()
        if digest in found or not store.has(digest):
            continue
        found.add(digest)
        record = json.loads(store.read(digest))
        waiting += [str(entry["digest"]) for entry in record.get("manifests", ())]
        if "config" in record:
            found |= {str(entry["digest"]) for entry in (record["config"], *record.get("layers", ()))}
    return found


def _records(store: Store, kept: set[str], limit: float) -> Iterator[Unused]:
    """How layers were made that are neither part of a name's image nor were used lately."""
    for path in _inside(store.root / "layers"):
        used = path.stat().st_mtime
        digest = _digest_of(path)
        if used <= limit and digest not in kept:
            yield Unused(kind="record", name=path.stem, bytes=0, path=path)
        elif digest:
            kept.add(digest)


def _digest_of(path: Path) -> str | None:
    try:
        return str(json.loads(path.read_bytes())["digest"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _blobs(store: Store, kept: set[str], limit: float) -> Iterator[Unused]:
    for path in _inside(store.root / "blobs" / "sha256"):
        status = path.stat()
        if f"sha256:{path.name}" not in kept and status.st_mtime <= limit:
            yield Unused(kind="layer", name=path.name[:12], bytes=status.st_size, path=path)


def _files(store: Store, kept: set[str], limit: float) -> Iterator[Unused]:
    """Wheels, unpacked images, and what killed runs left."""
    for folder in _inside(store.root / "wheels"):
        wheels = list(_inside(folder))
        used = max((path.stat().st_mtime for path in wheels), default=0.0)
        if used <= limit:
            name = wheels[0].name if wheels else folder.name
            yield Unused(kind="wheel", name=name, bytes=sum(path.stat().st_size for path in wheels), path=folder)
    for folder in _inside(store.root / "rootfs"):
        used = folder.stat().st_mtime
        if f"sha256:{folder.name}" not in kept and used <= limit:
            size = sum(path.lstat().st_size for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
            yield Unused(kind="root", name=folder.name[:12], bytes=size, path=folder)
    for path in _inside(store.root / "work"):
        status = path.stat()
        if status.st_mtime <= time.time() - _LEFTOVER:
            yield Unused(kind="leftover", name=path.name, bytes=status.st_size, path=path)


def _inside(folder: Path) -> list[Path]:
    return sorted(folder.iterdir()) if folder.is_dir() else []


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
