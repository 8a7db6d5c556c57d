"""The table of contents: what each verb does, stage by stage.

::

    read -> plan -> lock -> install -> serve | predict | exec

Each function takes what the one before it returned. `read` and `plan` change nothing; `lock` writes one file beside the project's
configuration; `install` adds an environment to the store.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from lading.model.events import Event, Phase, Reporter, silent
from lading.model.origin import Origin
from lading.model.problems import ExitCode, LadingError, Problem, ProblemCollector

if TYPE_CHECKING:
    from lading.environments.folder import FolderFiles
    from lading.frameworks import Choice, Context, Offers
    from lading.frameworks.rows import Row
    from lading.model.decisions import Decision
    from lading.model.environment import Environment
    from lading.model.lock import Lock
    from lading.model.plan import Plan
    from lading.model.project import Api, ProjectConfig
    from lading.model.requirements import BoundIndex, Declared, IndexOptions
    from lading.model.service import ServedApi, ServiceSpec
    from lading.model.target import Interpreter, Target
    from lading.planner.fitting import Support
    from lading.planner.make import Known
    from lading.planner.python import PythonChoice
    from lading.planner.sources import Chosen
    from lading.resolvers.conda_pip import Resolving
    from lading.resolvers.listings import Door
    from lading.resolvers.uv import ResolveOptions

_CONDA_VARIABLES = (
    *("CONDARC", "HOME", "XDG_CONFIG_HOME", "RATTLER_AUTH_FILE"),
    *("CONDA_OVERRIDE_CUDA", "CONDA_OVERRIDE_GLIBC", "CONDA_OVERRIDE_LINUX", "CONDA_OVERRIDE_OSX"),
)
"""Variables that lead to other conda packages."""

_OPENAPI_VERSION = "0.1.0"
"""The version of a predictor's own API that documents state, as Cog's do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What the user asked for, beside what the project declares.

    ``file`` names a configuration or a predictor relative to ``directory``. ``python`` is a version, a range or a path;
    ``accelerator`` is ``auto``, ``cpu`` or a build label. ``locked``: never change the lock, fail if it is stale. ``frozen``: use the
    lock without looking whether it is stale. ``upgrade``: forget the versions of the existing lock, or of these packages.
    ``platform`` is another one than this machine's. ``as_of`` is the day to resolve as of, as the user gave it.
    ``source`` names the dependency file that counts; ``strict``: files that are ignored may say nothing else. ``relock``: another source
    than the lock was made from is accepted.
    """

    directory: Path = field(default_factory=Path)
    file: str | None = None
    python: str | None = None
    accelerator: str = "auto"
    locked: bool = False
    frozen: bool = False
    offline: bool = False
    upgrade: bool | frozenset[str] = False
    platform: str | None = None
    as_of: str | None = None
    source: str | None = None
    strict: bool = False
    relock: bool = False
    environ: Mapping[str, str] = field(default_factory=lambda: os.environ)


@dataclass(frozen=True, slots=True, kw_only=True)
class Project:
    """A project that was read: its folder, its files, its configuration, and the declarations that count."""

    root: Path
    files: FolderFiles
    config: ProjectConfig
    chosen: tuple[Chosen, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """A plan with the interpreter it is for. ``existing`` is the lock on disk, ``stale`` why it does not hold any more.

    ``offers`` are the pages that builds were chosen from; None where the lock's builds were kept, and nothing was asked.
    """

    plan: Plan
    interpreter: Interpreter
    existing: Lock | None = None
    stale: tuple[str, ...] = ()
    offers: Offers | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Locked:
    """A lock that holds, with its text. ``before`` is what it replaced; ``changed`` whether the file was written."""

    planned: Planned
    lock: Lock
    text: str
    before: Lock | None = None
    changed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Installed:
    """A locked set of APIs with its environment on this machine."""

    locked: Locked
    environment: Environment

    @property
    def apis(self) -> tuple[Api, ...]:
        """The APIs that run in this environment."""
        return self.locked.planned.plan.apis


def read(options: Options, reporter: Reporter = silent) -> Project:
    """Read the project's configuration and its dependency declarations.

    Raises:
        LadingError: with every problem found.
    """
    from lading.environments.folder import FolderFiles
    from lading.planner.find import find_config
    from lading.planner.sources import choose_sources

    reporter(Event(step="Reading dependencies", phase=Phase.STARTED))
    files = FolderFiles(options.directory)
    config = find_config(files, options.file, options.environ)
    problems = ProblemCollector()
    chosen: tuple[Chosen, ...] = ()
    with problems.catching():
        chosen = choose_sources(config, files, options.environ, named=options.source, strict=options.strict)
    problems.add(*check(config, files))
    problems.raise_if_any()
    reporter(Event(step="Reading dependencies", phase=Phase.FINISHED))
    return Project(root=options.directory, files=files, config=config, chosen=chosen)


def check(config: ProjectConfig, files: FolderFiles) -> tuple[Problem, ...]:
    """Look at the predictors as far as one can without running them."""
    from lading.checks.predictor import check_predictor

    training = check_predictor(config.train, files, training=True) if config.train else ()
    return (*(problem for api in config.apis for problem in check_predictor(api, files)), *training)


def plan(project: Project, options: Options, reporter: Reporter = silent) -> tuple[Planned, ...]:
    """Choose the interpreter, the target and the builds; compare with the lock on disk. Changes nothing.

    Raises:
        LadingError: if no Python fits, or what is declared contradicts itself.
    """
    reporter(Event(step="Choosing builds", phase=Phase.STARTED))
    planned = tuple(_plan_one(project, chosen, options, reporter) for chosen in project.chosen)
    reporter(Event(step="Choosing builds", phase=Phase.FINISHED))
    return planned


def _plan_one(project: Project, chosen: Chosen, options: Options, reporter: Reporter, conda_python: str | None = None) -> Planned:
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
    )
    if options.python == AUTO and not by_conda and (existing is None or options.upgrade):
        python = _newest_that_fits(python, project, chosen, options, reporter)
    requirements = chosen.declaration.requirements if chosen.declaration else ()
    interpreter = _conda_interpreter(python, conda_python) if by_conda else _interpreter(python, requirements, options, reporter)
    accelerator = _declared_accelerator(project.config, options)
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

    known = _machine_facts(options, accelerator, requirements)
    asked = planned(replace(known, choosing=False))
    stale = stale_reasons(existing, asked) if existing else ()
    as_locked = not stale and not options.upgrade and options.as_of is None
    if existing is not None and (options.frozen or as_locked):
        return Planned(plan=keep_builds(planned, known, existing, asked), interpreter=interpreter, existing=existing, stale=stale)
    offers = _offers(project, chosen, target, known, options)
    made = planned(replace(known, offers=offers))
    return Planned(plan=made, interpreter=interpreter, existing=existing, stale=stale, offers=offers)


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
    door = _door(_context(project, chosen, planned.plan.target, _machine_facts(options, "cpu"), options), project, options)
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
    supports = _supports(declared, context.options, context.bound, platform=target.platform, project=project, options=options)
    answer = newest(fitting(supports, python.specifier, target.platform), supports, here, target.platform)
    if isinstance(answer, Problem):
        raise LadingError(answer)
    return with_newest(python, answer)


def _supports(
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


def _machine_facts(options: Options, accelerator: str, requirements: tuple[Declared, ...] = ()) -> Known:
    """The driver and the GPUs at hand, where they count for one of the requirements, and whether the accelerator was asked for."""
    from lading.environments.host import find_machine
    from lading.frameworks.releases import FAMILY
    from lading.planner.make import Known

    here = options.platform is None and accelerator != "cpu" and any(one.name in FAMILY for one in requirements)
    return Known(machine=find_machine() if here else None, explicit=accelerator != "auto")


def _offers(project: Project, chosen: Chosen, target: Target, known: Known, options: Options) -> Offers:
    """What the indexes offer of the frameworks that the project declares; nothing is asked for a project without any."""
    context = _context(project, chosen, target, known, options)
    return _ask(_by_pip(chosen), context, project, options)


def _by_pip(chosen: Chosen) -> tuple[Declared, ...]:
    """The requirements but for those on frameworks that the list of conda packages names."""
    if chosen.declaration is None or chosen.declaration.conda is None:
        return chosen.declaration.requirements if chosen.declaration else ()
    from lading.frameworks.conda_builds import pip_names

    names = pip_names(chosen.declaration.conda.specs)
    return tuple(declared for declared in chosen.declaration.requirements if declared.name not in names)


def _context(project: Project, chosen: Chosen, target: Target, known: Known, options: Options) -> Context:
    from lading.planner.make import build_context

    return build_context(chosen, target, project.files, options.environ, known)


def _ask(requirements: tuple[Declared, ...], context: Context, project: Project, options: Options) -> Offers:
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
    """A lock for another target than the machine's own has a name of its own."""
    python = "" if options.python in (None, "auto") or "/" in options.python else "py" + "".join(c for c in options.python if c.isalnum())
    accelerator = "" if options.accelerator == "auto" else options.accelerator
    return "-".join(part for part in (of_api, accelerator, options.platform or "", python) if part)


def _target_of(host: Target, options: Options) -> Target:
    """This machine as a target, or the platform that the user named in its place."""
    from lading.planner.platforms import is_linux

    if options.platform is None:
        return host
    accelerator = host.accelerator if options.accelerator != "auto" or is_linux(options.platform) else "cpu"
    return replace(host, platform=options.platform, accelerator=accelerator)


def _declared_accelerator(config: ProjectConfig, options: Options) -> str:
    """``--accelerator``, else what the configuration says (``build.gpu``, ``build.cuda``), else what the machine has."""
    if options.accelerator != "auto":
        return options.accelerator
    if config.gpu and config.cuda:
        return "cu" + "".join(config.cuda.split(".")[:2])
    return "auto"


def _interpreter(python: PythonChoice, requirements: tuple[Declared, ...], options: Options, reporter: Reporter) -> Interpreter:
    from lading.environments.interpreters import choose_interpreter, find_interpreters, probe_named

    if python.path is not None:
        return probe_named(python.path)
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

    path = f"pylock.lading-{variant}.toml" if variant else "pylock.lading.toml"
    content = project.files.read(path)
    return None if content is None else read_lock_text(content.decode("utf-8", "replace"), path)


def lock(planned: tuple[Planned, ...], project: Project, options: Options, reporter: Reporter = silent) -> tuple[Locked, ...]:
    """Use the lock if it holds, else resolve and write it.

    Raises:
        LadingError: if resolving fails, or the lock is stale and must not be changed.
    """
    problems = ProblemCollector()
    locked = []
    for one in planned:
        with problems.catching():
            locked.append(_lock_one(one, project, options, reporter))
    problems.raise_if_any()
    return tuple(locked)


def _lock_one(planned: Planned, project: Project, options: Options, reporter: Reporter) -> Locked:
    from lading.locks.lockfile import write

    existing = planned.existing
    as_of = _as_of(planned, project, options)
    planned = _with_day(planned, as_of)
    _must_be_same_source(planned, options)
    if existing is not None and (options.frozen or (not planned.stale and not options.upgrade)):
        return Locked(planned=planned, lock=existing, text=write(existing), before=existing)
    if options.locked or options.frozen:
        raise LadingError(_lock_problem(planned))
    made = _resolve(planned, project, options, as_of, reporter)
    text = write(made)
    if existing is None or write(existing) != text:
        _write_beside(project.root / planned.plan.lock_path, text)
        project.files.wrote(planned.plan.lock_path, text.encode())
    return Locked(planned=planned, lock=made, text=text, before=existing, changed=True)


def _must_be_same_source(planned: Planned, options: Options) -> None:
    """Stop where another dependency file counts now than when the lock was made: somebody has added or removed one.

    Raises:
        LadingError: unless the lock is to be made anew, or taken as it is.
    """
    from lading.locks.staleness import other_source

    reason = other_source(planned.existing, planned.plan) if planned.existing else None
    if reason is None or options.frozen or options.relock:
        return
    before = planned.existing.source if planned.existing else ""
    named = f" To keep the source of the lock, run with --source {before}." if before else ""
    raise LadingError(
        Problem(
            rule="source-changed",
            what=f"The dependencies come from another file: {reason}.",
            origin=Origin(planned.plan.source or planned.plan.lock_path),
            why="A file that somebody adds or removes must not change the environment unnoticed.",
            instead=f"Run `lading lock` to make the lock from the new source.{named}",
            code=ExitCode.LOCK,
        )
    )


def _as_of(planned: Planned, project: Project, options: Options) -> str | None:
    """The moment to resolve as of: the one that the user names, else the one of the lock."""
    if options.as_of is None:
        return planned.existing.as_of if planned.existing else None
    from lading.environments.days import moment_of

    used = [source.path for source in planned.plan.sources if source.sha256]
    return moment_of(options.as_of, project.root, tuple([project.config.path] if project.config.path else used))


def _with_day(planned: Planned, as_of: str | None) -> Planned:
    """With the day among the reasons why the lock does not hold, if it is another one than the lock's."""
    if planned.existing is None or planned.existing.as_of == as_of:
        return planned
    before = planned.existing.as_of
    wanted = f"as of {as_of}" if as_of else "without a day to resolve as of"
    reason = f"it is wanted {wanted}, and was made {f'as of {before}' if before else 'without one'}"
    return replace(planned, stale=(*planned.stale, reason))


def _lock_problem(planned: Planned) -> Problem:
    path = planned.plan.lock_path
    if planned.existing is None:
        return Problem(
            rule="lock-missing",
            what=f"There is no {path}, and it may not be made (--locked or --frozen).",
            origin=Origin(path),
            instead="Run `lading lock` and keep the file with the project.",
            code=ExitCode.LOCK,
        )
    return Problem(
        rule="lock-out-of-date",
        what=f"{path} is out of date.",
        origin=Origin(path),
        why="; ".join(planned.stale),
        instead="Run `lading lock`, or use --frozen to take the lock as it is.",
        code=ExitCode.LOCK,
    )


def _resolve(planned: Planned, project: Project, options: Options, as_of: str | None, reporter: Reporter) -> Lock:
    from lading.planner.make import name_locked_versions
    from lading.resolvers.settled import settle
    from lading.resolvers.uv import ResolveOptions, resolve

    previous = planned.existing if planned.existing and planned.existing.as_of == as_of else None
    how = ResolveOptions(offline=options.offline, previous=previous, upgrade=options.upgrade, as_of=as_of)

    both = None
    if planned.plan.conda is not None:
        planned, both = _conda_first(planned, project, options, how, reporter)

    def resolved(plan: Plan) -> Lock:
        if both is not None:
            from lading.resolvers.conda_pip import resolve_both

            return resolve_both(as_reached(plan, project, options), both)
        try:
            return resolve(as_reached(plan, project, options), planned.interpreter, project.root, how, reporter)
        except LadingError as error:
            raise _with_pythons(error, plan, project, options) from error

    plan_, made = settle(planned.plan, resolved, lambda declared: _build_of(declared, planned, project, options))
    found = [decision for decision in made.decisions if decision not in plan_.decisions]
    decisions = (*name_locked_versions(plan_, made), *([_day_decision(as_of, options)] if as_of else []), *found)
    sources = {source.path: source.sha256 for source in plan_.sources if source.sha256}
    target = replace(plan_.target, python=made.conda.python) if made.conda else plan_.target
    return replace(made, fingerprint=plan_.fingerprint, decisions=decisions, sources=sources, source=plan_.source, target=target.as_json())


def _with_pythons(error: LadingError, plan: Plan, project: Project, options: Options) -> LadingError:
    """Where the Python is to blame: the same failure, with the lines that are not for it, and a Python that would do."""
    from lading.planner.fitting import OF_PYTHON, advised

    if not any(problem.rule in OF_PYTHON for problem in error.problems):
        return error
    supports = _supports(plan.requirements, plan.options, plan.bound, platform=plan.target.platform, project=project, options=options)
    return LadingError(*(advised(problem, supports, plan.target) for problem in error.problems))


def _conda_first(
    planned: Planned, project: Project, options: Options, how: ResolveOptions, reporter: Reporter
) -> tuple[Planned, Resolving]:
    """The plan for the Python that conda brings, and what resolving the rest against conda's packages needs."""
    from lading.environments.home import home
    from lading.planner.conda import with_python
    from lading.resolvers.conda import CondaOptions, solve
    from lading.resolvers.conda_client import caches
    from lading.resolvers.conda_pip import Resolving

    kept = planned.existing.conda if planned.existing else None
    conda = CondaOptions(
        caches=caches(home(options.environ), options.environ),
        offline=options.offline,
        previous=kept,
        upgrade=options.upgrade,
        as_of=how.as_of,
    )
    solution = solve(planned.plan, project.root, conda, reporter)

    def for_python(plan: Plan, version: str) -> Plan:
        if version.split(".")[:2] == plan.target.python.split(".")[:2]:
            return with_python(plan, version)
        chosen = next(one for one in project.chosen if one.apis == plan.apis)
        return as_reached(_plan_one(project, chosen, options, reporter, version).plan, project, options)

    again = replace(planned, plan=for_python(planned.plan, solution.lock.python))
    resolving = Resolving(
        root=project.root,
        conda=conda,
        pip=how,
        make=for_python,
        interpreter=lambda version: _one_like(version, options),
        reporter=reporter,
        first=solution,
    )
    return again, resolving


def _one_like(version: str, options: Options) -> Interpreter | None:
    """A Python of this machine with the same minor version as conda's, which is not installed yet: it builds what comes as source."""
    from lading.environments.interpreters import find_interpreters

    minor = version.split(".")[:2]
    return next((one for one in find_interpreters(options.environ) if one.version.split(".")[:2] == minor), None)


def as_reached(plan: Plan, project: Project, options: Options) -> Plan:
    """The plan with this machine's own indexes, and its way to PyTorch's."""
    from lading.planner.indexes import environment_options
    from lading.planner.make import with_machine_options
    from lading.planner.torch_index import torch_index

    return with_machine_options(plan, environment_options(options.environ), torch_index(project.files, options.environ).mirror)


def _build_of(declared: Declared, planned: Planned, project: Project, options: Options) -> Choice:
    """The build of one requirement that turned up while resolving."""
    from lading.frameworks import choose_builds

    chosen = next(one for one in project.chosen if one.apis == planned.plan.apis)
    known = _machine_facts(options, planned.plan.target.accelerator, (declared,))
    context = _context(project, chosen, planned.plan.target, known, options)
    return choose_builds((declared,), replace(context, offers=_ask((declared,), context, project, options)))


def _day_decision(as_of: str, options: Options) -> Decision:
    from lading.model.decisions import Decision, Kind

    return Decision(
        rule="as-of",
        kind=Kind.CHOSEN,
        subject="as-of",
        asked=f"--as-of {options.as_of}" if options.as_of else "the lock",
        chose=as_of,
        because="nothing that was uploaded later counts" + ("" if options.as_of else "; the lock was made as of then, and stays so"),
        instead="--as-of none",
    )


def _write_beside(path: Path, text: str) -> None:
    """Write a file whole or not at all: into a temporary one in the same folder, then renamed into place."""
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with aside.open("w", encoding="utf-8", newline="\n") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        aside.replace(path)
    except OSError as error:
        raise LadingError(
            Problem(
                rule="lock-not-written",
                what=f"{path.name} cannot be written: {error.strerror}.",
                origin=Origin(path.name),
                why="The lock belongs beside the project's configuration.",
                instead="Make the folder writable, or run with --frozen and a lock that was made elsewhere.",
            )
        ) from error
    finally:
        aside.unlink(missing_ok=True)


def install(locked: tuple[Locked, ...], project: Project, options: Options, reporter: Reporter = silent) -> tuple[Installed, ...]:
    """Make sure that every environment is in the store.

    Raises:
        LadingError: if an environment cannot be built; the store is then as it was.
    """
    installed = []
    for one in locked:
        _must_run_here(one, options)
        interpreter = one.planned.interpreter
        if one.lock.conda is not None:
            interpreter = replace(interpreter, version=one.lock.conda.python)
        with_indexes = as_reached(one.planned.plan, project, options)
        environment = _environment(one, interpreter, with_indexes, project.root, offline=options.offline, reporter=reporter)
        installed.append(Installed(locked=one, environment=environment))
    return tuple(installed)


def _environment(
    locked: Locked, interpreter: Interpreter, with_indexes: Plan, root: Path, *, offline: bool, reporter: Reporter
) -> Environment:
    """The environment in the store; the project's own package is editable in it, where its build can do that."""
    from lading.environments import ahead
    from lading.environments.store import create_environment
    from lading.locks.lockfile import write
    from lading.locks.serving import editable_project

    def create(lock: Lock, text: str) -> Environment:
        return create_environment(lock, text, interpreter, root, plan=with_indexes, reporter=reporter, offline=offline, ahead=ahead.begun)

    editable = editable_project(locked.lock)
    if editable is not None:
        try:
            return create(editable, write(editable))
        except LadingError as error:
            if not any("editable" in f"{problem.detail} {problem.why}" for problem in error.problems):
                raise
    return create(locked.lock, locked.text)


def _must_run_here(locked: Locked, options: Options) -> None:
    from lading.environments.host import host_target
    from lading.planner.platforms import runs_on

    here = host_target(locked.planned.interpreter, "cpu").platform if options.platform else ""
    if options.platform and not runs_on(options.platform, here):
        raise LadingError(
            Problem(
                rule="platform-not-this-machine",
                what=f"{locked.planned.plan.lock_path} is for {options.platform}, and this machine is {here}.",
                origin=Origin("--platform"),
                why="Its packages cannot run here.",
                instead="Use `lading lock` with --platform, and install on a machine of that kind.",
            )
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Ready:
    """A project whose environments are all in the store: what serving, predicting and running commands need.

    ``environments`` is by API name; ``variants`` says for each environment which lock it has and which APIs run in it.
    """

    root: Path
    files: FolderFiles
    config: ProjectConfig
    environments: Mapping[str, Environment]
    variants: tuple[Variant, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """One set of APIs that share a lock and an environment."""

    name: str
    lock: str
    apis: tuple[str, ...]
    environment: Environment
    changed: bool = False


def unchanged(options: Options) -> Ready | None:
    """What the last run left, if nothing that it read has changed since: no planning, resolving or installing is needed then."""
    from lading.environments.folder import FolderFiles
    from lading.environments.stamp import find_fresh
    from lading.model.environment import Environment
    from lading.planner.find import find_config

    if options.frozen or options.upgrade:
        return None
    stamp = find_fresh(str(options.directory), identity(options), environ=options.environ)
    if stamp is None:
        return None
    variants = []
    for name, lock_path, *apis in (line.split("\t") for line in stamp.note.splitlines()):
        path = stamp.environments[name]
        environment = Environment(path=path, python=str(Path(path) / "bin" / "python"), key=Path(path).name, reused=True)
        variants.append(Variant(name=name, lock=lock_path, apis=tuple(apis), environment=environment))
    files = FolderFiles(options.directory)
    return _ready(options.directory, files, find_config(files, options.file, options.environ), tuple(variants))


def identity(options: Options) -> tuple[str, ...]:
    """The options that lead to another environment."""
    further = [f"{name}={value}" for name, value in (("platform", options.platform), ("source", options.source)) if value]
    return (options.file or "", options.python or "", options.accelerator, *further)


def _ready(root: Path, files: FolderFiles, config: ProjectConfig, variants: tuple[Variant, ...]) -> Ready:
    environments = {api: variant.environment for variant in variants for api in variant.apis}
    return Ready(root=root, files=files, config=config, environments=environments, variants=variants)


def remember(options: Options, project: Project, installed: tuple[Installed, ...]) -> Ready:
    """Leave a record of what was read and what it led to, so that the next run can see at a glance that nothing changed."""
    from lading.environments.stamp import save

    variants = tuple(_variant_of(one) for one in installed)
    project.files.inputs.add_program(installed[0].locked.planned.interpreter.path)
    for one in installed:
        for package in one.locked.lock.packages:
            if "directory" in package:
                project.files.inputs.add_tree(str(project.root / package["directory"]["path"]))
    note = "\n".join("\t".join([variant.name, variant.lock, *variant.apis]) for variant in variants)
    paths = {variant.name: variant.environment.path for variant in variants}
    if not any(one.locked.planned.stale for one in installed if one.locked.lock is one.locked.planned.existing):
        # A stale lock that --frozen took as it is must not count as fresh for a run without it.
        named = _CONDA_VARIABLES if any(one.locked.lock.conda for one in installed) else ()
        save(str(project.root), identity(options), project.files.inputs, paths, environ=options.environ, variables=named, note=note)
    return _ready(project.root, project.files, project.config, variants)


def _variant_of(installed: Installed) -> Variant:
    made = installed.locked.planned.plan
    return Variant(
        name=made.variant,
        lock=made.lock_path,
        apis=tuple(api.name for api in made.apis),
        environment=installed.environment,
        changed=installed.locked.changed,
    )


def describe_service(ready: Ready, *, host: str = "127.0.0.1", port: int = 5000, **limits: object) -> ServiceSpec:
    """What to serve: each API with the environment it runs in, its signature and its schema, read without importing the model.

    ``limits`` are fields of `ServiceSpec` (``setup_timeout``, ``predict_timeout``, in seconds, ...); None leaves the usual value.
    """
    from lading.model.service import ServiceSpec

    later = ("BatchAPI", "TaskAPI")
    served = tuple(_served_api(ready, api, ready.environments[api.name]) for api in ready.config.apis)
    spec = ServiceSpec(
        kind=ready.config.kind,
        title=ready.root.name,
        apis=tuple(api for api in served if api.worker.cortex.get("kind") not in later),
        job_apis=tuple(api for api in served if api.worker.cortex.get("kind") in later),
        splitters=ready.config.splitters,
        jobs_folder=str(jobs_folder(ready.root, os.environ)),
        training=describe_training(ready),
        host=host,
        port=port,
    )
    return replace(spec, **{name: value for name, value in limits.items() if value is not None})  # type: ignore[arg-type] # by contract


def jobs_folder(root: Path, environ: Mapping[str, str]) -> Path:
    """Where the jobs of a project are kept: ``LADING_JOBS``, else a folder of the store with a name made of the project's."""
    from lading.environments.home import home
    from lading.model.files import content_hash

    named = environ.get("LADING_JOBS")
    return Path(named) if named else Path(home(environ)) / "jobs" / content_hash(str(root).encode())[:16]


def describe_training(ready: Ready) -> ServedApi | None:
    """What ``train`` of the configuration names, with the environment that it runs in; None if it names nothing."""
    train = ready.config.train
    return None if train is None else _served_api(ready, train, ready.variants[0].environment, training=True)


def _served_api(ready: Ready, api: Api, environment: Environment, *, training: bool = False) -> ServedApi:
    from lading.environments.activation import activation
    from lading.model.project import Style
    from lading.model.service import ServedApi, WorkerSpec

    activated = activation(environment.path, os.environ)
    signature = openapi = None
    if api.style is Style.COG:
        from lading.schema.openapi import make_openapi
        from lading.schema.static import PREDICT, TRAIN, read_signature

        methods = TRAIN if training else PREDICT
        signature = read_signature(ready.files, api.file, api.object, python_path=api.python_path, methods=methods).as_json()
        openapi = make_openapi(signature, ready.root.name, _OPENAPI_VERSION)
    worker = WorkerSpec(
        python=environment.python,
        root=str(ready.root),
        style=str(api.style),
        file=api.file,
        object=api.object,
        config=api.config,
        env={**activated.variables, **dict(api.env)},
        unset=activated.removed,
        python_path=api.python_path,
        signature=signature,
        log_level=api.log_level,
        threads=api.threads,
        cortex=api.cortex.as_json() if api.style is Style.CORTEX else {},
    )
    return ServedApi(name=api.name, worker=worker, endpoint=api.endpoint, processes=api.processes, openapi=openapi)


def with_variables(spec: ServiceSpec, variables: Mapping[str, str]) -> ServiceSpec:
    """The service with variables added to every worker's environment; they win over the configuration's."""
    apis = tuple(with_worker_variables(api, variables) for api in spec.apis)
    later = tuple(with_worker_variables(api, variables) for api in spec.job_apis)
    return replace(spec, apis=apis, job_apis=later, training=with_worker_variables(spec.training, variables) if spec.training else None)


def with_worker_variables(api: ServedApi, variables: Mapping[str, str]) -> ServedApi:
    """One API with variables added to its workers' environment."""
    return replace(api, worker=replace(api.worker, env={**api.worker.env, **variables}))


def openapi(project: Project) -> Mapping[str, object]:
    """The project's OpenAPI document, without an environment and without importing the model.

    Raises:
        LadingError: if a signature cannot be read.
    """
    from lading.model.project import Style
    from lading.schema.openapi import make_cortex_openapi, make_openapi
    from lading.schema.static import read_signature

    apis = project.config.apis
    if not apis or apis[0].style is Style.CORTEX:
        made = make_cortex_openapi([(api.name, api.endpoint or f"/{api.name}") for api in apis])
    else:
        signature = read_signature(project.files, apis[0].file, apis[0].object, python_path=apis[0].python_path)
        made = make_openapi(signature.as_json(), project.root.name, _OPENAPI_VERSION)
    train = project.config.train
    if train is None:
        return made
    from lading.schema.static import TRAIN
    from lading.schema.training import add_training

    return add_training(made, read_signature(project.files, train.file, train.object, methods=TRAIN).as_json())
