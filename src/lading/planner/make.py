"""Putting the plan together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from lading.frameworks import Context, choose_builds
from lading.frameworks.labels import CPU
from lading.model.decisions import Decision, Kind
from lading.model.files import ProjectFiles
from lading.model.lock import Lock
from lading.model.origin import Origin
from lading.model.plan import BoundIndex, Plan, Role, Source
from lading.model.problems import LadingError
from lading.model.project import ProjectConfig
from lading.model.requirements import Declaration, Declared, IndexOptions
from lading.model.target import Target
from lading.planner.indexes import pip_conf_options
from lading.planner.others import version_sources
from lading.planner.sources import Chosen

FLOATING = "versions-float"
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
    from_conf, conf_sources, conf_decisions = pip_conf_options(files, folder)
    options = from_conf.merged(declaration.options)
    choice = choose_builds(declaration.requirements, Context(target=target, options=options, environ=environ))
    if choice.problems:
        raise LadingError(*choice.problems)
    decisions = [*config.decisions, *declaration.decisions, *chosen.decisions, *conf_decisions, *choice.decisions]
    about_target = [python, accelerator_decision(config, target)]
    floating = floating_decision(declaration.requirements)
    return Plan(
        variant=variant,
        kind=config.kind,
        apis=chosen.apis,
        target=target,
        sources=_ordered((*chosen.sources, *conf_sources, *version_sources(files, python))),
        requirements=choice.requirements,
        constraints=declaration.constraints,
        options=options,
        bound=(*choice.bound, *_line_indexes(choice.requirements)),
        python_because=python.because if python else "",
        system_packages=tuple(dict.fromkeys((*config.system_packages, *declaration.system_packages))),
        decisions=tuple(dict.fromkeys(one for one in (*about_target, *decisions, floating) if one is not None)),
    )


def _ordered(sources: tuple[Source, ...]) -> tuple[Source, ...]:
    """The files that are used first, each group in the order in which it was found."""
    return tuple(sorted(sources, key=lambda source: source.role is Role.IGNORED))


def accelerator_decision(config: ProjectConfig, target: Target) -> Decision | None:
    """What became of the configuration's wish for a GPU (Cog's ``gpu`` and ``cuda``, Cortex's ``compute.gpu``)."""
    if not config.gpu or config.path is None:
        return None
    here = target.accelerator
    wanted = "cu" + "".join(config.cuda.split(".")[:2]) if config.cuda else here
    if here == CPU:
        kind, chose, because = Kind.ADVICE, "builds for the CPU", "the target has no GPU"
    elif here == wanted and config.cuda:
        kind, chose, because = Kind.CHOSEN, f"builds for {here}", f"{config.path} names this CUDA version, whatever the machine has"
    else:
        kind, chose, because = Kind.CHOSEN, f"builds for {here}", "this is what the target has"
    return Decision(
        rule="accelerator-chosen",
        kind=kind,
        subject="accelerator",
        asked=f"a GPU with CUDA {config.cuda}" if config.cuda else "a GPU",
        chose=chose,
        because=because,
        origin=Origin(config.path),
        instead="--accelerator cu121 (or another build label)" if here == CPU else "--accelerator cpu, or another build label",
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
        rule=FLOATING,
        kind=Kind.ADVICE,
        subject="requirements",
        asked=names,
        chose="the resolver's choice, written to the lock",
        because=f"{_share(len(floating), len(requirements))} no exact version; only a pin or the lock gives the same one again",
        origin=floating[0].origin,
        instead="pin them as name==version; the lock names the versions",
    )


def _share(some: int, total: int) -> str:
    return f"{some} of {total} requirements {'has' if some == 1 else 'have'}" if total > 1 else "the only requirement has"


def without_settled_advice(plan: Plan) -> Plan:
    """The plan without the advice to pin: a lock that holds is the pin (design, rule 3)."""
    return replace(plan, decisions=tuple(decision for decision in plan.decisions if decision.rule != FLOATING))


def with_machine_options(plan: Plan, machine: IndexOptions) -> Plan:
    """The plan with this machine's own indexes added, for the resolver; what the project says wins."""
    return replace(plan, options=machine.merged(plan.options))


def name_locked_versions(plan: Plan, lock: Lock) -> tuple[Decision, ...]:
    """The plan's decisions, with the versions that were locked named in the advice about floating ones."""
    return tuple(_named(decision, plan, lock) if decision.rule == FLOATING else decision for decision in plan.decisions)


def _named(decision: Decision, plan: Plan, lock: Lock) -> Decision:
    floating = [declared for declared in plan.requirements if not declared.is_pinned and declared.name in lock.versions]
    if not floating:
        return decision
    pins = dict.fromkeys(f"{declared.name}=={lock.versions[str(declared.name)]}" for declared in floating)
    places = dict.fromkeys(declared.origin.path for declared in floating)
    return replace(decision, chose=", ".join(pins), instead=f"write these pins into {' and '.join(places)}")
