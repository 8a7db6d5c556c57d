"""``lading install``: the locked environment, in the store."""

from __future__ import annotations

import argparse
import signal
from collections.abc import Iterator
from contextlib import contextmanager

from lading import pipeline
from lading.cli.options import add_json, add_project, pipeline_options
from lading.cli.output import Output
from lading.cli.report import report_locked


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """See `lading.cli.run.Verb`."""
    add_project(parser)
    add_json(parser)


def run(arguments: argparse.Namespace, output: Output) -> int:
    """See `lading.cli.run.Verb`."""
    ready = prepare(pipeline_options(arguments, arguments.project), output)
    if output.as_json:
        output.json({"environments": [_record(variant) for variant in ready.variants]})
    else:
        for variant in ready.variants:
            output.data(variant.environment.path)
    return 0


def prepare(options: pipeline.Options, output: Output) -> pipeline.Ready:
    """Make sure of the project's environments, telling the user on the way; does nothing where nothing changed."""
    ready = pipeline.unchanged(options)
    if ready is not None:
        return ready
    with ending_orderly():
        project = pipeline.read(options, output.reporter)
        planned = pipeline.plan(project, options, output.reporter)
        locked = pipeline.lock(planned, project, options, output.reporter)
        report_locked(locked, output)
        installed = pipeline.install(locked, project, options, output.reporter)
    return pipeline.remember(options, project, installed)


@contextmanager
def ending_orderly() -> Iterator[None]:
    """Let a request to end (SIGTERM, or SIGHUP of a closed terminal) undo what was begun, and end uv, as Ctrl-C does."""
    before = {number: signal.signal(number, _end) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _end(number: int, _frame: object) -> None:
    raise SystemExit(128 + number)


def _record(variant: pipeline.Variant) -> dict[str, object]:
    return {
        "variant": variant.name,
        "apis": list(variant.apis),
        "lock": variant.lock,
        "lock_changed": variant.changed,
        **variant.environment.as_json(),
    }
