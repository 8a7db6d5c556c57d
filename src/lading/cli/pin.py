"""``lading pin``: write the locked versions into the lines that declare ranges, keeping comments, order and markers."""

from __future__ import annotations

import argparse

from lading import pipeline
from lading.cli.changes import add_consent, write_changes
from lading.cli.ending import ending_orderly
from lading.cli.options import add_json, add_project, pipeline_options
from lading.cli.output import Output
from lading.cli.report import report_locked
from lading.edits.changes import Overlay
from lading.edits.floating import Pin, pins
from lading.edits.pinning import Pinning, only_pinned, write_pins
from lading.model.problems import LadingError, Problem
from lading.planner.find import find_config
from lading.planner.sources import choose_sources


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """See `lading.cli.run.Verb`."""
    add_project(parser)
    add_json(parser)
    add_consent(parser)


def run(arguments: argparse.Namespace, output: Output) -> int:
    """See `lading.cli.run.Verb`."""
    options = pipeline_options(arguments, arguments.project)
    with ending_orderly():
        project, locked = _lock(options, output)
        pinning = _pinning(project, locked, options)
        for pin in pinning.left:
            output.say(f"{pin.declared.origin}: {pin.declared.pep508} stays: {pin.because}.")
        written = False
        if pinning.changes:
            written = write_changes(pinning.changes, project.root, output, yes=arguments.yes, dry_run=arguments.dry_run)
        elif not pinning.left:
            output.say("Every requirement has an exact version already.")
        if written:
            # The lock says the same versions; it is renewed so that it is for the lines as they are now.
            report_locked(_lock(options, output)[1], output)
    if output.as_json:
        output.json(_record(pinning, written=written))
    return 0


def _lock(options: pipeline.Options, output: Output) -> tuple[pipeline.Project, tuple[pipeline.Locked, ...]]:
    project = pipeline.read(options, output.reporter)
    return project, pipeline.lock(pipeline.plan(project, options, output.reporter), project, options, output.reporter)


def _pinning(project: pipeline.Project, locked: tuple[pipeline.Locked, ...], options: pipeline.Options) -> Pinning:
    found: list[Pin] = []
    for chosen, one in zip(project.chosen, locked, strict=True):
        found += pins(chosen.declaration.requirements if chosen.declaration else (), one.planned.plan, one.lock)
    pinning = write_pins(found, project.files, project.config.path)
    _prove(pinning, project, options)
    return pinning


def _prove(pinning: Pinning, project: pipeline.Project, options: pipeline.Options) -> None:
    """Read the changed files as the next run would, before anything is written.

    Raises:
        LadingError: if they would say anything else than before, but for the versions.
    """
    files = Overlay(project.files, pinning.changes)
    config = find_config(files, options.file, options.environ)
    after = choose_sources(config, files, options.environ, named=options.source, selection=options.selection)
    for old, new in zip(project.chosen, after, strict=True):
        before = old.declaration.requirements if old.declaration else ()
        if not only_pinned(before, new.declaration.requirements if new.declaration else (), pinning.written):
            raise LadingError(_unsafe(pinning))


def _unsafe(pinning: Pinning) -> Problem:
    first = pinning.written[0].declared
    return Problem(
        rule="pin-unsafe",
        what="The versions cannot be written without changing what the files mean. Nothing was written.",
        origin=first.origin,
        why="The changed files were read again, and declare something else than before.",
        instead=f"Write the pins by hand: {', '.join(f'{pin.declared.name}=={pin.version}' for pin in pinning.written)}.",
    )


def _record(pinning: Pinning, *, written: bool) -> dict[str, object]:
    return {
        "written": written,
        "files": [change.path for change in pinning.changes],
        "pins": [
            {"name": pin.declared.name, "version": pin.version, "origin": str(pin.declared.origin), "before": pin.declared.pep508}
            for pin in pinning.written
        ],
        "left": [{"requirement": pin.declared.pep508, "origin": str(pin.declared.origin), "because": pin.because} for pin in pinning.left],
    }
