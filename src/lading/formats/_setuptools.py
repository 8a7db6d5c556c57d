"""Requirements that setuptools takes from files: ``file: requirements.txt`` in setup.cfg, ``file = [...]`` in pyproject.toml."""

from __future__ import annotations

from collections.abc import Iterable

from lading.formats._line import Include, Reader
from lading.formats._logical import logical_lines
from lading.formats._paths import joined, outside
from lading.formats._place import NO_VARIABLES
from lading.formats._text import missing_file, read_text
from lading.model.files import ProjectFiles
from lading.model.origin import Origin
from lading.model.problems import LadingError, Problem, ProblemCollector
from lading.model.requirements import Declared


def read_listed(paths: Iterable[str], origin: Origin, files: ProjectFiles) -> list[Declared]:
    """The requirements in files that are named in ``origin``'s file; setuptools allows plain requirements in them, and no options.

    Raises:
        LadingError: with every problem of the files.
    """
    problems = ProblemCollector()
    found: list[Declared] = []
    for written in paths:
        path = joined(origin.path.rpartition("/")[0], written)
        if outside(path) or files.read(path) is None:
            problems.add(missing_file(path, files, origin, what="requirements file"))
            continue
        with problems.catching():
            for line in logical_lines(read_text(path, files)):
                with problems.catching():
                    found.append(_requirement(line.text, Origin(path, line.number), files))
    problems.raise_if_any()
    return found


def _requirement(text: str, origin: Origin, files: ProjectFiles) -> Declared:
    declared = None if text.startswith("-") else Reader(files, NO_VARIABLES).read(text, origin)
    if declared is None or isinstance(declared, Include):
        raise LadingError(
            Problem(
                rule="option-in-setuptools-file",
                what=f"This is an option of pip, and setuptools reads requirements only: {text}",
                origin=origin,
                instead="Remove the line; or name this file as the dependency source: `source` under [tool.lading] in pyproject.toml.",
            )
        )
    return declared
