"""Asking indexes what choosing builds needs to know, in as few rounds as there are questions that depend on answers."""

from __future__ import annotations

from pathlib import Path

from lading.frameworks import Context, Offers, wanted
from lading.frameworks.own import own_places
from lading.frameworks.places import base
from lading.model.records import replace
from lading.model.requirements import Declared
from lading.resolvers.listings import Door, fetch, from_copies

_ROUNDS = 4
"""The project's own indexes, the pages of every build, those of single labels, and metadata."""


def offered(requirements: tuple[Declared, ...], context: Context, door: Door, *, offline: bool = False) -> Offers:
    """What the indexes offer, as far as choosing builds for these requirements needs it. Never raises: what cannot be read says why.

    With ``offline`` copies of earlier answers are all there is.
    """
    offers = context.offers
    for _ in range(_ROUNDS):
        pages = wanted(requirements, replace(context, offers=offers))
        if not pages:
            break
        offers = offers.and_(from_copies(pages, door) if offline else fetch(pages, door))
    return offers


def door_of(context: Context, root: Path, cache: Path) -> Door:
    """How this machine reaches the indexes that the project and PyTorch name. ``root`` is the project's folder, ``cache`` that of copies."""
    own = {url.without_credentials().rstrip("/"): url for url, _ in own_places(context.options, context)}
    return Door(address={**own, **({base(): context.mirror} if context.mirror else {})}, root=root, cache=cache)
