"""Which packages share a layer: large ones have their own, so that an upgrade of one sends one, and the rest few bins by name."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

LARGE = 10 * 1000 * 1000
"""A wheel of this size (bytes) or more has a layer of its own."""
MOST = 60
"""Layers in an image. Docker and podman mount 128 at most, some builders no more than 70."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Packages of one layer, by name, sorted."""

    title: str
    names: tuple[str, ...]


def arrange(sizes: Mapping[str, int], room: int) -> tuple[Group, ...]:
    """Group packages (name to size in bytes) into at most ``room`` layers, the largest first.

    A bin is chosen by a hash of the name, so that a package stays in its bin whatever else comes or goes.
    """
    bins = _bins(sum(size < LARGE for size in sizes.values()))
    large = sorted((name for name, size in sizes.items() if size >= LARGE), key=lambda name: (-sizes[name], name))
    alone = large[: max(0, room - bins)]
    rest: dict[int, list[str]] = {}
    for name in sorted(set(sizes) - set(alone)):
        rest.setdefault(int(hashlib.sha256(name.encode()).hexdigest()[:8], 16) % bins, []).append(name)
    groups = [Group(title=name, names=(name,)) for name in alone]
    return (*groups, *(Group(title=_title(names), names=tuple(names)) for _, names in sorted(rest.items())))


def _bins(count: int) -> int:
    return 2 if count <= 12 else 4 if count <= 40 else 8


def _title(names: list[str]) -> str:
    shown = ", ".join(names[:4])
    return shown if len(names) <= 4 else f"{shown} and {len(names) - 4} more"
