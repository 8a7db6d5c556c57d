"""What is known of torch's releases, from the dated table: their builds and the partners that go with them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from packaging.version import Version

from lading.frameworks.tables import table

FAMILY = ("torch", "torchvision", "torchaudio")
"""Packages that are published per build label, on PyTorch's own indexes."""


@dataclass(frozen=True, slots=True)
class Release:
    """One release of torch.

    ``labels`` are its builds for Linux on x86_64; ``doubtful`` those that only third parties speak of. ``registry`` is the build that the default
    registry serves. ``pythons`` are the CPython minors with wheels. ``partners`` has the version of each companion by name.
    """

    version: Version
    labels: tuple[str, ...]
    doubtful: tuple[str, ...]
    registry: str
    pythons: tuple[str, ...]
    partners: tuple[tuple[str, str], ...]

    def partner(self, package: str) -> str | None:
        """The version of ``package`` that goes with this release; torch's own for torch."""
        return str(self.version) if package == "torch" else dict(self.partners).get(package)


@cache
def releases() -> tuple[Release, ...]:
    """Every known release, oldest first."""
    return tuple(
        Release(
            version=Version(row["torch"]),
            labels=tuple(row["labels"]),
            doubtful=tuple(row.get("doubtful", ())),
            registry=row["registry"],
            pythons=tuple(row["pythons"]),
            partners=tuple((name, row[name]) for name in ("torchvision", "torchaudio", "torchtext") if name in row),
        )
        for row in table("torch")["release"]
    )


def release_of(package: str, version: Version) -> Release | None:
    """The release that a version of torch or of a companion belongs to; None when it is not known, or belongs to several."""
    wanted = Version(version.public)
    found = [one for one in releases() if (partner := one.partner(package)) is not None and Version(partner) == wanted]
    return found[0] if len(found) == 1 else None


def is_of_links_era(version: Version) -> bool:
    """Whether builds of this torch release are found by a page of links rather than by an index per label."""
    return version <= Version(table("torch")["index"]["links_until"])


def has_unlabelled_default(release: Release, label: str) -> bool:
    """Whether the build ``label`` of this release carries no label: the default registry's build, up to 1.8.0."""
    index = table("torch")["index"]
    return label == release.registry and Version(index["unlabelled_from"]) <= release.version <= Version(index["unlabelled_until"])
