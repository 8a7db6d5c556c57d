"""Files of the project that hide a package: ``import torch`` would find the project's own ``torch.py``."""

from __future__ import annotations

import sys
from collections.abc import Iterator

from lading.checks.advice import Advice
from lading.model.files import ProjectFiles
from lading.model.origin import Origin
from lading.model.project import ProjectConfig

_OFTEN = frozenset(
    ("cog", "cortex_internal", "jax", "lading", "numpy", "onnxruntime", "pandas", "PIL", "sklearn", "tensorflow", "torch", "transformers")
)
_HARMLESS = frozenset(("setup", "test", "tests", "this", "antigravity", "idlelib"))


def check(config: ProjectConfig, files: ProjectFiles) -> Iterator[Advice]:
    """Every file at the root (where the model's imports look first) that is named like another module."""
    del config
    for name in files.entries():
        stem = name.removesuffix(".py")
        if stem != name and stem not in _HARMLESS and (stem in sys.stdlib_module_names or stem in _OFTEN):
            yield Advice(
                rule="shadowed-name",
                what=f"{name} hides the module {stem} from everything that the model imports.",
                origin=Origin(name),
                why="the project's root is searched first",
                instead="another name for the file",
            )
