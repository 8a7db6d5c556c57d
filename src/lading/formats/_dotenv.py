"""``.env`` beside a cortex.yaml: variables, read as data.

Cortex sources the file in bash, so that it can run anything; here quotes, comments, ``export`` and references to earlier variables of the
file mean what they mean to bash, and what would run a command is refused. So is a reference to anything else: what bash would put there lies
in the container (``$PATH``) or with whoever is logged in (``~``), and is not known here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from lading.formats._text import read_text
from lading.model.files import ProjectFiles
from lading.model.origin import Origin
from lading.model.problems import Problem, ProblemCollector

_LINE = re.compile(r"(?:export\s+)?(?P<name>[A-Za-z_][A-Za-z0-9_]*)=(?P<value>.*)", re.DOTALL)
_PART = re.compile(r"""'(?P<single>[^']*)'|"(?P<double>(?:[^"\\]|\\.)*)"|\\(?P<escaped>.)|(?P<plain>[^\s'"\\]+)""", re.DOTALL)
_PIECE = re.compile(
    r"""\\(?P<escaped>["\\$`\n])|\$(?:\{(?P<braces>[A-Za-z_]\w*)\}|(?P<bare>[A-Za-z_]\w*))|(?P<refused>`|\$[({\[0-9@*#?$!-])""", re.ASCII
)
"""What means something in double quotes, and outside of quotes, where `_PART` has taken the backslashes out."""
_HOME = re.compile(r":~")
_HOME_FIRST = re.compile(r"^~|:~")
_LONGEST = 200
"""Lines that one value may have: a key or a certificate has fewer."""


def read_dotenv(path: str, files: ProjectFiles, problems: ProblemCollector) -> dict[str, str]:
    """The variables of a ``.env`` file, empty where there is none.

    A line that is no assignment, or refers to a variable that no line before it sets, is a problem; its value is never shown.
    """
    if files.read(path) is None:
        return {}
    variables: dict[str, str] = {}
    for number, text in _statements(read_text(path, files).splitlines()):
        found = _LINE.fullmatch(text)
        try:
            value = _value(found["value"], variables) if found else None
        except KeyError:
            problems.add(_not_set(path, number))
            continue
        if found is None or value is None:
            problems.add(_problem(path, number))
        else:
            variables[found["name"]] = value
    return variables


def _statements(lines: list[str]) -> Iterator[tuple[int, str]]:
    """Each statement with the number of its first line: one line, or as many as its quotes hold."""
    number = 0
    while number < len(lines):
        first, text = number, lines[number].strip()
        number += 1
        if not text or text.startswith("#"):
            continue
        last = next(
            (end for end in range(number, min(len(lines), number + _LONGEST) + 1) if not _is_open("\n".join(lines[first:end]))), None
        )
        if last is not None and last > number:
            text, number = "\n".join(lines[first:last]).strip(), last
        yield first + 1, text


def _is_open(text: str) -> bool:
    """Whether a quote is not closed at a text's end."""
    quote, escaped, before = "", False, " "
    for character in text:
        if escaped:
            escaped = False
        elif character == "\\" and quote != "'":
            escaped = True
        elif quote:
            quote = "" if character == quote else quote
        elif character in "'\"":
            quote = character
        elif character == "#" and before.isspace():
            return False
        before = character
    return bool(quote)


def _value(written: str, variables: dict[str, str]) -> str | None:
    """What bash makes of a value; None where it would run something, or the quotes do not close.

    Raises:
        KeyError: if it refers to what the file does not set.
    """
    parts: list[str] = []
    rest = written
    while rest and not rest[0].isspace():
        found = _PART.match(rest)
        if found is None:
            return None
        part = _part(found, variables)
        if part is None or ((found["plain"] or "").endswith("$") and rest[found.end() :][:1] in ("'", '"')):
            return None  # $'...' means something else to bash
        if found["plain"] and (_HOME if parts else _HOME_FIRST).search(found["plain"]):
            raise KeyError("HOME")
        parts.append(part)
        rest = rest[found.end() :]
    return None if rest.strip() and not rest.strip().startswith("#") else "".join(parts)


def _part(found: re.Match[str], variables: dict[str, str]) -> str | None:
    if found["single"] is not None:
        return found["single"]
    if found["escaped"] is not None:
        return found["escaped"]
    if found["plain"] is not None:
        return None if set(found["plain"]) & set(";&|<>()") else _expanded(found["plain"], variables)
    return _expanded(found["double"], variables)


def _expanded(text: str, variables: dict[str, str]) -> str | None:
    pieces, last = [], 0
    for piece in _PIECE.finditer(text):
        if piece["refused"] is not None:
            return None
        pieces.append(text[last : piece.start()])
        name = piece["braces"] or piece["bare"]
        pieces.append(variables[name] if name else piece["escaped"].removeprefix("\n"))
        last = piece.end()
    return "".join([*pieces, text[last:]])


def _problem(path: str, line: int) -> Problem:
    return Problem(
        rule="dotenv-invalid",
        what=f"A line of {path} is no variable.",
        origin=Origin(path, line),
        why="The file is read as data; it cannot run commands.",
        instead='Write NAME=value or NAME="a value".',
    )


def _not_set(path: str, line: int) -> Problem:
    return Problem(
        rule="dotenv-invalid",
        what=f"A line of {path} refers to a variable that no line before it sets.",
        origin=Origin(path, line),
        why="The file is read as data, before there is a container whose variables (PATH, HOME or ~, predictor.env) could stand there.",
        instead="Write the value out, or set that variable in a line before. In single quotes, $ and ~ are no references.",
    )
