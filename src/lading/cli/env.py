"""``lading env list`` and ``lading env prune``: what is in the store."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from lading.cli.options import add_json
from lading.cli.output import Output
from lading.explain.text import count

if TYPE_CHECKING:
    from lading.environments.conda_cache import Cached
    from lading.images.prune import Named, Unused


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """See `lading.cli.run.Verb`."""
    parser.add_argument("action", choices=("list", "prune"), help="list the environments and images, or remove what nothing uses")
    parser.add_argument("--older-than", type=float, metavar="DAYS", default=30.0, help="prune: not used for so many days (default: 30)")
    parser.add_argument(
        "--all", action="store_true", help="prune: every environment that no process uses, and every layer that no image needs"
    )
    parser.add_argument("--images", action="store_true", help="prune: images too that were not built, pushed or run for so long")
    parser.add_argument("--cache", action="store_true", help="prune: the conda packages too that no environment is linked from")
    parser.add_argument("--dry-run", action="store_true", help="prune: only say what would be removed")
    add_json(parser)


def run(arguments: argparse.Namespace, output: Output) -> int:
    """See `lading.cli.run.Verb`."""
    return _list(output) if arguments.action == "list" else _prune(arguments, output)


def _list(output: Output) -> int:
    from lading.environments.store import list_environments

    stored, images = list_environments(), _images()
    if output.as_json:
        output.json({"environments": [one.as_json() for one in stored], "images": [one.as_json() for one in images]})
        return 0
    for one in stored:
        output.data(f"{one.key}  {size(one.bytes):>9}  Python {one.python_version:8}  {one.path}")
    if not stored:
        output.say("The store holds no environment.")
    for image in images:
        output.data(f"{image.digest[7:19]}  {size(image.bytes):>9}  image  {image.name}")
    return 0


def _images() -> tuple[Named, ...]:
    """The images of the store; where there never was one, none of their modules is loaded."""
    from lading.environments.home import home

    if not Path(home(), "images").is_dir():
        return ()
    from lading.images.prune import list_images
    from lading.images.store import Store

    return list_images(Store())


def _prune_images(arguments: argparse.Namespace, older_than: float) -> tuple[Unused, ...] | None:
    from lading.environments.home import home

    if not Path(home(), "images").is_dir():
        return ()
    from lading.images.prune import prune_images
    from lading.images.store import Store

    return prune_images(Store(), older_than=older_than, names=arguments.images, dry_run=arguments.dry_run)


def _prune_weights(arguments: argparse.Namespace, older_than: float) -> tuple[int, int]:
    from lading.environments.home import home

    if not Path(home(), "weights").is_dir():
        return 0, 0
    from lading.weights.store import WeightStore

    return WeightStore().prune(older_than, dry_run=arguments.dry_run)


def _prune_bundles(older_than: float, *, dry_run: bool) -> tuple[int, int]:
    from lading.deploy.bundle_prune import prune_bundles

    return prune_bundles(older_than, dry_run=dry_run)


def _prune(arguments: argparse.Namespace, output: Output) -> int:
    from lading.environments.conda_cache import is_shared, remove_packages, unused_packages
    from lading.environments.home import home
    from lading.environments.store import prune

    days = 0.0 if arguments.all else arguments.older_than
    removed = prune(older_than=days * 86400, dry_run=arguments.dry_run)
    shared = is_shared(os.environ)
    told = arguments.cache or not (output.as_json or arguments.dry_run)  # looking costs a walk through all that the cache holds
    unused = unused_packages(home(), os.environ) if told and not shared else ()
    gone = () if not arguments.cache else unused if arguments.dry_run else remove_packages(unused)
    images = _prune_images(arguments, days * 86400)
    weights = _prune_weights(arguments, days * 86400)
    bundles = _prune_bundles(days * 86400, dry_run=arguments.dry_run)
    if output.as_json:
        packages = [{"name": one.name, "bytes": one.bytes} for one in gone]
        of_images = [one.as_json() for one in images or ()]
        record = {"removed": [one.as_json() for one in removed], "removed_packages": packages, "removed_images": of_images}
        output.json({**record, "removed_weights": weights[0], "removed_bundles": bundles[0], "dry_run": arguments.dry_run})
        return 0
    for one in removed:
        output.data(f"{one.key}  {size(one.bytes):>9}  {one.path}")
    verb = "Would remove" if arguments.dry_run else "Removed"
    output.say(f"{verb} {count(len(removed), 'environment')}, {size(sum(one.bytes for one in removed))}.")
    if images is None:
        output.say("Images are left alone: one is being built.")
    elif images:
        for image in (one for one in images if one.kind == "image"):
            output.data(f"{verb} image {image.name}")
        output.say(f"{verb} {count(len(images), 'part')} of images, {size(sum(one.bytes for one in images))}.")
    if weights[0]:
        output.say(f"{verb} {count(weights[0], 'file')} of weights, {size(weights[1])}.")
    if bundles[0]:
        output.say(f"{verb} {count(bundles[0], 'bundle')} of deployments, {size(bundles[1])}.")
    if arguments.cache:
        output.say(_told_of_cache(gone, verb, shared=shared))
    elif unused and not arguments.dry_run:
        left = size(sum(one.bytes for one in unused))
        output.say(f"The cache still holds {count(len(unused), 'conda package')} that no environment needs, {left}; --cache removes them.")
    return 0


def _told_of_cache(gone: Sequence[Cached], verb: str, *, shared: bool) -> str:
    if shared:
        return "The cache of conda packages is left alone: RATTLER_CACHE_DIR names one that other programs may use too."
    return f"{verb} {count(len(gone), 'conda package')} from the cache, {size(sum(one.bytes for one in gone))}."


def size(number: int) -> str:
    """Bytes as a person reads them, in powers of 1024."""
    amount, units = float(number), ["B", "KiB", "MiB", "GiB"]
    while amount >= 1024 and len(units) > 1:
        amount /= 1024
        units.pop(0)
    return f"{amount:.0f} {units[0]}" if units[0] == "B" else f"{amount:.1f} {units[0]}"
