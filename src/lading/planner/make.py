"""Putting the plan together."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from lading.frameworks import Choice, Context, Offers, choose_builds
from lading.frameworks.choice import OF_MACHINE, applies
from lading.frameworks.labels import CPU
from lading.frameworks.names import NAMES, are_declared
from lading.model.build import BuildOptions
from lading.model.conda import CondaPlan
from lading.model.decisions import Decision, Kind
from lading.model.files import ProjectFiles
from lading.model.lock import Lock
from lading.model.origin import Origin
from lading.model.plan import Asked, BoundIndex, Plan, Role, Source
from lading.model.problems import LadingError
from lading.model.project import ProjectConfig
from lading.model.records import dataclass, field, replace
from lading.model.requirements import Declaration, Declared, IndexOptions
from lading.model.secrets import SecretUrl
from lading.model.target import Machine, PythonRequest, Target
from lading.planner.credentials import credential_decisions
from lading.planner.indexes import pip_conf_options
from lading.planner.others import version_sources
from lading.planner.scripts import find_scripts
from lading.planner.sources import Chosen
from lading.planner.system import SystemPackages, system_packages
from lading.planner.torch_index import torch_index

FLOATING = "versions-float"
OF_SOURCES = ("source-ignored", "sources-differ", "nothing-declared", "imports-undeclared")
"""Decisions about the files beside the source: those of now count, not those of when the lock was made."""

EMPTY = Declaration(format="nothing", path="", read=())


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What is known beside the project: what indexes offer, this machine's driver and GPUs, and whether the accelerator was asked for.

    Without ``choosing``, builds are left as they were declared: enough to compare with a lock.
    """

    offers: Offers = field(default_factory=Offers)
    machine: Machine | None = None
    explicit: bool = False
    choosing: bool = True


def build_context(chosen: Chosen, target: Target, files: ProjectFiles, environ: Mapping[str, str], known: Known | None = None) -> Context:
    """For whom builds are chosen, and with what options.

    Raises:
        LadingError: if pip.conf or ``torch-index`` cannot be read.
    """
    declaration = chosen.declaration or EMPTY
    from_conf, _, _ = pip_conf_options(files, declaration.path.rpartition("/")[0])
    known = known or Known()
    index = torch_index(files, environ)
    return Context(
        target=target,
        options=from_conf.merged(declaration.options),
        bound=declaration.bound,
        constraints=declaration.constraints,
        offers=known.offers,
        explicit=known.explicit,
        machine=known.machine,
        mirror=index.mirror,
        off=index.off,
    )


def keep_builds(planned: Callable[[Known], Plan], known: Known, lock: Lock, asked: Plan) -> Plan:
    """The plan with the builds that are locked, and the decisions that were made then; no index is asked.

    ``asked`` is the plan without builds, for a lock from which they cannot be told.
    """
    from lading.frameworks.kept import offers_of  # noqa: PLC0415 -- with `packaging`: not for a lock that is made anew

    try:
        kept = planned(replace(known, offers=offers_of(lock)))
    except LadingError:
        kept = asked
    here = [decision for decision in kept.decisions if decision.rule in OF_MACHINE or decision.rule in OF_SOURCES]
    then = [decision for decision in lock.decisions if decision.rule not in OF_SOURCES]
    return replace(kept, decisions=(*then, *here))


def without_scoped(options: IndexOptions, scoped: tuple[SecretUrl, ...]) -> IndexOptions:
    """The options for all packages: without the indexes that serve some packages alone now."""
    if not scoped:
        return options
    return replace(
        options,
        extra_index_urls=tuple(url for url in options.extra_index_urls if url not in scoped),
        find_links=tuple(url for url in options.find_links if url not in scoped),
    )


def make_plan(
    config: ProjectConfig,
    chosen: Chosen,
    target: Target,
    files: ProjectFiles,
    environ: Mapping[str, str],
    *,
    variant: str = "",
    python: Decision | None = None,
    python_request: PythonRequest | None = None,
    known: Known | None = None,
) -> Plan:
    """Complete the declaration for the target: builds of frameworks, indexes, and every decision on the way.

    ``known`` is what indexes and the machine at hand say; without it, the dated tables decide. ``python_request`` is which Python conda
    is to bring.

    Raises:
        LadingError: for contradictions that are known before anything is downloaded.
    """
    declaration = chosen.declaration or EMPTY
    folder = declaration.path.rpartition("/")[0]
    _, conf_sources, conf_decisions = pip_conf_options(files, folder)
    context = build_context(chosen, target, files, environ, known)
    options = context.options
    locked, lock_used = _locked(declaration, target)
    if locked is None:
        choosing = known is None or known.choosing
        choice = _choose(declaration, context) if choosing else Choice(requirements=declaration.requirements)
    else:
        choice = Choice(requirements=locked, decisions=lock_used)
    if choice.problems:
        raise LadingError(*choice.problems)
    conda, conda_sources, conda_decisions = _conda(declaration, target, files, environ, python_request)
    decisions = [*config.decisions, *declaration.decisions, *chosen.decisions, *conda_decisions, *conf_decisions, *choice.decisions]
    about_target = [python, accelerator_decision(config, target)]
    floating = floating_decision(declaration.requirements)
    system = system_packages(files, folder)
    scripts = find_scripts(config, chosen.apis, files)
    written = credential_decisions(declaration.requirements, options, declaration.bound, declaration.path)
    return Plan(
        variant=variant,
        kind=config.kind,
        apis=chosen.apis,
        target=target,
        sources=_ordered((*chosen.sources, *conda_sources, *conf_sources, *version_sources(files, python)), system),
        requirements=choice.requirements,
        constraints=declaration.constraints,
        options=without_scoped(options, choice.scoped),
        asked=Asked(requirements=locked or declaration.requirements, options=options, switches=("torch-index=off",) if context.off else ()),
        bound=(*choice.bound, *_line_indexes(choice.requirements, target), *declaration.bound),
        overrides=declaration.overrides,
        excludes=declaration.excludes,
        build=declaration.build or BuildOptions(),
        exclude_newer=declaration.exclude_newer,
        complete=locked is not None,
        source=declaration.path,
        dynamic=(declaration.path,) if declaration.dynamic else (),
        conda=conda,
        python_because=python.because if python else "",
        system_packages=_union(
            config.system_packages, declaration.system_packages, system.packages, *(one.system_packages for one in scripts)
        ),
        scripts=scripts,
        decisions=tuple(dict.fromkeys(one for one in (*about_target, *decisions, *written, floating) if one is not None)),
    )


def _locked(declaration: Declaration, target: Target) -> tuple[tuple[Declared, ...] | None, tuple[Decision, ...]]:
    """The packages of another tool's lock for the target, where that is the source."""
    if not declaration.locked:
        return None, ()
    from lading.planner.locked import lock_decision, select  # noqa: PLC0415 -- with `packaging`, for the locks of others

    locked = select(declaration, target)
    return locked, (lock_decision(declaration, locked),)


def _union(*groups: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name for group in groups for name in group))


def _choose(declaration: Declaration, context: Context) -> Choice:
    """The builds of frameworks, but for those that the list of conda packages names: conda has them in builds of its own."""
    if declaration.conda is None:
        return choose_builds(declaration.requirements, context)
    from lading.frameworks.conda_builds import pip_names  # noqa: PLC0415 -- few projects need conda

    names = pip_names(declaration.conda.specs)
    by_conda = tuple(declared for declared in declaration.requirements if declared.name in names)
    choice = choose_builds(tuple(declared for declared in declaration.requirements if declared not in by_conda), context)
    return replace(choice, requirements=(*choice.requirements, *by_conda))


def _conda(
    declaration: Declaration, target: Target, files: ProjectFiles, environ: Mapping[str, str], python: PythonRequest | None
) -> tuple[CondaPlan | None, tuple[Source, ...], tuple[Decision, ...]]:
    if declaration.conda is None:
        return None, (), ()
    from lading.planner.conda import complete, configuration_sources  # noqa: PLC0415 -- few projects need it

    specs = declaration.conda.specs
    path = specs[0].origin.path if specs else declaration.path
    plan, decisions = complete(declaration.conda, target, files, environ, path=path, python=python)
    return plan, configuration_sources(files, environ), decisions


def _ordered(sources: tuple[Source, ...], system: SystemPackages) -> tuple[Source, ...]:
    """The files that are used first, each group in the order in which it was found."""
    lists = {source.path: source for source in system.sources}
    known = [lists.pop(source.path, source) for source in sources]
    return tuple(sorted((*known, *lists.values()), key=lambda source: source.role is Role.IGNORED))


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


def _line_indexes(requirements: tuple[Declared, ...], target: Target) -> tuple[BoundIndex, ...]:
    """An index that stands on a requirement's own line serves that requirement alone, where its marker holds."""
    bound: dict[tuple[str, str], BoundIndex] = {}
    for declared in requirements:
        for url, kind in ((declared.index, "index"), (declared.find_links, "find-links")):
            if url is None or declared.name is None or not applies(declared, target):
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


def with_machine_options(plan: Plan, machine: IndexOptions, mirror: SecretUrl | None = None) -> Plan:
    """The plan with this machine's own indexes added, for the resolver; what the project says wins.

    ``mirror`` is the folder that this machine reaches PyTorch's indexes under.
    """
    merged = replace(plan, options=machine.merged(plan.options))
    if mirror is None:
        return merged
    from lading.frameworks.places import as_reached  # noqa: PLC0415 -- few machines have a mirror

    return replace(merged, bound=tuple(replace(index, url=as_reached(index.url.reveal(), mirror)) for index in plan.bound))


def name_locked_versions(plan: Plan, lock: Lock) -> tuple[Decision, ...]:
    """The plan's decisions for the lock: the versions and builds that were locked named where they were the resolver's choice.

    What is true of one machine alone stays out; torch that another package brought in gets a decision of its own.
    """
    named = (_named(decision, plan, lock) if decision.rule == FLOATING else decision for decision in plan.decisions)
    kept = tuple(decision for decision in named if decision.rule not in OF_MACHINE)
    if not are_declared(plan.requirements) and not NAMES & lock.versions.keys():
        return kept
    from lading.frameworks.kept import brought_in, name_build  # noqa: PLC0415 -- with `packaging`: for those who have a framework

    return (*(name_build(decision, plan, lock) for decision in kept), *brought_in(plan, lock))


def _named(decision: Decision, plan: Plan, lock: Lock) -> Decision:
    versions = {**dict(lock.conda.shared if lock.conda else ()), **lock.versions}
    floating = [declared for declared in plan.requirements if not declared.is_pinned and declared.name in versions]
    if not floating:
        return decision
    pins = dict.fromkeys(f"{declared.name}=={versions[str(declared.name)]}" for declared in floating)
    places = dict.fromkeys(declared.origin.path for declared in floating)
    return replace(decision, chose=", ".join(pins), instead=f"`lading pin` writes these pins into {' and '.join(places)}")
