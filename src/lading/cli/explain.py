"""``lading explain NAME``: every decision about one package."""

from __future__ import annotations

import argparse

from lading import pipeline
from lading.cli.options import add_json, pipeline_options
from lading.cli.output import Output
from lading.cli.report import plan_project
from lading.explain.package import explain_package, render_explanation
from lading.model.names import canonical
from lading.model.problems import LadingError, Problem


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """See `lading.cli.run.Verb`."""
    parser.add_argument("name", metavar="NAME", help="a package, or `python`")
    parser.add_argument("project", nargs="?", metavar="PROJECT", help="a folder, a configuration file, or file.py:Name (default: here)")
    add_json(parser)


def run(arguments: argparse.Namespace, output: Output) -> int:
    """See `lading.cli.run.Verb`."""
    options = pipeline_options(arguments, arguments.project)
    _, planned = plan_project(options)
    name = canonical(arguments.name)
    found = [explain_package(name, one.plan, one.existing) for one in planned]
    known = [one for one in found if one is not None]
    if not known:
        raise LadingError(_unknown(arguments.name, planned))
    if output.as_json:
        output.json({"name": name, "explanations": [one.as_json() for one in known]})
        return 0
    output.data("\n\n".join(render_explanation(one, output.out_style) for one in known))
    return 0


def _unknown(name: str, planned: tuple[pipeline.Planned, ...]) -> Problem:
    from difflib import get_close_matches

    unlocked = any(one.existing is None for one in planned)
    known = {declared.name for one in planned for declared in one.plan.requirements if declared.name}
    known |= {str(package["name"]) for one in planned if one.existing for package in one.existing.packages}
    near = get_close_matches(canonical(name), sorted(known), n=1)
    if near:
        return Problem(rule="package-unknown", what=f"Nothing here declares or locks {name}.", instead=f"Did you mean {near[0]}?")
    return Problem(
        rule="package-unknown",
        what=f"Nothing here declares or locks {name}.",
        why="There is no lock yet, so packages that others bring are not known." if unlocked else None,
        instead="Run `lading lock` first." if unlocked else "`lading plan` lists what is declared.",
    )
