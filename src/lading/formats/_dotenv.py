"""``.env`` beside a cortex.yaml: variables, read as data.

Cortex sources the file in bash, so that it can run anything; here quotes, comments, ``export`` and references to earlier variables of the
file mean what they mean to bash, and what would run a command is refused.
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
_REFERENCE = re.compile(r"\$(?:\{(?P<braces>[A-Za-z_][A-Za-z0-9_]*)\}|(?P<bare>[A-Za-z_][A-Za-z0-9_]*))")
_RUNS = re.compile(r"\$\(|`|\$\{[^}]*[^A-Za-z0-9_}]")
_LONGEST = 200
"""Lines that one value may have: a key or a certificate has fewer."""
_ESCAPES = re.compile(r'\\(["\\$`])')


def read_dotenv(path: str, files: ProjectFiles, problems: ProblemCollector) -> dict[str, str]:
    """The variables of a ``.env`` file, empty where there is none; a line that is no assignment is a problem, its value never shown."""
    if files.read(path) is None:
        return {}
    variables: dict[str, str] = {}
    for number, text in _statements(read_text(path, files).splitlines()):
        found = _LINE.fullmatch(text)
        value = _value(found["value"], variables) if found else None
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
    """What bash makes of a value; None where it would run something, or the quotes do not close."""
    parts: list[str] = []
    rest = written
    while rest and not rest[0].isspace():
        found = _PART.match(rest)
        if found is None:
            return None
        part = _part(found, variables)
        if part is None or ((found["plain"] or "").endswith("$") and rest[found.end() :][:1] in ("'", '"')):
            return None  # $'...' means something else to bash
        parts.append(part)
        rest = rest[found.end() :]
    return None if rest.strip() and not rest.strip().startswith("#") else "".join(parts)


def _part(found: re.Match[str], variables: dict[str, str]) -> str | None:
    if found["single"] is not None:
        return found["single"]
    if found["escaped"] is not None:
        return found["escaped"]
    text = found["plain"] if found["double"] is None else found["double"]
    if _RUNS.search(text.replace("\\$", "").replace("\\`", "")) or (found["plain"] and set(text) & set(";&|<>()")):
        return None
    pieces, last = [], 0
    for reference in _REFERENCE.finditer(text):
        if text[: reference.start()].endswith("\\"):
            continue
        pieces += [text[last : reference.start()], variables.get(reference["braces"] or reference["bare"], "")]
        last = reference.end()
    return _ESCAPES.sub(r"\1", "".join([*pieces, text[last:]]))


def _problem(path: str, line: int) -> Problem:
    return Problem(
        rule="dotenv-invalid",
        what=f"A line of {path} is no variable.",
        origin=Origin(path, line),
        why="The file is read as data; it cannot run commands.",
        instead='Write NAME=value or NAME="a value".',
    )
