"""Frameworks that are published in several builds: which build fits the target, and where it comes from. Pure.

One file per mechanism: labels and an index each (`torch`), names and an extra by era (`tensorflow`), extras (`jax`), names alone (`by_name`).
`wanted` says which pages of indexes choosing needs; whoever can ask them does so, and hands them to `choose_builds` in `Context.offers`. What
an index does not tell, and what holds where none can be asked, are dated tables under ``data/``. For a project that declares none of them
(`names`) neither the tables nor the mechanisms are loaded.
"""

from __future__ import annotations

from lading.frameworks.choice import Choice, Context
from lading.frameworks.names import are_declared, bound_unasked
from lading.frameworks.offers import Offers, Page
from lading.model.requirements import Declared

__all__ = ["Choice", "Context", "Offers", "Page", "choose_builds", "wanted"]


def choose_builds(requirements: tuple[Declared, ...], context: Context) -> Choice:
    """Complete every requirement on a framework to the build for the target; all others stay as they are.

    A requirement with a local version, a URL, or an index of the user's own is never changed; what follows from it is said.
    """
    bound = None if are_declared(requirements, context.constraints) else bound_unasked(context)
    if bound is not None:
        return Choice(requirements=requirements, bound=bound)
    from lading.frameworks.mechanisms import choose  # noqa: PLC0415 -- see above

    return choose(requirements, context)


def wanted(requirements: tuple[Declared, ...], context: Context) -> tuple[Page, ...]:
    """The pages that choosing needs and ``context.offers`` does not have yet; to be asked again with their answers until none is left."""
    if not are_declared(requirements, context.constraints) and bound_unasked(context) is not None:
        return ()
    from lading.frameworks import pages  # noqa: PLC0415 -- see above

    return pages.wanted(requirements, context)
