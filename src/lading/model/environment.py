"""An environment on this machine."""

from __future__ import annotations

from typing import Any

from lading.model.records import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """A finished environment in the store. ``path`` is absolute, ``python`` its interpreter, ``key`` its name in the store."""

    path: str
    python: str
    key: str
    reused: bool = False

    def as_json(self) -> dict[str, Any]:
        """The record as JSON data."""
        return {"path": self.path, "python": self.python, "key": self.key, "reused": self.reused}
