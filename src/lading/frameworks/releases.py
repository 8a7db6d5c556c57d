"""What is known of torch's releases, from the dated table: their builds and the partners that go with them."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

from packaging.specifiers import SpecifierSet
from packaging.version import Version

from lading.frameworks.names import PARTNERS
from lading.frameworks.tables import table
from lading.model.records import dataclass


@dataclass(frozen=True, slots=True)
class Release:
    """One release of torch.

    ``labels`` are its builds for Linux on x86_64; ``doubtful`` those that only third parties speak of. ``inferred`` rows must not be used to
    refuse anything. ``registry`` is the build that the default registry serves (empty: none). ``pythons`` are the CPython minors with wheels,
    ``fewer`` those of a label or a partner where they differ. ``partners`` has the versions of each companion by name, the best one first.
    """

    version: Version
    labels: tuple[str, ...]
    doubtful: tuple[str, ...]
    inferred: bool
    registry: str
    pythons: tuple[str, ...]
    fewer: tuple[tuple[str, tuple[str, ...]], ...]
    partners: tuple[tuple[str, tuple[str, ...]], ...]

    def partner(self, package: str) -> str | None:
        """The version of ``package`` that goes with this release; torch's own for torch."""
        if package == "torch":
            return str(self.version)
        return next(iter(dict(self.partners).get(package, ())), None)

    def goes_with(self, package: str, version: Version) -> bool:
        """Whether a version of a companion is named as this release's partner."""
        return any(Version(one) == Version(version.public) for one in dict(self.partners).get(package, ()))

    def pythons_of(self, package: str, label: str) -> tuple[str, ...]:
        """The CPython minors with wheels of a package of this release, in one build."""
        fewer = dict(self.fewer)
        minors = fewer.get(label, self.pythons)
        limit = fewer.get(package)
        return minors if limit is None else tuple(minor for minor in minors if minor in limit)


@cache
def releases() -> tuple[Release, ...]:
    """Every known release, oldest first."""
    return tuple(_release(row) for row in table("torch")["release"])


def _release(row: Mapping[str, Any]) -> Release:
    fewer = {name: tuple(row[f"{name}_pythons"]) for name in PARTNERS if f"{name}_pythons" in row}
    by_label = {label: tuple(minors) for label, minors in row.get("pythons_by_label", {}).items()}
    return Release(
        version=Version(row["torch"]),
        labels=tuple(row["labels"]),
        doubtful=tuple(row.get("doubtful", ())),
        inferred=row.get("inferred", False),
        registry=row.get("registry", ""),
        pythons=tuple(row["pythons"]),
        fewer=tuple({**fewer, **by_label}.items()),
        partners=tuple((name, (row[name], *row.get(f"{name}_also", ()))) for name in PARTNERS if name in row),
    )


def known(version: Version) -> Release | None:
    """The release of torch with this version, whatever its build."""
    wanted = Version(version.public)
    return next((one for one in releases() if one.version == wanted), None)


def release_of(package: str, version: Version) -> Release | None:
    """The release that a version of torch or of a companion belongs to; None when it is not known, or belongs to several."""
    if package == "torch":
        return known(version)
    found = [one for one in releases() if one.goes_with(package, version)]
    return found[0] if len(found) == 1 else None


def demand(package: str, version: Version) -> str | None:
    """What a version of a companion asks of torch, as a specifier; None where neither metadata nor a pairing is known."""
    pins = table("torch")["pins"].get(package, {})
    asked = pins.get(version.public)
    if asked is not None:
        return str(asked)
    found = [one for one in releases() if one.goes_with(package, version)]
    return f"=={found[0].version}" if len(found) == 1 and not found[0].inferred else None


def agrees(asked: str, torch: Version) -> bool:
    """Whether a release of torch meets what a companion asks (a specifier)."""
    return SpecifierSet(asked).contains(torch.public, prereleases=True)


def is_of_links_era(version: Version) -> bool:
    """Whether builds of this torch release are documented by a page of links rather than by an index per label."""
    return version <= Version(table("torch")["index"]["links_until"])


def has_unlabelled_default(release: Release, label: str) -> bool:
    """Whether the build ``label`` of this release carries no label: the default registry's build, up to 1.8.0."""
    index = table("torch")["index"]
    return label == release.registry and Version(index["unlabelled_from"]) <= release.version <= Version(index["unlabelled_until"])
