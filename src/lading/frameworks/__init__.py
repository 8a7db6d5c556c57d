"""Frameworks that are published in several builds: which build fits the target, and where it comes from. Pure.

One file per mechanism; `choose_builds` asks each in turn. Facts about releases are dated tables under ``data/``.
"""

from __future__ import annotations

from lading.frameworks.choice import Choice, Context
from lading.frameworks.tensorflow import choose as choose_tensorflow
from lading.frameworks.torch import choose as choose_torch
from lading.model.requirements import Declared

__all__ = ["Choice", "Context", "choose_builds"]


def choose_builds(requirements: tuple[Declared, ...], context: Context) -> Choice:
    """Complete every requirement on a framework to the build for the target; all others stay as they are.

    A requirement with a local version, a URL, or an index of the user's own is never changed; what follows from it is said.
    """
    choice = Choice(requirements=requirements)
    for choose in (choose_torch, choose_tensorflow):
        choice = choice.then(choose(choice.requirements, context))
    return choice
