"""``lading refresh API``: start an API's workers anew, without a gap."""

from __future__ import annotations

import argparse

from lading.cli.options import add_json
from lading.cli.output import Output
from lading.cli.server import add_server, connect


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """See `lading.cli.run.Verb`."""
    parser.add_argument("api", metavar="API", help="the API")
    add_server(parser)
    add_json(parser)


def run(arguments: argparse.Namespace, output: Output) -> int:
    """See `lading.cli.run.Verb`."""
    done = connect(arguments).refresh(arguments.api)
    output.json(done) if output.as_json else output.say(done["message"])
    return 0
