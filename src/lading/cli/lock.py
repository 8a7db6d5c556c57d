"""``lading lock``: resolve into the lock file, and say what changed."""

from __future__ import annotations

import argparse
from dataclasses import replace

from lading import pipeline
from lading.cli.install import ending_orderly
from lading.cli.options import add_json, add_project, pipeline_options
from lading.cli.output import Output
from lading.cli.report import report_locked


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """See `lading.cli.run.Verb`."""
    add_project(parser)
    add_json(parser)
    parser.add_argument("--upgrade", action="store_true", help="choose the newest versions again, not those of the existing lock")
    parser.add_argument("--check", action="store_true", help="the same as --locked: only check, change nothing")


def run(arguments: argparse.Namespace, output: Output) -> int:
    """See `lading.cli.run.Verb`."""
    arguments.locked = arguments.locked or arguments.check
    options = pipeline_options(arguments, arguments.project)
    options = replace(options, upgrade=arguments.upgrade)
    with ending_orderly():
        project = pipeline.read(options, output.reporter)
        locked = pipeline.lock(pipeline.plan(project, options, output.reporter), project, options, output.reporter)
    report_locked(locked, output)
    if output.as_json:
        output.json({"locks": [_record(one) for one in locked]})
    return 0


def _record(locked: pipeline.Locked) -> dict[str, object]:
    return {
        "path": locked.planned.plan.lock_path,
        "changed": locked.changed,
        "packages": [{"name": package["name"], "version": package.get("version")} for package in locked.lock.packages],
        "decisions": [decision.as_json() for decision in locked.lock.decisions],
    }
