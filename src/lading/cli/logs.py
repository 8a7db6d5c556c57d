"""``lading logs API [JOB]``: what a predictor printed, and prints; ``lading logs [API] --to ENGINE``: of a deployment."""

from __future__ import annotations

import argparse
import json

from lading.cli.deployments import add_place, meant, names_deployment
from lading.cli.options import add_json
from lading.cli.output import Output
from lading.cli.server import add_server, connect


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """See `lading.cli.run.Verb`."""
    parser.add_argument("api", nargs="?", metavar="API", help="the API")
    parser.add_argument("job", nargs="?", metavar="JOB", help="one job of it")
    parser.add_argument("--follow", action="store_true", help="go on with what is printed from now on")
    add_server(parser)
    add_place(parser, running=True)
    add_json(parser)


def run(arguments: argparse.Namespace, output: Output) -> int:
    """See `lading.cli.run.Verb`."""
    if names_deployment(arguments):
        engine, known = meant(arguments)
        for line in engine.logs(known.name, arguments.api, follow=arguments.follow):
            output.data(json.dumps({"line": line}) if output.as_json else line)
        return 0
    client = connect(arguments)
    if arguments.job:
        lines = client.stream_job_logs(arguments.api, arguments.job, follow=arguments.follow)
    else:
        lines = client.stream_api_logs(arguments.api, follow=arguments.follow)
    for line in lines:
        output.data(json.dumps({"line": line}) if output.as_json else line)
    return 0
