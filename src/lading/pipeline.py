"""The table of contents: what each verb does, stage by stage.

::

    read -> plan -> lock -> install -> serve | predict | exec

Each function takes what the one before it returned. `read` and `plan` change nothing; `lock` writes one file beside the project's
configuration; `install` adds an environment to the store. How each stage works is in its module of `lading.stages`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lading.model.events import Event, Phase, Reporter, silent
from lading.model.problems import Problem, ProblemCollector
from lading.model.records import replace
from lading.stages.installing import identity, make_environment, must_run_here, remember, unchanged
from lading.stages.locking import lock_one
from lading.stages.planning import as_reached, builds, plan_one, read_lock
from lading.stages.serving import (
    deciding_files,
    describe_service,
    describe_training,
    jobs_folder,
    openapi,
    used_files,
    with_variables,
    with_worker_variables,
    without_secrets,
)
from lading.stages.values import Installed, Locked, Options, Planned, Project, Ready, Variant

if TYPE_CHECKING:
    from lading.environments.folder import FolderFiles
    from lading.environments.scripts import Policy
    from lading.model.project import ProjectConfig
    from lading.planner.sources import Chosen

__all__ = [
    "Installed",
    "Locked",
    "Options",
    "Planned",
    "Project",
    "Ready",
    "Variant",
    "as_reached",
    "builds",
    "check",
    "deciding_files",
    "describe_service",
    "describe_training",
    "identity",
    "install",
    "jobs_folder",
    "lock",
    "openapi",
    "plan",
    "read",
    "read_lock",
    "remember",
    "unchanged",
    "used_files",
    "with_variables",
    "with_worker_variables",
    "without_secrets",
]


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
        chosen = choose_sources(config, files, options.environ, named=options.source, strict=options.strict, selection=options.selection)
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
    planned = tuple(plan_one(project, chosen, options, reporter) for chosen in project.chosen)
    reporter(Event(step="Choosing builds", phase=Phase.FINISHED))
    return planned


def lock(planned: tuple[Planned, ...], project: Project, options: Options, reporter: Reporter = silent) -> tuple[Locked, ...]:
    """Use the lock if it holds, else resolve and write it.

    Raises:
        LadingError: if resolving fails, or the lock is stale and must not be changed.
    """
    problems = ProblemCollector()
    locked = []
    for one in planned:
        with problems.catching():
            locked.append(lock_one(one, project, options, reporter))
    problems.raise_if_any()
    return tuple(locked)


def install(
    locked: tuple[Locked, ...], project: Project, options: Options, reporter: Reporter = silent, *, scripts: Policy | None = None
) -> tuple[Installed, ...]:
    """Make sure that every environment is in the store.

    ``scripts`` is what is done about the scripts that conda packages bring; by default those run that were allowed before.

    Raises:
        LadingError: if an environment cannot be built; the store is then as it was.
    """
    installed = []
    for one in locked:
        must_run_here(one, options)
        interpreter = one.planned.interpreter
        if one.lock.conda is not None:
            interpreter = replace(interpreter, version=one.lock.conda.python)
        with_indexes = as_reached(one.planned.plan, project, options)
        environment = make_environment(
            one, interpreter, with_indexes, project.root, offline=options.offline, reporter=reporter, scripts=scripts
        )
        installed.append(Installed(locked=one, environment=environment))
    return tuple(installed)
