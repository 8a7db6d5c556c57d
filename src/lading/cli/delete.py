"""``lading delete API [JOB]``: stop serving an API until the server starts again, or stop a job; with ``--to``: of a deployment."""

from __future__ import annotations

import argparse

from lading.cli.deployments import add_place, meant, names_deployment
from lading.cli.options import add_json
from lading.cli.output import Output
from lading.cli.server import add_server, connect


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """See `lading.cli.run.Verb`."""
    parser.add_argument("api", nargs="?", metavar="API", help="the API; of a deployment, all of it without one")
    parser.add_argument("job", nargs="?", metavar="JOB", help="stop this job instead")
    add_server(parser)
    add_place(parser, running=True)
    add_json(parser)


def run(arguments: argparse.Namespace, output: Output) -> int:
    """See `lading.cli.run.Verb`."""
    if names_deployment(arguments):
        return _delete_deployment(arguments, output)
    client = connect(arguments)
    done = client.stop_job(arguments.api, arguments.job) if arguments.job else client.delete_api(arguments.api)
    output.json(done) if output.as_json else output.say(done["message"])
    return 0


def _delete_deployment(arguments: argparse.Namespace, output: Output) -> int:
    import os
    from pathlib import Path

    from lading.deploy.records import forget

    engine, known = meant(arguments)
    engine.delete(known.name, arguments.api, output.reporter)
    if arguments.api is None:
        forget(Path(arguments.directory or "."), known, os.environ)
    deleted = arguments.api or known.name
    output.json({"deleted": deleted}) if output.as_json else output.say(f"deleted {deleted}")
    return 0
