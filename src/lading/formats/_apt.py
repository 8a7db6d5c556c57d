"""Names of Debian packages."""

from __future__ import annotations

import re

from lading.model.origin import Origin
from lading.model.patterns import pattern
from lading.model.problems import Problem

_APT = pattern(r"[a-z0-9][a-z0-9+.-]*(:[a-z0-9]+)?([=/][A-Za-z0-9.+:~-]+)?")


def is_apt_package(word: str) -> bool:
    """Whether a word is a package as apt takes it: ``libgl1``, ``libgl1:i386``, ``git=1:2.39.2-1``, ``git/bookworm``."""
    return _APT.fullmatch(word) is not None


def apt_problem(word: str, origin: Origin) -> Problem:
    """What is said of a word that is none."""
    shown = word if len(word) <= 60 else f"{word[:57]}..."
    bare = re.match(r"[a-z0-9][a-z0-9+.-]*", word)
    return Problem(
        rule="system-package-invalid",
        what=f'"{shown}" is not the name of a Debian package.',
        origin=origin,
        why="apt knows no ranges; versions are written name=version." if re.search(r"[<>]|==|~=", word) else None,
        instead=f"Write {bare[0].rstrip('.-')}." if bare else "Write the name as `apt-cache search` prints it.",
    )
