"""An OCI image layout in a folder: as a destination, and as a base."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any, BinaryIO

from lading.images.media import Image, canonical, checked_digest, digest_of
from lading.images.referrers import REFERRERS, sbom_artifact
from lading.images.store import NAME, index_of
from lading.model.problems import ExitCode, LadingError, Problem


class Layout:
    """A layout at ``folder``."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def path(self, digest: str) -> Path:
        """Where a blob lies.

        Raises:
            LadingError: if this is no digest.
        """
        return self.folder / "blobs" / checked_digest(digest).replace(":", "/")

    def open(self, digest: str) -> BinaryIO:
        """See `lading.images.media.Blobs`."""
        try:
            return self.path(digest).open("rb")
        except OSError as error:
            raise LadingError(_broken(self.folder, f"the blob {digest} is missing")) from error

    def read(self, digest: str) -> bytes:
        """A small blob, checked.

        Raises:
            LadingError: if it is missing, or is not what its digest says.
        """
        with self.open(digest) as stream:
            content = stream.read()
        if digest_of(content) != digest:
            raise LadingError(_broken(self.folder, f"the blob {digest} has another content"))
        return content

    def entries(self) -> list[dict[str, Any]]:
        """What ``index.json`` lists.

        Raises:
            LadingError: if it cannot be read.
        """
        try:
            found: list[dict[str, Any]] = json.loads((self.folder / "index.json").read_bytes())["manifests"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise LadingError(_broken(self.folder, "its index.json cannot be read")) from error
        return found

    def publish(self, images: tuple[Image, ...], reference: str) -> str:
        """See `lading.images.media.Destination`: blobs are hard links where that is possible. Bills of materials are blobs beside the images.

        Raises:
            LadingError: if the folder holds something else, or cannot be written.
        """
        try:
            self._begin()
            for image in images:
                self._keep(image.manifest)
                self._keep(image.config)
                for layer in image.layers:
                    self._copy(image, layer.descriptor.digest)
            artifacts = [artifact for artifact in map(sbom_artifact, images) if artifact is not None]
            for artifact in artifacts:
                for content in (artifact.manifest, *(content for _, content in artifact.parts)):
                    self._keep(content)
            descriptor = index_of(images, self._keep)
            beside = {REFERRERS: ",".join(artifact.digest for artifact in artifacts)} if artifacts else {}
            entry = {**descriptor.as_json(), "annotations": {NAME: reference, **beside}}
            others = [one for one in self.entries() if (one.get("annotations") or {}).get(NAME) != reference]
            self._write(self.folder / "index.json", canonical({"schemaVersion": 2, "manifests": [*others, entry]}))
        except OSError as error:
            raise LadingError(_unwritable(self.folder, error)) from error
        return descriptor.digest

    def _begin(self) -> None:
        if self.folder.exists() and any(self.folder.iterdir()) and not (self.folder / "oci-layout").exists():
            raise LadingError(
                Problem(
                    rule="output-not-empty",
                    what=f"{self.folder} holds something else than an OCI layout.",
                    instead="Name a folder that is empty or not there yet.",
                )
            )
        (self.folder / "blobs" / "sha256").mkdir(parents=True, exist_ok=True)
        if not (self.folder / "oci-layout").exists():
            self._write(self.folder / "oci-layout", b'{"imageLayoutVersion":"1.0.0"}')
            self._write(self.folder / "index.json", canonical({"schemaVersion": 2, "manifests": []}))

    def _keep(self, content: bytes) -> str:
        digest = digest_of(content)
        if not self.path(digest).exists():
            self._write(self.path(digest), content)
        return digest

    def _copy(self, image: Image, digest: str) -> None:
        place = self.path(digest)
        if place.exists():
            return
        aside = place.with_name(f".{place.name}.{os.getpid()}")
        with image.blobs.open(digest) as source:
            try:
                os.link(source.name, aside)
            except (OSError, TypeError):
                with aside.open("wb") as target:
                    shutil.copyfileobj(source, target, 1 << 20)
        aside.replace(place)

    @staticmethod
    def _write(path: Path, content: bytes) -> None:
        aside = path.with_name(f".{path.name}.{os.getpid()}")
        aside.write_bytes(content)
        aside.replace(path)


def _broken(folder: Path, why: str) -> Problem:
    return Problem(
        rule="layout-damaged",
        what=f"{folder} is not an OCI layout that can be read: {why}.",
        instead="Copy the image again, for example with `skopeo copy docker://NAME oci:DIR:latest`.",
        code=ExitCode.BUILD,
    )


def _unwritable(folder: Path, error: OSError) -> Problem:
    return Problem(
        rule="output-not-written",
        what=f"{folder} cannot be written: {error.strerror or error}.",
        instead="Name a folder that is writable, on a disk with room.",
        code=ExitCode.BUILD,
    )
