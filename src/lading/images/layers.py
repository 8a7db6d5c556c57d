"""Writing one layer: a tar that is hashed as it goes, compressed as a chain of gzip members or zstd frames.

A gzip file may be a chain of members (RFC 1952), so a file that is deflated already, as every file of a wheel is, becomes a member of its
own by being copied: `LayerWriter.splice`. Everything else is gathered and compressed here, by zlib, whose output is the same on every
machine. isal, where it is installed, only inflates: that cannot change what is written.
"""

from __future__ import annotations

import hashlib
import queue
import struct
import threading
import zlib
from collections.abc import Callable, Iterable
from typing import Any, BinaryIO, Protocol, Self

from lading.images.media import Compression
from lading.images.tar import END, Entry, folder, header, padding
from lading.model.records import dataclass

try:
    from isal import isal_zlib

    _inflater: Any = isal_zlib
except ImportError:  # pragma: no cover -- an accelerator, for the platforms that have it
    _inflater = zlib

GZIP_LEVEL = 4
"""Of zlib: 6 makes bytecode 3 % smaller, and takes 60 % longer."""
ZSTD_LEVEL = 3
_MEMBER_HEAD = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"
_TOGETHER = 1 << 20
"""How much is gathered before it is compressed: 1 MiB, far more than deflate's window."""
_FEW = 4 << 10
"""How much is compressed with a small window: 4 KiB, which is that window."""
_PIECE = 1 << 18
"""How much is inflated at once: 256 KiB, which the allocator keeps at hand; larger pieces come anew from the system, page by page."""
_HASHED_ALONE = 64 << 20
"""From how much on a layer is hashed by a thread of its own: 64 MiB."""
_AHEAD = 16
"""How many pieces wait to be hashed at most."""


class DamagedError(ValueError):
    """Deflated data is not what its directory says; told by the caller, who knows the file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """A finished layer: the blob's digest and size, the digest and size of its uncompressed tar."""

    digest: str
    size: int
    diff_id: str
    unpacked: int


class _Compressor(Protocol):
    def __call__(self, data: bytes) -> bytes:
        """A whole member or frame."""


def _gzip(data: bytes) -> bytes:
    # Most members are the header of one file: deflate's whole state is 40 microseconds to set up, for a window of 4 KiB it is 3.
    window, memory = (12, 5) if len(data) <= _FEW else (15, 8)
    return _member(data, zlib.compressobj(GZIP_LEVEL, zlib.DEFLATED, -window, memory))


def _member(data: bytes, compressor: Any) -> bytes:
    body = compressor.compress(data) + compressor.flush()
    return b"".join((_MEMBER_HEAD, body, struct.pack("<II", _inflater.crc32(data), len(data) & 0xFFFFFFFF)))


def zstd_module() -> Any:
    """The standard library's zstd (Python 3.14), or the package that is the same for older ones."""
    try:
        from compression import zstd  # type: ignore[import-not-found] # noqa: PLC0415 -- where there is one, when it is asked for
    except ImportError:
        from backports import zstd  # noqa: PLC0415
    return zstd


def _gzip_stored(data: bytes) -> bytes:
    """A member that holds its data as it is."""
    return _member(data, zlib.compressobj(0, zlib.DEFLATED, -15))


def _zstd() -> _Compressor:
    zstd = zstd_module()
    options = {zstd.CompressionParameter.compression_level: ZSTD_LEVEL, zstd.CompressionParameter.checksum_flag: 1}
    return lambda data: zstd.compress(data, options=options)


def compressor_for(compression: Compression) -> _Compressor:
    """What makes members of a layer."""
    return _gzip if compression is Compression.GZIP else _zstd()


def compressor_name(compression: Compression) -> str:
    """What decides about the bytes beside the content: part of a layer's key in the store."""
    if compression is Compression.GZIP:
        return f"zlib-{zlib.ZLIB_RUNTIME_VERSION}-{GZIP_LEVEL}"
    return f"zstd-{zstd_module().zstd_version}-{ZSTD_LEVEL}"


class _Hasher:
    """SHA-256 of much data: in a thread of its own from a size on, as hashing and inflating can go on at once.

    Below that size the layers that are made at once keep the processor busy, and handing each piece to another thread costs more than it saves.
    """

    def __init__(self) -> None:
        self._sum, self.size = hashlib.sha256(), 0
        self._queue: queue.Queue[bytes | None] = queue.Queue(_AHEAD)
        self._thread: threading.Thread | None = None

    def _run(self) -> None:
        while (data := self._queue.get()) is not None:
            self._sum.update(data)

    def update(self, data: bytes) -> None:
        self.size += len(data)
        if self._thread is not None:
            self._queue.put(data)
            return
        self._sum.update(data)
        if self.size > _HASHED_ALONE:
            self._thread = threading.Thread(target=self._run, name="layer-hash", daemon=True)
            self._thread.start()

    def digest(self) -> str:
        self.close()
        return f"sha256:{self._sum.hexdigest()}"

    def close(self) -> None:
        if self._thread is not None:
            self._queue.put(None)
            self._thread.join()
            self._thread = None


class LayerWriter:
    """Writes one layer to a stream. Entries must come sorted; folders above them are made as they are needed.

    Use it as a context: it ends its thread whatever happens.
    """

    def __init__(self, stream: BinaryIO, compression: Compression = Compression.GZIP) -> None:
        self._stream, self._compression = stream, compression
        self._compress = compressor_for(compression)
        self._compress_stored = _gzip_stored if compression is Compression.GZIP else self._compress
        self._tar = _Hasher()
        self._blob, self._size = hashlib.sha256(), 0
        self._waiting: list[bytes] = []
        self._waiting_size = 0
        self._folders: set[str] = set()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._tar.close()

    def file(self, entry: Entry, content: bytes) -> None:
        """A file with its content at hand."""
        self.parents(entry.path)
        self._add(header(entry) + content + padding(len(content)))

    def entry(self, entry: Entry) -> None:
        """Something without content: a link, a folder."""
        self.parents(entry.path)
        self._folders.add(entry.path)
        self._add(header(entry))

    def raw(self, head: bytes, pieces: Iterable[bytes] = (), size: int = 0) -> None:
        """A finished header and its content, just as they are."""
        self._add(head)
        for piece in pieces:
            self._add(piece)
        self._add(padding(size))

    def stream(self, entry: Entry, pieces: Iterable[bytes], *, packed: bool = False) -> None:
        """A file whose content comes in pieces; one that is ``packed`` already is stored as it is.

        Raises:
            DamagedError: if it has another size than its entry says.
        """
        self.parents(entry.path)
        self._add(header(entry))
        left = entry.size
        for piece in pieces:
            left -= len(piece)
            self._store(piece) if packed else self._add(piece)
        if left:
            raise DamagedError(f"{entry.path} changed while it was read")
        self._add(padding(entry.size))

    def _store(self, data: bytes) -> None:
        self._flush()
        self._tar.update(data)
        self._write(self._compress_stored(data))

    def splice(self, entry: Entry, deflated: Callable[[], Iterable[bytes]], crc: int) -> None:
        """A file whose content is deflated already; ``crc`` is that of its content.

        Raises:
            DamagedError: if content, size or checksum do not go together.
        """
        if self._compression is not Compression.GZIP:
            self.stream(entry, inflate(deflated(), crc, entry.size))
            return
        self.parents(entry.path)
        self._add(header(entry))
        self._flush()
        self._write(_MEMBER_HEAD)
        for data in inflate(self._copied(deflated()), crc, entry.size):
            self._tar.update(data)
        self._write(struct.pack("<II", crc, entry.size & 0xFFFFFFFF))
        self._add(padding(entry.size))

    def _copied(self, pieces: Iterable[bytes]) -> Iterable[bytes]:
        for piece in pieces:
            self._write(piece)
            yield piece

    def parents(self, path: str) -> None:
        """The folders above a path that this layer does not have yet."""
        above = path.rpartition("/")[0]
        if above and above not in self._folders:
            self.parents(above)
            self._folders.add(above)
            self._add(folder(above))

    def finish(self) -> Written:
        """Write what waits, and the tar's end."""
        self._add(END)
        self._flush()
        return Written(digest=f"sha256:{self._blob.hexdigest()}", size=self._size, diff_id=self._tar.digest(), unpacked=self._tar.size)

    def _add(self, data: bytes) -> None:
        if not data:
            return
        self._waiting.append(data)
        self._waiting_size += len(data)
        if self._waiting_size >= _TOGETHER:
            self._flush()

    def _flush(self) -> None:
        if self._waiting:
            data = b"".join(self._waiting)
            self._waiting, self._waiting_size = [], 0
            self._tar.update(data)
            self._write(self._compress(data))

    def _write(self, data: bytes) -> None:
        self._blob.update(data)
        self._size += len(data)
        self._stream.write(data)


def inflate(pieces: Iterable[bytes], crc: int, size: int) -> Iterable[bytes]:
    """The content of raw deflate data, checked.

    Raises:
        DamagedError: if it is not what ``crc`` and ``size`` say.
    """
    inflater = _inflater.decompressobj(-15)
    found, total = 0, 0
    try:
        for piece in pieces:
            rest = piece
            while rest:
                data = inflater.decompress(rest, _PIECE)
                rest = inflater.unconsumed_tail
                found, total = _inflater.crc32(data, found), total + len(data)
                yield data
        data = b"" if inflater.eof else inflater.flush()
    except (zlib.error, getattr(_inflater, "error", zlib.error)) as error:
        raise DamagedError(str(error)) from error
    if data:
        found, total = _inflater.crc32(data, found), total + len(data)
        yield data
    if not inflater.eof or inflater.unused_data:
        raise DamagedError("its compressed data does not end where it should")
    if found != crc or total != size:
        raise DamagedError("its content has another checksum or size than its directory says")
