"""Weights that a configuration names: where they come from, where containers have them, and what was found there.

Cog's ``weights`` (cog.yaml) and its lock ``weights.lock`` are what these follow.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from lading.model.origin import Origin
from lading.model.records import dataclass

LOCK = "weights.lock"
"""The lock's file, beside the configuration."""
_PROJECT = "/src/"
"""Where the project lies in a container."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightSource:
    """One place that files come from. ``uri`` is normal: ``file://./weights``, ``hf://org/repo@ref`` or an ``https://`` address.

    ``include`` and ``exclude`` are patterns as in ``.gitignore``, sorted, as their order means nothing.
    """

    uri: str
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()

    @property
    def scheme(self) -> str:
        """``file``, ``hf``, ``http`` or ``https``."""
        return self.uri.partition("://")[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class Weight:
    """One set of files. ``target`` is the folder that containers have them in, absolute."""

    name: str
    target: str
    sources: tuple[WeightSource, ...]
    origin: Origin


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightFile:
    """One file of a set: its path in it, its size in bytes, its SHA-256 (``sha256:…``), and which of the sources it is from."""

    path: str
    size: int
    digest: str
    source: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class LockedWeight:
    """What a set was when it was imported. ``fingerprints`` say which state each source was in: ``commit:…``, ``etag:…``, ``sha256:…``.

    ``imported_at`` is a time in UTC, for people alone.
    """

    name: str
    target: str
    sources: tuple[WeightSource, ...]
    fingerprints: tuple[str, ...]
    files: tuple[WeightFile, ...]
    imported_at: str

    @property
    def inside(self) -> str | None:
        """The target relative to the project's folder; None for one outside of it."""
        return self.target.removeprefix(_PROJECT) if self.target.startswith(_PROJECT) else None

    @property
    def size(self) -> int:
        """Of all files, in bytes."""
        return sum(file.size for file in self.files)

    @property
    def set_digest(self) -> str:
        """One digest of all files, however they are packed: that of ``sha256sum``'s lines, sorted (Cog's weight set digest)."""
        return set_digest(self.files)


def is_inside(path: str) -> bool:
    """Whether a file's path stays in the folder that it is relative to."""
    return bool(path) and not path.startswith("/") and not {"..", ".", ""} & set(path.split("/")) and "\0" not in path and "\\" not in path


def set_digest(files: Iterable[WeightFile]) -> str:
    """The digest of a set of files, in any order."""
    lines = sorted(f"{file.digest.removeprefix('sha256:')}  {file.path}" for file in files)
    return f"sha256:{hashlib.sha256(chr(10).join(lines).encode()).hexdigest()}"
