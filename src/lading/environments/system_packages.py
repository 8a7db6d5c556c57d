"""Whether the machine has the Debian packages that a project needs. Nothing is ever installed."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterable

from lading.model.records import dataclass


@dataclass(frozen=True, slots=True)
class Checked:
    """What is missing of the packages that were asked for; None where this machine has no dpkg to ask."""

    asked: tuple[str, ...]
    missing: tuple[str, ...] | None

    @property
    def command(self) -> str | None:
        """The one line that installs what is missing."""
        if not self.missing:
            return None
        return f"{'' if os.geteuid() == 0 else 'sudo '}apt-get install -y {' '.join(self.missing)}"


def check(packages: Iterable[str]) -> Checked:
    """Ask dpkg for packages, written as for apt: ``name``, ``name:architecture``, ``name=version``, ``name/release``.

    A package that another one provides counts as there, and so does one of which another architecture is there, where none is asked for.
    """
    asked = tuple(dict.fromkeys(packages))
    installed = _installed() if asked else {}
    if installed is None:
        return Checked(asked, None)
    return Checked(asked, tuple(package for package in asked if not _is_there(package, installed)))


def _is_there(package: str, installed: dict[str, set[str]]) -> bool:
    name, mark, version = re.sub(r"/.*", "", package).partition("=")
    bare = name.partition(":")[0]
    versions = installed.get(name) or (installed.get(bare) if ":" not in name else None)
    return versions is not None and (not mark or version in versions)


def _installed() -> dict[str, set[str]] | None:
    """Installed versions by name, by name with architecture, and by what is provided; None without dpkg."""
    shown = "${db:Status-Abbrev}\t${Package}\t${Architecture}\t${Version}\t${Provides}\n"
    try:
        done = subprocess.run(["dpkg-query", "-W", f"-f={shown}"], capture_output=True, text=True, check=False)
    except OSError:
        return None
    if done.returncode and not done.stdout:
        return None
    found: dict[str, set[str]] = {}
    for line in done.stdout.splitlines():
        status, _, rest = line.partition("\t")
        if not status.startswith("ii") or rest.count("\t") != 3:
            continue
        name, architecture, version, provides = rest.split("\t")
        for known in (name, f"{name}:{architecture}", *re.findall(r"([a-z0-9][a-z0-9+.-]*)(?:\s*\([^)]*\))?", provides)):
            found.setdefault(known, set()).add(version)
    return found
