"""``lading build``: a container image, without a container engine."""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from lading import imaging, pipeline
from lading.cli.ending import ending_orderly
from lading.cli.options import add_json, add_project, pipeline_options
from lading.cli.output import Output
from lading.cli.report import report_locked
from lading.model.origin import Origin
from lading.model.problems import LadingError, Problem

if TYPE_CHECKING:
    from lading.images.build import Built
    from lading.images.media import Destination
    from lading.images.push import Pushing


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """See `lading.cli.run.Verb`."""
    add_project(parser)
    add_json(parser)
    parser.add_argument("-t", "--tag", metavar="NAME", help="the image's name (default: the configuration's image, else the folder's name)")
    parser.add_argument(
        "--base",
        metavar="IMAGE",
        help="what to build on: an image, oci:DIR, a folder or tarball with a root file system (default: python:X-slim)",
    )
    parser.add_argument(
        "-o", "--output", metavar="WHERE", help="oci:DIR, docker-archive:FILE, or registry; default: Lading's own store of images"
    )
    parser.add_argument("--push", action="store_true", help="send the image to its registry; layers go while others are made")
    parser.add_argument("--compress", choices=("gzip", "zstd"), default="gzip", help="how layers are compressed; gzip is read everywhere")
    parser.add_argument("--no-bytecode", action="store_true", help="leave compiled modules out: smaller, and slower to start")
    parser.add_argument("--no-cache", action="store_true", help="run build steps and apt again, even if what they made is here")
    parser.add_argument("--upgrade-base", action="store_true", help="take what the base's tag stands for today, and keep that in base.lock")
    parser.add_argument("--user", metavar="UID[:GID]", help="who the container runs as (default: 65532:65532, nobody in particular)")
    parser.add_argument("--dockerfile", action="store_true", help="print an equivalent Dockerfile, and build nothing")


def run(arguments: argparse.Namespace, output: Output) -> int:
    """See `lading.cli.run.Verb`."""
    with nullcontext() if arguments.dockerfile else imaging.in_use(), ExitStack() as stack:
        return _build(arguments, output, stack)


def _build(arguments: argparse.Namespace, output: Output, stack: ExitStack) -> int:
    platforms = (arguments.platform or "").split(",")
    arguments.platform = platforms[0] or None
    options = pipeline_options(arguments, arguments.project)
    built: list[Built] = []
    goal: _Goal | None = None
    for platform in platforms:
        arguments.platform = platform or None
        one = replace(options, platform=pipeline_options(arguments, arguments.project).platform)
        with ending_orderly():
            project = pipeline.read(one, output.reporter)
            name = arguments.tag or imaging.default_name(project)
            if not arguments.dockerfile:
                goal = goal or _goal(arguments, name, output, stack)
            planned = pipeline.plan(project, one, output.reporter)
            locked = pipeline.lock(planned, project, one, output.reporter)
            report_locked(locked, output, without=("commands-not-run",))
            weights, imported = imaging.prepare_weights(project, one, output.reporter, fetch=not arguments.dockerfile)
            output.decisions(imported)
            asked = imaging.BuildOptions(
                name=name,
                base=arguments.base,
                compression=arguments.compress,
                bytecode=not arguments.no_bytecode,
                user=_user(arguments.user),
                secrets=_secrets(arguments.secret, os.environ),
                no_cache=arguments.no_cache,
                upgrade_base=arguments.upgrade_base and not built,
                weights=weights,
            )
            recipe = imaging.make_recipe(locked, project, one, asked)
            if goal is None:
                from lading.images.dockerfile import render

                output.data(render(recipe).rstrip())
                return 0
            built.append(imaging.build(recipe, reporter=output.reporter, pushing=goal.pushing))
    assert goal is not None
    _finish(built, goal, output)
    return 0


@dataclass(frozen=True, slots=True)
class _Goal:
    """Where an image of a name goes, its name there, and what sends it to a registry, if it goes to one too."""

    name: str
    target: Destination
    there: str
    pushing: Pushing | None


def _goal(arguments: argparse.Namespace, name: str, output: Output, stack: ExitStack) -> _Goal:
    """What the options say, checked before anything is built; a registry gets layers while others are made."""
    pushing = imaging.pushing_for(output.reporter) if arguments.push or arguments.output == "registry" else None
    if pushing is not None and arguments.output == "registry":
        goal = _Goal(name, pushing, name, pushing)
    else:
        goal = _Goal(name, *imaging.destination(arguments.output, name), pushing)
    if pushing is not None:
        from lading.images.reference import require_registry

        require_registry(name, Origin("-t"))
        stack.enter_context(pushing.ahead(name))
    return goal


def _finish(built: Sequence[Built], goal: _Goal, output: Output) -> None:
    images = tuple(one.image for one in built)
    fresh = dict.fromkeys(decision for one in built for decision in one.decisions if decision.rule in _OWN)
    output.decisions(fresh)
    for line in dict.fromkeys(one.locked for one in built if one.locked):
        output.say(line)
    digest = goal.target.publish(images, goal.there)
    if goal.pushing is not None and goal.target is not goal.pushing:
        goal.pushing.publish(images, goal.name)
    from lading.explain.layers import table

    if output.as_json:
        records = [
            {"platform": image.platform, "digest": image.digest, "layers": [layer.as_json() for layer in image.layers]} for image in images
        ]
        output.json({"name": goal.there, "digest": digest, "images": records, "decisions": [decision.as_json() for decision in fresh]})
        return
    for image in images:
        output.say(table([layer.as_json() for layer in image.layers], image.platform))
    output.data(f"{goal.name}@{digest}")


_OWN = frozenset(
    (
        "base-folders-hidden",
        "base-image",
        "base-not-pinned",
        "base-pinned",
        "bytecode-left-out",
        "bytecode-of-another-release",
        "compressed-by-zlib-ng",
        "conda-scripts-not-in-image",
        "file-in-two-packages",
        "files-ignored",
        "secret-file-left-out",
        "variables-left-out",
        "secret-variable-left-out",
        "system-packages-layer",
        "script-run-in-build-container",
        "commands-run-in-build-container",
        "step-caches-left-out",
        "step-home-kept",
        "step-project-files",
        "step-secrets-left-out",
        "step-temporary-files",
    )
)


def _user(text: str | None) -> str | None:
    if text is not None and not all(
        part and part.isascii() and (part.isalnum() or part.replace("-", "").replace("_", "").isalnum()) for part in text.split(":")
    ):
        raise LadingError(
            Problem(rule="usage", what=f'"{text}" is no user.', origin=Origin("--user"), instead="Write --user 1000:1000, or --user root.")
        )
    return text


def _secrets(given: Sequence[str], environ: Mapping[str, str]) -> dict[str, Path]:
    """Files with the values of ``--secret``, by id, for build steps that mount them; those for this user alone, gone at the end."""
    from lading.cli.secrets import secret_values

    return secret_values(given, environ, Path.cwd())
