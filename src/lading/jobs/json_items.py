"""A submission with a list of any length, read piece by piece: the list is never in memory as a whole."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

_PIECE = 1 << 20
_LARGEST = 64 << 20
_decode = json.JSONDecoder().raw_decode
_SPACE = " \t\r\n"


class JsonError(ValueError):
    """What is there is no JSON, or not what it should be; the message is for the client."""


@dataclass(slots=True)
class Reader:
    """A JSON text, value by value."""

    stream: TextIO
    _text: str = ""
    _at: int = 0
    _end: bool = field(default=False)

    def _more(self) -> bool:
        if self._end:
            return False
        if len(self._text) - self._at > _LARGEST:
            raise JsonError(f"one value of the body is larger than {_LARGEST >> 20} MiB, or is no JSON")
        piece = self.stream.read(max(_PIECE, len(self._text) - self._at))
        self._end = not piece
        self._text, self._at = self._text[self._at :] + piece, 0
        return not self._end

    def peek(self) -> str:
        """The next character that is no space; empty at the end."""
        while True:
            while self._at < len(self._text) and self._text[self._at] in _SPACE:
                self._at += 1
            if self._at < len(self._text):
                return self._text[self._at]
            if not self._more():
                return ""

    def take(self, wanted: str) -> None:
        """Step over one character, which must be this one.

        Raises:
            JsonError: if it is another.
        """
        found = self.peek()
        if found != wanted:
            raise JsonError(f'the body is no valid JSON: "{wanted}" expected, and {f"{found!r} found" if found else "it ends"}')
        self._at += 1

    def value(self) -> tuple[Any, str]:
        """The next value, and its text as it is written.

        Raises:
            JsonError: if there is none.
        """
        self.peek()
        while True:
            try:
                found, end = _decode(self._text, self._at)
            except (json.JSONDecodeError, RecursionError) as error:
                if isinstance(error, RecursionError) or not self._more():
                    raise JsonError(f"the body is no valid JSON: {error}") from None
                continue
            # A number at the end of what was read may go on.
            if end < len(self._text) or not self._more():
                text = self._text[self._at : end]
                self._at = end
                return found, text

    def members(self) -> Iterator[str]:
        """The keys of an object; after each, its value is to be read."""
        self.take("{")
        if self.peek() != "}":
            while True:
                if self.peek() != '"':
                    self.take('"')
                key, _ = self.value()
                self.take(":")
                yield str(key)
                if self.peek() != ",":
                    break
                self.take(",")
        self.take("}")

    def elements(self) -> Iterator[str]:
        """The elements of a list, as they are written."""
        self.take("[")
        if self.peek() != "]":
            while True:
                yield self.value()[1]
                if self.peek() != ",":
                    break
                self.take(",")
        self.take("]")


def _open(path: Path) -> TextIO:
    return path.open(encoding="utf-8")


def read_fields(path: Path) -> dict[str, Any]:
    """A submission without its items: ``item_list.items`` is the number of them. All of the text is checked.

    Raises:
        JsonError: if it is no JSON object.
    """
    try:
        with _open(path) as stream:
            reader = Reader(stream)
            fields = {
                key: _item_list(reader) if key == "item_list" and reader.peek() == "{" else reader.value()[0] for key in reader.members()
            }
            if reader.peek():
                raise JsonError("the body is no valid JSON: something follows the object")
            return fields
    except UnicodeDecodeError:
        raise JsonError("the body is not UTF-8") from None


def _item_list(reader: Reader) -> dict[str, Any]:
    return {
        key: sum(1 for _ in reader.elements()) if key == "items" and reader.peek() == "[" else reader.value()[0] for key in reader.members()
    }


def read_items(path: Path) -> Iterator[str]:
    """The items of ``item_list.items`` as they are written, of a file that `read_fields` has read."""
    with _open(path) as stream:
        reader = Reader(stream)
        for key in reader.members():
            if key != "item_list":
                reader.value()
                continue
            for inner in reader.members():
                if inner == "items":
                    yield from reader.elements()
                else:
                    reader.value()
