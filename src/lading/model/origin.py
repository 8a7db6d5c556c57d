"""Where something was written."""

from __future__ import annotations

from lading.model.records import dataclass


@dataclass(frozen=True, slots=True, order=True)
class Origin:
    """A place in a project: a file relative to the project's root, and a line counted from 1.

    ``path`` may also name a place that is no file: ``--python`` (the command line) or ``PIP_INDEX_URL`` (a variable).
    """

    path: str
    line: int | None = None

    def __str__(self) -> str:
        return self.path if self.line is None else f"{self.path}:{self.line}"
