"""``lading schema``: the OpenAPI document, from the source alone."""

from __future__ import annotations

import argparse

from lading import pipeline
from lading.cli.options import add_json, add_project, pipeline_options
from lading.cli.output import Output
from lading.cli.serve import no_predictor
from lading.model.problems import LadingError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """See `lading.cli.run.Verb`."""
    add_project(parser)
    add_json(parser)


def run(arguments: argparse.Namespace, output: Output) -> int:
    """See `lading.cli.run.Verb`."""
    project = pipeline.read(pipeline_options(arguments, arguments.project))
    if not project.config.apis and project.config.train is None:
        raise LadingError(no_predictor(project.config.path))
    output.json(pipeline.openapi(project))
    return 0
