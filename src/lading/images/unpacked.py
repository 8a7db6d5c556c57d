"""Layers read back: their tars, and the folder that they make one over the other."""

from __future__ import annotations

import contextlib
import gzip
import os
import shutil
import stat
import tarfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from lading.images.layers import zstd_module
from lading.images.media import Blobs, Descriptor, Layer
from lading.model.problems import ExitCode, LadingError, Problem

try:
    from isal import igzip

    _igzip: Any = igzip
except ImportError:  # pragma: no cover -- an accelerator, for the platforms that have it
    _igzip = gzip

_GZIP_ERROR: type[Exception] = getattr(_igzip, "isal_zlib", zlib).error
_PIECE = 1 << 20
_WHITEOUT = ".wh."
_OPAQUE = ".wh..wh..opq"
_LINKS = 40
"""As many links the kernel follows in one path."""


@contextmanager
def open_tar(blobs: Blobs, descriptor: Descriptor) -> Iterator[BinaryIO]:
    """A layer's uncompressed tar as a stream, whatever it is compressed with.

    Raises:
        LadingError: if the blob is not there.
    """
    with blobs.open(descriptor.digest) as raw, decompressed(raw) as stream:
        yield stream


@contextmanager
def decompressed(raw: BinaryIO) -> Iterator[BinaryIO]:
    """A stream without its compression, known by its first bytes.

    Raises:
        tarfile.ReadError: if it is damaged, whatever it is compressed with.
    """
    magic = raw.read(4)
    raw.seek(0)
    if magic[:2] == b"\x1f\x8b":
        with _damage_as_tars(gzip.BadGzipFile, zlib.error, _GZIP_ERROR), _igzip.open(raw, "rb") as stream:
            yield stream
    elif magic == b"\x28\xb5\x2f\xfd":
        zstd = zstd_module()
        with _damage_as_tars(zstd.ZstdError), zstd.open(raw, "rb") as stream:
            yield stream
    else:
        yield raw


@contextmanager
def _damage_as_tars(*errors: type[Exception]) -> Iterator[None]:
    """Each library has an error of its own, gzip's is even one of the system: for readers a damaged stream is a damaged tar."""
    try:
        yield
    except errors as error:
        raise tarfile.ReadError(str(error)) from error


def uncompressed(blobs: Blobs, descriptor: Descriptor) -> Iterable[bytes]:
    """A layer's tar in pieces."""
    with open_tar(blobs, descriptor) as stream:
        while piece := stream.read(_PIECE):
            yield piece


@contextmanager
def open_entries(blobs: Blobs, descriptor: Descriptor) -> Iterator[tarfile.TarFile]:
    """A layer's entries, to be read in their order.

    Raises:
        LadingError: if it is no tar.
    """
    try:
        with open_tar(blobs, descriptor) as stream, tarfile.open(fileobj=stream, mode="r|", errorlevel=1) as archive:
            yield archive
    except (tarfile.TarError, EOFError) as error:
        raise LadingError(_damaged(descriptor.digest, str(error))) from error


def unpack(blobs: Blobs, layers: Sequence[Layer], folder: Path, wanted: Callable[[str], bool] = lambda _path: True) -> None:
    """All layers into a folder, whiteouts applied; owners only where we may set them, no devices. ``wanted`` is asked of each path.

    Raises:
        LadingError: if a layer cannot be read, or the folder cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    folder = folder.resolve()
    try:
        for layer in layers:
            with open_entries(blobs, layer.descriptor) as archive:
                for entry in archive:
                    path = _path_of(entry)
                    if path.rpartition("/")[2].startswith(_WHITEOUT) or wanted(path):
                        _unpack_one(archive, entry, folder)
    except OSError as error:
        raise LadingError(
            Problem(rule="image-not-unpacked", what=f"{folder} cannot be written: {error.strerror or error}.", instead="Free some space.")
        ) from error


def _unpack_one(archive: tarfile.TarFile, entry: tarfile.TarInfo, folder: Path) -> None:
    path = _path_of(entry)
    if not path or ".." in path.split("/"):
        return
    above = _inside(folder, path.rpartition("/")[0])
    above.mkdir(parents=True, exist_ok=True)
    place = above / path.rpartition("/")[2]
    if place.name == _OPAQUE:
        for child in above.iterdir():
            _remove(child)
    elif place.name.startswith(_WHITEOUT):
        gone = place.name.removeprefix(_WHITEOUT)
        if gone not in ("", ".", ".."):  # no file's name: what is meant must not be the folder, or the one above it
            _remove(above / gone)
    elif entry.isdir():
        if place.is_symlink() or (place.exists() and not place.is_dir()):
            _remove(place)
        place.mkdir(exist_ok=True)
        _settle(place, entry)
    elif entry.isfile() or entry.issym() or entry.islnk():
        _remove(place)
        _make(archive, entry, place, folder)


def _path_of(entry: tarfile.TarInfo) -> str:
    """An entry's path with one spelling: a name that stands for the folder itself, as ``usr/.``, would let a link take its place."""
    return "/".join(part for part in entry.name.split("/") if part not in ("", "."))


def _make(archive: tarfile.TarFile, entry: tarfile.TarInfo, place: Path, folder: Path) -> None:
    if entry.issym():
        place.symlink_to(entry.linkname)
    elif entry.islnk():
        target = entry.linkname.removeprefix("./").strip("/")
        os.link(_inside(folder, target.rpartition("/")[0]) / target.rpartition("/")[2], place, follow_symlinks=False)
    else:
        content = archive.extractfile(entry)
        with place.open("wb") as stream:
            if content is not None:
                shutil.copyfileobj(content, stream, _PIECE)
        _settle(place, entry)


def _settle(place: Path, entry: tarfile.TarInfo) -> None:
    place.chmod(stat.S_IMODE(entry.mode) | (0o700 if entry.isdir() else 0o400))
    if os.geteuid() == 0:
        with contextlib.suppress(OSError):
            os.chown(place, entry.uid, entry.gid)
    with contextlib.suppress(OSError):
        os.utime(place, (entry.mtime, entry.mtime))


def _inside(folder: Path, path: str) -> Path:
    """A folder of the image, its symbolic links followed as if the image were the whole system.

    Raises:
        tarfile.ReadError: if they are more than a system follows: one that is left would be followed by this machine's, out of the folder.
    """
    place, parts, links = folder, path.split("/") if path else [], 0
    while parts:
        part = parts.pop(0)
        if part in ("", "."):
            continue
        if part == "..":
            place = place.parent if place != folder else folder
            continue
        step = place / part
        if step.is_symlink():
            if links == _LINKS:
                raise tarfile.ReadError(f"{path} has too many symbolic links")
            target, links = os.readlink(step), links + 1
            parts = target.split("/") + parts
            place = folder if target.startswith("/") else place
            continue
        place = step
    if not place.resolve().is_relative_to(folder):
        raise tarfile.ReadError(f"{path} leads out of the image")
    return place


def _remove(place: Path) -> None:
    if place.is_dir() and not place.is_symlink():
        shutil.rmtree(place, ignore_errors=True)
    else:
        place.unlink(missing_ok=True)


def _damaged(digest: str, why: str) -> Problem:
    return Problem(
        rule="layer-damaged",
        what=f"The layer {digest} cannot be read: {why}.",
        instead="Fetch the image it belongs to again.",
        code=ExitCode.BUILD,
    )
