"""What changed between two locks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lading.model.lock import Lock
from lading.model.records import dataclass


@dataclass(frozen=True, slots=True)
class Change:
    """One package: the version (or source) before and after; None where it was not or is not there."""

    name: str
    before: str | None
    after: str | None


@dataclass(frozen=True, slots=True)
class Difference:
    """Every package that differs, by name. ``refreshed`` kept their version and have other files or hashes."""

    added: tuple[Change, ...] = ()
    removed: tuple[Change, ...] = ()
    changed: tuple[Change, ...] = ()
    refreshed: tuple[Change, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.added or self.removed or self.changed or self.refreshed)


def diff(before: Lock | None, after: Lock) -> Difference:
    """Compare two locks package by package; without a lock before, everything is added."""
    old, new = _by_name(before), _by_name(after)
    both = sorted(old.keys() & new.keys())
    moved = {name: Change(name, _label(old[name]), _label(new[name])) for name in both}
    return Difference(
        added=tuple(Change(name, None, _label(new[name])) for name in sorted(new.keys() - old.keys())),
        removed=tuple(Change(name, _label(old[name]), None) for name in sorted(old.keys() - new.keys())),
        changed=tuple(change for change in moved.values() if change.before != change.after),
        refreshed=tuple(moved[name] for name in both if moved[name].before == moved[name].after and old[name] != new[name]),
    )


def render(difference: Difference) -> list[str]:
    """The difference as lines: ``+`` added, ``-`` removed, ``~`` changed, ``=`` the same version from other files."""
    return [
        *(f"+ {change.name} {change.after}" for change in difference.added),
        *(f"- {change.name} {change.before}" for change in difference.removed),
        *(f"~ {change.name} {change.before} -> {change.after}" for change in difference.changed),
        *(f"= {change.name} {change.after} (other files)" for change in difference.refreshed),
    ]


_Packages = list[Mapping[str, Any]]


def _by_name(lock: Lock | None) -> dict[str, _Packages]:
    grouped: dict[str, _Packages] = {}
    for package in lock.packages if lock else ():
        grouped.setdefault(str(package["name"]), []).append(package)
    for conda in lock.conda.packages if lock and lock.conda else ():
        grouped.setdefault(f"{conda.name} (conda)", []).append({**conda.as_table(), "version": f"{conda.version} {conda.build}"})
    return grouped


def _label(packages: _Packages) -> str:
    return ", ".join(_one_label(package) for package in packages)


def _one_label(package: Mapping[str, Any]) -> str:
    if "vcs" in package:
        commit = str(package["vcs"].get("commit-id", ""))[:10]
        return f"{package.get('version', '')} at {package['vcs'].get('type', 'vcs')} {commit}".strip()
    if "directory" in package:
        return f"{package.get('version', '')} from {package['directory'].get('path', '')}".strip()
    return str(package.get("version", "of unknown version"))
