"""``lading status``: how a deployment is."""

from __future__ import annotations

import argparse

from lading.cli.deployments import add_place, meant, show
from lading.cli.options import add_json
from lading.cli.output import Output
from lading.model.problems import ExitCode


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """See `lading.cli.run.Verb`."""
    add_place(parser)
    add_json(parser)


def run(arguments: argparse.Namespace, output: Output) -> int:
    """See `lading.cli.run.Verb`: the exit status says whether all of it is served."""
    from lading.deploy.engine import State

    engine, known = meant(arguments)
    status = engine.status(known.name)
    show(status, output)
    return int(ExitCode.OK if status.state in (State.LIVE, State.UPDATING) else ExitCode.DEPLOY)
