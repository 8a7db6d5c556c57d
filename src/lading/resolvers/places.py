"""Where a requirement's files lie, as uv must be told: local paths made absolute, places that a lock cannot name refused."""

from __future__ import annotations

import os
import re
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

from lading.model.origin import Origin
from lading.model.patterns import pattern
from lading.model.problems import LadingError

_SERVER = pattern(r"(?!file:|git\+file:)[A-Za-z][A-Za-z0-9+.-]+://", re.IGNORECASE)


def is_remote(place: str) -> bool:
    """Whether a place is on a server, rather than a path or a ``file:`` URL."""
    return bool(_SERVER.match(place))


def local_path(place: str, root: Path) -> Path:
    """The absolute path of a local place: one relative to the project's root, an absolute one, or a ``file:`` URL."""
    bare = place.removeprefix("git+")
    if bare.lower().startswith("file:"):
        bare = unquote(urlsplit(bare).path if "//" in bare else bare[len("file:") :])
    return Path(os.path.normpath(root / bare))


def is_outside(place: str, root: Path) -> bool:
    """Whether a local place was written as an absolute one and lies outside of the project."""
    from lading.locks.lockfile import is_absolute  # noqa: PLC0415 -- for local places alone

    bare = place.removeprefix("git+")
    if not (bare.lower().startswith("file:/") or is_absolute(bare)):
        return False
    path = local_path(place, root)
    return not path.is_relative_to(root) and not path.resolve().is_relative_to(root)


def checked_path(place: str, root: Path, subject: str, origin: Origin | None = None) -> Path:
    """`local_path`, refused when a lock could not name it.

    Raises:
        LadingError: if the place is an absolute one outside of the project.
    """
    if is_outside(place, root):
        from lading.locks.lockfile import machine_path_problem  # noqa: PLC0415 -- as above

        raise LadingError(machine_path_problem(subject, place, origin))
    return local_path(place, root)


def file_url(path: Path) -> str:
    """The ``file:`` URL of an absolute path."""
    return "file://" + quote(path.as_posix(), safe="/@")


def relative(place: str, root: Path) -> str:
    """A local place as a path relative to the project's root, with ``/``."""
    path = local_path(place, root)
    if not path.is_relative_to(root) and path.resolve().is_relative_to(root):
        path = path.resolve()
    return Path(os.path.relpath(path, root)).as_posix()
