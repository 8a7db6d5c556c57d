"""Files of package indexes from their names: wheels with their tags, source distributions."""

from __future__ import annotations

from collections.abc import Iterable

from packaging.utils import InvalidSdistFilename, InvalidWheelFilename, parse_sdist_filename, parse_wheel_filename
from packaging.version import Version

from lading.frameworks.labels import label_of_url
from lading.frameworks.offers import File, Source
from lading.frameworks.tags import pythons_of
from lading.model.names import canonical


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
        return canonical(parse_wheel_filename(filename)[0])
    except InvalidWheelFilename:
        return None


def pythons(files: Iterable[File]) -> frozenset[str]:
    """The CPython minors that there are wheels for. Wheels for any Python count for what they require at least, so not at all."""
    return frozenset(minor for one in files for minor in pythons_of(one.tags))
