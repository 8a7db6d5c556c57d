"""``requirements.txt`` and every file that it includes: the whole of pip's language.

pip's own behaviour is the standard (https://pip.pypa.io/en/stable/reference/requirements-file-format/); a differential test holds this
reader against it. Where pip misleads, by passing over half a line or by sending an unset variable to an index, the line is refused
with the fix, or a Decision says which meaning it was given.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from lading.formats._included import Reading
from lading.formats._line import Reader
from lading.formats._place import NO_VARIABLES
from lading.formats._together import conflicting_pins, missing_hashes
from lading.model.files import ProjectFiles
from lading.model.patterns import pattern
from lading.model.requirements import Declaration

name = "requirements.txt"

_FILE_NAME = pattern(r"(.*[-_.])?(requirements?|constraints?)([-_.].*)?\.(txt|in)", re.IGNORECASE)


def recognises(path: str) -> bool:
    """Whether a file's name says that it is a requirements file: ``requirements.txt``, ``requirements-gpu.txt``, ``dev.requirements.txt``."""
    return _FILE_NAME.fullmatch(path.rsplit("/", 1)[-1]) is not None


def parse(path: str, files: ProjectFiles, environ: Mapping[str, str] = NO_VARIABLES) -> Declaration:
    """Read a requirements file with its includes.

    Args:
        path: The file, relative to the project's root.
        files: The project.
        environ: The variables for ``${NAME}``.

    Raises:
        LadingError: with every problem of the file and of its includes.
    """
    reading = Reading(Reader(files, environ))
    reading.file(path, constraint=False, chain=())
    requirements = tuple(dict.fromkeys(reading.requirements))
    options = reading.lines.options.frozen()
    problems, decisions = missing_hashes(requirements, required=options.require_hashes)
    reading.problems.add(*conflicting_pins(requirements), *problems)
    reading.problems.raise_if_any()
    return Declaration(
        format=name,
        path=path,
        read=tuple(dict.fromkeys(reading.read)),
        requirements=requirements,
        constraints=tuple(dict.fromkeys(reading.constraints)),
        options=options,
        decisions=tuple(dict.fromkeys((*reading.lines.options.decisions, *decisions))),
    )
