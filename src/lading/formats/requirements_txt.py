"""``requirements.txt`` and every file that it includes: the whole of pip's language.

pip's own behaviour is the standard (https://pip.pypa.io/en/stable/reference/requirements-file-format/); a differential test holds this
reader against it. Where pip misleads, by passing over half a line or by sending an unset variable to an index, the line is refused
with the fix, or a Decision says which meaning it was given.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from lading.formats._line import Include, Reader
from lading.formats._logical import LogicalLine, logical_lines
from lading.formats._place import NO_VARIABLES
from lading.formats._text import decode, missing_file
from lading.formats._together import conflicting_pins, missing_hashes
from lading.model.files import ProjectFiles
from lading.model.origin import Origin
from lading.model.problems import LadingError, Problem, ProblemCollector
from lading.model.requirements import Declaration, Declared
from lading.model.secrets import redact_urls

name = "requirements.txt"

_FILE_NAME = re.compile(r"(.*[-_.])?(requirements?|constraints?)([-_.].*)?\.txt", re.IGNORECASE)
_MAX_DEPTH = 50


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
    reading = _Reading(Reader(files, environ))
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


@dataclass(slots=True)
class _Reading:
    """What has been read so far of a file and its includes."""

    lines: Reader
    requirements: list[Declared] = field(default_factory=list)
    constraints: list[Declared] = field(default_factory=list)
    read: list[str] = field(default_factory=list)
    problems: ProblemCollector = field(default_factory=ProblemCollector)
    seen: set[tuple[str, bool]] = field(default_factory=set)

    def file(self, path: str, *, constraint: bool, chain: tuple[Origin, ...]) -> None:
        """Read one file. ``chain`` holds the lines that led here, outermost first."""
        content = self.lines.files.read(path)
        if content is None:
            kind = "constraints" if constraint else "requirements"
            self.problems.add(missing_file(path, self.lines.files, chain[-1] if chain else Origin(path), what=f"{kind} file"))
            return
        self.read.append(path)
        self.seen.add((path, constraint))
        with self.problems.catching():
            for line in logical_lines(decode(path, content, coding_line=True)):
                with self.problems.catching():
                    self.line(line, Origin(path, line.number), constraint=constraint, chain=chain)

    def line(self, line: LogicalLine, origin: Origin, *, constraint: bool, chain: tuple[Origin, ...]) -> None:
        """Read one logical line."""
        if line.swallowed:
            raise LadingError(_swallowing(line, origin))
        found = self.lines.read(line.text, origin, constraint=constraint, raw=line.raw)
        if isinstance(found, Include):
            self.include(found, (*chain, origin))
        elif found is not None:
            (self.constraints if constraint else self.requirements).append(found)

    def include(self, include: Include, chain: tuple[Origin, ...]) -> None:
        """Read an included file, once in each role; a file that leads back to itself is a problem."""
        if any(origin.path == include.path for origin in chain) or len(chain) > _MAX_DEPTH:
            raise LadingError(_loop(include, chain))
        if (include.path, include.constraint) not in self.seen:
            self.file(include.path, constraint=include.constraint, chain=chain)


def _loop(include: Include, chain: tuple[Origin, ...]) -> Problem:
    way = " → ".join([*(str(origin) for origin in chain), include.path])
    return Problem(
        rule="include-loop",
        what=f"{include.path} includes itself: {way}"
        if len(chain) <= _MAX_DEPTH
        else f"Files include one another {len(chain)} levels deep.",
        origin=include.origin,
        instead="Remove one of these -r or -c lines.",
    )


def _swallowing(line: LogicalLine, origin: Origin) -> Problem:
    return Problem(
        rule="comment-swallows-line",
        what=f"The comment ends in a backslash, so pip takes the next line for a part of it, and loses: {redact_urls(line.swallowed)}",
        origin=origin,
        instead="Remove the backslash from the end of the comment.",
    )
