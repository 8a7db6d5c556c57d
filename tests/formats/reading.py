"""Reading texts in tests: a dict in, a declaration or its problems out."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import pytest

from lading.formats import requirements_txt
from lading.model.files import MemoryFiles
from lading.model.problems import LadingError, Problem
from lading.model.requirements import Declaration, Declared

PATH = "requirements.txt"


def read(text: str | bytes, files: Mapping[str, str | bytes] | None = None, **environ: str) -> Declaration:
    """A requirements.txt with this text, in a project with these other files."""
    return requirements_txt.parse(PATH, MemoryFiles({PATH: text, **(files or {})}), environ)


def one(text: str, files: Mapping[str, str | bytes] | None = None, **environ: str) -> Declared:
    """The only requirement of a text."""
    (declared,) = read(text, files, **environ).requirements
    return declared


def problems(action: Callable[[], object]) -> tuple[Problem, ...]:
    """What an action refuses."""
    with pytest.raises(LadingError) as caught:
        action()
    return caught.value.problems


def refused(text: str | bytes, files: Mapping[str, str | bytes] | None = None, **environ: str) -> Problem:
    """The only problem of a text."""
    (problem,) = problems(lambda: read(text, files, **environ))
    return problem
