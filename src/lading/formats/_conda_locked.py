"""Locks of conda tools: what their readers share. Their packages are files with hashes; nothing is solved again."""

from __future__ import annotations

import re
from collections.abc import Iterable

from lading.formats._checks import Checker
from lading.formats._matchspec import ARCHIVES
from lading.formats._yaml import Map, Scalar, Sequence
from lading.model.conda import ChannelUrl, CondaText, MatchSpec
from lading.model.names import canonical
from lading.model.origin import Origin
from lading.model.problems import Problem
from lading.model.requirements import Declared
from lading.model.secrets import SecretText

_SYSTEMS = {"linux": "linux", "osx": "darwin", "win": "win32"}
_MACHINES = {
    "linux-64": "x86_64",
    "linux-aarch64": "aarch64",
    "linux-ppc64le": "ppc64le",
    "osx-64": "x86_64",
    "osx-arm64": "arm64",
    "win-64": "AMD64",
}


def text_of(node: Map, key: str) -> str:
    """A scalar's text below a key; empty without one."""
    entry = node.get(key)
    return entry.value.text if entry and isinstance(entry.value, Scalar) and entry.value.value is not None else ""


def items_of(node: Map, key: str) -> tuple[Map, ...]:
    """The maps of a list below a key."""
    entry = node.get(key)
    return tuple(item for item in entry.value.items if isinstance(item, Map)) if entry and isinstance(entry.value, Sequence) else ()


def conda_file(url: str, origin: Origin, platform: str, *, md5: str = "", sha256: str = "", version: str = "") -> MatchSpec | None:
    """A conda package by its URL; None when that is no package's."""
    place = url.partition("#")[0]
    file = place.rpartition("/")[2]
    suffix = next((one for one in ARCHIVES if file.endswith(one)), None)
    parts = file.removesuffix(suffix).rsplit("-", 2) if suffix else []
    if len(parts) != 3:
        return None
    return MatchSpec(
        raw=CondaText(url),
        origin=origin,
        name=parts[0].lower(),
        version=f"=={version or parts[1]}",
        build=parts[2],
        subdir=place.rpartition("/")[0].rpartition("/")[2],
        url=ChannelUrl(place),
        md5=md5.lower(),
        sha256=sha256.lower(),
        platform=platform,
        frozen=True,
    )


def pinned(name: str, version: str, origin: Origin, platforms: Iterable[str] | None, *, sha256: str = "", extras: str = "") -> Declared:
    """A package of the index at its version, with a marker for the platforms that it is locked for."""
    return Declared(
        raw=SecretText(f"{name}=={version}"),
        origin=origin,
        name=canonical(name),
        specifier=f"=={version}",
        extras=tuple(sorted(filter(None, re.split(r"[,\s]+", extras)))),
        marker=marker_for(platforms),
        hashes=(f"sha256:{sha256.lower()}",) if sha256 else (),
    )


def marker_for(platforms: Iterable[str] | None) -> str | None:
    """The marker of conda's platforms (``linux-64``); None when it holds on all."""
    if platforms is None:
        return None
    parts = []
    for platform in sorted(set(platforms)):
        system, machine = _SYSTEMS.get(platform.partition("-")[0], platform), _MACHINES.get(platform)
        parts.append(f'sys_platform == "{system}"' + (f' and platform_machine == "{machine}"' if machine else ""))
    return " or ".join(f"({part})" if len(parts) > 1 else part for part in parts)


def damaged(check: Checker, line: int, why: str, tool: str, command: str) -> Problem:
    """The problem of a lock that is not as its tool writes it."""
    return Problem(
        rule="lock-of-other-tool-damaged",
        what=f"{check.path} is not a lock as {tool} writes it.",
        origin=check.origin(line),
        why=why,
        instead=f"Make it anew with `{command}`, or remove it.",
    )
