"""What a check of a project finds that is no problem yet, and how its lines can be changed where that is safe."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from lading.model.origin import Origin
from lading.model.records import dataclass


@dataclass(frozen=True, slots=True)
class Edit:
    """One change of one line: the word ``old`` becomes ``new``. ``new`` None: the whole line goes. Lines count from 1."""

    path: str
    line: int
    old: str
    new: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Advice:
    """Something that works here and should be changed: what, where, why, what to write instead.

    ``edits`` make the change; empty when it needs a person.
    """

    rule: str
    what: str
    origin: Origin
    why: str
    instead: str
    edits: tuple[Edit, ...] = ()

    def as_json(self) -> dict[str, object]:
        """The record as JSON data."""
        record = {"rule": self.rule, "what": self.what, "origin": str(self.origin), "why": self.why, "instead": self.instead}
        return {**record, "fixable": bool(self.edits)}


def apply(text: str, edits: Iterable[Edit]) -> str:
    """A file's text after edits of it; an edit whose word is not on its line (any more) changes nothing."""
    lines: list[str | None] = list(text.splitlines(keepends=True))
    for edit in dict.fromkeys(edits):
        line = lines[edit.line - 1] if edit.line <= len(lines) else None
        if line is None or edit.old not in line:
            continue
        lines[edit.line - 1] = None if edit.new is None else _word(line, edit.old, edit.new)
    return "".join(line for line in lines if line is not None)


def _word(line: str, old: str, new: str) -> str:
    """The first occurrence as a word of its own: ``predict`` is not in ``predictor``."""
    before, after = (r"(?<!\w)" if old[:1].isidentifier() else ""), (r"(?!\w)" if (old[-1:].isalnum() or old[-1:] == "_") else "")
    return re.sub(before + re.escape(old) + after, lambda _: new, line, count=1)


def by_file(advice: Iterable[Advice]) -> Mapping[str, list[Edit]]:
    """The edits of several pieces of advice, file by file."""
    found: dict[str, list[Edit]] = {}
    for one in advice:
        for edit in one.edits:
            found.setdefault(edit.path, []).append(edit)
    return found
