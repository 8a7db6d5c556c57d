"""Where the project itself says that torch comes from: no magic then, its index, said so.

An index that the project adds to the default one counts where it has torch; PyTorch's own, written into a file, is where Lading takes torch from
anyway, and serves torch's family alone.
"""

from __future__ import annotations

from packaging.specifiers import SpecifierSet

from lading.frameworks.choice import Context
from lading.frameworks.offers import File, Page, Status
from lading.frameworks.places import is_choosable
from lading.model.decisions import Decision, Kind
from lading.model.requirements import Declared, IndexOptions
from lading.model.secrets import SecretUrl


def left_alone(core: tuple[Declared, ...], context: Context) -> str | None:
    """Why torch is none of our business here; None when it is."""
    options = context.options
    if options.no_index:
        return "the project uses no package index (--no-index), so it comes from the project's own folders, as written"
    if options.index_url:
        return f"the project names a package index of its own, {options.index_url}, so it comes from there, as written"
    own = _index_with_torch(core, context)
    if own is not None:
        return own
    if context.off:
        return "LADING_TORCH_INDEX=off: it comes from the ordinary package index, in the one build that is there"
    system = context.target.platform.partition("-")[2]
    if system.endswith("musl"):
        return "PyTorch publishes no build for Linux with musl, so it comes from the ordinary package index, as written"
    if not system.startswith("manylinux"):
        return "for this platform there is one build of each release"
    return None


def own_place(member: Declared, context: Context) -> SecretUrl | None:
    """The index (or page of links) that the project binds this requirement to: on its line, or among its tool's settings."""
    bound = (index.url for index in context.bound if member.name in index.packages)
    return member.index or member.find_links or next(bound, None)


def own_places(options: IndexOptions, context: Context) -> tuple[tuple[SecretUrl, str], ...]:
    """The indexes and pages of links that the project adds to the default one, PyTorch's own aside."""
    places = [*((url, "project") for url in options.extra_index_urls), *((url, "links") for url in options.find_links)]
    return tuple((url, kind) for url, kind in places if not is_choosable(url.without_credentials(), context.mirror))


def own_page(url: SecretUrl, kind: str, package: str) -> Page:
    """A package's page on an index of the user's own."""
    return Page(url.without_credentials().rstrip("/"), package, kind)


def _index_with_torch(core: tuple[Declared, ...], context: Context) -> str | None:
    """An index of the project's own that has what is asked for is where it comes from; one that was not asked may have it."""
    for url, kind in own_places(context.options, context):
        for name in dict.fromkeys(str(one.name) for one in core) or ("torch",):
            listing = context.offers.listing(own_page(url, kind, name))
            if listing is None or listing.status is Status.UNREACHABLE:
                return f"the project names package indexes of its own, and {url} may have it, so it comes from those, as written"
            if any(_allows(core, name, file) for file in listing.files):
                return f"the project's own index {url} has it, so it comes from there, as written"
    return None


def _allows(core: tuple[Declared, ...], name: str, file: File) -> bool:
    """Whether a wheel is one that the requirements on its package allow."""
    asked = ",".join(one.specifier for one in core if one.name == name and one.specifier and not one.specifier.startswith("==="))
    return SpecifierSet(asked).contains(file.version, prereleases=True)


def pytorch_options(options: IndexOptions, context: Context) -> tuple[SecretUrl, ...]:
    """PyTorch's own indexes among the project's options: they serve the family alone, or old copies of other packages would come from them."""
    places = (*options.extra_index_urls, *options.find_links)
    return tuple(url for url in places if is_choosable(url.without_credentials(), context.mirror))


def scoped_decisions(scoped: tuple[SecretUrl, ...]) -> list[Decision]:
    """What is said about PyTorch's own indexes among the project's options."""
    if not scoped:
        return []
    named = ", ".join(str(url) for url in scoped)
    return [
        Decision(
            rule="torch-index-scoped",
            kind=Kind.CHOSEN,
            subject="torch",
            asked=named,
            chose=f"{named}, for torch and its companions alone",
            because="this index also has old copies of other packages, which are better taken from the default index",
            instead="--index-url instead of --extra-index-url, if everything is to come from there",
        )
    ]
