"""PyTorch's indexes as one shelf: which builds of a package there are for the target, as far as the pages that were read tell."""

from __future__ import annotations

from collections.abc import Iterable

from packaging.version import Version

from lading.frameworks.files import pythons
from lading.frameworks.offers import File, Offers, Page
from lading.frameworks.places import every_build
from lading.frameworks.tags import fits_platform
from lading.model.target import Target


class Shelf:
    """The wheels that the pages of PyTorch's indexes list. Each page is sorted out once: there are thousands of wheels on it."""

    def __init__(self, offers: Offers, target: Target) -> None:
        self.offers, self.target = offers, target
        self._files: dict[Page, tuple[File, ...] | None] = {}
        self._releases: dict[Page, dict[Version, list[File]]] = {}

    def files(self, package: str, version: Version | None = None) -> tuple[File, ...] | None:
        """Every wheel of a package for the target's platform, whatever its Python; None when no page is known.

        The page of every label is believed where it was read; else those of the labels that were.
        """
        page = every_build(package, version)
        if page not in self._files:
            self._files[page] = self._read(page)
        return self._files[page]

    def _read(self, every: Page) -> tuple[File, ...] | None:
        whole = self.offers.files(every)
        if whole:
            return self._of_platform(whole)
        folder, package = every.index, every.package
        pages = [page for page in self.offers.pages if page.package == package and _is_label_of(page, folder)]
        found = [files for page in pages if (files := self.offers.files(page)) is not None]
        if whole is None and not found:
            return None
        return self._of_platform(tuple({one.url: one for files in found for one in files}.values()))

    def _of_platform(self, files: tuple[File, ...]) -> tuple[File, ...]:
        return tuple(one for one in files if fits_platform(one.tags, self.target.platform))

    def knows(self, package: str) -> bool:
        """Whether a page says which wheels of a package there are, be it that none is for the target's platform."""
        files = self.files(package)
        return files is not None and (bool(files) or bool(self.offers.files(every_build(package))))

    def release(self, package: str, release: Version) -> list[File] | None:
        """The wheels of one release for the target's platform, None when no page is known."""
        page, files = every_build(package, release), self.files(package, release)
        if files is None:
            return None
        if page not in self._releases:
            grouped: dict[Version, list[File]] = {}
            for one in files:
                grouped.setdefault(one.release, []).append(one)
            self._releases[page] = grouped
        return self._releases[page].get(Version(release.public), [])

    def labels(self, package: str, release: Version) -> dict[str, File] | None:
        """The builds of a release that install on the target, by label; None when no page is known."""
        files = self.release(package, release)
        if files is None:
            return None
        fitting = sorted((one for one in files if one.fits(self.target)), key=_plain_first, reverse=True)
        return {one.label: one for one in fitting if one.label is not None}

    def build(self, package: str, version: Version, label: str) -> File | None:
        """The wheel of one build that installs on the target."""
        for one in self.release(package, version) or ():
            if one.label == label and one.fits(self.target):
                return one
        return None

    def hashed(self, package: str, hashes: Iterable[str]) -> File | None:
        """The wheel for the target that one of the hashes (``sha256:…``) is of."""
        wanted = {text.partition(":")[2].lower() for text in hashes}
        return next((one for one in self.files(package) or () if one.sha256 in wanted and one.fits(self.target)), None)

    def pythons(self, package: str, version: Version, label: str | None = None) -> frozenset[str] | None:
        """The CPython minors with wheels of a release (of one build); None when no page is known."""
        files = self.release(package, version)
        return None if files is None else pythons(one for one in files if label is None or one.label == label)

    def newest(self, package: str) -> Version | None:
        """The newest release for the target's platform, pre-releases aside."""
        found = [one.release for one in self.files(package) or () if not one.version.is_prerelease]
        return max(found, default=None)

    def copied_on(self) -> str | None:
        """The date of the pages, where older copies had to do."""
        return next((listing.as_of for listing in self.offers.pages.values() if listing.as_of), None)


def _is_label_of(page: Page, folder: str) -> bool:
    return page.kind == "project" and page.index.startswith(f"{folder}/") and "/" not in page.index[len(folder) + 1 :]


def _plain_first(file: File) -> tuple[bool, str]:
    """A wheel that carries its label before one that only lies in the folder, and one order for the rest."""
    return file.version.local is None, file.filename
