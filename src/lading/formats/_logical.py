"""Physical lines to logical ones: pip's continuations and comments."""

from __future__ import annotations

import re
from collections.abc import Iterator

from lading.model.records import dataclass

_COMMENT = re.compile(r"(^|\s+)#.*$")


@dataclass(frozen=True, slots=True)
class LogicalLine:
    """A line that means something: the number of its first physical line, its text without comment, and the text as written.

    ``swallowed`` is text that pip loses, because the comment before it ended in a backslash.
    """

    number: int
    text: str
    raw: str
    swallowed: str = ""


def logical_lines(text: str) -> Iterator[LogicalLine]:
    """Join and strip lines as pip does.

    A line that ends in a backslash continues on the next one, unless it is a comment. A comment line ends a continuation.
    """
    first = 0
    parts: list[str] = []
    written: list[str] = []
    for number, line in enumerate(text.splitlines(), start=1):
        comment = line.lstrip().startswith("#")
        if not parts:
            first = number
        written.append(line)
        if line.endswith("\\") and not comment:
            parts.append(line.strip("\\"))
            continue
        parts.append(" " + line if comment else line)
        yield from _meaningful(first, parts, written)
        parts, written = [], []
    if parts:
        yield from _meaningful(first, parts, written)


def _meaningful(first: int, parts: list[str], written: list[str]) -> Iterator[LogicalLine]:
    joined = "".join(parts)
    text = (_COMMENT.sub("", joined) if "#" in joined else joined).strip()
    swallowed = _swallowed(parts) if len(parts) > 1 and "#" in joined else ""
    if text or swallowed:
        yield LogicalLine(first, text, "\n".join(written).strip(), swallowed)


def _swallowed(parts: list[str]) -> str:
    """What follows on later lines after the first comment, unless it is a comment itself."""
    for position in range(len(parts)):
        if _COMMENT.search("".join(parts[: position + 1])):
            rest = "".join(parts[position + 1 :])
            return _COMMENT.sub("", rest).strip()
    return ""
