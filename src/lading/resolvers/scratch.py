"""A temporary folder for one call of another program."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_VARIABLES = ("TMPDIR", "TEMP", "TMP")
_USUAL = ("/tmp", "/var/tmp", "/usr/tmp")  # noqa: S108 -- where the folder is made, for this user alone and under a name nobody knows


@contextmanager
def scratch_folder(prefix: str) -> Iterator[Path]:
    """A folder that nobody else can look into, and that is gone afterwards.

    As `tempfile.TemporaryDirectory`, in the same places; that module takes 3 ms to load, with random numbers and all archive formats.

    Raises:
        OSError: if none of the places can be written.
    """
    folder = _made(prefix)
    try:
        yield folder
    finally:
        from shutil import rmtree  # noqa: PLC0415 -- see above

        rmtree(folder, ignore_errors=True)


def usual_place() -> str:
    """Where temporary folders are made first, for messages."""
    return _places()[0]


def _places() -> list[str]:
    named = [os.environ[name] for name in _VARIABLES if os.environ.get(name)]
    return [str(Path(place).absolute()) for place in (*named, *_USUAL, os.curdir)]


def _made(prefix: str) -> Path:
    first: OSError | None = None
    for place in _places():
        folder = Path(place, f"{prefix}{os.urandom(6).hex()}")
        try:
            folder.mkdir(mode=0o700)
        except OSError as error:
            first = first or error
        else:
            return folder.resolve()
    raise first or FileNotFoundError(2, "there is no place for temporary files")
