"""The files of a project that can be the source of its dependencies, in the order in which they count, and their readers."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module

from lading.formats import known
from lading.formats.known import KnownFile, Rank
from lading.model.files import ProjectFiles
from lading.model.origin import Origin
from lading.model.problems import LadingError, Problem
from lading.model.records import dataclass
from lading.model.requirements import Declaration
from lading.model.selection import DEFAULT, Selection

_DECLARE_SOMETIMES = ("pyproject_toml", "setup_cfg")
_WITH_PARTS = ("pyproject_toml", "setup_cfg", "setup_py", "uv_lock", "pylock_toml", "poetry_lock", "pdm_lock")
"""Readers of formats that have extras or dependency groups."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A file that can be the source."""

    path: str
    known: KnownFile
    rank: Rank


def candidates(files: ProjectFiles, folder: str) -> tuple[Candidate, ...]:
    """Every file of a folder that can be the source, the first to count first.

    A pyproject.toml or setup.cfg that configures tools alone is none; one that cannot be read counts, so that it is not passed over.
    """
    found = []
    for name in files.entries(folder):
        entry = known.lookup(name)
        path = f"{folder}/{name}" if folder else name
        if entry is None or entry.rank is None or not _declares(path, entry, files):
            continue
        found.append(Candidate(path, entry, entry.rank))
    return tuple(sorted(found, key=lambda one: (one.rank, one.known.name != one.known.example, one.path)))


def _declares(path: str, entry: KnownFile, files: ProjectFiles) -> bool:
    if entry.reader not in _DECLARE_SOMETIMES:
        return True
    try:
        return bool(_module(entry.reader).declares(path, files))
    except LadingError:
        return True


def read_source(path: str, files: ProjectFiles, environ: Mapping[str, str], selection: Selection = DEFAULT) -> Declaration:
    """Read a file with the reader for its name; a text file with another name is read as pip's requirements.

    Raises:
        LadingError: with every problem of the file, if nothing reads such a file, or if it has not the extras and groups that are wanted.
    """
    entry = known.lookup(path)
    reader = entry.reader if entry and entry.rank is not None else None
    if reader is None and path.endswith((".txt", ".in")):
        reader = "requirements_txt"
    if reader is None and path.endswith(".py"):
        reader = "pep723"
    if reader is None:
        raise LadingError(
            Problem(
                rule="source-unknown",
                what=f"{path} is no file that Lading reads dependencies from.",
                origin=Origin(path),
                instead="Name a requirements file, a pyproject.toml, a lock, a Pipfile, a setup.cfg, a setup.py or a conda environment.",
            )
        )
    if not selection:
        declaration: Declaration = _module(reader).parse(path, files, environ)
        return declaration
    if reader not in _WITH_PARTS:
        from lading.formats._optional import without_parts  # noqa: PLC0415 -- on the way out

        raise without_parts(selection, path)
    selected: Declaration = _module(reader).parse(path, files, environ, selection)
    return selected


def _module(name: str):  # type: ignore[no-untyped-def] # noqa: ANN202 -- the readers' protocol is told in lading.formats
    return import_module(f"lading.formats.{name}")
