"""The sources of a folder that is installed as a package: which files they are, and digests over them."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator

METADATA = ("pyproject.toml", "setup.py", "setup.cfg", "MANIFEST.in")
_SUFFIXES = (".py", ".pyi", ".pyx", ".pxd", ".c", ".cc", ".cpp", ".cxx", ".cu", ".h", ".hpp", ".rs")
_NO_SOURCES = frozenset({"__pycache__", "node_modules", "build", "dist", "venv", "site-packages"})


def source_files(folder: str) -> Iterator[tuple[str, os.stat_result]]:
    """Each source file below a folder with its status, by path, in a fixed order.

    Sources are files in languages that extension modules and packages are written in, and the files that describe the package. Hidden
    folders, build results and environments are left out; symbolic links to folders are not followed, so a loop of links does no harm.
    """
    try:
        with os.scandir(folder) as scan:
            entries = sorted(scan, key=lambda entry: entry.name)
    except OSError:
        return
    for entry in entries:
        if entry.is_dir(follow_symlinks=False):
            if not entry.name.startswith(".") and entry.name not in _NO_SOURCES and not entry.name.endswith(".egg-info"):
                yield from source_files(entry.path)
        elif (entry.name.endswith(_SUFFIXES) or entry.name in METADATA) and entry.is_file():
            yield entry.path, entry.stat()


def status_digest(folder: str) -> str:
    """SHA-256 over the sources' paths, sizes and times: cheap, and different after any change."""
    digest = hashlib.sha256()
    for path, status in source_files(folder):
        digest.update(f"{path}\0{status.st_size}\0{status.st_mtime_ns}\0{status.st_ctime_ns}\0".encode("utf-8", "surrogateescape"))
    return digest.hexdigest()


def content_digest(folder: str, *, metadata_only: bool = False) -> str:
    """SHA-256 over the sources' relative paths and contents; with ``metadata_only`` over the files that describe the package.

    Raises:
        OSError: if a source cannot be read.
    """
    digest = hashlib.sha256()
    for path in _metadata_files(folder) if metadata_only else [path for path, _ in source_files(folder)]:
        with open(path, "rb") as stream:
            content = stream.read()
        digest.update(os.fsencode(f"{os.path.relpath(path, folder)}\0{len(content)}\0") + content)
    return digest.hexdigest()


def _metadata_files(folder: str) -> list[str]:
    paths = [os.path.join(folder, name) for name in METADATA]
    return [path for path in paths if os.path.isfile(path)]
