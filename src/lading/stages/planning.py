"""From a project to plans: the interpreter, the target, the builds, and whether the lock on disk still holds. Changes nothing."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from lading.model.events import Reporter
from lading.model.problems import LadingError, Problem
from lading.model.records import replace
from lading.stages.values import Options, Planned, Project

if TYPE_CHECKING:
    from lading.frameworks import Context, Offers
    from lading.frameworks.rows import Row
    from lading.model.decisions import Decision
    from lading.model.lock import Lock
    from lading.model.plan import Plan
    from lading.model.project import ProjectConfig
    from lading.model.requirements import BoundIndex, Declared, IndexOptions
    from lading.model.target import Interpreter, Target
    from lading.planner.fitting import Support
    from lading.planner.make import Known
    from lading.planner.python import PythonChoice
    from lading.planner.sources import Chosen
    from lading.resolvers.listings import Door


def plan_one(project: Project, chosen: Chosen, options: Options, reporter: Reporter, conda_python: str | None = None) -> Planned:
    """Plan for one set of APIs that share their dependencies. ``conda_python`` is the Python that conda is known to bring.

    Raises:
        LadingError: if no Python fits, or what is declared contradicts itself.
    """
    from lading.environments.host import host_target
    from lading.locks.staleness import check as stale_reasons
    from lading.planner.lock_target import adopt
    from lading.planner.make import keep_builds, make_plan
    from lading.planner.python import AUTO, choose_python

    variant = _variant(chosen.variant, options)
    existing = read_lock(project, variant)
    conda_python = conda_python or (existing.conda.python if existing and existing.conda else None)
    by_conda = chosen.declaration is not None and chosen.declaration.conda is not None
    python = choose_python(
        project.config,
        chosen.declaration,
        project.files,
        asked=options.python,
        locked=existing.target.get("python") if existing and not by_conda else None,
        lock_path=_lock_path(variant),
    )
    if options.python == AUTO and not by_conda and (existing is None or options.upgrade):
        python = _newest_that_fits(python, project, chosen, options, reporter)
    requirements = chosen.declaration.requirements if chosen.declaration else ()
    interpreter = _conda_interpreter(python, conda_python) if by_conda else _interpreter(python, requirements, options, reporter)
    accelerator = declared_accelerator(project.config, options)
    target = adopt(_target_of(host_target(interpreter, accelerator), options), existing, accelerator)
    decision = _python_by_conda(python, conda_python) if by_conda else python.decide(interpreter.version)
    request = replace(python.request, specifier=python.specifier)

    def planned(known: Known) -> Plan:
        return make_plan(
            project.config,
            chosen,
            target,
            project.files,
            options.environ,
            variant=variant,
            python=decision,
            python_request=request,
            known=known,
        )

    known = machine_facts(options, accelerator, requirements)
    asked = planned(replace(known, choosing=False))
    stale = stale_reasons(existing, asked) if existing else ()
    as_locked = not stale and not options.upgrade and options.as_of is None
    if existing is not None and (options.frozen or as_locked):
        kept = keep_builds(planned, known, existing, asked)
        missing = _undeclared(project, kept, existing)
        return Planned(plan=replace(kept, decisions=(*kept.decisions, *missing)), interpreter=interpreter, existing=existing, stale=stale)
    offers = _offers(project, chosen, target, known, options)
    made = planned(replace(known, offers=offers))
    return Planned(plan=made, interpreter=interpreter, existing=existing, stale=stale, offers=offers)


def _undeclared(project: Project, plan: Plan, lock: Lock) -> tuple[Decision, ...]:
    """What is said about modules that the predictors import and nothing in the lock brings."""
    from lading.planner.undeclared import known_imports, undeclared

    return undeclared(known_imports(plan.apis, project.files), plan, lock, project.config.run)


def builds(planned: Planned, project: Project, options: Options) -> tuple[Row, ...]:
    """The packages with several builds as a short table, with the sizes of their wheels; servers that a page left open are asked."""
    from lading.frameworks import Offers
    from lading.frameworks.kept import offers_of
    from lading.frameworks.rows import build_rows, registry_pages, with_registry
    from lading.model.secrets import SecretUrl
    from lading.planner.indexes import environment_options
    from lading.resolvers.listings import fetch, sizes
    from lading.resolvers.pages import DEFAULT_INDEX

    holds = planned.existing is not None and planned.offers is None
    lock_ = planned.existing if holds else None
    offers = planned.offers if planned.offers is not None else offers_of(lock_) if lock_ else Offers()
    rows = build_rows(planned.plan, offers, lock_)
    if options.offline or not rows:
        return rows
    index = planned.plan.options.index_url or environment_options(options.environ).index_url or SecretUrl(DEFAULT_INDEX)
    chosen = next(one for one in project.chosen if one.apis == planned.plan.apis)
    door = _door(context_of(project, chosen, planned.plan.target, machine_facts(options, "cpu"), options), project, options)
    place = index.without_credentials().rstrip("/")
    through = replace(door, address={**door.address, place: index})
    registry = fetch(registry_pages(rows, place), through)
    rows = tuple(with_registry(row, registry, place, planned.plan.target) for row in rows)
    told = sizes(tuple(dict.fromkeys(url for row in rows for url in row.urls())), through)
    return tuple(row.with_sizes(told) for row in rows)


def _newest_that_fits(python: PythonChoice, project: Project, chosen: Chosen, options: Options, reporter: Reporter) -> PythonChoice:
    """``--python auto``: the newest Python on this machine that the project allows and that every pin has files for.

    Raises:
        LadingError: if there is none, with what every pin needs.
    """
    from packaging.specifiers import SpecifierSet

    from lading.environments.host import host_target
    from lading.environments.interpreters import find_interpreters
    from lading.planner.fitting import fitting, newest
    from lading.planner.make import build_context
    from lading.planner.python import with_newest

    found = find_interpreters(options.environ, reporter)
    allowed = SpecifierSet(python.specifier)
    here = [one.version for one in found if allowed.contains(one.version, prereleases=True)]
    if not here:
        return python
    target = _target_of(host_target(found[0], "cpu"), options)
    context = build_context(chosen, target, project.files, options.environ)
    declared = chosen.declaration.requirements if chosen.declaration else ()
    supports = supports_of(declared, context.options, context.bound, platform=target.platform, project=project, options=options)
    answer = newest(fitting(supports, python.specifier, target.platform), supports, here, target.platform)
    if isinstance(answer, Problem):
        raise LadingError(answer)
    return with_newest(python, answer)


def supports_of(
    declared: tuple[Declared, ...],
    index_options: IndexOptions,
    bound: tuple[BoundIndex, ...],
    *,
    platform: str,
    project: Project,
    options: Options,
) -> tuple[Support, ...]:
    """The Pythons that every pin has files for, as the indexes list them."""
    from lading.environments.home import LISTINGS, home
    from lading.planner.indexes import environment_options
    from lading.resolvers.pythons import supports

    reached = environment_options(options.environ).merged(index_options)
    cache = Path(home(options.environ)) / LISTINGS
    return supports(declared, reached, bound, platform, root=project.root, cache=cache, offline=options.offline)


def _conda_interpreter(python: PythonChoice, version: str | None) -> Interpreter:
    """Stands in for the Python that conda brings: a Python of this machine, with the version that conda has or may have."""
    import sys

    from lading.model.target import Interpreter
    from lading.planner.conda import expected_python, refuse_path

    refuse_path(python)
    return Interpreter(path=sys.executable, version=version or expected_python(python.specifier), found_by="conda packages")


def _python_by_conda(python: PythonChoice, version: str | None) -> Decision:
    from lading.planner.conda import python_decision

    return python_decision(python, version)


def machine_facts(options: Options, accelerator: str, requirements: tuple[Declared, ...] = ()) -> Known:
    """The driver and the GPUs at hand, where they count for one of the requirements, and whether the accelerator was asked for."""
    from lading.environments.host import find_machine
    from lading.frameworks.names import FAMILY
    from lading.planner.make import Known

    here = options.platform is None and accelerator != "cpu" and any(one.name in FAMILY for one in requirements)
    return Known(machine=find_machine() if here else None, explicit=accelerator != "auto")


def _offers(project: Project, chosen: Chosen, target: Target, known: Known, options: Options) -> Offers:
    """What the indexes offer of the frameworks that the project declares; nothing is asked for a project without any."""
    context = context_of(project, chosen, target, known, options)
    return ask_indexes(_by_pip(chosen), context, project, options)


def _by_pip(chosen: Chosen) -> tuple[Declared, ...]:
    """The requirements but for those on frameworks that the list of conda packages names."""
    if chosen.declaration is None or chosen.declaration.conda is None:
        return chosen.declaration.requirements if chosen.declaration else ()
    from lading.frameworks.conda_builds import pip_names

    names = pip_names(chosen.declaration.conda.specs)
    return tuple(declared for declared in chosen.declaration.requirements if declared.name not in names)


def context_of(project: Project, chosen: Chosen, target: Target, known: Known, options: Options) -> Context:
    """For whom builds of frameworks are chosen."""
    from lading.planner.make import build_context

    return build_context(chosen, target, project.files, options.environ, known)


def ask_indexes(requirements: tuple[Declared, ...], context: Context, project: Project, options: Options) -> Offers:
    """What the indexes list of the frameworks among these requirements; no index is asked when there is none."""
    from lading.frameworks import wanted

    if not wanted(requirements, context):
        return context.offers
    from lading.resolvers.offered import offered

    return offered(requirements, context, _door(context, project, options), offline=options.offline)


def _door(context: Context, project: Project, options: Options) -> Door:
    from lading.environments.home import LISTINGS, home
    from lading.resolvers.offered import door_of

    return door_of(context, project.root, Path(home(options.environ)) / LISTINGS)


def _variant(of_api: str, options: Options) -> str:
    """A lock for another target than the machine's own, or with parts that are not installed unasked, has a name of its own."""
    python = "" if options.python in (None, "auto") or "/" in options.python else "py" + "".join(c for c in options.python if c.isalnum())
    accelerator = "" if options.accelerator == "auto" else options.accelerator
    parts = (*options.selection.extra_names, *options.selection.group_names)
    return "-".join(part for part in (of_api, *parts, accelerator, options.platform or "", python) if part)


def _target_of(host: Target, options: Options) -> Target:
    """This machine as a target, or the platform that the user named in its place."""
    from lading.planner.platforms import is_linux

    if options.platform is None:
        return host
    accelerator = host.accelerator if options.accelerator != "auto" or is_linux(options.platform) else "cpu"
    return replace(host, platform=options.platform, accelerator=accelerator)


def declared_accelerator(config: ProjectConfig, options: Options) -> str:
    """``--accelerator``, else what the configuration says (``build.gpu``, ``build.cuda``), else what the machine has."""
    if options.accelerator != "auto":
        return options.accelerator
    if config.gpu and config.cuda:
        return "cu" + "".join(config.cuda.split(".")[:2])
    return "auto"


def _interpreter(python: PythonChoice, requirements: tuple[Declared, ...], options: Options, reporter: Reporter) -> Interpreter:
    from lading.environments.interpreters import choose_interpreter, find_interpreters, probe_named, running_one

    if python.path is not None:
        return probe_named(python.path)
    running = running_one(python.specifier, options.environ)
    if running is not None:
        return running
    asked_by = python.request.origin if python.request.specifier else None
    found = tuple(find_interpreters(options.environ, reporter))
    try:
        return choose_interpreter(python.specifier, found, asked_by)
    except LadingError:
        if python.suited is None:
            raise
        from lading.environments.host import find_accelerator
        from lading.frameworks.suited import without_python

        accelerator = find_accelerator(options.accelerator).label
        versions = [one.version for one in found]
        raise LadingError(without_python(python.suited, requirements, versions, accelerator)) from None


def read_lock(project: Project, variant: str) -> Lock | None:
    """The lock on disk for a variant, or None.

    Raises:
        LadingError: if the file is there and cannot be read.
    """
    from lading.locks.lockfile import read as read_lock_text

    path = _lock_path(variant)
    content = project.files.read(path)
    return None if content is None else read_lock_text(content.decode("utf-8", "replace"), path)


def _lock_path(variant: str) -> str:
    return f"pylock.lading-{variant}.toml" if variant else "pylock.lading.toml"


def as_reached(plan: Plan, project: Project, options: Options) -> Plan:
    """The plan with this machine's own indexes, and its way to PyTorch's."""
    from lading.planner.indexes import environment_options
    from lading.planner.make import with_machine_options
    from lading.planner.torch_index import torch_index

    return with_machine_options(plan, environment_options(options.environ), torch_index(project.files, options.environ).mirror)
