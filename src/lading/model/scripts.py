"""Install scripts of a project: shown always, run only where the user allows it."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

from lading.model.origin import Origin
from lading.model.records import dataclass
from lading.model.secrets import redact_urls


class When(StrEnum):
    """When a script runs.

    Before the packages are installed (Cortex's ``dependencies.sh``), after (repo2docker's ``postBuild``), or when the conda package that
    brings it is linked (conda's ``post-link``).
    """

    BEFORE = "before"
    AFTER = "after"
    LINKED = "linked"


@dataclass(frozen=True, slots=True, kw_only=True)
class Script:
    """One script. ``commands`` are its lines without comments and with credentials masked, ``sha256`` is of its content.

    ``harmless``: nothing is left to run, because Lading itself reads the pip.conf that it copies and checks the ``system_packages``
    that it installs. ``because`` says so, or what it does beyond that.
    """

    path: str
    origin: Origin
    sha256: str
    commands: tuple[str, ...]
    when: When
    harmless: bool
    because: str
    system_packages: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """The record as JSON data, credentials masked."""
        return {
            "path": self.path,
            "origin": str(self.origin),
            "sha256": self.sha256,
            "commands": [redact_urls(command) for command in self.commands],
            "when": str(self.when),
            "harmless": self.harmless,
            "because": self.because,
            "system_packages": list(self.system_packages),
        }
