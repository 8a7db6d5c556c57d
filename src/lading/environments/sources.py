"""The sources of a folder that is installed as a package: which files they are, and digests over them."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator

METADATA = ("pyproject.toml", "setup.py", "setup.cfg", "MANIFEST.in")
_SUFFIXES = (".py", ".pyi", ".pyx", ".pxd", ".c", ".cc", ".cpp", ".cxx", ".cu", ".h", ".hpp", ".rs")
_NO_SOURCES = frozenset({"__pycache__", "node_modules", "venv", "site-packages"})
_BUILT = frozenset({"build", "dist"})
_LARGE = 64_000_000
"""A file above this size (bytes) counts by size and time: reading a model's weights takes longer than installing the package."""


def source_files(folder: str) -> Iterator[tuple[str, os.stat_result]]:
    """Each source file below a folder with its status, by path, in a fixed order.

    Sources are files in languages that extension modules and packages are written in, the files that describe the package, and whatever else
    lies in or below a folder of Python modules: it may be installed with them (package data). What lies beside is no part of the package: a
    project's weights, its outputs. Hidden folders, build results and environments are left out; symbolic links to folders are not followed, so
    a loop of links does no harm.
    """
    yield from _below(folder, top=True, in_package=False)


def _below(folder: str, *, top: bool, in_package: bool) -> Iterator[tuple[str, os.stat_result]]:
    try:
        with os.scandir(folder) as scan:
            entries = sorted(scan, key=lambda entry: entry.name)
    except OSError:
        return
    in_package = in_package or (not top and any(entry.name.endswith((".py", ".pyx")) for entry in entries))
    for entry in entries:
        if entry.is_dir(follow_symlinks=False):
            if not _is_left_out(entry.name, in_package=in_package):
                yield from _below(entry.path, top=False, in_package=in_package)
        elif _counts(entry.name, in_package=in_package) and entry.is_file():
            yield entry.path, entry.stat()


def _is_left_out(name: str, *, in_package: bool) -> bool:
    return name.startswith(".") or name in _NO_SOURCES or name.endswith(".egg-info") or (name in _BUILT and not in_package)


def _counts(name: str, *, in_package: bool) -> bool:
    return name.endswith(_SUFFIXES) or name in METADATA or (in_package and not name.startswith(".") and not name.endswith((".pyc", ".pyo")))


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
    for path, status in _metadata_files(folder) if metadata_only else source_files(folder):
        digest.update(os.fsencode(f"{os.path.relpath(path, folder)}\0"))
        digest.update(_told_apart(path, status))
    return digest.hexdigest()


def _told_apart(path: str, status: os.stat_result) -> bytes:
    """What one state of a file is told apart from another by: its content."""
    if status.st_size > _LARGE:
        return b"%d large %d" % (status.st_size, status.st_mtime_ns)
    with open(path, "rb") as stream:
        content = stream.read()
    return b"%d\0" % len(content) + content


def _metadata_files(folder: str) -> list[tuple[str, os.stat_result]]:
    paths = [os.path.join(folder, name) for name in METADATA]
    return [(path, os.stat(path)) for path in paths if os.path.isfile(path)]
