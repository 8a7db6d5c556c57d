"""``lading install``: the locked environment, in the store."""

from __future__ import annotations

import argparse

from lading import pipeline
from lading.cli.fast import remember
from lading.cli.options import add_json, add_project, pipeline_options
from lading.cli.output import Output
from lading.cli.report import report_locked


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """See `lading.cli.run.Verb`."""
    add_project(parser)
    add_json(parser)


def run(arguments: argparse.Namespace, output: Output) -> int:
    """See `lading.cli.run.Verb`."""
    options = pipeline_options(arguments, arguments.project)
    _project, installed = prepare(options, output)
    if output.as_json:
        output.json({"environments": [_record(one) for one in installed]})
    else:
        for one in installed:
            output.data(one.environment.path)
    return 0


def prepare(options: pipeline.Options, output: Output) -> tuple[pipeline.Project, tuple[pipeline.Installed, ...]]:
    """Read, plan, lock and install, telling the user on the way; remembers that it was done."""
    project = pipeline.read(options, output.reporter)
    planned = pipeline.plan(project, options, output.reporter)
    locked = pipeline.lock(planned, project, options, output.reporter)
    report_locked(locked, output)
    installed = pipeline.install(locked, project, options, output.reporter)
    remember(options, project, installed)
    return project, installed


def _record(installed: pipeline.Installed) -> dict[str, object]:
    return {
        "variant": installed.locked.planned.plan.variant,
        "lock": installed.locked.planned.plan.lock_path,
        "lock_changed": installed.locked.changed,
        **installed.environment.as_json(),
    }
