"""``lading serve``: from the folder to predictions over HTTP."""

from __future__ import annotations

import argparse
import math
import os

from lading import pipeline
from lading.cli.install import prepare
from lading.cli.options import add_json, add_project, pipeline_options
from lading.cli.output import Output
from lading.model.origin import Origin
from lading.model.problems import LadingError, Problem

DEFAULT_PORT = 5000


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """See `lading.cli.run.Verb`."""
    add_project(parser)
    add_json(parser)
    parser.add_argument("-p", "--port", type=int, help=f"the port (default: PORT, else {DEFAULT_PORT}); 0 takes a free one")
    parser.add_argument("--host", default="127.0.0.1", help="the address to listen on (default: 127.0.0.1)")
    add_timeouts(parser)
    add_environment(parser)


def add_timeouts(parser: argparse.ArgumentParser) -> None:
    """Limits on the model's time."""
    parser.add_argument("--setup-timeout", type=_seconds, metavar="SECONDS", help="give up when setup takes longer")
    parser.add_argument("--timeout", type=_seconds, metavar="SECONDS", help="stop a prediction that takes longer")


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 < seconds < math.inf:
        raise argparse.ArgumentTypeError(f'"{text}" is no number of seconds above 0')
    return seconds


def add_environment(parser: argparse.ArgumentParser) -> None:
    """Variables for the model's process."""
    parser.add_argument("-e", "--env", action="append", default=[], metavar="NAME=VALUE", help="set a variable for the model")


def run(arguments: argparse.Namespace, output: Output) -> int:
    """See `lading.cli.run.Verb`."""
    port = _port(arguments)
    options = pipeline_options(arguments, arguments.project)
    ready = prepare(options, output)
    if not ready.config.apis:
        raise LadingError(no_predictor(ready.config.path))
    spec = pipeline.describe_service(
        ready,
        host=arguments.host,
        port=port,
        setup_timeout=arguments.setup_timeout,
        predict_timeout=arguments.timeout,
    )
    spec = pipeline.with_variables(spec, variables(arguments.env))
    from lading.environments.claims import hold
    from lading.service.server import serve

    with hold(*ready.environments.values()):
        return serve(spec, output.reporter)


def no_predictor(path: str | None) -> Problem:
    """A configuration that names nothing to serve: enough for `lading exec`, and for nothing else."""
    return Problem(
        rule="no-predictor",
        what=f"{path or 'The project'} names no predictor.",
        origin=Origin(path) if path else None,
        instead="Write, for example: predict: predict.py:Predictor",
    )


def _port(arguments: argparse.Namespace) -> int:
    if arguments.port is not None:
        port, origin = int(arguments.port), "-p"
    else:
        text, origin = os.environ.get("PORT") or str(DEFAULT_PORT), "PORT"
        port = int(text) if text.isascii() and text.isdigit() and len(text) < 6 else -1
    if not 0 <= port <= 65535:
        raise LadingError(
            Problem(rule="usage", what="The port is not a number from 0 to 65535.", origin=Origin(origin), instead="Write -p 5000.")
        )
    return port


def variables(pairs: list[str]) -> dict[str, str]:
    """``-e NAME=VALUE`` pairs; ``-e NAME`` takes the value from the current environment.

    Raises:
        LadingError: for a pair without a name, or a variable that is not set.
    """
    values = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not name or (not equals and name not in os.environ):
            what = f"The variable {name} is not set here." if name else f'"{pair}" has no name.'
            raise LadingError(Problem(rule="usage", what=what, origin=Origin("-e"), instead="Write -e NAME=VALUE."))
        values[name] = value if equals else os.environ[name]
    return values
