"""``lading install``: the locked environment, in the store."""

from __future__ import annotations

import argparse

from lading import pipeline
from lading.cli.ending import ending_orderly
from lading.cli.options import add_json, add_project, pipeline_options
from lading.cli.output import Output
from lading.cli.report import report_locked, system_packages_text
from lading.cli.scripts import Scripts, inside, policy, settle_scripts
from lading.environments.system_packages import check as check_system_packages
from lading.model.plan import Plan
from lading.model.scripts import When


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """See `lading.cli.run.Verb`."""
    add_project(parser)
    add_json(parser)
    parser.add_argument(
        "--allow-scripts",
        action="store_true",
        help="run the project's dependencies.sh and postBuild, each once (`lading plan` shows them), and the post-link scripts of conda packages",
    )


def run(arguments: argparse.Namespace, output: Output) -> int:
    """See `lading.cli.run.Verb`."""
    scripts = Scripts.RUN if arguments.allow_scripts else Scripts.ASK
    ready = prepare(pipeline_options(arguments, arguments.project), output, scripts=scripts)
    if output.as_json:
        output.json({"environments": [_record(variant) for variant in ready.variants]})
    else:
        for variant in ready.variants:
            output.data(variant.environment.path)
    return 0


def prepare(options: pipeline.Options, output: Output, *, scripts: Scripts = Scripts.TELL) -> pipeline.Ready:
    """Make sure of the project's environments, telling the user on the way; does nothing where nothing changed.

    ``scripts`` says what to do about the project's install scripts.
    """
    ready = None if scripts is Scripts.RUN else pipeline.unchanged(options)
    if ready is not None:
        return ready
    with ending_orderly():
        project = pipeline.read(options, output.reporter)
        planned = pipeline.plan(project, options, output.reporter)
        locked = pipeline.lock(planned, project, options, output.reporter)
        report_locked(locked, output)
        plans = [one.plan for one in planned]
        _tell_missing(plans, output)
        settle_scripts(plans, When.BEFORE, scripts, output, root=project.root, environ=options.environ)
        installed = pipeline.install(locked, project, options, output.reporter, scripts=policy(scripts, output))
        for one in installed:
            variables = inside(options.environ, one.environment.path)
            settle_scripts([one.locked.planned.plan], When.AFTER, scripts, output, root=project.root, environ=variables)
    return pipeline.remember(options, project, installed)


def _tell_missing(plans: list[Plan], output: Output) -> None:
    wanted = tuple(dict.fromkeys(package for plan in plans for package in plan.system_packages))
    if wanted and (text := system_packages_text(check_system_packages(wanted))):
        output.say(text)


def _record(variant: pipeline.Variant) -> dict[str, object]:
    return {
        "variant": variant.name,
        "apis": list(variant.apis),
        "lock": variant.lock,
        "lock_changed": variant.changed,
        **variant.environment.as_json(),
    }
