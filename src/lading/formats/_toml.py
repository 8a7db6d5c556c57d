"""TOML with the line of every key and every list item; `tomllib` reads the values."""

from __future__ import annotations

import re
import tomllib
from typing import Any

from lading.formats._text import read_text
from lading.model.files import ProjectFiles
from lading.model.origin import Origin
from lading.model.problems import LadingError, Problem

Key = tuple[str | int, ...]

_AT_LINE = re.compile(r"at line ([0-9]+)")
# Strings in the order in which they must be tried: three quotes before one.
_STRING = re.compile(r'"""(?:[^\\]|\\.)*?"{3,5}|\'\'\'.*?\'{3,5}|"(?:[^"\\\n]|\\.)*"|\'[^\'\n]*\'', re.DOTALL)
_BARE = re.compile(r"[A-Za-z0-9_-]+")
_SPACE = re.compile(r"(?:[ \t\r\n]+|#[^\n]*)+")
_OTHER_VALUE = re.compile(r"[^\s,\]}#]+(?: [0-9][0-9:.+Z-]*)?")


class Toml:
    """A TOML file: `data` as `tomllib` reads it, and `line` for where a value stands."""

    def __init__(self, path: str, text: str) -> None:
        self.path = path
        self.data = parse_toml(path, text)
        self._lines = _Scanner(text).lines

    def origin(self, *key: str | int) -> Origin:
        """Where a key or an item stands: the line of the longest beginning of ``key`` that is in the file."""
        for end in range(len(key), 0, -1):
            if key[:end] in self._lines:
                return Origin(self.path, self._lines[key[:end]])
        return Origin(self.path, 1)

    def get(self, *key: str) -> Any:
        """The value below a path of keys, or None."""
        value: Any = self.data
        for part in key:
            value = value.get(part) if isinstance(value, dict) else None
        return value


def read_toml(path: str, files: ProjectFiles) -> Toml:
    """Read a TOML file.

    Raises:
        LadingError: if it is missing, no text, or no TOML.
    """
    return Toml(path, read_text(path, files))


def parse_toml(path: str, text: str) -> dict[str, Any]:
    """The values of a TOML text.

    Raises:
        LadingError: with the line, if it is none.
    """
    try:
        return tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError, ValueError) as error:
        found = _AT_LINE.search(str(error))
        line = int(found[1]) if found else text.count("\n") + 1
        reason = "It is nested too deeply" if isinstance(error, RecursionError) else re.sub(r" \(at .*\)$", "", str(error))
        raise LadingError(
            Problem(
                rule="toml-invalid",
                what=f"{path} cannot be read as TOML.",
                origin=Origin(path, line),
                why=f"{reason}.",
                instead="Correct the line; texts stand in double quotes, and lists in [ ].",
            )
        ) from error


class _Scanner:
    """Walks a text that is known to be valid, and notes lines. It reads no values: `tomllib` has done that."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.lines: dict[Key, int] = {}
        self._counted, self._line = 0, 1
        self._tables: dict[Key, int] = {}
        self._run()

    def line(self) -> int:
        """The line of the current position, counted from 1."""
        self._line += self.text.count("\n", self._counted, self.at)
        self._counted = self.at
        return self._line

    def _run(self) -> None:
        table: Key = ()
        self._skip()
        while self.at < len(self.text):
            if self.text[self.at] == "[":
                table = self._header()
            else:
                self._pair(table)
            self._skip()

    def _skip(self) -> None:
        found = _SPACE.match(self.text, self.at)
        self.at = found.end() if found else self.at

    def _header(self) -> Key:
        """``[a.b]`` or ``[[a.b]]``: the path of the table that begins."""
        line, many = self.line(), self.text.startswith("[[", self.at)
        self.at += 2 if many else 1
        path = self._resolved(self._key())
        self._skip()
        self.at += 2 if many else 1
        if many:
            number = self._tables.get(path, -1) + 1
            self._tables[path] = number
            self.lines.setdefault(path, line)
            path = (*path, number)
        self.lines.setdefault(path, line)
        return path

    def _resolved(self, path: Key) -> Key:
        """The path with the number of the last element wherever it goes through an array of tables."""
        resolved: Key = ()
        for position, part in enumerate(path):
            resolved = (*resolved, part)
            if resolved in self._tables and position < len(path) - 1:
                resolved = (*resolved, self._tables[resolved])
        return resolved

    def _key(self) -> Key:
        """A dotted key."""
        parts: list[str | int] = []
        while True:
            self._skip()
            found = _STRING.match(self.text, self.at) or _BARE.match(self.text, self.at)
            if found is None:  # cannot be, in a valid text
                self.at = len(self.text)
                return tuple(parts)
            self.at = found.end()
            parts.append(_unquoted(found[0]))
            self._skip()
            if not self.text.startswith(".", self.at):
                return tuple(parts)
            self.at += 1

    def _pair(self, table: Key) -> None:
        line = self.line()
        path = (*table, *self._key())
        for end in range(len(table) + 1, len(path) + 1):
            self.lines.setdefault(path[:end], line)
        self._skip()
        self.at += 1  # the equals sign
        self._skip()
        self._value(path)

    def _value(self, path: Key) -> None:
        if self.text.startswith("[", self.at):
            self._sequence(path)
        elif self.text.startswith("{", self.at):
            self._inline(path)
        else:
            found = _STRING.match(self.text, self.at) or _OTHER_VALUE.match(self.text, self.at)
            self.at = found.end() if found else len(self.text)

    def _sequence(self, path: Key) -> None:
        self.at += 1
        number = 0
        while self._more("]"):
            self.lines[(*path, number)] = self.line()
            self._value((*path, number))
            number += 1

    def _inline(self, path: Key) -> None:
        self.at += 1
        while self._more("}"):
            self._pair(path)

    def _more(self, end: str) -> bool:
        """Whether another element follows; passes over separators, and over the end."""
        self._skip()
        while self.text.startswith(",", self.at):
            self.at += 1
            self._skip()
        if self.at >= len(self.text):
            return False
        if self.text.startswith(end, self.at):
            self.at += 1
            return False
        return True


def _unquoted(key: str) -> str:
    if key[0] == "'":
        return key[1:-1]
    if key[0] == '"':
        decoded = tomllib.loads(f"key = {key}")["key"]
        return str(decoded)
    return key
