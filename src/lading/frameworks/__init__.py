"""Frameworks that are published in several builds: which build fits the target, and where it comes from. Pure.

One file per mechanism: labels and an index each (`torch`), names and an extra by era (`tensorflow`), extras (`jax`), names alone (`by_name`).
`wanted` says which pages of indexes choosing needs; whoever can ask them does so, and hands them to `choose_builds` in `Context.offers`. What
an index does not tell, and what holds where none can be asked, are dated tables under ``data/``.
"""

from __future__ import annotations

from lading.frameworks import by_name, jax, pages, tensorflow, torch
from lading.frameworks.choice import Choice, Context
from lading.frameworks.offers import Offers, Page
from lading.frameworks.together import torch_beside_tensorflow
from lading.model.requirements import Declared

__all__ = ["Choice", "Context", "Offers", "Page", "choose_builds", "wanted"]


def choose_builds(requirements: tuple[Declared, ...], context: Context) -> Choice:
    """Complete every requirement on a framework to the build for the target; all others stay as they are.

    A requirement with a local version, a URL, or an index of the user's own is never changed; what follows from it is said.
    """
    first = torch.choose(requirements, context)
    second = torch_beside_tensorflow(tensorflow.choose(first.requirements, context), first.label, first.requirements, context)
    choice = first.then(second)
    for choose in (jax.choose, by_name.choose):
        choice = choice.then(choose(choice.requirements, context))
    return choice


def wanted(requirements: tuple[Declared, ...], context: Context) -> tuple[Page, ...]:
    """The pages that choosing needs and ``context.offers`` does not have yet; to be asked again with their answers until none is left."""
    return pages.wanted(requirements, context)
