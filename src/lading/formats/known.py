"""Every file name that Lading knows to declare something, in the order in which files count.

The planner asks here which files can be the source of the dependencies, what reads them, and what to say of those that it does not use.
"""

from __future__ import annotations

import re
from enum import IntEnum
from functools import lru_cache

from lading.model.records import dataclass


class Rank(IntEnum):
    """How early a file counts, the lowest first: locks before declarations, what says more before what says less."""

    STANDARD_LOCK = 1
    TOOL_LOCK = 2
    CONDA = 3
    REQUIREMENTS = 4
    REQUIREMENTS_INPUT = 5
    PYPROJECT = 6
    PIPFILE = 7
    CONDA_PROJECT = 8
    SETUP_CFG = 9
    SETUP_PY = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownFile:
    """What a file is.

    ``reader`` is the module of this package that reads it. ``rank`` is its place among the files that can be the source of the
    dependencies, None when it cannot be one. ``declares``: whether it declares packages; a version file does not. ``example`` is a name
    as it is usually written.
    """

    name: str
    what: str
    reader: str | None = None
    rank: Rank | None = None
    declares: bool = True
    example: str = ""
    is_conda: bool = False

    @property
    def read(self) -> bool:
        """Whether this version reads it."""
        return self.reader is not None

    @property
    def is_lock(self) -> bool:
        """Whether it is another tool's lock."""
        return self.rank in (Rank.STANDARD_LOCK, Rank.TOOL_LOCK)


@dataclass(frozen=True, slots=True)
class Entry:
    """One pattern of names; ``hint`` is a part of every name that it fits, as patterns take long to compile. ``example`` stands for it."""

    hint: str
    pattern: str
    what: str
    example: str
    reader: str | None = None
    rank: Rank | None = None
    declares: bool = True
    conda: bool = False


def hint_of(pattern: str) -> str:
    """The longest plain text in a pattern; empty where it has alternatives at the top."""
    if "|" in re.sub(r"\([^)]*\)", "", pattern):
        return ""
    plain = re.split(r"\([^)]*\)[?*]?|\[[^\]]*\]|\.[*+]|[^.]\?", pattern.replace("\\.", "\0"))
    return max(plain, key=len).replace("\0", ".")


def _source(pattern: str, what: str, example: str, reader: str, rank: Rank, *, conda: bool = False) -> Entry:
    return Entry(hint_of(pattern), pattern, what, example, reader, rank, conda=conda)


def _read(pattern: str, what: str, example: str, reader: str) -> Entry:
    return Entry(hint_of(pattern), pattern, what, example, reader, declares=False)


def _other(pattern: str, what: str, example: str, *, declares: bool = False) -> Entry:
    return Entry(hint_of(pattern), pattern, what, example, declares=declares)


# The first pattern that fits counts.
ENTRIES = (
    _other(r"pylock\.lading(-.*)?\.toml", "Lading's lock", "pylock.lading.toml"),
    _source(r"pylock(\.[^.]+)?\.toml", "a lock file (PEP 751)", "pylock.toml", "pylock_toml", Rank.STANDARD_LOCK),
    _source(r"uv\.lock", "uv's lock", "uv.lock", "uv_lock", Rank.TOOL_LOCK),
    _source(r"pdm\.lock", "PDM's lock", "pdm.lock", "pdm_lock", Rank.TOOL_LOCK),
    _source(r"poetry\.lock", "Poetry's lock", "poetry.lock", "poetry_lock", Rank.TOOL_LOCK),
    _source(r"Pipfile\.lock", "Pipenv's lock", "Pipfile.lock", "pipfile_lock", Rank.TOOL_LOCK),
    _source(r"(.+\.)?conda-lock\.ya?ml", "conda-lock's lock", "conda-lock.yml", "conda_lock_yml", Rank.CONDA, conda=True),
    _source(r"pixi\.lock", "pixi's lock", "pixi.lock", "pixi_lock", Rank.CONDA, conda=True),
    _source(
        r"conda-(linux|osx|win)-.*\.lock",
        "an explicit list of conda packages",
        "conda-linux-64.lock",
        "conda_packages",
        Rank.CONDA,
        conda=True,
    ),
    _source(r"conda-packages\.txt", "Cortex's list of conda packages", "conda-packages.txt", "conda_packages", Rank.CONDA, conda=True),
    _source(r"environment\.ya?ml", "a conda environment", "environment.yml", "environment_yml", Rank.CONDA, conda=True),
    _source(r"requirements\.txt", "pip's requirements", "requirements.txt", "requirements_txt", Rank.REQUIREMENTS),
    _source(r"requirements\.in", "pip-compile's input", "requirements.in", "requirements_txt", Rank.REQUIREMENTS_INPUT),
    _source(r"pyproject\.toml", "the project's own metadata", "pyproject.toml", "pyproject_toml", Rank.PYPROJECT),
    _source(r"Pipfile", "Pipenv's project file", "Pipfile", "pipfile", Rank.PIPFILE),
    _source(r"conda\.ya?ml", "a conda environment, as MLflow writes it", "conda.yaml", "environment_yml", Rank.CONDA_PROJECT, conda=True),
    _source(r"pixi\.toml", "pixi's project file", "pixi.toml", "pixi_toml", Rank.CONDA_PROJECT, conda=True),
    _source(r"setup\.cfg", "setuptools' static metadata", "setup.cfg", "setup_cfg", Rank.SETUP_CFG),
    _source(r"setup\.py", "setuptools' build script", "setup.py", "setup_py", Rank.SETUP_PY),
    _read(r"cog\.yaml", "Cog's configuration", "cog.yaml", "cog_yaml"),
    _read(r"cortex\.yaml", "Cortex's configuration", "cortex.yaml", "cortex_yaml"),
    _read(r"\.python-version", "a Python version, as pyenv and uv read it", ".python-version", "python_version"),
    _read(r"runtime\.txt", "a Python version, as Heroku reads it", "runtime.txt", "python_version"),
    _read(r"apt\.txt", "a list of system packages", "apt.txt", "system_packages"),
    _read(r"packages\.txt", "a list of system packages", "packages.txt", "system_packages"),
    _read(r"Aptfile", "a list of system packages", "Aptfile", "system_packages"),
    _other(
        r"(.*[-_.])?requirements([-_.].*)?\.(txt|in)",
        "further pip requirements, which nothing names",
        "requirements-dev.txt",
        declares=True,
    ),
    _other(r"constraints?([-_.].*)?\.txt", "pip's constraints, which nothing names", "constraints.txt"),
    _other(r"dependencies\.sh", "Cortex's install script", "dependencies.sh"),
    _other(r"postBuild", "repo2docker's install script", "postBuild"),
    _other(r"\.tool-versions", "tool versions, as asdf reads them", ".tool-versions"),
    _other(r"(\.)?mise\.toml", "tool versions, as mise reads them", "mise.toml"),
    _other(r"Dockerfile", "an image recipe", "Dockerfile"),
)


@lru_cache(maxsize=512)
def lookup(path: str) -> KnownFile | None:
    """What is known about a file, by its name; None for folders and for names that say nothing."""
    name = path.rsplit("/", 1)[-1]
    for entry in ENTRIES:
        if name and entry.hint in name and re.fullmatch(entry.pattern, name):
            return KnownFile(
                name=name,
                what=entry.what,
                reader=entry.reader,
                rank=entry.rank,
                declares=entry.declares,
                example=entry.example,
                is_conda=entry.conda,
            )
    return None
