"""A line that is being read: where it stands, what was written, and what its variables became."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from urllib.parse import urlsplit

from lading.model.files import ProjectFiles
from lading.model.origin import Origin
from lading.model.patterns import pattern
from lading.model.problems import LadingError, Problem
from lading.model.records import dataclass, field
from lading.model.secrets import SecretUrl, redact_urls

NO_VARIABLES: Mapping[str, str] = MappingProxyType({})

_VARIABLE = pattern(r"\$\{([A-Z0-9_]+)\}")
_LOWER_CASE = pattern(r"\$\{([A-Za-z0-9_]*[a-z][A-Za-z0-9_]*)\}")


@dataclass(frozen=True, slots=True)
class Place:
    """One logical line of one file. ``raw`` is as written, before variables are expanded; it may hold credentials."""

    raw: str
    origin: Origin
    files: ProjectFiles
    variables: tuple[tuple[str, str], ...] = ()
    constraint: bool = False
    folder: str = field(default="")

    @property
    def shown(self) -> str:
        """The line as it may be printed."""
        return redact_urls(self.raw)

    def error(self, rule: str, what: str, *, why: str | None = None, instead: str | None = None) -> LadingError:
        """The error of this line, to be raised."""
        return LadingError(Problem(rule=rule, what=what, origin=self.origin, why=why, instead=instead))

    def masked(self, text: str) -> str:
        """A part of the expanded line as it may be printed: with variables by name and credentials masked."""
        return str(SecretUrl(text, self.variables))

    def url(self, text: str) -> SecretUrl:
        """A URL of the expanded line.

        Raises:
            LadingError: if it cannot be taken apart, as ``http://[::1`` cannot.
        """
        try:
            urlsplit(text).hostname  # noqa: B018 -- the property is what checks the brackets of an IPv6 address
        except ValueError as error:
            raise self.error(
                "url-invalid", f"{self.masked(text)} is not a URL.", why=f"{str(error).capitalize()}.", instead="Correct the address."
            ) from error
        return SecretUrl(text, self.variables)


def expand(text: str, place: Place, environ: Mapping[str, str]) -> tuple[str, Place]:
    """Replace ``${NAME}`` by the variable's value, as pip does: upper case only, and not within a value.

    Unlike pip, a variable that is not set is an error: pip would send the text ``${NAME}`` to the index.

    Raises:
        LadingError: for a variable without a value, and for ``${name}`` in lower case, which pip does not expand.
    """
    if "${" not in text:
        return text, place
    lower = _LOWER_CASE.search(text)
    if lower:
        raise place.error(
            "variable-lower-case",
            f"${{{lower[1]}}} is not expanded: pip expands variables in upper case only.",
            instead=f"Rename the variable to {lower[1].upper()} and write ${{{lower[1].upper()}}}.",
        )
    names = tuple(dict.fromkeys(_VARIABLE.findall(text)))
    unset = [name for name in names if not environ.get(name)]
    if unset:
        raise LadingError(*(_unset(name, place) for name in unset))
    variables = tuple((name, environ[name]) for name in names)
    expanded = _VARIABLE.sub(lambda found: environ[found[1]], text)
    return expanded, Place(place.raw, place.origin, place.files, variables, place.constraint, place.folder)


def _unset(name: str, place: Place) -> Problem:
    return Problem(
        rule="variable-not-set",
        what=f"The variable {name} is not set, and this line needs its value: {place.shown}",
        origin=place.origin,
        why="pip would send the text ${" + name + "} itself, and the index would refuse it.",
        instead=f"Set it before running Lading: export {name}=..., or give it for one run: --secret id={name},env=VARIABLE or src=FILE",
    )
