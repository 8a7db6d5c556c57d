"""A project's files as a mapping, so that reading and planning run on a dict as well as on a folder."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import Protocol


class ProjectFiles(Protocol):
    """The project's files by path relative to its root, with ``/``. Reading the same path twice gives the same answer."""

    def read(self, path: str) -> bytes | None:
        """The file's content, or None when there is no such file."""

    def entries(self, folder: str = "") -> tuple[str, ...]:
        """Names in a folder, sorted; folders end with ``/``. Empty when there is no such folder."""

    def is_folder(self, path: str) -> bool:
        """Whether ``path`` is a folder."""


class MemoryFiles:
    """`ProjectFiles` over a dict of texts: what tests use."""

    def __init__(self, files: Mapping[str, str | bytes]) -> None:
        self._files = {path: text.encode() if isinstance(text, str) else text for path, text in files.items()}

    def read(self, path: str) -> bytes | None:
        """See `ProjectFiles`."""
        return self._files.get(path)

    def entries(self, folder: str = "") -> tuple[str, ...]:
        """See `ProjectFiles`."""
        prefix = folder.rstrip("/") + "/" if folder else ""
        names = (path[len(prefix) :] for path in self._files if path.startswith(prefix))
        return tuple(sorted({_first_segment(name) for name in names}))

    def is_folder(self, path: str) -> bool:
        """See `ProjectFiles`."""
        return path in ("", ".") or any(name.startswith(path.rstrip("/") + "/") for name in self._files)


def _first_segment(name: str) -> str:
    head, slash, _ = name.partition("/")
    return head + slash


def content_hash(content: bytes) -> str:
    """SHA-256 of a file's content, in hex."""
    return hashlib.sha256(content).hexdigest()


def fold_hashes(parts: Iterable[str]) -> str:
    """One SHA-256 over several texts in their order; no two different sequences fold alike."""
    digest = hashlib.sha256()
    for part in parts:
        encoded = part.encode("utf-8", "surrogatepass")  # a file's name may be no UTF-8
        digest.update(b"%d:" % len(encoded) + encoded)
    return digest.hexdigest()
