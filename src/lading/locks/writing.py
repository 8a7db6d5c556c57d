"""Lock files on disk."""

from __future__ import annotations

import os
from pathlib import Path


def write_lock_file(path: Path, content: bytes) -> None:
    """Write a lock whole or not at all: into a temporary file in the same folder, then renamed into place.

    Raises:
        OSError: if it cannot be written; what was there stays.
    """
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with aside.open("wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)
