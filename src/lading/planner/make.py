"""Putting the plan together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from lading.frameworks import Context, choose_builds
from lading.model.decisions import Decision, Kind
from lading.model.files import ProjectFiles
from lading.model.lock import Lock
from lading.model.plan import BoundIndex, Plan
from lading.model.problems import LadingError
from lading.model.project import ProjectConfig
from lading.model.requirements import Declaration, Declared, IndexOptions
from lading.model.target import Target
from lading.planner.indexes import pip_conf_options
from lading.planner.sources import Chosen

EMPTY = Declaration(format="nothing", path="", read=())


def make_plan(
    config: ProjectConfig,
    chosen: Chosen,
    target: Target,
    files: ProjectFiles,
    environ: Mapping[str, str],
    *,
    variant: str = "",
    python: Decision | None = None,
) -> Plan:
    """Complete the declaration for the target: builds of frameworks, indexes, and every decision on the way.

    Raises:
        LadingError: for contradictions that are known before anything is downloaded.
    """
    declaration = chosen.declaration or EMPTY
    folder = declaration.path.rpartition("/")[0]
    from_conf, conf_decisions = pip_conf_options(files, folder)
    options = from_conf.merged(declaration.options)
    choice = choose_builds(declaration.requirements, Context(target=target, options=options, environ=environ))
    if choice.problems:
        raise LadingError(*choice.problems)
    decisions = [*config.decisions, *declaration.decisions, *chosen.decisions, *conf_decisions, *choice.decisions]
    floating = floating_decision(declaration.requirements)
    return Plan(
        variant=variant,
        kind=config.kind,
        apis=chosen.apis,
        target=target,
        sources=chosen.sources,
        requirements=choice.requirements,
        constraints=declaration.constraints,
        options=options,
        bound=(*choice.bound, *_line_indexes(choice.requirements)),
        python_because=python.because if python else "",
        system_packages=tuple(dict.fromkeys((*config.system_packages, *declaration.system_packages))),
        decisions=tuple(dict.fromkeys([*([python] if python else []), *decisions, *([floating] if floating else [])])),
    )


def _line_indexes(requirements: tuple[Declared, ...]) -> tuple[BoundIndex, ...]:
    """An index that stands on a requirement's own line serves that requirement alone."""
    bound: dict[tuple[str, str], BoundIndex] = {}
    for declared in requirements:
        for url, kind in ((declared.index, "index"), (declared.find_links, "find-links")):
            if url is None or declared.name is None:
                continue
            key = (url.reveal(), kind)
            names = (*bound[key].packages, declared.name) if key in bound else (declared.name,)
            bound[key] = BoundIndex(f"line-{len(bound) + 1}" if key not in bound else bound[key].name, url, names, kind)
    return tuple(bound.values())


def floating_decision(requirements: tuple[Declared, ...]) -> Decision | None:
    """One grouped advice about everything that has no exact version (design, rule 3)."""
    floating = [declared for declared in requirements if not declared.is_pinned and declared.name]
    if not floating:
        return None
    names = ", ".join(declared.pep508 for declared in floating)
    return Decision(
        rule="versions-float",
        kind=Kind.ADVICE,
        subject="requirements",
        asked=names,
        chose="the resolver's choice, written to the lock",
        because=f"{len(floating)} of {len(requirements)} requirements have no exact version; pins reproduce better",
        origin=floating[0].origin,
        instead="the versions that the lock names, as name==version",
    )


def with_machine_options(plan: Plan, machine: IndexOptions) -> Plan:
    """The plan with this machine's own indexes added, for the resolver; what the project says wins."""
    return replace(plan, options=machine.merged(plan.options))


def name_locked_versions(plan: Plan, lock: Lock) -> tuple[Decision, ...]:
    """The plan's decisions, with the versions that were locked named in the advice about floating ones."""
    return tuple(_named(decision, plan, lock) if decision.rule == "versions-float" else decision for decision in plan.decisions)


def _named(decision: Decision, plan: Plan, lock: Lock) -> Decision:
    floating = [declared.name for declared in plan.requirements if not declared.is_pinned and declared.name]
    pins = [f"{name}=={lock.versions[name]}" for name in dict.fromkeys(floating) if name in lock.versions]
    return replace(decision, chose=", ".join(pins) or decision.chose, instead=f"these pins in {decision.origin and decision.origin.path}")
