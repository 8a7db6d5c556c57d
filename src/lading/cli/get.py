"""``lading get [API] [JOB]``: what a running server serves, and how its jobs are."""

from __future__ import annotations

import argparse
import time
from typing import TYPE_CHECKING, Any

from lading.cli.options import add_json
from lading.cli.output import Output
from lading.cli.server import add_server, connect, job_line
from lading.model.problems import ExitCode

if TYPE_CHECKING:
    from lading.client import Client

_POLL_SECONDS = 0.5


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """See `lading.cli.run.Verb`."""
    parser.add_argument("api", nargs="?", metavar="API", help="one API, with its newest jobs")
    parser.add_argument("job", nargs="?", metavar="JOB", help="one job of it")
    parser.add_argument("-w", "--watch", action="store_true", help="show it again when it changes, a job until it is over")
    add_server(parser)
    add_json(parser)


def run(arguments: argparse.Namespace, output: Output) -> int:
    """See `lading.cli.run.Verb`."""
    client = connect(arguments)
    if arguments.job:
        return watch_job(client, arguments.api, arguments.job, output, watch=arguments.watch)
    before = None
    while True:
        found = [client.get_api(arguments.api)] if arguments.api else client.list_apis()
        if found != before:
            _show(found[0] if arguments.api else found, output)
        if not arguments.watch:
            return 0
        before = found
        time.sleep(_POLL_SECONDS)


def _show(found: dict[str, Any] | list[dict[str, Any]], output: Output) -> None:
    if output.as_json:
        output.json(found)
        return
    for one in found if isinstance(found, list) else [found]:
        output.data(f"{one['name']:20}  {one['kind']:15}  {one['status']:14}  {one['endpoint']}")
        for job in one.get("jobs", ()):
            output.data(f"  {job_line(job)}")


def watch_job(client: Client, api: str, job: str, output: Output, *, watch: bool) -> int:
    """Show a job, once or until it is over; the exit status says whether it succeeded."""
    before = None
    while True:
        found = client.get_job(api, job)
        status = found["job_status"]
        over = status["status"] not in ("status_enqueuing", "status_running")
        if output.as_json and (over or not watch):
            output.json(found)
        elif not output.as_json and job_line(status) != before:
            before = job_line(status)
            output.data(before)
        if over or not watch:
            failed = over and status["status"] != "status_succeeded"
            return int(ExitCode.MODEL) if watch and failed else 0
        time.sleep(_POLL_SECONDS)
