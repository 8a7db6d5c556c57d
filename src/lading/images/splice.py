"""Wheels into a layer: their own deflate streams are copied, and only inflated to be hashed."""

from __future__ import annotations

import zipfile
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import BinaryIO

from lading.images.layers import DamagedError, LayerWriter, inflate
from lading.images.tar import Entry
from lading.images.wheels import Member, Place, Unpacked, damaged, read_wheel
from lading.model.problems import LadingError
from lading.model.records import dataclass

SMALL = 4 * 1024
"""Files below this size (in bytes) are gathered and compressed together, which is smaller and makes fewer members."""
_PIECE = 1 << 18
_LOCAL_HEADER = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Wheel:
    """A wheel file on this machine. ``sha256`` is of its content, ``direct_url`` the text of its ``direct_url.json``, if it has one."""

    path: Path
    sha256: str
    name: str
    version: str
    direct_url: bytes | None = None

    @property
    def size(self) -> int:
        """In bytes."""
        return self.path.stat().st_size


def write_wheels(writer: LayerWriter, wheels: Sequence[Wheel], place: Place) -> None:
    """The files of several wheels, in one order. Of two files at one place the later wheel's is written.

    Raises:
        LadingError: if one is damaged.
    """
    with ExitStack() as stack:
        placed: dict[str, tuple[Member, zipfile.ZipFile, BinaryIO, Wheel]] = {}
        for wheel in wheels:
            raw: BinaryIO = stack.enter_context(wheel.path.open("rb"))
            archive, unpacked = open_wheel(stack, wheel, place)
            placed |= {member.path: (member, archive, raw, wheel) for member in unpacked.members}
        for _, (member, archive, raw, wheel) in sorted(placed.items(), key=lambda item: item[0].encode()):
            try:
                _write(writer, member, archive, raw)
            except (DamagedError, zipfile.BadZipFile, NotImplementedError, RuntimeError) as error:
                raise LadingError(damaged(wheel.path.name, member.path, str(error))) from error


def open_wheel(stack: ExitStack, wheel: Wheel, place: Place) -> tuple[zipfile.ZipFile, Unpacked]:
    """A wheel's directory, and what it becomes.

    Raises:
        LadingError: if it is no wheel.
    """
    try:
        archive = stack.enter_context(zipfile.ZipFile(wheel.path))
        return archive, read_wheel(archive, wheel.path.name, place, wheel.direct_url)
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError) as error:
        raise LadingError(damaged(wheel.path.name, "the archive", str(error))) from error


def _write(writer: LayerWriter, member: Member, archive: zipfile.ZipFile, raw: BinaryIO) -> None:
    info = member.info
    if info is None:
        writer.file(Entry(path=member.path, size=len(member.content), mode=member.mode), member.content)
        return
    entry = Entry(path=member.path, size=info.file_size, mode=member.mode)
    deflated = info.compress_type == zipfile.ZIP_DEFLATED and not info.flag_bits & 0x1
    if info.file_size < SMALL:
        # As `archive.read` does, in half the time: most files of a wheel are small.
        writer.file(entry, b"".join(inflate(_deflated(raw, info), info.CRC, info.file_size)) if deflated else archive.read(info))
    elif deflated:
        writer.splice(entry, lambda: _deflated(raw, info), info.CRC)
    else:
        with archive.open(info) as stream:
            writer.stream(entry, iter(lambda: stream.read(_PIECE), b""))


def _deflated(raw: BinaryIO, info: zipfile.ZipInfo) -> Iterable[bytes]:
    """The bytes of one member as they stand in the archive."""
    raw.seek(info.header_offset)
    head = raw.read(_LOCAL_HEADER)
    if len(head) < _LOCAL_HEADER or head[:4] != b"PK\x03\x04":
        raise DamagedError("its directory points to the wrong place")
    raw.seek(int.from_bytes(head[26:28], "little") + int.from_bytes(head[28:30], "little"), 1)
    left = info.compress_size
    while left:
        piece = raw.read(min(_PIECE, left))
        if not piece:
            raise DamagedError("the archive ends too early")
        left -= len(piece)
        yield piece
