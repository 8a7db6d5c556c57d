"""What Lading decided for the user, and why."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

from lading.model.origin import Origin
from lading.model.records import dataclass


class Kind(StrEnum):
    """How far a decision goes: nothing was changed, something was chosen, or it only recommends."""

    KEPT = "kept"
    CHOSEN = "chosen"
    ADVICE = "advice"


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """One choice made for the user, with its reason.

    The terminal, ``--json``, the lock file and the image label render this one record, so they cannot disagree.
    ``rule`` is a stable kebab-case id. ``subject`` is what it is about: a package's canonical name, ``python``, a file.
    ``instead`` is what to write to get something else. ``detail`` holds lines of text that are shown below, as they are: a table.
    """

    rule: str
    kind: Kind
    subject: str
    asked: str
    chose: str
    because: str
    origin: Origin | None = None
    instead: str | None = None
    detail: str | None = None

    def as_json(self) -> dict[str, Any]:
        """The record as JSON data; keys without a value are left out."""
        record = {
            "rule": self.rule,
            "kind": str(self.kind),
            "subject": self.subject,
            "asked": self.asked,
            "chose": self.chose,
            "because": self.because,
            "origin": str(self.origin) if self.origin else None,
            "instead": self.instead,
            "detail": self.detail,
        }
        return {key: value for key, value in record.items() if value is not None}

    @classmethod
    def from_json(cls, record: dict[str, Any]) -> Decision:
        """The inverse of `as_json`."""
        path, _, line = str(record.get("origin", "")).rpartition(":")
        origin = None
        if record.get("origin"):
            origin = Origin(path, int(line)) if path and line.isdigit() else Origin(str(record["origin"]))
        return cls(
            rule=record["rule"],
            kind=Kind(record["kind"]),
            subject=record["subject"],
            asked=record["asked"],
            chose=record["chose"],
            because=record["because"],
            origin=origin,
            instead=record.get("instead"),
            detail=record.get("detail"),
        )
