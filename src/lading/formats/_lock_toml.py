"""Lock files in TOML: their data, the line of each package, and the hashes of its files.

The lists of files are most of such a text, and tools write them one file a line: they are read by pattern, and `tomllib` reads the rest.
What is not written so is left to `tomllib` as well, so that the answer is the same for every spelling.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from lading.formats._text import read_text
from lading.formats._toml import parse_toml
from lading.model.files import ProjectFiles
from lading.model.origin import Origin
from lading.model.problems import LadingError, Problem
from lading.model.records import dataclass

_FILE = r'\{(?: ?(?:url|path|file|filename|name|hash|size|upload-time) = (?:"[^"\\\n]*"|[0-9]+),?)+ ?\}'
_FILES = rf"^(?:(?:wheels|files) = \[\n(?:    {_FILE},\n)*(?:    {_FILE}\n)?\]|sdist = {_FILE})$"
_HASH = re.compile(r'hash = "([^"]+)"')


@dataclass(frozen=True, slots=True)
class LockText:
    """A lock's data. ``lines`` and ``hashes`` are by a package's position in its array of tables."""

    path: str
    data: Mapping[str, Any]
    packages: tuple[Mapping[str, Any], ...]
    lines: tuple[int | None, ...]
    hashes: tuple[tuple[str, ...], ...]

    def origin(self, number: int | None = None) -> Origin:
        """Where a package begins, or the file."""
        return Origin(self.path, 1 if number is None else self.lines[number] or 1)


def read_lock_toml(path: str, files: ProjectFiles, header: str) -> LockText:
    """Read a lock whose packages are the array of tables ``header``.

    Raises:
        LadingError: if it is missing, no TOML, or its packages are no tables with names.
    """
    text = read_text(path, files)
    for number, line in enumerate(text.splitlines(), start=1) if "<<<<<<< " in text else ():
        if line.startswith(("<<<<<<< ", ">>>>>>> ")):
            raise LadingError(_merge_conflict(path, number))
    headers = [found.start() for found in re.finditer(rf"^\[\[{header}\]\][ \t]*$", text, re.MULTILINE)]
    short, taken = (text, []) if '"""' in text or "'''" in text else _without_files(text, headers)
    data = parse_toml(path, short)
    packages = data.get(header, [])
    if not isinstance(packages, list) or not all(isinstance(one, dict) and isinstance(one.get("name"), str) for one in packages):
        raise LadingError(_no_lock(path, f"its [[{header}]] tables have no names"))
    aligned = len(headers) == len(packages)
    if not aligned and taken:  # something in it only looks like a package: nothing is taken out then
        data, taken = parse_toml(path, text), []
        packages = data.get(header, [])
    lines = _lines(text, headers) if aligned else [None] * len(packages)
    hashes = [tuple(dict.fromkeys((*_listed(package), *(taken[number] if taken else ())))) for number, package in enumerate(packages)]
    return LockText(path, data, tuple(packages), tuple(lines), tuple(hashes))


def _without_files(text: str, headers: list[int]) -> tuple[str, list[list[str]]]:
    """The text without the lists of files, with as many lines as before; and the hashes in them, by package."""
    hashes: list[list[str]] = [[] for _ in headers]
    parts: list[str] = []
    at, package = 0, -1
    for found in re.finditer(_FILES, text, re.MULTILINE):
        while package + 1 < len(headers) and headers[package + 1] < found.start():
            package += 1
        if package < 0:
            continue
        listed = _HASH.findall(found[0])
        if len(listed) != found[0].count("{"):
            continue  # a file without a hash: its table is needed
        hashes[package] += listed
        parts += [text[at : found.start()], "\n" * found[0].count("\n")]
        at = found.end()
    return "".join([*parts, text[at:]]), hashes


def _lines(text: str, starts: list[int]) -> list[int | None]:
    lines: list[int | None] = []
    line, at = 1, 0
    for start in starts:
        line += text.count("\n", at, start)
        at = start
        lines.append(line)
    return lines


def _listed(package: Mapping[str, Any]) -> list[str]:
    """The hashes of files that `tomllib` read."""
    tables = [package.get("sdist"), *_list(package.get("wheels")), *_list(package.get("files"))]
    return [str(table["hash"]) for table in tables if isinstance(table, dict) and isinstance(table.get("hash"), str)]


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _merge_conflict(path: str, line: int) -> Problem:
    return Problem(
        rule="lock-merge-conflict",
        what=f"{path} holds the conflict markers of a merge.",
        origin=Origin(path, line),
        why="Two branches changed the lock; its lines cannot be mixed by hand.",
        instead="Settle the dependency files first, then let the tool that made the lock make it again.",
    )


@contextmanager
def shaped_as(path: str, tool: str) -> Iterator[None]:
    """Reading a lock's tables; one that is not shaped as its tool writes it is a problem.

    Raises:
        LadingError: in place of what went wrong.
    """
    try:
        yield
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise not_a_lock(path, f"its tables are not as {tool} writes them") from error


def not_a_lock(path: str, why: str, origin: Origin | None = None) -> LadingError:
    """The error of a file that is not the lock that its name says, or one that this version does not read."""
    return LadingError(_no_lock(path, why, origin))


def _no_lock(path: str, why: str, origin: Origin | None = None) -> Problem:
    return Problem(
        rule="lock-unreadable",
        what=f"{path} cannot be read as a lock.",
        origin=origin or Origin(path, 1),
        why=f"{why[:1].upper()}{why[1:]}.",
        instead="Let the tool that made it make it again.",
    )
