"""``lading scale [API] N``: how many replicas of an API a deployment runs."""

from __future__ import annotations

import argparse

from lading.cli.deployments import add_place, meant, show
from lading.cli.options import add_json
from lading.cli.output import Output
from lading.cli.values import count_from
from lading.model.problems import LadingError, Problem


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """See `lading.cli.run.Verb`."""
    parser.add_argument("api", nargs="?", metavar="API", help="the API, where the deployment has several")
    parser.add_argument("replicas", type=count_from(0), metavar="N", help="how many")
    add_place(parser)
    add_json(parser)


def run(arguments: argparse.Namespace, output: Output) -> int:
    """See `lading.cli.run.Verb`."""
    engine, known = meant(arguments)
    api = arguments.api
    if api is None:
        names = [one.name for one in engine.status(known.name).apis]
        if len(names) > 1:
            what = f"{known.name} has several APIs: {', '.join(names)}."
            raise LadingError(Problem(rule="usage", what=what, instead=f"Write `lading scale {names[0]} {arguments.replicas}`."))
        api = names[0] if names else known.name
    show(engine.scale(known.name, api, arguments.replicas, output.reporter), output)
    return 0
