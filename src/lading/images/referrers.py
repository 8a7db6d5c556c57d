"""What is said of an image in an artifact beside it: its bill of materials, which refers to it (OCI image and distribution specification 1.1).

A registry lists the artifacts that refer to an image. One that does not know how gets the list as an index under a tag made of the image's
digest, as the specification says (the referrers tag schema), so that the same clients find it.
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, BinaryIO

from lading.images.bill import MEDIA_TYPE, PATH, layer_of, read_sbom
from lading.images.media import INDEX, MANIFEST, Descriptor, Image, canonical, digest_of
from lading.model.problems import ExitCode, LadingError, Problem
from lading.model.records import dataclass

if TYPE_CHECKING:
    from lading.images.registry import Registry

_EMPTY = b"{}"
_EMPTY_TYPE = "application/vnd.oci.empty.v1+json"
REFERRERS = "run.lading.referrers"
"""The annotation of an image in a layout's index that lists the artifacts beside it: readers that want one image must find one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Artifact:
    """An artifact that refers to the image ``subject``; ``parts`` are its blobs with their media types. It is where blobs come from itself."""

    subject: str
    kind: str
    manifest: bytes
    parts: tuple[tuple[str, bytes], ...]

    @property
    def digest(self) -> str:
        """That of its manifest."""
        return digest_of(self.manifest)

    @property
    def entry(self) -> dict[str, Any]:
        """How a list of referrers names it."""
        descriptor = Descriptor(media_type=MANIFEST, digest=self.digest, size=len(self.manifest))
        return {**descriptor.as_json(), "artifactType": self.kind}

    @property
    def descriptors(self) -> list[Descriptor]:
        """What points to its blobs."""
        return [_descriptor(media_type, content) for media_type, content in self.parts]

    def open(self, digest: str) -> BinaryIO:
        """See `lading.images.media.Blobs`."""
        return io.BytesIO(next(content for _, content in self.parts if digest_of(content) == digest))


def _descriptor(media_type: str, content: bytes, annotations: Mapping[str, str] | None = None) -> Descriptor:
    return Descriptor(media_type=media_type, digest=digest_of(content), size=len(content), annotations=annotations or {})


def sbom_artifact(image: Image) -> Artifact | None:
    """The bill of materials that an image holds, as an artifact; None for an image without one.

    Raises:
        LadingError: if the layer that holds it cannot be read.
    """
    layer = layer_of(image.layers)
    if layer is None:
        return None
    content = read_sbom(image.blobs, layer)
    title = {"org.opencontainers.image.title": PATH.rpartition("/")[2]}
    record = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "artifactType": MEDIA_TYPE,
        "config": _descriptor(_EMPTY_TYPE, _EMPTY).as_json(),
        "layers": [_descriptor(MEDIA_TYPE, content, title).as_json()],
        "subject": image.descriptor.as_json(),
    }
    parts = ((_EMPTY_TYPE, _EMPTY), (MEDIA_TYPE, content))
    return Artifact(subject=image.digest, kind=MEDIA_TYPE, manifest=canonical(record), parts=parts)


def attach(registry: Registry, artifact: Artifact) -> None:
    """Put an artifact into its image's repository, where it can be found from the image.

    Raises:
        LadingError: if the registry refuses it, cannot be reached, or answers something else than the list that it is added to.
    """
    there = registry.digest_of(artifact.digest) == artifact.digest
    if there and registry.lists_referrers(artifact.subject):
        return
    if not there:
        for descriptor in artifact.descriptors:
            registry.push(descriptor, artifact)
        if registry.put_referrer(artifact.manifest):
            return
    _list(registry, artifact)


def _list(registry: Registry, artifact: Artifact) -> None:
    """The list under a tag; artifacts of others in it stay."""
    tag = artifact.subject.replace(":", "-")
    entries = _entries(registry.find_manifest(tag), tag)
    if all(entry.get("digest") != artifact.digest for entry in entries):
        index = {"schemaVersion": 2, "mediaType": INDEX, "manifests": [*entries, artifact.entry]}
        registry.put_manifest(canonical(index), INDEX, tag)


def _entries(content: bytes | None, tag: str) -> list[dict[str, Any]]:
    """The list as it stands; there is none only where the registry says so. What is no list (a proxy's page) says nothing of others' artifacts."""
    if content is None:
        return []
    try:
        found = json.loads(content)["manifests"]
    except (ValueError, KeyError, TypeError, RecursionError):
        found = None
    if not isinstance(found, list) or not all(isinstance(entry, dict) for entry in found):
        raise LadingError(_no_list(tag))
    return found


def _no_list(tag: str) -> Problem:
    return Problem(
        rule="referrers-damaged",
        what=f"What the registry has under {tag} is no list of what refers to the image.",
        why="A new list in its place would lose what others have put beside the image, as signatures.",
        instead="Push again; if it stays so, the registry or a proxy before it is broken, or somebody has overwritten the tag.",
        code=ExitCode.NETWORK,
    )
