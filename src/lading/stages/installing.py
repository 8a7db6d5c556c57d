"""From locks to environments in the store, and the record that lets the next run see at a glance that nothing changed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from lading.model.events import Reporter
from lading.model.origin import Origin
from lading.model.problems import LadingError, Problem
from lading.stages.values import Installed, Locked, Options, Project, Ready, Variant

if TYPE_CHECKING:
    from lading.environments.folder import FolderFiles
    from lading.environments.scripts import Policy
    from lading.model.environment import Environment
    from lading.model.lock import Lock
    from lading.model.plan import Plan
    from lading.model.project import ProjectConfig
    from lading.model.target import Interpreter

_CONDA_VARIABLES = (
    *("CONDARC", "HOME", "XDG_CONFIG_HOME", "RATTLER_AUTH_FILE"),
    *("CONDA_OVERRIDE_CUDA", "CONDA_OVERRIDE_GLIBC", "CONDA_OVERRIDE_LINUX", "CONDA_OVERRIDE_OSX"),
)
"""Variables that lead to other conda packages."""


def make_environment(
    locked: Locked, interpreter: Interpreter, with_indexes: Plan, root: Path, *, offline: bool, reporter: Reporter, scripts: Policy | None
) -> Environment:
    """The environment in the store; the project's own package is editable in it, where its build can do that."""
    from lading.environments import ahead
    from lading.environments.store import create_environment
    from lading.locks.lockfile import write
    from lading.locks.serving import editable_project

    def create(lock: Lock, text: str) -> Environment:
        return create_environment(
            lock, text, interpreter, root, plan=with_indexes, reporter=reporter, offline=offline, ahead=ahead.begun, scripts=scripts
        )

    editable = editable_project(locked.lock)
    if editable is not None:
        try:
            return create(editable, write(editable))
        except LadingError as error:
            if not any("editable" in f"{problem.detail} {problem.why}" for problem in error.problems):
                raise
    return create(locked.lock, locked.text)


def must_run_here(locked: Locked, options: Options) -> None:
    """Refuse to install what was locked for another kind of machine.

    Raises:
        LadingError: if the platform that the user named is not this machine's.
    """
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
    parts = [f"extra={name}" for name in options.selection.extra_names] + [f"group={name}" for name in options.selection.group_names]
    return (options.file or "", options.python or "", options.accelerator, *further, *parts)


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
