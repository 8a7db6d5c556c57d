"""Which packages share a layer: large ones have their own, so that an upgrade of one sends one, and the rest few bins by name."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

from lading.images.folders import Found
from lading.model.origin import Origin
from lading.model.problems import ExitCode, LadingError, Problem
from lading.model.records import dataclass

LARGE = 10 * 1000 * 1000
"""A wheel of this size (bytes) or more has a layer of its own."""
LARGE_FILE = 64 * 1000 * 1000
"""A file of this size (bytes) or more has a layer of its own."""
MOST_OF_FILES = 20
"""Layers of large files and weights, at most; what is more shares them."""
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
    bins = min(_bins(sum(size < LARGE for size in sizes.values())), room)
    large = sorted((name for name, size in sizes.items() if size >= LARGE), key=lambda name: (-sizes[name], name))
    alone = large[: max(0, room - bins)]
    rest: dict[int, list[str]] = {}
    for name in sorted(set(sizes) - set(alone)):
        rest.setdefault(_bin(name, bins), []).append(name)
    groups = [Group(title=name, names=(name,)) for name in alone]
    return (*groups, *(Group(title=_title(names), names=tuple(names)) for _, names in sorted(rest.items())))


def require_few(count: int, base: str, below: int) -> None:
    """Refuse an image of more than `MOST` layers, which some engines do not run.

    Raises:
        LadingError: if it has more, or will; ``below`` of them are the base's.
    """
    if count > MOST:
        raise LadingError(
            Problem(
                rule="base-of-too-many-layers",
                what=f"On {base}, which has {below} layers, the image would have at least {count}.",
                origin=Origin("--base"),
                why=f"Some engines run no image of many more than {MOST} layers.",
                instead="Take a base of fewer layers: `podman build --squash-all` makes one layer of all, a rootfs folder or tarball is one too.",
                code=ExitCode.BUILD,
            )
        )


def _bins(count: int) -> int:
    return 2 if count <= 12 else 4 if count <= 40 else 8


def _title(names: list[str]) -> str:
    shown = ", ".join(names[:4])
    return shown if len(names) <= 4 else f"{shown} and {len(names) - 4} more"


def arrange_files(
    sets: Sequence[tuple[str, Sequence[Found]]], large: Sequence[Found], most: int = MOST_OF_FILES
) -> list[tuple[str, list[Found]]]:
    """Layers of sets of weights and of a project's large files, at most so many: titles with sorted files.

    A large file has a layer of its own, the small ones of a set share one; so a file that changes sends one layer. Where that makes too many,
    files share layers by a hash of their paths.
    """
    alone = sorted((one for one in (*large, *(one for _, files in sets for one in files)) if one.size >= LARGE_FILE), key=_by_path)
    shared = [(name, sorted((one for one in files if one.size < LARGE_FILE), key=_by_path)) for name, files in sets]
    groups = [(name, files) for name, files in shared if files]
    room = most - len(groups)
    if len(alone) <= room:
        return [*groups, *((one.path, [one]) for one in alone)]
    if room < 1:
        return [("weights", sorted((*alone, *(one for _, files in groups for one in files)), key=_by_path))]
    bins: dict[int, list[Found]] = {}
    for one in alone:
        bins.setdefault(_bin(one.path, room), []).append(one)
    return [
        *groups,
        *((f"{files[0].path} and {len(files) - 1} more" if len(files) > 1 else files[0].path, files) for _, files in sorted(bins.items())),
    ]


def _by_path(one: Found) -> bytes:
    return one.path.encode("utf-8", "surrogateescape")


def _bin(name: str, count: int) -> int:
    return int(hashlib.sha256(name.encode("utf-8", "surrogateescape")).hexdigest()[:8], 16) % count
