"""What package indexes offer: the value that choosing starts from. Fetched at the edge (`lading.resolvers.listings`), read here."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import field
from enum import StrEnum

from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.tags import Tag
from packaging.utils import InvalidSdistFilename, InvalidWheelFilename, canonicalize_name, parse_sdist_filename, parse_wheel_filename
from packaging.version import Version

from lading.frameworks.labels import label_of_url
from lading.frameworks.tags import pythons_of, runs_on
from lading.model.records import dataclass
from lading.model.target import Target


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
        if not runs_on(self.tags, target):
            return False
        try:
            return not self.requires_python or SpecifierSet(self.requires_python).contains(target.python, prereleases=True)
        except InvalidSpecifier:
            return True


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """One source distribution on a page."""

    version: Version
    requires_python: str | None = None

    def fits(self, python: str) -> bool:
        """Whether it may be built for a Python (``3.11.7``)."""
        try:
            return not self.requires_python or SpecifierSet(self.requires_python).contains(python, prereleases=True)
        except InvalidSpecifier:
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


def wheel(filename: str, url: str, **facts: object) -> File | None:
    """A wheel from its name and address; None for what is no wheel. ``facts`` are the other fields of `File`."""
    try:
        _, version, _, tags = parse_wheel_filename(filename)
    except InvalidWheelFilename:
        return None
    folder = label_of_url(url.partition("#")[0].rpartition("/")[0])
    release = Version(version.public) if version.local else version
    return File(filename=filename, url=url, version=version, release=release, tags=tags, folder=folder, **facts)  # type: ignore[arg-type] # by contract


def source(filename: str, package: str, requires_python: str | None) -> Source | None:
    """A package's source distribution from its file name; None for what is none, or another package's."""
    try:
        name, version = parse_sdist_filename(filename)
    except (InvalidSdistFilename, ValueError):
        return None
    return Source(version=version, requires_python=requires_python) if name == package else None


def name_of(filename: str) -> str | None:
    """The canonical name of the package that a wheel is of."""
    try:
        return canonicalize_name(parse_wheel_filename(filename)[0])
    except InvalidWheelFilename:
        return None


def pythons(files: Iterable[File]) -> frozenset[str]:
    """The CPython minors that there are wheels for. Wheels for any Python count for what they require at least, so not at all."""
    return frozenset(minor for one in files for minor in pythons_of(one.tags))
