"""Weights on this machine: files by their SHA-256, shared by every project.

::

    LADING_HOME/weights/files/<sha256>      a whole file, which nobody should write to any more; links to it may have been written through
    LADING_HOME/weights/parts/<sha256>      what has arrived of one; a later run goes on from there
    LADING_HOME/weights/parts/<key>         the same of one whose digest nobody knows yet, by the address; <key>.tag says of which state
    LADING_HOME/weights/used/<sha256>       when it was used last: the time of an empty file, as the file itself may be a project's too
    LADING_HOME/weights/digests/<key>.json  the digest of a file, here or elsewhere, as long as its size, times and number stay
    LADING_HOME/weights/placed/<key>.json   the digest of a file that was put into a project, whatever became of it there
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO, cast

from lading.environments.claims import same_file
from lading.environments.home import home, require_writable, unusable
from lading.model.digests import is_sha256
from lading.model.files import content_hash

_PIECE = 1 << 20
_RACY = 2_000_000_000
"""A file that was written so recently (nanoseconds) may be written again without its times showing it."""


_PREPARING = threading.Lock()


class Part:
    """A file while it arrives. ``total`` is its size in bytes, once the server has told it.

    ``tag`` is the server's name of its state (a strong ETag), empty if there is none. Without ``note``, a file that it is kept in, the digest
    decides in the end whether the whole file is the right one, and what is there may be gone on with whatever its tag.
    """

    def __init__(self, stream: BinaryIO, note: Path | None = None) -> None:
        self._stream, self._note = stream, note
        self.done, self.total = 0, cast("int | None", None)
        self._sum = hashlib.sha256()
        while piece := stream.read(_PIECE):
            self._count(piece)
        self.tag = _text_of(note) if note is not None and self.done else ""

    @property
    def can_go_on(self) -> bool:
        """Whether more can be appended to what is there."""
        return bool(self.done) and (self._note is None or bool(self.tag))

    def tagged(self, tag: str) -> None:
        """What comes from here on is of this state of the file."""
        self.tag = tag
        if self._note is not None:
            with suppress(OSError):  # it can only not be gone on with, then
                self._note.write_text(tag, encoding="utf-8")

    def add(self, piece: bytes) -> None:
        """Append what came.

        Raises:
            LadingError: if it cannot be written.
        """
        try:
            self._stream.write(piece)
        except OSError as error:  # not the network's, which another try may help
            raise unusable(home(), error) from error
        self._count(piece)

    def _count(self, piece: bytes) -> None:
        self._sum.update(piece)
        self.done += len(piece)

    def begin_again(self) -> None:
        """Forget what came."""
        self._stream.seek(0)
        self._stream.truncate()
        self.tagged("")
        self._sum, self.done = hashlib.sha256(), 0

    @property
    def digest(self) -> str:
        """Of what has come."""
        return f"sha256:{self._sum.hexdigest()}"


class WeightStore:
    """The weights of this user."""

    def __init__(self, root: Path | None = None) -> None:
        self.root = root or Path(home()) / "weights"

    def path(self, digest: str) -> Path:
        """Where a file lies, whether it is there or not.

        Raises:
            ValueError: if this is no digest: digests come from other machines, and one that is a path would lead out of the store.
        """
        return self.root / "files" / _name_of(digest)

    def has(self, digest: str) -> bool:
        """Whether a file is there."""
        return self.path(digest).is_file()

    def intact(self, digest: str) -> bool:
        """Whether a file is there and has the digest that it is named by; read again only where its status has changed."""
        try:
            return self.digest_of(self.path(digest)) == digest
        except OSError:  # what cannot be read is as good as lost
            return False

    def use(self, digest: str) -> Path:
        """Where a file lies, which is noted as used."""
        with suppress(OSError):
            (self.root / "used").mkdir(parents=True, exist_ok=True)
            (self.root / "used" / _name_of(digest)).touch()
        return self.path(digest)

    def prune(self, older_than: float, *, dry_run: bool = False) -> tuple[int, int]:
        """Remove files that were not used for so many seconds, and parts that nobody went on with; returns how many, and their bytes.

        Links to them in projects stay, and are files of their own then. A part that is arriving stays, however long nothing came.
        """
        limit = time.time() - older_than
        found = [path for name in ("files", "parts") if (self.root / name).is_dir() for path in (self.root / name).iterdir()]
        sizes: list[int] = []
        for path in found:
            with suppress(FileNotFoundError), self._unless_arriving(path) as free:  # others prune and finish parts meanwhile
                if free and self._used(path) <= limit:
                    sizes.append(path.stat().st_size)
                    if not dry_run:
                        path.unlink(missing_ok=True)
                        (self.root / "used" / path.name).unlink(missing_ok=True)
                        self._note("digests", path).unlink(missing_ok=True)
        return len(sizes), sum(sizes)

    @contextmanager
    def _unless_arriving(self, path: Path) -> Iterator[bool]:
        """Whether a file, or a part and its note, is nobody's who receives it; nobody begins meanwhile.

        Raises:
            FileNotFoundError: if the part is gone.
        """
        place = path.with_name(path.name.removesuffix(".tag"))
        if path.parent.name != "parts" or (place != path and not place.exists()):
            yield True
            return
        with place.open("rb") as stream:
            try:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield False
                return
            yield same_file(stream.fileno(), str(place))

    def _used(self, path: Path) -> float:
        times = [path.stat().st_mtime]
        with suppress(FileNotFoundError):
            times.append((self.root / "used" / path.name).stat().st_mtime)
        return max(times)

    def take(self, digest: str, receive: Callable[[Part], None]) -> tuple[str, int]:
        """Get a file: ``receive`` appends what is missing of it. Returns its digest and size in bytes.

        What a broken run left is gone on with, two processes that want the same file get it once, and a file that is damaged is replaced. A file
        with another digest is not kept; the caller sees it from what is returned.

        Raises:
            LadingError: as ``receive`` does, or if the store cannot be written.
        """
        with self._written(), self._part(_name_of(digest)) as (stream, place):
            if self.intact(digest):  # another process got it while we waited
                return digest, self.path(digest).stat().st_size
            part = Part(stream)
            receive(part)
            if part.digest == digest:
                self._keep(part, stream, place)
            else:
                place.unlink()
            return part.digest, part.done

    def discover(self, address: str, receive: Callable[[Part], None]) -> tuple[str, int]:
        """`take` a file whose digest is not known; its address tells it from others while it arrives.

        Raises:
            LadingError: as `take` does.
        """
        name = content_hash(address.encode())
        with self._written(), self._part(name) as (stream, place):
            note = place.with_name(f"{name}.tag")
            part = Part(stream, note)
            receive(part)
            self._keep(part, stream, place)
            note.unlink(missing_ok=True)
            return part.digest, part.done

    def _keep(self, part: Part, stream: BinaryIO, place: Path) -> None:
        stream.flush()
        place.chmod(0o444)
        place.replace(self.path(part.digest))
        self.know(self.path(part.digest), part.digest)

    @contextmanager
    def _written(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            if error.filename is None and error.errno is None:
                raise
            raise unusable(str(self.root), error) from error

    def _prepare(self) -> None:
        with _PREPARING:  # its probe has one name for all threads
            if self.root.parent == Path(home()):
                require_writable()
        for name in ("files", "parts", "digests"):
            (self.root / name).mkdir(parents=True, exist_ok=True)

    @contextmanager
    def _part(self, name: str) -> Iterator[tuple[BinaryIO, Path]]:
        self._prepare()
        place = self.root / "parts" / name
        while True:
            with os.fdopen(os.open(place, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644), "r+b") as stream:
                fcntl.flock(stream, fcntl.LOCK_EX)
                if same_file(stream.fileno(), str(place)):  # who had it before us may have finished it
                    yield stream, place
                    return

    def digest_of(self, path: Path) -> str:
        """The digest of a file, here or elsewhere; read again only where its status has changed.

        Raises:
            OSError: if it cannot be read.
        """
        status = path.stat()
        note = self._note("digests", path)
        known = _recorded(note)
        if known.get("facts") == _facts(status):
            return str(known["digest"])
        read_at = time.time_ns()
        with path.open("rb", buffering=0) as stream:
            digest = f"sha256:{hashlib.file_digest(stream, 'sha256').hexdigest()}"
        if read_at - max(status.st_mtime_ns, status.st_ctime_ns) > _RACY:
            _remember(note, {"facts": _facts(status), "digest": digest})
        return digest

    def know(self, path: Path, digest: str) -> None:
        """Note the digest of a file that was just made or checked, so that it need not be read."""
        with suppress(OSError):
            _remember(self._note("digests", path), {"facts": _facts(path.stat()), "digest": digest})

    def placed(self, path: Path) -> str | None:
        """The digest of what was put at a path of a project, as `put_at` noted it; who changed it since, is another question."""
        return _recorded(self._note("placed", path)).get("digest")

    def put_at(self, path: Path, digest: str) -> None:
        """Note what was put at a path of a project."""
        _remember(self._note("placed", path), {"digest": digest})

    def _note(self, group: str, path: Path) -> Path:
        return self.root / group / f"{content_hash(os.fsencode(path.absolute()))}.json"


def _facts(status: os.stat_result) -> list[int]:
    """What changes with a file's content, whoever writes it: the system sets the second time, and nobody else can."""
    return [status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino]


def _text_of(note: Path) -> str:
    try:
        return note.read_text(encoding="utf-8")
    except (OSError, ValueError):
        return ""


def _recorded(note: Path) -> dict[str, Any]:
    """A note that was kept; empty where there is none."""
    try:
        record = json.loads(note.read_bytes())
    except (OSError, ValueError):
        return {}
    return record if isinstance(record, dict) and isinstance(record.get("digest"), str) else {}


def _name_of(digest: str) -> str:
    """The name of a digest's file.

    Raises:
        ValueError: if it is none.
    """
    if not is_sha256(digest):
        raise ValueError(f"{digest!r} is no SHA-256")
    return digest.removeprefix("sha256:")


def _remember(note: Path, record: object) -> None:
    """Keep a note where that is possible; it only saves time."""
    try:
        note.parent.mkdir(parents=True, exist_ok=True)
        aside = note.with_name(f".{note.name}.{os.getpid()}")
        aside.write_text(json.dumps(record), encoding="utf-8")
        aside.replace(note)
    except OSError:
        return
