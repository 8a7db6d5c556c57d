"""``.python-version`` (pyenv, uv, Heroku) and ``runtime.txt`` (Heroku, repo2docker): which Python the project wants."""

from __future__ import annotations

import re

from lading.formats._python import exact_request
from lading.formats._text import read_text
from lading.model.decisions import Decision, Kind
from lading.model.files import ProjectFiles
from lading.model.origin import Origin
from lading.model.patterns import pattern
from lading.model.problems import LadingError, Problem
from lading.model.requirements import Declaration
from lading.model.target import PythonRequest

name = ".python-version"

_NAMES = (".python-version", "runtime.txt")
_PREFIX = pattern(r"(?:c?python)[-@ ]?", re.IGNORECASE)


def recognises(path: str) -> bool:
    """Whether a file names a Python version."""
    return path.rsplit("/", 1)[-1] in _NAMES


def parse(path: str, files: ProjectFiles) -> Declaration:
    """Read the version. Of several lines the first counts, as for pyenv, and a Decision says so.

    Raises:
        LadingError: if there is none, or it is not a version of CPython.
    """
    lines = _lines(read_text(path, files))
    if not lines:
        raise LadingError(
            Problem(
                rule="python-version-file-empty",
                what=f"{path} names no Python version.",
                origin=Origin(path, 1),
                instead="Write a version, for example 3.11, or delete the file.",
            )
        )
    number, text = lines[0]
    request = _request(text, Origin(path, number), path)
    decisions = (_first_counts(path, lines, request),) if len(lines) > 1 else ()
    return Declaration(format=name, path=path, read=(path,), python=request, decisions=decisions)


def _lines(text: str) -> list[tuple[int, str]]:
    """Lines with content and their numbers; several versions on one line are several lines, as for pyenv."""
    found = []
    for number, line in enumerate(text.splitlines(), start=1):
        found += [(number, word) for word in re.sub(r"\bpython ", "python-", line.partition("#")[0]).split()]
    return found


def _request(text: str, origin: Origin, path: str) -> PythonRequest:
    if re.fullmatch(
        r"(pypy|graalpy|miniconda|anaconda|miniforge|mambaforge|jython|ironpython|stackless|micropython).*", text, re.IGNORECASE
    ):
        raise LadingError(
            Problem(
                rule="python-version-invalid",
                what=f'{path} asks for "{text}", and Lading runs models on CPython.',
                origin=origin,
                instead="Write CPython's version, for example 3.11.",
            )
        )
    bare = _PREFIX.sub("", text, count=1)
    request = exact_request(bare, origin, rule="python-version-invalid", what=f"In {path},")
    return PythonRequest(specifier=request.specifier, text=text, origin=origin)


def _first_counts(path: str, lines: list[tuple[int, str]], request: PythonRequest) -> Decision:
    return Decision(
        rule="python-version-first",
        kind=Kind.CHOSEN,
        subject="python",
        asked=", ".join(text for _, text in lines),
        chose=request.text,
        because="of several versions in the file the first one counts, as for pyenv",
        origin=request.origin,
        instead=f"a {path} with one version",
    )
