"""The lock: what resolving chose, with hashes (PEP 751), and our records beside it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lading.model.conda import CondaLock
from lading.model.decisions import Decision
from lading.model.records import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class Lock:
    """A lock file as a value.

    ``document`` is the PEP 751 part (``lock-version``, ``requires-python``, ``packages`` …) as TOML data, without ``[tool.lading]``.
    ``sources`` maps each file that was read for its dependencies to the SHA-256 of its content. ``fingerprint`` is the plan's.
    ``tools`` maps a tool's name to the version that made the lock. ``requirements`` are the user's own lines that were resolved, as
    ``requirements.txt:3: flask>=3``, credentials masked. ``as_of`` is the moment (RFC 3339) after which nothing that was uploaded counted.
    ``source`` is the path of the declaration that counted, empty for none, None in a lock that does not tell.
    ``conda`` are the packages that conda installs, the interpreter among them, before those of the document.
    """

    document: Mapping[str, Any]
    fingerprint: str
    target: Mapping[str, str]
    sources: Mapping[str, str] = field(default_factory=dict)
    decisions: tuple[Decision, ...] = ()
    tools: Mapping[str, str] = field(default_factory=dict)
    requirements: tuple[str, ...] = ()
    as_of: str | None = None
    conda: CondaLock | None = None
    source: str | None = None

    @property
    def packages(self) -> tuple[Mapping[str, Any], ...]:
        """The ``[[packages]]`` tables."""
        return tuple(self.document.get("packages", ()))

    @property
    def size(self) -> int:
        """How many packages the lock holds, conda's included."""
        return len(self.packages) + (len(self.conda.packages) if self.conda else 0)

    @property
    def versions(self) -> dict[str, str]:
        """Version by package name; packages without one (a local folder) are left out."""
        return {package["name"]: package["version"] for package in self.packages if "version" in package}

    @property
    def has_local_packages(self) -> bool:
        """Whether a package is a folder of the project, so that its environment belongs to this checkout alone."""
        return any("directory" in package for package in self.packages)
