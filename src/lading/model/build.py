"""How packages that come as source are built, where the project says more than the package itself does."""

from __future__ import annotations

from typing import Any

from lading.model.records import dataclass
from lading.model.requirements import Declared
from lading.model.secrets import SecretText

ALL = ":all:"
"""In place of a package's name: every package, as in pip's ``--no-binary :all:``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownMetadata:
    """What a package needs, told by the project so that the package need not be built to find out (uv's ``dependency-metadata``).

    ``version`` None: of every version.
    """

    name: str
    version: str | None = None
    requires: tuple[Declared, ...] = ()
    requires_python: str | None = None
    extras: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """The record as JSON data; keys without a value are left out."""
        record = {
            "name": self.name,
            "version": self.version,
            "requires-dist": [declared.pep508 for declared in self.requires],
            "requires-python": self.requires_python,
            "provides-extra": list(self.extras),
        }
        return {key: value for key, value in record.items() if value is not None and (value or key == "requires-dist")}


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildOptions:
    """What a project says about builds: uv's ``no-build-isolation-package``, ``extra-build-dependencies`` and their neighbours.

    ``no_isolation`` names packages whose build must find the project's other packages installed (flash-attn imports torch), so that
    they come in a stage of their own after the others. ``requirements`` are further needs of one package's build, ``matching`` the
    pairs (package, need) among them whose version is the one of the environment; ``constraints`` hold for every build. ``variables`` are
    (package, name, value), ``settings`` (package or `ALL`, name, value) for the build backend; values may hold URLs with credentials.
    ``metadata`` is what the project knows of packages without building them.
    """

    no_isolation: tuple[str, ...] = ()
    requirements: tuple[tuple[str, Declared], ...] = ()
    matching: tuple[tuple[str, str], ...] = ()
    constraints: tuple[Declared, ...] = ()
    variables: tuple[tuple[str, str, SecretText], ...] = ()
    settings: tuple[tuple[str, str, SecretText], ...] = ()
    metadata: tuple[KnownMetadata, ...] = ()

    def __bool__(self) -> bool:
        return self != _NOTHING

    def merged(self, other: BuildOptions) -> BuildOptions:
        """These options followed by ``other``'s."""
        return BuildOptions(
            no_isolation=tuple(dict.fromkeys((*self.no_isolation, *other.no_isolation))),
            requirements=tuple(dict.fromkeys((*self.requirements, *other.requirements))),
            matching=tuple(dict.fromkeys((*self.matching, *other.matching))),
            constraints=tuple(dict.fromkeys((*self.constraints, *other.constraints))),
            variables=tuple(dict.fromkeys((*self.variables, *other.variables))),
            settings=tuple(dict.fromkeys((*self.settings, *other.settings))),
            metadata=tuple(dict.fromkeys((*self.metadata, *other.metadata))),
        )

    def as_json(self) -> dict[str, Any]:
        """The record as JSON data; keys without a value are left out."""
        record = {
            "no_isolation": list(self.no_isolation),
            "requirements": [[package, declared.pep508] for package, declared in self.requirements],
            "matching": [list(pair) for pair in self.matching],
            "constraints": [declared.pep508 for declared in self.constraints],
            "variables": [[package, name, str(value)] for package, name, value in self.variables],
            "settings": [[package, name, str(value)] for package, name, value in self.settings],
            "metadata": [one.as_json() for one in self.metadata],
        }
        return {key: value for key, value in record.items() if value}


_NOTHING = BuildOptions()
