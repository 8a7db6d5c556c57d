"""What git says of a project's folder, asked while other work is done."""

from __future__ import annotations

import subprocess
from functools import cached_property
from pathlib import Path

from lading.model.secrets import SecretUrl

_SECONDS = 5


class Checkout:
    """A folder that may be (in) a git repository."""

    def __init__(self, root: Path) -> None:
        there = any((folder / ".git").exists() for folder in (root, *root.parents))
        self._asked = [_ask(root, *words) if there else None for words in (("rev-parse", "HEAD"), ("remote", "get-url", "origin"))]

    @cached_property
    def revision(self) -> str | None:
        """The commit that is checked out."""
        return _answer(self._asked[0])

    @cached_property
    def remote(self) -> str | None:
        """The address that it was cloned from, without credentials."""
        url = _answer(self._asked[1])
        return SecretUrl(url).without_credentials() if url else None


def _ask(root: Path, *words: str) -> subprocess.Popen[str] | None:
    try:
        return subprocess.Popen(["git", "-C", str(root), *words], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    except OSError:
        return None


def _answer(asked: subprocess.Popen[str] | None) -> str | None:
    if asked is None:
        return None
    with asked:
        try:
            text, _ = asked.communicate(timeout=_SECONDS)
        except subprocess.TimeoutExpired:
            asked.kill()
            return None
    return text.strip() or None if asked.returncode == 0 else None
