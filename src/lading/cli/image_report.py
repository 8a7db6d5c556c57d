"""``lading report IMAGE``: a page with what fills an image."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from lading import imaging
from lading.cli.options import add_json
from lading.cli.output import Output
from lading.model.origin import Origin
from lading.model.problems import LadingError, Problem

if TYPE_CHECKING:
    from lading.images.media import Image


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """See `lading.cli.run.Verb`."""
    add_json(parser)
    parser.add_argument("image", metavar="IMAGE", help="the image's name in the store; one of a registry is fetched")
    parser.add_argument("-o", "--output", metavar="FILE", help="where to write the page (default: NAME-report.html)")


def run(arguments: argparse.Namespace, output: Output) -> int:
    """See `lading.cli.run.Verb`."""
    from lading.explain.layers import size
    from lading.images.contents import by_owner, contents
    from lading.images.reference import name_from
    from lading.images.report import advice, render
    from lading.images.store import Store
    from lading.images.stored import previous

    store = Store()
    image = _image(arguments.image, output)
    shares = contents(image, store)
    old = previous(arguments.image)
    before = (old, contents(old, store)) if old is not None else None
    place = Path(arguments.output or f"{name_from(arguments.image)}-report.html")
    _write(place, render(arguments.image, image, shares, before))
    found = advice(image, shares)
    if output.as_json:
        owners = dict(sorted(by_owner(shares).items(), key=lambda item: -item[1]))
        output.json(
            {
                "page": str(place),
                "digest": image.digest,
                "bytes": owners,
                "advice": [{"bytes": count, "text": text} for count, text in found],
            }
        )
        return 0
    for count, text in found:
        output.say(f"{size(count):>8}  {text}")
    output.data(str(place))
    return 0


def _image(name: str, output: Output) -> Image:
    from lading.images.reference import names_registry
    from lading.images.stored import is_stored

    if is_stored(name) or not names_registry(name):
        return imaging.stored(name)[0]
    return imaging.runnable(name, output.reporter)


def _write(place: Path, text: str) -> None:
    try:
        place.write_text(text, encoding="utf-8")
    except OSError as error:
        raise LadingError(
            Problem(
                rule="output-not-written",
                what=f"{place} cannot be written: {error.strerror}.",
                origin=Origin("-o"),
                instead="Name another file: -o FILE.",
            )
        ) from error
