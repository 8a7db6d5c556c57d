"""What Cog's command line and images name by options and variables of their own: taken here too, so that what was written for Cog works."""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from lading.model.origin import Origin
from lading.model.problems import LadingError, Problem

if TYPE_CHECKING:
    from lading.model.files import ProjectFiles
    from lading.model.project import ProjectConfig
    from lading.pipeline import Options

_CONFIGURATIONS = ("cog.yaml", "cortex.yaml")
_TOKEN = "REPLICATE_API_TOKEN"  # noqa: S105 -- the variable's name
_MOST_GPUS = 1024


def add_gpus(parser: argparse.ArgumentParser) -> None:
    """``--gpus``, and the choices of base images, which mean nothing where no image is built."""
    parser.add_argument("--gpus", metavar="WHICH", type=visible, help="the GPUs that the model may see: all, none, a number, device=0,2")
    parser.add_argument("--use-cog-base-image", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--use-cuda-base-image", metavar="WHEN", help=argparse.SUPPRESS)


def visible(text: str) -> dict[str, str]:
    """The variables by which a model sees no other GPUs than ``docker run --gpus`` would give it.

    Raises:
        argparse.ArgumentTypeError: if it says nothing that is understood here.
    """
    kind, equals, devices = text.strip("\"'").partition("=")
    if kind == "all" and not equals:
        return {}
    if kind == "none" and not equals:
        return {"CUDA_VISIBLE_DEVICES": ""}
    if kind.isascii() and kind.isdigit() and not equals and int(kind) <= _MOST_GPUS:
        return {"CUDA_VISIBLE_DEVICES": ",".join(map(str, range(int(kind))))}
    if kind == "device" and devices and "=" not in devices:
        return {"CUDA_VISIBLE_DEVICES": devices}
    raise argparse.ArgumentTypeError(f'"{text}" names no GPUs; write all, none, a number, or device=0,2')


def add_token(parser: argparse.ArgumentParser) -> None:
    """``--use-replicate-token``."""
    parser.add_argument("--use-replicate-token", action="store_true", help=f"pass {_TOKEN} on to the model, in its prediction's context")


def context_of(arguments: argparse.Namespace) -> dict[str, str]:
    """The context of one prediction, which ``current_scope().context`` shows to the model.

    Raises:
        LadingError: if the token is wanted and there is none.
    """
    if not arguments.use_replicate_token:
        return {}
    token = os.environ.get(_TOKEN)
    if not token:
        raise LadingError(
            Problem(
                rule="usage",
                what=f"The variable {_TOKEN} is not set here.",
                origin=Origin("--use-replicate-token"),
                instead=f"Set it: export {_TOKEN}=r8_...",
            )
        )
    return {_TOKEN.lower(): token}


def named_by_cog(options: Options, environ: Mapping[str, str]) -> Options:
    """``COG_PREDICT_TYPE_STUB`` names the predictor of a project that has no configuration, as in Cog's images."""
    stub = environ.get("COG_PREDICT_TYPE_STUB")
    if not stub or options.file or any((options.directory / name).exists() for name in _CONFIGURATIONS):
        return options
    return replace(options, file=stub)


def trained_by_cog(config: ProjectConfig, files: ProjectFiles, environ: Mapping[str, str]) -> ProjectConfig:
    """``COG_TRAIN_TYPE_STUB`` does the same for what is run by ``train``.

    Raises:
        LadingError: if it names a file that is not there.
    """
    stub = environ.get("COG_TRAIN_TYPE_STUB")
    if not stub or config.path is not None or config.train is not None:
        return config
    from lading.planner.find import plain_api

    return replace(config, train=plain_api(files, stub, Origin("COG_TRAIN_TYPE_STUB")))
