"""The names of all packages that have several builds, and what holds for a project that declares none of them.

Most projects do, and loading the tables and the mechanisms takes as long as reading their requirements. Tests hold these names and this
outcome against the tables and the mechanisms.
"""

from __future__ import annotations

from collections.abc import Iterable

from lading.frameworks.choice import Context
from lading.frameworks.companions import COMPANIONS
from lading.frameworks.labels import CPU
from lading.model.plan import BoundIndex
from lading.model.requirements import Declared
from lading.model.secrets import SecretUrl

FAMILY = ("torch", "torchvision", "torchaudio")
"""Packages that are published per build label, on PyTorch's own indexes, in every era."""

PARTNERS = ("torchvision", "torchaudio", "torchtext")
"""Packages whose releases go with one release of torch."""

TENSORFLOW = ("tensorflow", "tensorflow-cpu", "tensorflow-gpu")
"""tensorflow under its own name, and its builds under names of their own."""

JAX = "jax"

BY_NAME = frozenset(
    {
        "cupy",
        "cupy-cuda101",
        "cupy-cuda102",
        "cupy-cuda110",
        "cupy-cuda111",
        "cupy-cuda11x",
        "cupy-cuda12x",
        "cupy-cuda13x",
        "faiss-cpu",
        "faiss-gpu",
        "faiss-gpu-cu11",
        "faiss-gpu-cu12",
        "onnxruntime",
        "onnxruntime-gpu",
        "paddlepaddle",
        "paddlepaddle-gpu",
    }
)
"""Packages that are one build of a framework, or its source, by their names (`data/names.toml`)."""

NAMES = frozenset((*FAMILY, *PARTNERS, *COMPANIONS, *TENSORFLOW, JAX, *BY_NAME))

PYTORCH = "https://download.pytorch.org/whl"
"""The canonical folder of PyTorch's indexes (`data/torch.toml`)."""


def are_declared(*groups: Iterable[Declared]) -> bool:
    """Whether any of these requirements is on a package with several builds."""
    return any(declared.name in NAMES for group in groups for declared in group)


def bound_unasked(context: Context) -> tuple[BoundIndex, ...] | None:
    """Where torch's family comes from if another package brings it in, for a project that declares no framework.

    None where that takes a look at tables or indexes: for a GPU, and where the project adds places of its own to the default index.
    """
    options = context.options
    if options.no_index or options.index_url:
        return ()
    if options.extra_index_urls or options.find_links or context.target.accelerator != CPU:
        return None
    system = context.target.platform.partition("-")[2]
    if context.off or not system.startswith("manylinux"):
        return ()
    return (BoundIndex(f"torch-{CPU}", SecretUrl(f"{PYTORCH}/{CPU}"), FAMILY),)
