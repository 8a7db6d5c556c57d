"""Planning in tests: a dict in, plans or problems out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import pytest
from packaging.specifiers import SpecifierSet
from packaging.version import Version

from lading.checks.predictor import check_predictor
from lading.model.decisions import Decision
from lading.model.files import MemoryFiles
from lading.model.plan import Plan, Role
from lading.model.problems import LadingError, Problem
from lading.model.target import Target
from lading.pipeline import Options
from lading.planner.conda import expected_python, python_decision
from lading.planner.find import find_config
from lading.planner.make import make_plan
from lading.planner.python import choose_python
from lading.planner.sources import choose_sources
from lading.stages.planning import declared_accelerator

PREDICT = "def predict(number: int = 1) -> int:\n    return 2 * number\n"
PYTHONS = ("3.8.18", "3.9.18", "3.10.13", "3.11.7", "3.12.1", "3.13.0")
"""What a machine of the tests has, whatever Python runs them; 3.11 comes first."""

Files = Mapping[str, str | bytes]


def plans(
    files: Files | MemoryFiles,
    *,
    named: str | None = None,
    accelerator: str = "cpu",
    environ: Mapping[str, str] | None = None,
    python: str | None = None,
    locked: str | None = None,
    source: str | None = None,
    strict: bool = False,
) -> tuple[Plan, ...]:
    """The plans of a project on a machine with `PYTHONS` and this accelerator, as `lading plan` makes them there."""
    project = files if isinstance(files, MemoryFiles) else MemoryFiles(files)
    environ = environ or {}
    config = find_config(project, named, environ)
    chosen = choose_sources(config, project, environ, named=source, strict=strict)
    wrong = [problem for api in config.apis for problem in check_predictor(api, project)]
    if wrong:
        raise LadingError(*wrong)
    declared = declared_accelerator(config, Options())
    made = []
    for one in chosen:
        choice = choose_python(config, one.declaration, project, asked=python, locked=locked)
        by_conda = one.declaration is not None and one.declaration.conda is not None
        version = expected_python(choice.specifier) if by_conda else _choose(choice.specifier)
        target = Target(python=version, platform="x86_64-manylinux_2_36", accelerator=accelerator if declared == "auto" else declared)
        decision = python_decision(choice, None) if by_conda else choice.decide(version)
        request = replace(choice.request, specifier=choice.specifier)
        made.append(make_plan(config, one, target, project, environ, variant=one.variant, python=decision, python_request=request))
    return tuple(made)


def _choose(specifier: str) -> str:
    fitting = [version for version in PYTHONS if SpecifierSet(specifier).contains(version)]
    return max(fitting, key=lambda version: (version.startswith("3.11."), Version(version)))


def plan(files: Files, **how) -> Plan:
    """The only plan of a project; a predictor is added where there is none."""
    (made,) = plans(files if {"cog.yaml", "cortex.yaml", "predict.py"} & set(files) else {"predict.py": PREDICT, **files}, **how)
    return made


def problems(action: Callable[[], object]) -> tuple[Problem, ...]:
    """What an action refuses."""
    with pytest.raises(LadingError) as caught:
        action()
    return caught.value.problems


def rules(action: Callable[[], object]) -> list[str]:
    """The rules of what an action refuses."""
    return [problem.rule for problem in problems(action)]


def decision(made: Plan, rule: str) -> Decision:
    """The only decision of a rule."""
    (one,) = [one for one in made.decisions if one.rule == rule]
    return one


def files_of(made: Plan) -> dict[str, str]:
    """What became of each file: ``used: why`` or ``ignored: why``."""
    assert len({source.path for source in made.sources}) == len(made.sources)
    return {source.path: f"{source.role}: {source.because}" for source in made.sources}


def used(made: Plan) -> list[str]:
    """The files that are used."""
    return [source.path for source in made.sources if source.role is Role.USED]
