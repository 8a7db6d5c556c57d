"""``lading lock``: resolve into the lock file, and say what changed."""

from __future__ import annotations

import argparse

from lading import pipeline
from lading.cli.ending import ending_orderly
from lading.cli.options import add_json, add_project, pipeline_options
from lading.cli.output import Output
from lading.cli.report import report_locked
from lading.model.lock import Lock
from lading.model.names import canonical
from lading.model.origin import Origin
from lading.model.problems import LadingError, Problem
from lading.model.records import replace


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """See `lading.cli.run.Verb`."""
    add_project(parser)
    add_json(parser)
    parser.add_argument("--upgrade", action="store_true", help="choose the newest versions again, not those of the existing lock")
    parser.add_argument(
        "--upgrade-package", metavar="NAME", action="append", default=[], help="choose the newest version of this package alone; repeatable"
    )
    parser.add_argument(
        "--as-of", metavar="DATE", help="as of a day (2024-05-01), a moment, the last commit (commit), or today again (none)"
    )
    parser.add_argument("--explicit", action="store_true", help="print conda's packages as an @EXPLICIT list, which conda installs from")
    parser.add_argument("--check", action="store_true", help="the same as --locked: only check, change nothing")


def run(arguments: argparse.Namespace, output: Output) -> int:
    """See `lading.cli.run.Verb`."""
    arguments.locked = arguments.locked or arguments.check
    options = pipeline_options(arguments, arguments.project)
    names = frozenset(canonical(name) for name in arguments.upgrade_package)
    options = replace(options, upgrade=arguments.upgrade or names, as_of=arguments.as_of, relock=not arguments.locked)
    with ending_orderly():
        project = pipeline.read(options, output.reporter)
        planned = pipeline.plan(project, options, output.reporter)
        _must_be_locked(names, planned)
        locked = pipeline.lock(planned, project, options, output.reporter)
    report_locked(locked, output)
    if arguments.explicit:
        return _export(locked, str(options.directory), output)
    if output.as_json:
        output.json({"locks": [_record(one) for one in locked]})
    return 0


def _must_be_locked(names: frozenset[str], planned: tuple[pipeline.Planned, ...]) -> None:
    known = {str(package["name"]) for one in planned if one.existing for package in one.existing.packages}
    known |= {package.name for one in planned if one.existing and one.existing.conda for package in one.existing.conda.packages}
    for name in sorted(names - known):
        from difflib import get_close_matches

        near = get_close_matches(name, known, n=1)
        raise LadingError(
            Problem(
                rule="package-unknown",
                what=f"{name} is not in the lock, so it cannot be upgraded.",
                origin=Origin("--upgrade-package"),
                instead=f"Did you mean {near[0]}?" if near else "`lading diff` and the lock itself name what is in it.",
            )
        )


def _conda_record(lock: Lock) -> dict[str, object]:
    packages = lock.conda.packages if lock.conda else ()
    return (
        {"conda": [{"name": one.name, "version": one.version, "build": one.build, "url": one.url} for one in packages]} if packages else {}
    )


def _export(locked: tuple[pipeline.Locked, ...], root: str, output: Output) -> int:
    """Conda's part as the list that ``conda create --file`` and ``micromamba create --file`` install from."""
    lists = [one.lock.conda.explicit(root) for one in locked if one.lock.conda is not None]
    if not lists:
        raise LadingError(
            Problem(
                rule="usage",
                what="No conda package is locked here.",
                origin=Origin("--explicit"),
                instead="List conda packages in an environment.yml or a conda-packages.txt.",
            )
        )
    output.data("\n".join(lists).rstrip("\n"))
    return 0


def _record(locked: pipeline.Locked) -> dict[str, object]:
    return {
        "path": locked.planned.plan.lock_path,
        "changed": locked.changed,
        "packages": [{"name": package["name"], "version": package.get("version")} for package in locked.lock.packages],
        **_conda_record(locked.lock),
        "decisions": [decision.as_json() for decision in locked.lock.decisions],
    }
