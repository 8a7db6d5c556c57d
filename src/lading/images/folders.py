"""A folder of this machine as a layer: a conda prefix, vendored packages, the project itself."""

from __future__ import annotations

import hashlib
import os
import stat
import zlib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import BinaryIO

from lading.images.layers import DamagedError, LayerWriter
from lading.images.tar import FILE, LINK, Entry
from lading.images.tar import FOLDER as FOLDER_KIND
from lading.model.problems import ExitCode, LadingError, Problem
from lading.model.records import dataclass, replace

_PIECE = 1 << 20
_SAMPLE = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """One file or link: where it lies here (``source``), and where in the image (``path``). ``target`` is a link's, else empty.

    ``sha256`` (in hex), where it is known, is what the file must have when it is written to a layer.
    """

    path: str
    source: str
    size: int = 0
    executable: bool = False
    target: str = ""
    folder: bool = False
    sha256: str = ""


def walk(folder: Path, prefix: str, keep: Callable[[str, bool], bool] = lambda _path, _folder: True) -> list[Found]:
    """Everything below a folder that is to be in the image, sorted by its path there.

    ``keep`` is asked of each path relative to the folder, and whether it is a folder; what is below a folder that is not kept is not asked.
    Sockets, pipes and devices are left out; a folder is only listed where nothing is in it.

    Raises:
        OSError: if something cannot be read.
    """
    found = sorted(_below(folder, "", prefix, keep), key=lambda one: os.fsencode(one.path))
    return list(found)


def _below(folder: Path, inside: str, prefix: str, keep: Callable[[str, bool], bool]) -> Iterable[Found]:
    any_child = False
    with os.scandir(folder / inside) as children:
        for child in children:
            path = f"{inside}/{child.name}".lstrip("/")
            status = child.stat(follow_symlinks=False)
            is_folder = stat.S_ISDIR(status.st_mode)
            if not keep(path, is_folder):
                continue
            any_child = True
            if is_folder:
                yield from _below(folder, path, prefix, keep)
            elif stat.S_ISLNK(status.st_mode):
                yield Found(path=f"{prefix}/{path}", source=child.path, target=os.readlink(child.path))
            elif stat.S_ISREG(status.st_mode):
                executable = bool(status.st_mode & 0o111)
                yield Found(path=f"{prefix}/{path}", source=child.path, size=status.st_size, executable=executable)
    if not any_child and inside:
        yield Found(path=f"{prefix}/{inside}", source=str(folder / inside), folder=True)


def write_found(writer: LayerWriter, found: Iterable[Found]) -> None:
    """Files and links as they were found; times and owners do not count, of permissions only whether a file can be run.

    Raises:
        LadingError: if a file has changed since it was found.
    """
    for one in found:
        if one.target:
            writer.entry(Entry(path=one.path, kind=LINK, target=one.target, mode=0o777))
        elif one.folder:
            writer.entry(Entry(path=one.path, kind=FOLDER_KIND, mode=0o755))
        else:
            with open(one.source, "rb") as stream:
                entry = Entry(path=one.path, size=one.size, mode=0o755 if one.executable else 0o644, kind=FILE)
                content = hashlib.sha256()
                try:
                    writer.stream(entry, _summed(stream, content), packed=one.size >= _SAMPLE and is_packed(one.source))
                except DamagedError as error:
                    raise LadingError(_changed(one)) from error
                if one.sha256 and content.hexdigest() != one.sha256:
                    raise LadingError(_changed(one))


def _summed(stream: BinaryIO, content: hashlib._Hash) -> Iterable[bytes]:
    while piece := stream.read(_PIECE):
        content.update(piece)
        yield piece


def with_digests(found: Iterable[Found]) -> list[Found]:
    """Each file with its digest, so that what a layer is kept under is what is written to it."""
    return [one if one.sha256 or one.target or one.folder else replace(one, sha256=file_digest(one.source)) for one in found]


def is_packed(path: str) -> bool:
    """Whether a file is compressed already, or otherwise does not get smaller (most weights): known by its beginning."""
    with open(path, "rb") as stream:
        sample = stream.read(_SAMPLE)
    return len(zlib.compress(sample, 1)) > 0.92 * len(sample)


def digest_found(found: Iterable[Found]) -> list[str]:
    """What the layer's bytes depend on: each path with its content's hash."""
    return [f"{one.path}\0{one.target or (one.folder and '/') or one.sha256 or file_digest(one.source)}\0{one.executable}" for one in found]


def file_digest(path: str) -> str:
    """SHA-256 of a file, in hex."""
    with open(path, "rb", buffering=0) as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _changed(one: Found) -> Problem:
    return Problem(
        rule="file-changed",
        what=f"{one.path} changed while it was put into the image.",
        instead="Build again when nothing writes to it any more.",
        code=ExitCode.BUILD,
    )
