"""``lading plan``: what was found, used, ignored and why; every decision; changes nothing."""

from __future__ import annotations

import argparse

from lading import pipeline
from lading.cli.options import add_json, add_project, pipeline_options
from lading.cli.output import Output
from lading.cli.report import plan_project, system_packages_text
from lading.environments.system_packages import check as check_system_packages
from lading.explain.builds import render_builds
from lading.explain.text import render_plan, wrap
from lading.frameworks.rows import Row
from lading.planner.indexes import environment_options


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """See `lading.cli.run.Verb`."""
    add_project(parser)
    add_json(parser)


def run(arguments: argparse.Namespace, output: Output) -> int:
    """See `lading.cli.run.Verb`."""
    options = pipeline_options(arguments, arguments.project)
    project, planned = plan_project(options)
    machine = environment_options(options.environ)
    tables = [pipeline.builds(one, project, options) for one in planned]
    if output.as_json:
        output.json({"plans": [_record(one, rows) for one, rows in zip(planned, tables, strict=True)]})
        return 0
    for number, (one, rows) in enumerate(zip(planned, tables, strict=True)):
        if number:
            output.data("")
        if rows:
            output.data(f"{render_builds(rows, output.out_style)}\n")
        output.data(render_plan(one.plan, output.out_style, interpreter=one.interpreter, machine=machine))
        output.data("")
        for text in (*_scripts(one, output), *_system_packages(one, output), *_origins(one, output)):
            output.data(f"{text}\n")
        output.data(wrap(f"{one.plan.lock_path}: {_state_text(one, options)}", output.out_style))
    return 0


def _record(planned: pipeline.Planned, rows: tuple[Row, ...]) -> dict[str, object]:
    record = {**planned.plan.as_json(), "builds": [row.as_json() for row in rows], "lock_state": _state(planned)}
    if planned.plan.system_packages:
        checked = check_system_packages(planned.plan.system_packages)
        record["missing_system_packages"] = None if checked.missing is None else list(checked.missing)
    if planned.existing is not None:
        record["came_from"] = {str(package["name"]): package["index"] for package in planned.existing.packages if "index" in package}
    return record


def _scripts(planned: pipeline.Planned, output: Output) -> list[str]:
    if not planned.plan.scripts:
        return []
    from lading.explain.scripts import render_scripts

    return [render_scripts(planned.plan.scripts, output.out_style)]


def _system_packages(planned: pipeline.Planned, output: Output) -> list[str]:
    """Whether this machine has the system packages, and the one line that installs what it lacks."""
    checked = check_system_packages(planned.plan.system_packages) if planned.plan.system_packages else None
    return [wrap(told, output.out_style, "", "  ")] if checked and (told := system_packages_text(checked)) else []


def _origins(planned: pipeline.Planned, output: Output) -> list[str]:
    """Which index each locked package came from."""
    if planned.existing is None:
        return []
    from lading.explain.origins import render_origins

    return [told] if (told := render_origins(planned.existing, output.out_style)) else []


def _state(planned: pipeline.Planned) -> dict[str, object]:
    if planned.existing is None:
        return {"state": "missing"}
    return {"state": "stale", "because": list(planned.stale)} if planned.stale else {"state": "fresh"}


def _state_text(planned: pipeline.Planned, options: pipeline.Options) -> str:
    if planned.existing is None:
        asked = bool(options.selection or options.platform or options.python or options.accelerator != "auto")
        return f"not made yet; `lading lock`{' with these options' if asked else ''} makes it"
    return "out of date: " + "; ".join(planned.stale) if planned.stale else "up to date"
