"""What git says of a project's folder, asked while other work is done."""

from __future__ import annotations

import re
import subprocess
from functools import cached_property
from pathlib import Path
from urllib.parse import urlsplit

_SECONDS = 60
_BRIEF = re.compile(r"(?:[^/:@]+@)?(?P<host>[^/:@]+):(?P<path>(?!//).+)")
"""``user@host:path``, as git writes an SSH address."""


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
        """The address that it was cloned from, as `public_address` writes it."""
        url = _answer(self._asked[1])
        return public_address(url) if url else None


def public_address(remote: str) -> str | None:
    """One address for every way to clone a repository: by HTTPS, without credentials and ``.git``; an SSH clone's is the same.

    None for what only this machine or this user knows: folders, and hosts whose names have no dot (as those of an SSH configuration).
    """
    brief = _BRIEF.fullmatch(remote)
    try:
        parts = urlsplit(f"ssh://{brief['host']}/{brief['path']}" if brief else remote)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        return None
    scheme = parts.scheme.removeprefix("git+")
    if scheme not in ("http", "https", "ssh", "git") or "." not in host:
        return None
    web = scheme in ("http", "https")
    place = f"{host}:{port}" if web and port else host
    path = parts.path.strip("/").removesuffix(".git")
    return f"{scheme if web else 'https'}://{place}/{path}"


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
