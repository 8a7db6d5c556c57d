"""``lading delete API [JOB]``: stop serving an API until the server starts again, or stop a job."""

from __future__ import annotations

import argparse

from lading.cli.options import add_json
from lading.cli.output import Output
from lading.cli.server import add_server, connect


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """See `lading.cli.run.Verb`."""
    parser.add_argument("api", metavar="API", help="the API")
    parser.add_argument("job", nargs="?", metavar="JOB", help="stop this job instead")
    add_server(parser)
    add_json(parser)


def run(arguments: argparse.Namespace, output: Output) -> int:
    """See `lading.cli.run.Verb`."""
    client = connect(arguments)
    done = client.stop_job(arguments.api, arguments.job) if arguments.job else client.delete_api(arguments.api)
    output.json(done) if output.as_json else output.say(done["message"])
    return 0
