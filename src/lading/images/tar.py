"""Tar headers that are the same for the same files: no times, no owners, no names of users (POSIX.1-1988 ustar, pax where it must be)."""

from __future__ import annotations

import tarfile

from lading.model.records import dataclass

BLOCK = 512
END = bytes(2 * BLOCK)
_LARGEST = 8**11
FILE, LINK, FOLDER = b"0", b"2", b"5"


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """What stands in a header. ``path`` is relative to the image's root, without a slash at its ends."""

    path: str
    size: int = 0
    mode: int = 0o644
    kind: bytes = FILE
    target: str = ""
    uid: int = 0
    gid: int = 0
    mtime: int = 0


def folder(path: str) -> bytes:
    """The header of a folder that everybody may read."""
    return header(Entry(path=path, mode=0o755, kind=FOLDER))


def header(entry: Entry) -> bytes:
    """An entry's header; several blocks long where name or size do not fit one."""
    name = entry.path.encode("utf-8", "surrogateescape") + (b"/" if entry.kind == FOLDER else b"")
    target = entry.target.encode("utf-8", "surrogateescape")
    prefix = b""
    if len(name) > 100:
        cut = name.rfind(b"/", 0, 156)
        prefix, name = (name[:cut], name[cut + 1 :]) if cut > 0 else (b"", name)
    fits = 0 < len(name) <= 100 and len(prefix) <= 155 and len(target) <= 100 and name.isascii() and prefix.isascii()
    fits = fits and entry.size < _LARGEST and max(entry.uid, entry.gid) < 8**7 and 0 <= entry.mtime < _LARGEST
    return _ustar(entry, name, prefix, target) if fits else _pax(entry)


def _ustar(entry: Entry, name: bytes, prefix: bytes, target: bytes) -> bytes:
    fields = _fields(entry, name, prefix, target)
    return fields[:148] + b"%06o\0 " % sum(fields) + fields[156:]


def _fields(entry: Entry, name: bytes, prefix: bytes, target: bytes) -> bytes:
    return b"".join(
        (
            name.ljust(100, b"\0"),
            b"%07o\0%07o\0%07o\0%011o\0%011o\0        " % (entry.mode, entry.uid, entry.gid, entry.size, entry.mtime),
            entry.kind,
            target.ljust(100, b"\0"),
            b"ustar\x0000",
            bytes(64),
            b"0000000\0" * 2,
            prefix.ljust(167, b"\0"),
        )
    )


def _pax(entry: Entry) -> bytes:
    info = tarfile.TarInfo(entry.path)
    info.size, info.mode, info.uid, info.gid, info.mtime = entry.size, entry.mode, entry.uid, entry.gid, entry.mtime
    info.type, info.linkname = entry.kind, entry.target
    return info.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")


def padding(size: int) -> bytes:
    """What fills a file's last block."""
    return bytes(-size % BLOCK)
