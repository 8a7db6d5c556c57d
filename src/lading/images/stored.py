"""Images of the local store, read back."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from lading.images.base import load_base
from lading.images.media import Descriptor, Image, Kind, Layer
from lading.images.reference import local_name
from lading.images.store import Store, touch
from lading.model.events import Event, Reporter
from lading.model.problems import LadingError, Problem
from lading.model.records import replace

STEP = "Fetching the image"


def load(name: str, platform: str | None = None, store: Store | None = None) -> tuple[Image, ...]:
    """The image of a name or digest: one, or one for each platform.

    Raises:
        LadingError: if the store has none, or none for the platform.
    """
    local = store or Store()
    digest = _digest(name, local)
    if digest is None:
        raise LadingError(_unknown(name, local))
    touch(local.path(digest))
    images = tuple(_images(digest, local))
    fitting = tuple(image for image in images if platform in (None, image.platform))
    if not fitting:
        raise LadingError(
            Problem(
                rule="image-other-platform",
                what=f"The image {name} is not for {platform}.",
                why=f"It is for {', '.join(image.platform for image in images)}.",
                instead=f"Build it with --platform {platform}.",
            )
        )
    return fitting


def fetch(name: str, platform: str, reporter: Reporter, store: Store | None = None) -> Image:
    """An image from its registry, its blobs in the store.

    Raises:
        LadingError: if it is not to be had, or not for the platform.
    """
    local = store or Store()

    def told(event: Event) -> None:
        reporter(replace(event, step=STEP))

    found = load_base(name, platform, local, told)
    return _images(found.digest, local)[0]


def is_stored(name: str, store: Store | None = None) -> bool:
    """Whether the store has an image of this name."""
    try:
        return _digest(name, store or Store()) is not None
    except LadingError:
        return False


def previous(name: str, store: Store | None = None) -> Image | None:
    """The image that had this name before, as long as all of it is there."""
    from lading.images.store import PREVIOUS  # noqa: PLC0415 -- for reports alone

    local = store or Store()
    entry = local.find(local_name(name))
    digest = ((entry or {}).get("annotations") or {}).get(PREVIOUS)
    try:
        image = next(iter(_images(digest, local)), None) if digest and local.has(digest) else None
    except LadingError:  # its configuration was pruned
        return None
    return image if image and all(local.has(layer.descriptor.digest) for layer in image.layers) else None


def _digest(name: str, store: Store) -> str | None:
    if name.startswith("sha256:"):
        return name if store.has(name) else None
    entry = store.find(local_name(name))
    return str(entry["digest"]) if entry else None


def _images(digest: str, store: Store) -> list[Image]:
    content = store.read(digest)
    record = json.loads(content)
    if "manifests" in record:
        return [image for entry in record["manifests"] for image in _images(entry["digest"], store)]
    config = store.read(record["config"]["digest"])
    facts = json.loads(config)
    return [
        Image(
            manifest=content,
            config=config,
            layers=tuple(_layers(record, facts)),
            blobs=store,
            platform=f"{facts['os']}/{facts['architecture']}",
        )
    ]


def _layers(manifest: Mapping[str, Any], config: Mapping[str, Any]) -> list[Layer]:
    """What a layer is stands in the history, where Lading wrote it."""
    history = [entry for entry in config.get("history") or () if not entry.get("empty_layer")]
    found = []
    for number, (layer, diff_id) in enumerate(zip(manifest["layers"], config["rootfs"]["diff_ids"], strict=True)):
        entry = history[number] if number < len(history) else {}
        kind = str(entry.get("created_by", "")).removeprefix("lading build: ")
        known = kind in set(Kind)
        title = str(entry.get("comment") or "") if known else str(entry.get("created_by") or "base")
        found.append(Layer(descriptor=Descriptor.from_json(layer), diff_id=diff_id, kind=Kind(kind) if known else Kind.BASE, title=title))
    return found


def _unknown(name: str, store: Store) -> Problem:
    names = store.names()
    return Problem(
        rule="image-unknown",
        what=f"There is no image {name} in Lading's store.",
        why=f"It has {', '.join(names)}." if names else "It is empty.",
        instead="Build it with `lading build -t NAME`.",
    )
