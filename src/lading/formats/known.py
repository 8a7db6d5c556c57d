"""Every file name that Lading knows to declare something, whether or not this version reads it.

The planner asks here what to say of a file that it does not use: ignored, because; or refused, because it would come first.
"""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownFile:
    """What a file is.

    ``read`` says whether this version reads it, ``declares`` whether it declares Python packages (a version file does not).
    ``blocks``: it must not be passed over, because it declares packages and nothing reads it. ``yields_to_readable``: something that
    is read comes before it, so that it blocks only where it stands alone.
    """

    name: str
    what: str
    read: bool = False
    declares: bool = True
    blocks: bool = False
    yields_to_readable: bool = False
    is_conda: bool = False


@dataclass(frozen=True, slots=True)
class _Entry:
    pattern: re.Pattern[str]
    what: str
    read: bool = False
    declares: bool = True
    blocks: bool = False
    yields: bool = False
    conda: bool = False


def _read(pattern: str, what: str, *, declares: bool = True) -> _Entry:
    return _Entry(re.compile(pattern), what, read=True, declares=declares)


def _first(pattern: str, what: str, *, conda: bool = False) -> _Entry:
    """Comes before what is read: a lock of another tool, a conda file."""
    return _Entry(re.compile(pattern), what, blocks=True, conda=conda)


def _later(pattern: str, what: str) -> _Entry:
    """Comes after what is read."""
    return _Entry(re.compile(pattern), what, blocks=True, yields=True)


def _other(pattern: str, what: str, *, declares: bool = False) -> _Entry:
    return _Entry(re.compile(pattern), what, declares=declares)


# The first pattern that fits counts.
_ENTRIES = (
    _other(r"pylock\.lading(-.*)?\.toml", "Lading's lock"),
    _read(r"requirements\.txt", "pip's requirements"),
    _read(r"pyproject\.toml", "the project's own metadata"),
    _read(r"cog\.yaml", "Cog's configuration", declares=False),
    _read(r"cortex\.yaml", "Cortex's configuration", declares=False),
    _read(r"\.python-version", "a Python version, as pyenv and uv read it", declares=False),
    _read(r"runtime\.txt", "a Python version, as Heroku reads it", declares=False),
    _first(r"pylock(\.[^.]+)?\.toml", "a lock file (PEP 751)"),
    _first(r"uv\.lock", "uv's lock"),
    _first(r"poetry\.lock", "Poetry's lock"),
    _first(r"pdm\.lock", "PDM's lock"),
    _first(r"Pipfile\.lock", "Pipenv's lock"),
    _first(r"(.+\.)?conda-lock\.ya?ml", "conda-lock's lock", conda=True),
    _first(r"pixi\.lock", "pixi's lock", conda=True),
    _first(r"conda-(linux|osx|win)-.*\.lock", "an explicit list of conda packages", conda=True),
    _first(r"conda-packages\.txt", "Cortex's list of conda packages", conda=True),
    _first(r"environment\.ya?ml", "a conda environment", conda=True),
    _later(r"conda\.ya?ml", "a conda environment, as MLflow writes it"),
    _later(r"pixi\.toml", "pixi's project file"),
    _later(r"requirements\.in", "pip-compile's input"),
    _later(r"Pipfile", "Pipenv's project file"),
    _later(r"setup\.cfg", "setuptools' static metadata"),
    _later(r"setup\.py", "setuptools' build script"),
    _other(r"requirements[-_.].*\.(txt|in)|.*[-_.]requirements\.(txt|in)", "further pip requirements, which nothing names", declares=True),
    _other(r"constraints?([-_.].*)?\.txt", "pip's constraints, which nothing names"),
    _other(r"apt\.txt|packages\.txt|Aptfile", "a list of system packages"),
    _other(r"dependencies\.sh", "Cortex's install script"),
    _other(r"postBuild", "repo2docker's install script"),
    _other(r"\.tool-versions|mise\.toml|\.mise\.toml", "tool versions, as asdf and mise read them"),
    _other(r"Dockerfile", "an image recipe"),
)


def lookup(path: str) -> KnownFile | None:
    """What is known about a file, by its name; None for folders and for names that say nothing."""
    name = path.rsplit("/", 1)[-1]
    for entry in _ENTRIES:
        if name and entry.pattern.fullmatch(name):
            return KnownFile(
                name=name,
                what=entry.what,
                read=entry.read,
                declares=entry.declares,
                blocks=entry.blocks,
                yields_to_readable=entry.yields,
                is_conda=entry.conda,
            )
    return None
