"""``lading train``: what ``train`` of cog.yaml names, run once."""

from __future__ import annotations

import argparse
import os
from dataclasses import replace

from lading import pipeline
from lading.cli.cog_options import add_gpus, trained_by_cog
from lading.cli.install import prepare
from lading.cli.options import add_project, pipeline_options
from lading.cli.output import Output
from lading.cli.outputs import write_training
from lading.cli.predict import add_inputs, failed, inputs_of, once, sort_out_json
from lading.cli.serve import add_environment, add_timeouts
from lading.cli.weights import put_in_place
from lading.model.origin import Origin
from lading.model.problems import ExitCode, LadingError, Problem
from lading.model.project import Api


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """See `lading.cli.run.Verb`."""
    add_project(parser)
    add_inputs(parser)
    parser.add_argument("-o", "--output", metavar="PATH", default="weights", help="where to write the weights (default: weights)")
    add_timeouts(parser)
    add_environment(parser)
    add_gpus(parser)


def run(arguments: argparse.Namespace, output: Output) -> int:
    """See `lading.cli.run.Verb`."""
    sort_out_json(arguments)
    options = pipeline_options(arguments, arguments.project)
    project = pipeline.read(options)
    project = replace(project, config=trained_by_cog(project.config, project.files, os.environ))
    train = _train(project)
    payload = inputs_of(arguments, project, train, training=True)
    ready = replace(prepare(options, output), config=project.config)
    put_in_place(options, ready.config, output)
    served = pipeline.describe_training(ready)
    assert served is not None
    result = once(served, ready.variants[0].environment, payload, arguments, output)
    if output.as_json:
        output.json(result.as_json())
    elif result.ok:
        write_training(result.output, arguments.output, output)
    if not result.ok and not output.as_json:
        raise LadingError(failed(result.error or "it failed", train.file, "training"))
    return 0 if result.ok else int(ExitCode.MODEL)


def _train(project: pipeline.Project) -> Api:
    if project.config.train is not None:
        return project.config.train
    raise LadingError(
        Problem(
            rule="no-training",
            what=f"{project.config.path or 'The project'} names nothing to train with.",
            origin=Origin(project.config.path) if project.config.path else None,
            instead="Write, for example: train: train.py:train",
        )
    )
