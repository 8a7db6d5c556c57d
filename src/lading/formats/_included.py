"""Files of pip requirements with the files that they include, read line by line: what requirements.txt and other formats share."""

from __future__ import annotations

from lading.formats._line import Include, Reader
from lading.formats._logical import LogicalLine, logical_lines
from lading.formats._text import decode, missing_file
from lading.model.origin import Origin
from lading.model.problems import LadingError, Problem, ProblemCollector
from lading.model.records import dataclass, field
from lading.model.requirements import Declared
from lading.model.secrets import redact_urls

_MAX_DEPTH = 50


@dataclass(slots=True)
class Reading:
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
