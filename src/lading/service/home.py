"""A home with the files that were put into root's while an image was built: caches of models that libraries look for below ``~``.

Cog's containers run as root, so that what a command of ``run:`` fetched to ``~/.cache`` is found again. Ours run as a user without rights,
with a home in memory. Files are linked there and folders made, so that the library may write beside what it reads; small files, which
libraries rewrite (the references of Hugging Face's cache, lists of trusted repositories), are copied.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
from collections.abc import Mapping

VARIABLE = "LADING_HOME_FILES"
"""The folder whose files are to be seen."""
_SMALL = 16 * 1024
_MANY = 5000
"""A folder at the top, or of caches, with more files than these is linked as a whole: making a link takes its time."""


def furnish(environ: Mapping[str, str]) -> None:
    """Make the links in ``HOME``, where it may be written; what is there already stays."""
    source, home = environ.get(VARIABLE), environ.get("HOME")
    if not source or not home or not os.access(home, os.W_OK) or os.path.realpath(source) == os.path.realpath(home):
        return
    with contextlib.suppress(OSError):
        _furnish(source, home, top=True)


def _furnish(source: str, home: str, *, top: bool) -> None:
    with os.scandir(source) as entries:
        for entry in sorted(entries, key=lambda one: one.name):
            # One that cannot be read (credentials) or made is no matter of the others.
            with contextlib.suppress(OSError):
                _one(entry, os.path.join(home, entry.name), top=top)  # noqa: PTH118 -- of thousands of files


def _one(entry: os.DirEntry[str], place: str, *, top: bool) -> None:
    folder = entry.is_dir(follow_symlinks=False)
    caches = entry.name == ".cache"
    if folder and not (top and not caches and _count(entry.path) > _MANY):
        os.makedirs(place, exist_ok=True)  # noqa: PTH103 -- of thousands
        _furnish(entry.path, place, top=top and caches)
    elif os.path.lexists(place) or not os.access(entry.path, os.R_OK):
        return
    elif entry.is_symlink():
        os.symlink(os.readlink(entry.path), place)  # noqa: PTH115, PTH211
    elif not folder and entry.stat().st_size <= _SMALL:
        shutil.copyfile(entry.path, place)
        if entry.stat().st_mode & stat.S_IXUSR:  # of the other permissions, new files' own are right: the library is to write to them
            os.chmod(place, 0o755)  # noqa: PTH101, S103 -- of thousands; everybody could run it where it came from
    else:
        os.symlink(entry.path, place)  # noqa: PTH211


def _count(folder: str) -> int:
    found = 0
    for _, _, files in os.walk(folder):
        found += len(files)
        if found > _MANY:
            break
    return found
