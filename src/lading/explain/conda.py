"""Conda's part of plans and locks, for people."""

from __future__ import annotations

from collections.abc import Iterable

from lading.explain.style import Style
from lading.explain.text import wrap
from lading.model.conda import CondaLock, CondaPackage, CondaPlan, MatchSpec

_LONGEST = 48


def conda_lines(conda: CondaPlan | None, style: Style) -> list[str]:
    """What conda is asked for, and where."""
    if conda is None:
        return []
    width = min(max((len(spec.shown) for spec in conda.specs), default=0), _LONGEST)
    lines = [_spec_line(spec, width, style) for spec in conda.specs]
    channels = ", then ".join(str(channel) for channel in conda.channels)
    if channels:
        lines.append(wrap(f"from {channels}", style, "  ", "    "))
    lines.append(wrap(f"for {conda.platform}, {', '.join(_shown(one) for one in conda.virtual)}", style, "  ", "    "))
    if conda.variables:
        lines.append(wrap(f"with the variables {', '.join(name for name, _ in conda.variables)}", style, "  ", "    "))
    return lines


def _spec_line(spec: MatchSpec, width: int, style: Style) -> str:
    beside = f"  {spec.shown:{width}}  {spec.origin}"
    return beside if len(beside) <= style.width else f"  {spec.shown}\n      {spec.origin}"


def _shown(virtual: str) -> str:
    name, version, _ = virtual.split("=")
    return f"{name} {version}"


def find_package(name: str, conda: CondaLock | None) -> CondaPackage | None:
    """A conda package by its own name, or by the one that the package index has for what is in it."""
    packages = conda.packages if conda else ()
    own = next((package for package in packages if package.name == name), None)
    return own or next((package for package in packages if name in dict(package.provides)), None)


def needed_by(package: CondaPackage, packages: Iterable[CondaPackage]) -> list[str]:
    """The conda packages that depend on one."""
    return sorted(other.name for other in packages if any(one.split()[0] == package.name for one in other.depends if one.split()))
