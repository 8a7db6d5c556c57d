"""Every mechanism by which frameworks have several builds, one after the other."""

from __future__ import annotations

from lading.frameworks import by_name, jax, tensorflow, torch
from lading.frameworks.choice import Choice, Context
from lading.frameworks.together import torch_beside_tensorflow
from lading.model.requirements import Declared


def choose(requirements: tuple[Declared, ...], context: Context) -> Choice:
    """See `lading.frameworks.choose_builds`."""
    first = torch.choose(requirements, context)
    second = torch_beside_tensorflow(tensorflow.choose(first.requirements, context), first.label, first.requirements, context)
    choice = first.then(second)
    for choose_ in (jax.choose, by_name.choose):
        choice = choice.then(choose_(choice.requirements, context))
    return choice
