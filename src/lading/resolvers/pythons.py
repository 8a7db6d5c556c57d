"""Which Pythons the files of every pinned package are for: asked of the indexes, all pages at once."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from lading.frameworks.choice import exact_version
from lading.frameworks.offers import Listing, Offers, Page, Status
from lading.model.plan import BoundIndex
from lading.model.requirements import Declared, IndexOptions, Via
from lading.model.secrets import SecretUrl
from lading.model.target import Target
from lading.planner.fitting import MINORS, Support, full
from lading.resolvers.cases import PUBLIC_REGISTRY
from lading.resolvers.listings import Door, fetch, from_copies


def supports(
    requirements: Iterable[Declared],
    options: IndexOptions,
    bound: tuple[BoundIndex, ...],
    platform: str,
    *,
    root: Path,
    cache: Path,
    offline: bool = False,
) -> tuple[Support, ...]:
    """The Pythons of every pin from an index, as far as an index tells. Never raises: a pin whose page cannot be read is left out.

    Args:
        requirements: The project's.
        options: Indexes for all packages, this machine's included.
        bound: Indexes for some packages.
        platform: The target's platform: wheels for others do not count.
        root: The project's folder, where relative places start.
        cache: The folder of copies of pages.
        offline: Ask no index; copies of earlier answers are all there is.
    """
    pins = [declared for declared in requirements if declared.via is Via.INDEX and declared.name and exact_version(declared)]
    places = {declared: _places(declared, options, bound) for declared in pins}
    urls = {url.without_credentials().rstrip("/"): url for found in places.values() for url, _ in found}
    pages = {_page(url, kind, declared): None for declared, found in places.items() for url, kind in found}
    door = Door(address=urls, root=root, cache=cache)
    offers = from_copies(tuple(pages), door) if offline else fetch(tuple(pages), door)
    found = (_support(declared, [_page(url, kind, declared) for url, kind in places[declared]], offers, platform) for declared in pins)
    return tuple(support for support in found if support is not None)


def _page(url: SecretUrl, kind: str, declared: Declared) -> Page:
    return Page(url.without_credentials().rstrip("/"), str(declared.name), kind)


def _places(declared: Declared, options: IndexOptions, bound: tuple[BoundIndex, ...]) -> list[tuple[SecretUrl, str]]:
    """Where a pin is looked for: its own index, else every one of the project's."""
    own = [(declared.index, "project"), (declared.find_links, "links")]
    own += [(index.url, "links" if index.kind == "find-links" else "project") for index in bound if declared.name in index.packages]
    named = [(url, kind) for url, kind in own if url is not None]
    if named:
        return named
    links = [(url, "links") for url in options.find_links]
    if options.no_index:
        return links
    default = options.index_url or SecretUrl(PUBLIC_REGISTRY)
    return [*((url, "project") for url in options.extra_index_urls), (default, "project"), *links]


def _support(declared: Declared, pages: list[Page], offers: Offers, platform: str) -> Support | None:
    version = exact_version(declared)
    listings = [listing for page in pages if (listing := offers.listing(page)) is not None and listing.status is Status.READ]
    if version is None or not any(_has(listing, declared) for listing in listings):
        return None
    wheels, source = set(), set()
    for minor in MINORS:
        target = Target(python=full(minor), platform=platform)
        files = [
            file
            for listing in listings
            for file in listing.files
            if file.version == version or (not version.local and file.release == version)
        ]
        if any(file.fits(target) for file in files):
            wheels.add(minor)
        if any(one.version == version and one.fits(target.python) for listing in listings for one in listing.sources):
            source.add(minor)
    return Support(declared=declared, wheels=frozenset(wheels), source=frozenset(source))


def _has(listing: Listing, declared: Declared) -> bool:
    version = exact_version(declared)
    return any(version in (file.version, file.release) for file in listing.files) or any(one.version == version for one in listing.sources)
