"""``lading plan``: what was found, used, ignored and why; every decision; changes nothing."""

from __future__ import annotations

import argparse

from lading import pipeline
from lading.cli.options import add_json, add_project, pipeline_options
from lading.cli.output import Output
from lading.cli.report import plan_project
from lading.explain.text import render_plan, wrap
from lading.planner.indexes import environment_options


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """See `lading.cli.run.Verb`."""
    add_project(parser)
    add_json(parser)


def run(arguments: argparse.Namespace, output: Output) -> int:
    """See `lading.cli.run.Verb`."""
    options = pipeline_options(arguments, arguments.project)
    planned = plan_project(options)
    machine = environment_options(options.environ)
    if output.as_json:
        output.json({"plans": [{**one.plan.as_json(), "lock_state": _state(one)} for one in planned]})
        return 0
    for number, one in enumerate(planned):
        if number:
            output.data("")
        output.data(render_plan(one.plan, output.out_style, interpreter=one.interpreter, machine=machine))
        output.data("")
        output.data(wrap(f"{one.plan.lock_path}: {_state_text(one)}", output.out_style))
    return 0


def _state(planned: pipeline.Planned) -> dict[str, object]:
    if planned.existing is None:
        return {"state": "missing"}
    return {"state": "stale", "because": list(planned.stale)} if planned.stale else {"state": "fresh"}


def _state_text(planned: pipeline.Planned) -> str:
    if planned.existing is None:
        return "not made yet; `lading lock` makes it"
    return "out of date: " + "; ".join(planned.stale) if planned.stale else "up to date"
