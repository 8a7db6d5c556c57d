"""Which pages of indexes choosing torch's build needs."""

from __future__ import annotations

from collections.abc import Iterable

from lading.frameworks.choice import Context
from lading.frameworks.consistency import Pin, metadata_page, pins_of
from lading.frameworks.family import allowed_releases, lead_of, members_of
from lading.frameworks.labels import cuda_up_to
from lading.frameworks.names import FAMILY
from lading.frameworks.offers import Page, Status
from lading.frameworks.own import left_alone, own_page, own_place, own_places, pytorch_options
from lading.frameworks.places import asked_label, every_build, one_label
from lading.frameworks.releases import demand, known
from lading.frameworks.shelf import Shelf
from lading.model.records import replace
from lading.model.requirements import Declared, IndexOptions, Via

_MOST_LABELS = 8
"""Pages asked for one package where an index has no page of every build: the newest labels that the target runs."""


def wanted(requirements: tuple[Declared, ...], context: Context) -> tuple[Page, ...]:
    """The pages to ask for, given those that were asked already: none when nothing is left to be known.

    First the page that lists every build; where an index (a mirror) has none, those of the labels that come into question; then the metadata of
    partners that no table knows.
    """
    members = members_of(requirements, context)
    asked = [member for member in members if member.via is Via.INDEX and own_place(member, context) is None]
    if (members and not asked) or _is_settled(context):
        return ()
    own = [own_page(url, kind, name) for url, kind in own_places(context.options, context) for name in _names(asked) or ["torch"]]
    unknown = tuple(page for page in dict.fromkeys(own) if page not in context.offers.pages)
    if unknown or not asked:
        return unknown
    core = tuple(one for one in members if one.name in FAMILY)
    if left_alone(core, context) is not None:
        return ()
    return _pages(members, _names(asked), context)


def _is_settled(context: Context) -> bool:
    """Whether nothing of the project's own is to be asked and torch is left alone anyway."""
    plain = replace(context, options=IndexOptions(index_url=context.options.index_url, no_index=context.options.no_index))
    return left_alone((), plain) is not None


def _names(members: Iterable[Declared]) -> list[str]:
    names = [str(one.name) for one in members]
    return list(dict.fromkeys(["torch", *names])) if any(name in FAMILY for name in names) else list(dict.fromkeys(names))


def _pages(members: tuple[Declared, ...], names: list[str], context: Context) -> tuple[Page, ...]:
    versions = {pin.name: pin.version for pin in pins_of(members)}
    offers = context.offers
    first = [every_build(name, versions.get(name)) for name in names]
    if any(page not in offers.pages for page in first):
        return tuple(page for page in first if page not in offers.pages)
    labels = _labels_in_question(members, context)
    second = [
        one_label(page.package, label, versions.get(page.package))
        for page in first
        if not offers.files(page) and _exists(page, context)
        for label in labels
    ]
    missing = tuple(page for page in dict.fromkeys(second) if page not in offers.pages)
    if missing:
        return missing
    shelf = Shelf(offers, context.target)
    third = [_metadata_wanted(pin, shelf) for pin in pins_of(members)]
    return tuple(page for page in third if page is not None and page not in offers.pages)


def _exists(page: Page, context: Context) -> bool:
    """Whether it is worth asking for one label: the server answered, and it is a mirror without a page of every label."""
    listing = context.offers.listing(page)
    if listing is None or listing.status is Status.UNREACHABLE:
        return False
    torch = context.offers.files(Page(page.index, "torch"))
    return not torch or page.package in FAMILY


def _metadata_wanted(pin: Pin, shelf: Shelf) -> Page | None:
    if pin.name == "torch" or demand(pin.name, pin.version) is not None:
        return None
    return metadata_page(pin.name, pin.version, shelf)


def _labels_in_question(members: tuple[Declared, ...], context: Context) -> list[str]:
    accelerator = context.target.accelerator
    named = [pin.label for pin in pins_of(members) if pin.label]
    named += [label for url in pytorch_options(context.options, context) if (label := asked_label(url.without_credentials()))]
    if named:
        return list(dict.fromkeys(named))
    lead = lead_of(members, context, Shelf(context.offers, context.target))
    row = known(lead.version) if lead else None
    rows = [row] if row else allowed_releases(members, context)
    labels = cuda_up_to({label for one in rows for label in one.labels}, accelerator)
    return list(dict.fromkeys([accelerator, *labels[:_MOST_LABELS]]))
