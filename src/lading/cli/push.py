"""``lading push``: an image of the store into a registry."""

from __future__ import annotations

import argparse

from lading import imaging
from lading.cli.options import add_json
from lading.cli.output import Output
from lading.model.origin import Origin


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """See `lading.cli.run.Verb`."""
    add_json(parser)
    parser.add_argument("image", metavar="IMAGE", help="the image's name in the store, as `lading build -t` gave it")
    parser.add_argument("target", nargs="?", metavar="NAME", help="another name to push it under")
    parser.add_argument("--insecure", action="store_true", help="plain HTTP (the default for a registry on this machine alone)")


def run(arguments: argparse.Namespace, output: Output) -> int:
    """See `lading.cli.run.Verb`."""
    from lading.images.reference import require_registry

    name = arguments.target or arguments.image
    images = imaging.stored(arguments.image)
    require_registry(name, Origin("NAME"))
    pushing = imaging.pushing_for(output.reporter, insecure=True if arguments.insecure else None)
    digest = pushing.publish(images, name)
    if output.as_json:
        output.json({"name": name, "digest": digest, **pushing.sent, "sbom": list(pushing.attached)})
    else:
        output.data(f"{name.partition('@')[0]}@{digest}")
    return 0
