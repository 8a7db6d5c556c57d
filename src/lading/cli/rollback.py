"""``lading rollback``: back to what was deployed before."""

from __future__ import annotations

import argparse

from lading.cli.deployments import add_place, meant, show
from lading.cli.options import add_json
from lading.cli.output import Output

_SECONDS = 600.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """See `lading.cli.run.Verb`."""
    parser.add_argument("--revision", type=int, metavar="N", help="the revision, as `lading status` shows it (default: the one before)")
    parser.add_argument("--timeout", type=float, default=_SECONDS, metavar="SECONDS", help="how long it may take (default: 600)")
    add_place(parser)
    add_json(parser)


def run(arguments: argparse.Namespace, output: Output) -> int:
    """See `lading.cli.run.Verb`."""
    engine, known = meant(arguments)
    revision = engine.rollback(known.name, arguments.revision, output.reporter)
    show(engine.wait(revision, output.reporter, arguments.timeout), output)
    return 0
