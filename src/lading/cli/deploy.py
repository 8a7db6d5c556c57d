"""``lading deploy``: the project on an engine, without changing a line of it."""

from __future__ import annotations

import argparse
import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from lading import imaging, pipeline
from lading.cli.deployments import add_engine_options, add_place, name_of, options_of, place_of, show
from lading.cli.options import add_json, add_project, pipeline_options
from lading.cli.output import Output
from lading.cli.serve import add_environment, no_predictor, variables
from lading.cli.weights import put_in_place
from lading.model.origin import Origin
from lading.model.problems import LadingError, Problem

if TYPE_CHECKING:
    from lading.deploy.engine import Deployment, Place

_SECONDS = 600.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """See `lading.cli.run.Verb`."""
    add_project(parser)
    add_place(parser, required=True)
    add_json(parser)
    parser.add_argument("--image", metavar="IMAGE", help="what to run where the engine runs images (default: the project's, as built)")
    parser.add_argument("--dry-run", action="store_true", help="print exactly what would be sent, secrets masked; sends nothing")
    parser.add_argument("--output", metavar="DIR", help="write it into a folder instead of sending it")
    parser.add_argument("--no-wait", action="store_true", help="do not wait until it is served")
    parser.add_argument("--timeout", type=float, default=_SECONDS, metavar="SECONDS", help="how long that may take (default: 600)")
    add_environment(parser)
    parser.add_argument(
        "--secret-env", action="append", default=[], metavar="NAME[=VALUE]", help="as -e, for a value that nobody else may read"
    )
    add_engine_options(parser)


def run(arguments: argparse.Namespace, output: Output) -> int:
    """See `lading.cli.run.Verb`."""
    from lading.deploy.engine import engine_module, engine_options, require
    from lading.deploy.records import Known, remember

    place = place_of(arguments)
    if place is None:
        what = "It is not said where to deploy to."
        raise LadingError(Problem(rule="usage", what=what, origin=Origin("--to"), instead="Write, for example, --to kubernetes."))
    if arguments.project is None and _is_project(place.address or "", Path(arguments.directory or ".")):
        raise LadingError(_folder_as_address(place))
    module = engine_module(place.engine)
    folder, deployment = _deployment(arguments, place, output)
    require(deployment, engine_options(place.engine).CAPABILITIES, place)
    engine = module.connect(place, os.environ)
    if arguments.dry_run or arguments.output:
        from lading.cli.manifests import print_all, write_all

        resources = engine.render(deployment)
        if arguments.output:
            write_all(module, deployment, resources, Path(arguments.output), output)
        else:
            print_all(resources, output)
        return 0
    revision = engine.apply(deployment, output.reporter)
    remember(folder, Known(name=deployment.name, place=engine.place))
    if arguments.no_wait:
        output.json(revision.as_json()) if output.as_json else output.data(f"{deployment.name} revision {revision.number}")
        return 0
    show(engine.wait(revision, output.reporter, arguments.timeout), output)
    return 0


def _is_project(address: str, here: Path) -> bool:
    """Whether an address is a folder that was meant as the project; a context may well be named as a folder beside the project is."""
    elsewhere = "/" in address or address == "." or not any((here / name).exists() for name in ("cog.yaml", "cortex.yaml"))
    return bool(address) and Path(address).is_dir() and elsewhere


def _folder_as_address(place: Place) -> Problem:
    return Problem(
        rule="usage",
        what=f"The word after --to {place.engine} says where in it, and {place.address} is a folder.",
        origin=Origin("--to"),
        instead=f"Write: lading deploy {place.address} --to {place.engine}",
    )


def _deployment(arguments: argparse.Namespace, place: Place, output: Output) -> tuple[Path, Deployment]:
    """What is deployed, and the folder that it belongs to."""
    from lading.deploy.engine import engine_options
    from lading.model.secrets import Secret

    takes_image = engine_options(place.engine).CAPABILITIES.image
    if arguments.image and not takes_image:
        what = f"{place.engine} runs the project itself, not an image."
        raise LadingError(Problem(rule="usage", what=what, origin=Origin("--image"), instead="Leave --image out."))
    options = options_of(arguments, place.engine, of_place=False)
    given = variables(arguments.env)
    secrets = {name: Secret(value) for name, value in variables(arguments.secret_env).items()}
    folder, deployment = (_of_image if takes_image else _of_project)(arguments, place, output)
    return folder, replace(
        deployment, variables=given, secrets={**deployment.secrets, **secrets}, options={**deployment.options, **options}
    )


def _of_image(arguments: argparse.Namespace, place: Place, output: Output) -> tuple[Path, Deployment]:
    """An image: the one that PROJECT names, or a project's, which then says how it is scaled."""
    from lading.cli.images import names_image
    from lading.deploy.engine import Deployment
    from lading.deploy.imaged import read_image
    from lading.deploy.making import of_image

    side_loaded = getattr(arguments, f"{place.engine}.image_pull_policy", None) == "Never"
    if arguments.image is None and names_image(arguments.project, arguments.directory):
        imaged = read_image(arguments.project, side_loaded=side_loaded)
        name = name_of(arguments, Path(imaged.title))
        return Path(arguments.directory or "."), Deployment(name=name, service=imaged.service, image=imaged.reference)
    options = pipeline_options(arguments, arguments.project)
    project = pipeline.read(options, output.reporter)
    if not project.config.apis:
        raise LadingError(no_predictor(project.config.path))
    name = name_of(arguments, options.directory)
    return options.directory, of_image(project, arguments.image or imaging.default_name(project), name, side_loaded=side_loaded)


def _of_project(arguments: argparse.Namespace, place: Place, output: Output) -> tuple[Path, Deployment]:
    """The project as a bundle; it is locked first, if it is not yet."""
    from lading.cli.ending import ending_orderly
    from lading.cli.report import report_locked
    from lading.deploy.making import of_bundle

    options = pipeline_options(arguments, arguments.project)
    name = name_of(arguments, options.directory)
    with ending_orderly():
        project = pipeline.read(options, output.reporter)
        if not project.config.apis:
            raise LadingError(no_predictor(project.config.path))
        planned = pipeline.plan(project, options, output.reporter)
        locked = pipeline.lock(planned, project, options, output.reporter)
        report_locked(locked, output)
        put_in_place(options, project.config, output, here=place.engine == "local")
    deployment = of_bundle(locked, project, options, name)
    assert deployment.bundled is not None
    output.decisions(deployment.bundled.decisions)
    return options.directory, deployment
