"""Dependencies as somebody declared them: what the readers in ``formats/`` produce."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Any, TypeVar

from lading.model.conda import CondaDependencies
from lading.model.decisions import Decision
from lading.model.origin import Origin
from lading.model.records import dataclass, field, replace
from lading.model.secrets import SecretText, SecretUrl
from lading.model.target import PythonRequest

if TYPE_CHECKING:
    from lading.model.build import BuildOptions
    from lading.model.locked import LockedSet

_T = TypeVar("_T")


class Via(StrEnum):
    """Where a requirement's files come from."""

    INDEX = "index"
    URL = "url"
    VCS = "vcs"
    PATH = "path"


@dataclass(frozen=True, slots=True, kw_only=True)
class Declared:
    """One requirement as one line declares it.

    ``name`` is canonical (PEP 503), None for a path or URL that does not say. ``specifier`` and ``marker`` are PEP 508 texts.
    ``url`` is set for URL and VCS requirements (with its fragment; ``git+`` prefix kept), ``path`` for local ones: relative to the
    project's root with ``/``, or absolute when it was written so. ``index`` or ``find_links`` bind this requirement alone to a
    place. ``hashes`` are ``algorithm:hex``. ``options`` are per-requirement options (``--config-settings``) as written.
    ``raw`` is the whole line as written.
    """

    raw: SecretText
    origin: Origin
    via: Via = Via.INDEX
    name: str | None = None
    specifier: str = ""
    extras: tuple[str, ...] = ()
    marker: str | None = None
    url: SecretUrl | None = None
    path: str | None = None
    editable: bool = False
    hashes: tuple[str, ...] = ()
    index: SecretUrl | None = None
    find_links: SecretUrl | None = None
    options: tuple[tuple[str, str], ...] = ()

    @property
    def is_pinned(self) -> bool:
        """Whether the line fixes one version: ``==`` without ``*``, ``===``, a URL, or a path."""
        if self.via is not Via.INDEX:
            return True
        clauses = [clause.strip() for clause in self.specifier.split(",") if clause.strip()]
        return any(clause.startswith("==") and not clause.endswith(".*") for clause in clauses)

    @property
    def pep508(self) -> str:
        """The requirement as it is shown and recorded: PEP 508 (or a path), credentials masked."""
        return self._line(reveal=False)

    def reveal(self) -> str:
        """The requirement as the installer must get it, credentials included."""
        return self._line(reveal=True)

    def _line(self, *, reveal: bool) -> str:
        extras = f"[{','.join(self.extras)}]" if self.extras else ""
        marker = f" ; {self.marker}" if self.marker else ""
        if self.via is Via.INDEX:
            return f"{self.name}{extras}{self.specifier}{marker}"
        place = self.path
        if place is not None and not place.startswith((".", "/")):
            place = f"./{place}"  # without it, an installer takes `pkg` for a package of the index
        if self.url is not None:
            place = self.url.reveal() if reveal else str(self.url)
        if self.name and self.via is not Via.PATH:
            return f"{self.name}{extras} @ {place}{marker}"
        return f"{place}{extras}{marker}"

    def with_specifier(self, specifier: str) -> Declared:
        """The same requirement with another specifier (a completed framework build)."""
        return replace(self, specifier=specifier)

    def as_json(self) -> dict[str, Any]:
        """The record as JSON data, credentials masked; keys without a value are left out."""
        record: dict[str, Any] = {
            "name": self.name,
            "requirement": self.pep508,
            "via": str(self.via),
            "editable": self.editable,
            "hashes": list(self.hashes),
            "index": str(self.index) if self.index else None,
            "find_links": str(self.find_links) if self.find_links else None,
            "options": [list(option) for option in self.options],
            "origin": str(self.origin),
        }
        return {key: value for key, value in record.items() if value not in (None, [], False)}


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexOptions:
    """The options of a requirements file that hold for all of its lines, as pip means them.

    ``index_url`` None means the default registry. ``no_binary`` and ``only_binary`` hold names, ``:all:`` or ``:none:``.
    """

    index_url: SecretUrl | None = None
    extra_index_urls: tuple[SecretUrl, ...] = ()
    find_links: tuple[SecretUrl, ...] = ()
    no_index: bool = False
    pre: bool = False
    prefer_binary: bool = False
    require_hashes: bool = False
    no_binary: tuple[str, ...] = ()
    only_binary: tuple[str, ...] = ()
    trusted_hosts: tuple[str, ...] = ()

    def merged(self, other: IndexOptions) -> IndexOptions:
        """These options followed by ``other``'s; a later index URL wins, as in pip."""
        return IndexOptions(
            index_url=other.index_url or self.index_url,
            extra_index_urls=_union(self.extra_index_urls, other.extra_index_urls),
            find_links=_union(self.find_links, other.find_links),
            no_index=self.no_index or other.no_index,
            pre=self.pre or other.pre,
            prefer_binary=self.prefer_binary or other.prefer_binary,
            require_hashes=self.require_hashes or other.require_hashes,
            no_binary=_union(self.no_binary, other.no_binary),
            only_binary=_union(self.only_binary, other.only_binary),
            trusted_hosts=_union(self.trusted_hosts, other.trusted_hosts),
        )

    def secrets(self) -> tuple[SecretUrl, ...]:
        """Every URL here that carries credentials."""
        urls = (*((self.index_url,) if self.index_url else ()), *self.extra_index_urls, *self.find_links)
        return tuple(url for url in urls if url.has_credentials)


def _union(first: tuple[_T, ...], second: tuple[_T, ...]) -> tuple[_T, ...]:
    return tuple(dict.fromkeys((*first, *second)))


@dataclass(frozen=True, slots=True)
class BoundIndex:
    """Packages that come from one index and no other: a framework's build index, or a line's own ``--index-url``.

    ``kind`` is ``index`` or ``find-links``.
    """

    name: str
    url: SecretUrl
    packages: tuple[str, ...]
    kind: str = "index"


@dataclass(frozen=True, slots=True, kw_only=True)
class Declaration:
    """All that one dependency file (with the files it includes) declares.

    ``format`` is the reader's name, ``path`` the file, ``read`` every file that was read for it (itself first).

    ``overrides`` replace what any package says of a dependency, ``excludes`` are packages that are left out although something needs
    them; ``build`` is about packages that come as source. ``bound`` are packages that come from one index, those included that only
    others need. ``exclude_newer`` is the date from which on releases do not count, as written. ``locked`` holds the packages when the
    file is a lock: they are installed as they are. ``dynamic``: the build backend alone knows the requirements of the project.
    ``conda`` is what conda must install, before anything else.
    """

    format: str
    path: str
    read: tuple[str, ...]
    requirements: tuple[Declared, ...] = ()
    constraints: tuple[Declared, ...] = ()
    overrides: tuple[Declared, ...] = ()
    excludes: tuple[str, ...] = ()
    options: IndexOptions = field(default_factory=IndexOptions)
    bound: tuple[BoundIndex, ...] = ()
    build: BuildOptions | None = None
    exclude_newer: str | None = None
    python: PythonRequest | None = None
    system_packages: tuple[str, ...] = ()
    locked: LockedSet | None = None
    dynamic: bool = False
    conda: CondaDependencies | None = None
    decisions: tuple[Decision, ...] = ()

    @property
    def is_pinned(self) -> bool:
        """Whether every requirement fixes one version."""
        return not self.dynamic and all(requirement.is_pinned for requirement in self.requirements)

    def as_json(self) -> dict[str, Any]:
        """The record as JSON data, credentials masked; what few files declare is left out where it has no value."""
        return {
            "format": self.format,
            "path": self.path,
            "read": list(self.read),
            "requirements": [requirement.as_json() for requirement in self.requirements],
            "constraints": [constraint.as_json() for constraint in self.constraints],
            "python": {"specifier": self.python.specifier, "text": self.python.text, "origin": str(self.python.origin)}
            if self.python
            else None,
            "system_packages": list(self.system_packages),
            **self._rarely(),
            "decisions": [decision.as_json() for decision in self.decisions],
        }

    def _rarely(self) -> dict[str, Any]:
        record: dict[str, Any] = {
            "overrides": [declared.as_json() for declared in self.overrides],
            "excludes": list(self.excludes),
            "bound": [{"url": str(index.url), "packages": list(index.packages), "kind": index.kind} for index in self.bound],
            "build": self.build.as_json() if self.build else None,
            "exclude_newer": self.exclude_newer,
            "locked": self.locked.as_json() if self.locked else None,
            "dynamic": self.dynamic,
            "conda": self.conda.as_json() if self.conda else None,
        }
        return {key: value for key, value in record.items() if value}
