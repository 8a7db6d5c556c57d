"""Every check that gives advice, in the order in which doctor shows what they found."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from lading.checks import deprecated_fields, deprecated_imports, pydantic_model, run_method, shadowed_names
from lading.checks.advice import Advice
from lading.model.files import ProjectFiles
from lading.model.project import ProjectConfig

CHECKS: tuple[Callable[[ProjectConfig, ProjectFiles], Iterable[Advice]], ...] = (
    run_method.check,
    deprecated_fields.check,
    deprecated_imports.check,
    pydantic_model.check,
    shadowed_names.check,
)


def advise(config: ProjectConfig, files: ProjectFiles) -> tuple[Advice, ...]:
    """What all checks find in a project that can be read."""
    return tuple(dict.fromkeys(one for check in CHECKS for one in check(config, files)))
