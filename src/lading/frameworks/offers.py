"""What package indexes offer: the value that choosing starts from. Fetched at the edge (`lading.resolvers.listings`), read here."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import TYPE_CHECKING

from lading.model.pythons import allows
from lading.model.records import dataclass, field
from lading.model.target import Target

if TYPE_CHECKING:
    from packaging.tags import Tag
    from packaging.version import Version


@dataclass(frozen=True, slots=True, order=True)
class Page:
    """One page to ask for: a package's page of an index (PEP 503, PEP 691), or with ``kind`` ``metadata`` one wheel's core metadata.

    ``index`` is the canonical address of the index, without credentials and without a slash at its end. ``package`` is a canonical name;
    for metadata it is the URL of the wheel.
    """

    index: str
    package: str
    kind: str = "project"


class Status(StrEnum):
    """What became of asking for a page."""

    READ = "read"
    ABSENT = "absent"
    UNREACHABLE = "unreachable"


@dataclass(frozen=True, slots=True, kw_only=True)
class File:
    """One wheel on a page.

    ``release`` is its version without the local part. ``folder`` is the build label of the folder that it lies in, if that is one; ``size`` is in
    bytes.
    """

    filename: str
    url: str
    version: Version
    release: Version
    tags: frozenset[Tag]
    folder: str | None = None
    size: int | None = None
    requires_python: str | None = None
    yanked: bool = False
    has_metadata: bool = False
    sha256: str | None = None

    @property
    def label(self) -> str | None:
        """The build: the version's local part, else the folder that the wheel lies in."""
        return self.version.local or self.folder

    def fits(self, target: Target) -> bool:
        """Whether this wheel installs on the target."""
        from lading.frameworks.tags import runs_on  # noqa: PLC0415 -- with `packaging`, for those who declare a framework

        return runs_on(self.tags, target) and _may_run(self.requires_python, target.python)


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """One source distribution on a page."""

    version: Version
    requires_python: str | None = None

    def fits(self, python: str) -> bool:
        """Whether it may be built for a Python (``3.11.7``)."""
        return _may_run(self.requires_python, python)


def _may_run(requires_python: str | None, python: str) -> bool:
    """Whether a file's ``requires-python`` allows a Python; one that cannot be read forbids none."""
    try:
        return not requires_python or allows(requires_python, python)
    except ValueError:
        return True


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """The wheels of one page, in no particular order. ``as_of`` is set where an older copy had to do (``2026-11-20``).

    ``sources`` are the source distributions on it. ``why`` says in words why the page could not be read. ``requires`` are the requirements
    of a ``metadata`` page.
    """

    status: Status
    files: tuple[File, ...] = ()
    sources: tuple[Source, ...] = ()
    as_of: str | None = None
    why: str | None = None
    requires: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Offers:
    """Every page that was asked for, with what it says. Without any, nobody asked: the tables answer."""

    pages: Mapping[Page, Listing] = field(default_factory=dict)

    def listing(self, page: Page) -> Listing | None:
        """What a page says, None when it was not asked."""
        return self.pages.get(page)

    def files(self, page: Page) -> tuple[File, ...] | None:
        """The wheels of a page that was read; None when nothing is known about it, empty when the index has no such page."""
        listing = self.pages.get(page)
        if listing is None or listing.status is Status.UNREACHABLE:
            return None
        return tuple(one for one in listing.files if not one.yanked)

    def unreachable(self) -> str | None:
        """Why the first page that could not be read could not be; None when all could."""
        failed = [listing for listing in self.pages.values() if listing.status is Status.UNREACHABLE]
        return (failed[0].why or "it did not answer") if failed else None

    def and_(self, other: Offers) -> Offers:
        """These pages and others."""
        return Offers(pages={**self.pages, **other.pages})
