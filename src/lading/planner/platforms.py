"""Names of platforms: uv's, and the ones that users of containers and of conda know."""

from __future__ import annotations

from lading.model.origin import Origin
from lading.model.patterns import pattern
from lading.model.problems import LadingError, Problem

_GLIBC = pattern(r"(?P<arch>x86_64|aarch64)-manylinux_2_(?P<minor>\d+)")
_OTHERS = pattern(r"(x86_64|aarch64)-(apple-darwin|unknown-linux-musl|pc-windows-msvc|musllinux_1_\d)")
_ASSUMED = 28
"""glibc 2.28 (Debian 10, RHEL 8 and newer) is what today's wheels are built for."""

_ALIASES = {
    "linux": f"x86_64-manylinux_2_{_ASSUMED}",
    "linux/amd64": f"x86_64-manylinux_2_{_ASSUMED}",
    "linux/x86_64": f"x86_64-manylinux_2_{_ASSUMED}",
    "linux/arm64": f"aarch64-manylinux_2_{_ASSUMED}",
    "linux/arm64/v8": f"aarch64-manylinux_2_{_ASSUMED}",
    "linux/aarch64": f"aarch64-manylinux_2_{_ASSUMED}",
    "macos": "aarch64-apple-darwin",
    "darwin/arm64": "aarch64-apple-darwin",
    "darwin/amd64": "x86_64-apple-darwin",
    "windows": "x86_64-pc-windows-msvc",
    "windows/amd64": "x86_64-pc-windows-msvc",
    "linux-64": f"x86_64-manylinux_2_{_ASSUMED}",
    "linux-aarch64": f"aarch64-manylinux_2_{_ASSUMED}",
    "osx-64": "x86_64-apple-darwin",
    "osx-arm64": "aarch64-apple-darwin",
    "win-64": "x86_64-pc-windows-msvc",
}


def platform_named(text: str) -> str:
    """The platform that ``--platform`` names, as uv spells it, with the C library that is assumed: ``x86_64-manylinux_2_28``.

    ``linux/amd64`` and its like, which Docker and Cog use, and conda's ``linux-64`` say nothing about the C library; glibc 2.28 is assumed.

    Raises:
        LadingError: if it is no platform that packages are built for.
    """
    name = _ALIASES.get(text.lower(), text)
    if _GLIBC.fullmatch(name) or _OTHERS.fullmatch(name):
        return name
    raise LadingError(
        Problem(
            rule="platform-not-supported",
            what=f'"{text}" is not a platform that packages are built for.',
            origin=Origin("--platform"),
            instead="Write linux/amd64, linux/arm64, macos or windows, or name the C library as well: x86_64-manylinux_2_36.",
        )
    )


def runs_on(locked: str, host: str) -> bool:
    """Whether files for platform ``locked`` run on ``host``: the same one, or an older glibc on the same architecture."""
    if locked == host:
        return True
    theirs, ours = _GLIBC.fullmatch(locked), _GLIBC.fullmatch(host)
    return bool(theirs and ours and theirs["arch"] == ours["arch"] and int(theirs["minor"]) <= int(ours["minor"]))


def is_linux(platform: str) -> bool:
    """Whether a platform is Linux with glibc."""
    return _GLIBC.fullmatch(platform) is not None
