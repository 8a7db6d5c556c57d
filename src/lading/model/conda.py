"""What a project asks of conda."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from lading.model.origin import Origin
from lading.model.secrets import SecretText


@dataclass(frozen=True, slots=True, kw_only=True)
class MatchSpec:
    """One conda requirement, as conda's own MatchSpec reads it.

    ``name`` is in lower case; ``version`` is conda's version expression (``1.26.4``, ``>=3.8,<3.10``, ``1.2.*``, ``1.2|1.3``), ``build`` a
    build string or a glob; both are empty for any. ``channel`` may hold a label or a subdirectory. ``conditions`` are the other keys
    in brackets (``subdir``, ``md5`` ...). ``raw`` is the text as written.
    """

    raw: SecretText
    origin: Origin
    name: str
    version: str = ""
    build: str = ""
    channel: str = ""
    conditions: tuple[tuple[str, str], ...] = ()

    @property
    def is_pinned(self) -> bool:
        """Whether one version is asked for."""
        bare = self.version.removeprefix("==")
        return bool(bare) and not any(character in bare for character in "<>!~=|,*")

    @property
    def text(self) -> str:
        """The one spelling: ``channel::name version build``, with the other conditions in brackets."""
        channel = f"{self.channel}::" if self.channel else ""
        words = " ".join(word for word in (self.name, self.version or ("*" if self.build else ""), self.build) if word)
        brackets = ",".join(f"{key}={value!r}" for key, value in self.conditions)
        return f"{channel}{words}{f'[{brackets}]' if brackets else ''}"

    def as_json(self) -> dict[str, Any]:
        """The record as JSON data."""
        return {"name": self.name, "spec": self.text, "origin": str(self.origin)}
