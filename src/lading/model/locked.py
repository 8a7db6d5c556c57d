"""Another tool's lock as a value: every package that it holds, and which of them a target needs is still open."""

from __future__ import annotations

from typing import Any

from lading.model.records import dataclass
from lading.model.requirements import Declared


@dataclass(frozen=True, slots=True, kw_only=True)
class Need:
    """A package that the project, or another package, needs.

    ``specifier`` tells which of several locked versions; ``extra`` is set when it is needed for that extra of its owner alone.
    """

    name: str
    extras: tuple[str, ...] = ()
    specifier: str = ""
    marker: str | None = None
    extra: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LockedPackage:
    """One package of a lock. ``pin`` is what is installed: ``name==version`` with its hashes and its marker, a commit, a file, a folder.

    ``version`` is None where the lock names none; ``markers`` are further conditions of which one must hold (uv's forks).
    """

    pin: Declared
    version: str | None = None
    needs: tuple[Need, ...] = ()
    markers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class LockedSet:
    """What a lock holds. ``roots`` are what the project itself needs; None: every package whose marker holds is installed.

    ``extras`` and ``groups`` are what markers that ask for them are evaluated with.
    """

    packages: tuple[LockedPackage, ...]
    roots: tuple[Need, ...] | None = None
    extras: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """The record as JSON data, credentials masked."""
        return {
            "roots": None if self.roots is None else [need.name for need in self.roots],
            "packages": [{**package.pin.as_json(), "needs": [need.name for need in package.needs]} for package in self.packages],
        }
