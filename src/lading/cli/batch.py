"""``lading batch submit|status|stop``: jobs of a running server."""

from __future__ import annotations

import argparse

from lading.cli.get import watch_job
from lading.cli.options import add_json
from lading.cli.output import Output
from lading.cli.server import add_server, connect, read_input
from lading.model.problems import LadingError, Problem


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """See `lading.cli.run.Verb`."""
    parser.add_argument("action", choices=("submit", "status", "stop"), help="start a job, look at one, stop one")
    parser.add_argument("api", metavar="API", help="the BatchAPI or TaskAPI")
    parser.add_argument("what", nargs="?", metavar="FILE|JOB", help="submit: the submission as JSON, - for standard input; else the job")
    parser.add_argument("--dry-run", action="store_true", help="submit: only list the files that would be worked off")
    parser.add_argument("-w", "--watch", action="store_true", help="show the progress until the job is over")
    add_server(parser)
    add_json(parser)


def run(arguments: argparse.Namespace, output: Output) -> int:
    """See `lading.cli.run.Verb`."""
    client = connect(arguments)
    if arguments.action == "submit":
        body = read_input(arguments.what) if arguments.what else b"{}"
        answer = client.submit_body(arguments.api, body, dry_run=arguments.dry_run)
        if arguments.dry_run:
            output.data(str(answer).rstrip())
            return 0
        if arguments.watch:
            output.say(f"job {answer['job_id']}")
            return watch_job(client, arguments.api, answer["job_id"], output, watch=True)
        output.json(answer) if output.as_json else output.data(answer["job_id"])
        return 0
    if arguments.what is None:
        raise LadingError(Problem(rule="usage", what="No job is named.", instead=f"`lading get {arguments.api}` lists them."))
    if arguments.action == "stop":
        output.say(client.stop_job(arguments.api, arguments.what)["message"])
        return 0
    return watch_job(client, arguments.api, arguments.what, output, watch=arguments.watch)
