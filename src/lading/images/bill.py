"""Where the bill of materials is in an image that is there; `lading.images.sbom` makes it."""

from __future__ import annotations

from lading.images.media import Blobs, Kind, Layer
from lading.images.unpacked import open_entries

PATH = "opt/lading/share/sbom.cdx.json"
MEDIA_TYPE = "application/vnd.cyclonedx+json"


def read_sbom(blobs: Blobs, layer: Layer) -> bytes:
    """The bill out of its layer.

    Raises:
        LadingError: if the layer cannot be read.
    """
    with open_entries(blobs, layer.descriptor) as archive:
        for entry in archive:
            content = archive.extractfile(entry) if entry.name == PATH else None
            if content is not None:
                return content.read()
    return b""


def layer_of(layers: tuple[Layer, ...]) -> Layer | None:
    """The layer that holds an image's bill."""
    return next((layer for layer in reversed(layers) if layer.kind is Kind.BILL), None)
