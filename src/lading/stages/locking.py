"""From a plan to a lock: the one on disk where it holds, else a new one, written whole or not at all."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from lading.model.events import Reporter
from lading.model.origin import Origin
from lading.model.problems import ExitCode, LadingError, Problem
from lading.model.records import replace
from lading.stages.planning import as_reached, ask_indexes, context_of, machine_facts, plan_one, supports_of
from lading.stages.values import Locked, Options, Planned, Project

if TYPE_CHECKING:
    from lading.frameworks import Choice
    from lading.model.decisions import Decision
    from lading.model.lock import Lock
    from lading.model.plan import Plan
    from lading.model.requirements import Declared
    from lading.model.target import Interpreter
    from lading.planner.undeclared import Imports
    from lading.resolvers.conda_pip import Resolving
    from lading.resolvers.uv import ResolveOptions


def lock_one(planned: Planned, project: Project, options: Options, reporter: Reporter) -> Locked:
    """The lock on disk if it holds, else one that is resolved and written.

    Raises:
        LadingError: if resolving fails, or the lock is stale and must not be changed.
    """
    existing = planned.existing
    as_of = _as_of(planned, project, options)
    planned = _with_day(planned, as_of)
    _must_be_same_source(planned, options)
    if existing is not None and (options.frozen or (not planned.stale and not options.upgrade)):
        from lading.locks.lockfile import write

        return Locked(planned=planned, lock=existing, text=write(existing), before=existing)
    if options.locked or options.frozen:
        raise LadingError(_lock_problem(planned))
    made = _resolve(planned, project, options, as_of, reporter)
    from lading.locks.lockfile import write

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
    imports = cache(lambda: _known_imports(planned.plan, project))
    how = ResolveOptions(offline=options.offline, previous=previous, upgrade=options.upgrade, as_of=as_of, meanwhile=imports)

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
    from lading.locks.mirrors import mirrored
    from lading.planner.indexes import environment_places
    from lading.planner.undeclared import undeclared

    mirrors = mirrored(made, environment_places(options.environ), plan_.options)
    missing = undeclared(imports(), plan_, made, project.config.run)
    decisions = (*name_locked_versions(plan_, made), *([_day_decision(as_of, options)] if as_of else []), *found, *mirrors, *missing)
    sources = {source.path: source.sha256 for source in plan_.sources if source.sha256}
    target = replace(plan_.target, python=made.conda.python) if made.conda else plan_.target
    return replace(made, fingerprint=plan_.fingerprint, decisions=decisions, sources=sources, source=plan_.source, target=target.as_json())


def _known_imports(plan: Plan, project: Project) -> Imports:
    from lading.planner.undeclared import known_imports

    return known_imports(plan.apis, project.files)


def _with_pythons(error: LadingError, plan: Plan, project: Project, options: Options) -> LadingError:
    """Where the Python is to blame: the same failure, with the lines that are not for it, and a Python that would do."""
    from lading.planner.fitting import OF_PYTHON, advised

    if not any(problem.rule in OF_PYTHON for problem in error.problems):
        return error
    supports = supports_of(plan.requirements, plan.options, plan.bound, platform=plan.target.platform, project=project, options=options)
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
        return as_reached(plan_one(project, chosen, options, reporter, version).plan, project, options)

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


def _build_of(declared: Declared, planned: Planned, project: Project, options: Options) -> Choice:
    """The build of one requirement that turned up while resolving."""
    from lading.frameworks import choose_builds

    chosen = next(one for one in project.chosen if one.apis == planned.plan.apis)
    known = machine_facts(options, planned.plan.target.accelerator, (declared,))
    context = context_of(project, chosen, planned.plan.target, known, options)
    return choose_builds((declared,), replace(context, offers=ask_indexes((declared,), context, project, options)))


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
    from lading.locks.writing import write_lock_file

    try:
        write_lock_file(path, text.encode())
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
