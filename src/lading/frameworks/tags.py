"""Which wheels run on a target, from their file names alone."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cache

from packaging.tags import Tag, compatible_tags, cpython_tags

from lading.model.target import Target

_GLIBC = re.compile(r"(?P<arch>x86_64|aarch64)-manylinux_2_(?P<level>\d+)")
_LEGACY = {17: "manylinux2014", 12: "manylinux2010", 5: "manylinux1"}
_OLDEST = {"x86_64": 5, "aarch64": 17}
_MUSL = re.compile(r"(?P<arch>x86_64|aarch64)-unknown-linux-musl")


@cache
def target_tags(python: str, platform: str) -> frozenset[Tag]:
    """Every wheel tag that CPython ``3.11`` on a platform (in uv's terms) can use."""
    return frozenset(ordered_tags(python, platform))


@cache
def ordered_tags(python: str, platform: str) -> tuple[Tag, ...]:
    """The same tags, the most specific first: of several wheels, installers take the one whose tag comes first."""
    major, minor = (int(part) for part in python.split(".")[:2])
    places = list(_platforms(platform))
    name = f"cp{major}{minor}"
    abis = [f"{name}m"] if (major, minor) < (3, 8) else [name]
    return (*cpython_tags((major, minor), abis, places), *compatible_tags((major, minor), name, places))


def runs_on(tags: Iterable[Tag], target: Target) -> bool:
    """Whether a wheel with these tags runs on the target."""
    return not target_tags(minor_of(target.python), target.platform).isdisjoint(tags)


def fits_platform(tags: Iterable[Tag], platform: str) -> bool:
    """Whether a wheel with these tags is for this platform, whatever its Python."""
    places = {*_platforms(platform), "any"}
    return any(tag.platform in places for tag in tags)


def pythons_of(tags: Iterable[Tag]) -> frozenset[str]:
    """The CPython minors (``3.11``) that wheels with these tags are built for; free-threaded builds do not count."""
    found = set()
    for tag in tags:
        match = re.fullmatch(r"cp3(\d+)", tag.interpreter)
        if match and not tag.abi.endswith("t"):
            found.add(f"3.{match[1]}")
    return frozenset(found)


def minor_of(python: str) -> str:
    """``3.11`` of ``3.11.7``."""
    return ".".join(python.split(".")[:2])


def in_order(pythons: Iterable[str]) -> list[str]:
    """Python minors, the oldest first."""
    return sorted(pythons, key=lambda minor: tuple(int(part) for part in minor.split(".")))


def spoken_pythons(pythons: Iterable[str]) -> str:
    """``3.8 to 3.11``, ``3.9``, ``3.7 and 3.9``."""
    minors = in_order(set(pythons))
    if not minors:
        return "none"
    numbers = [int(minor.split(".")[1]) for minor in minors]
    if len(minors) > 1 and numbers == list(range(numbers[0], numbers[-1] + 1)):
        return f"{minors[0]} to {minors[-1]}"
    return ", ".join(minors[:-1]) + f" and {minors[-1]}" if len(minors) > 1 else minors[0]


def _platforms(platform: str) -> Iterable[str]:
    if found := _GLIBC.fullmatch(platform):
        architecture = found["arch"]
        for level in range(int(found["level"]), _OLDEST[architecture] - 1, -1):
            yield f"manylinux_2_{level}_{architecture}"
            if level in _LEGACY:
                yield f"{_LEGACY[level]}_{architecture}"
        yield f"linux_{architecture}"
    elif found := _MUSL.fullmatch(platform):
        yield from (f"musllinux_1_{level}_{found['arch']}" for level in range(2, -1, -1))
        yield f"linux_{found['arch']}"
    elif platform.endswith("-apple-darwin"):
        architecture = "arm64" if platform.startswith("aarch64") else "x86_64"
        versions = [(major, 0) for major in range(26, 10, -1)] + [(10, minor) for minor in range(16, 3, -1)]
        for major, minor in versions:
            yield from (f"macosx_{major}_{minor}_{kind}" for kind in (architecture, "universal2", "universal"))
