"""One image as one file for ``docker load`` and ``podman load``: the format of ``docker save``, with uncompressed layers."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import BinaryIO

from lading.images.media import Image
from lading.images.tar import END, Entry, header, padding
from lading.images.unpacked import uncompressed
from lading.model.problems import ExitCode, LadingError, Problem


class Archive:
    """A file to be written at ``path``."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def publish(self, images: tuple[Image, ...], reference: str) -> str:
        """See `lading.images.media.Destination`.

        Raises:
            LadingError: if there are several platforms, which the format cannot hold, or the file cannot be written.
        """
        if len(images) != 1:
            raise LadingError(
                Problem(
                    rule="archive-one-platform",
                    what="A docker-archive holds an image for one platform.",
                    instead="Name one --platform, or write -o oci:DIR.",
                )
            )
        (image,) = images
        aside = self.path.with_name(f".{self.path.name}.{os.getpid()}")
        try:
            with aside.open("wb") as stream:
                _write(stream, image, reference)
            aside.replace(self.path)
        except OSError as error:
            raise LadingError(
                Problem(
                    rule="output-not-written",
                    what=f"{self.path} cannot be written: {error.strerror or error}.",
                    instead="Name a file in a folder that is writable, on a disk with room.",
                    code=ExitCode.BUILD,
                )
            ) from error
        finally:
            aside.unlink(missing_ok=True)
        return image.digest


def _write(stream: BinaryIO, image: Image, reference: str) -> None:
    names = [f"{layer.diff_id.removeprefix('sha256:')}.tar" for layer in image.layers]
    config = f"{image_id(image)}.json"
    record = [{"Config": config, "RepoTags": [reference], "Layers": names}]
    _file(stream, config, image.config)
    for name, layer in dict(zip(names, image.layers, strict=True)).items():
        size = layer.unpacked or sum(len(piece) for piece in uncompressed(image.blobs, layer.descriptor))
        stream.write(header(Entry(path=name, size=size)))
        stream.writelines(uncompressed(image.blobs, layer.descriptor))
        stream.write(padding(size))
    _file(stream, "manifest.json", json.dumps(record).encode())
    stream.write(END)


def image_id(image: Image) -> str:
    """The digest of the configuration, without its algorithm: what docker and podman call the image's id."""
    return str(json.loads(image.manifest)["config"]["digest"]).removeprefix("sha256:")


def _file(stream: BinaryIO, name: str, content: bytes) -> None:
    stream.write(header(Entry(path=name, size=len(content))) + content + padding(len(content)))
