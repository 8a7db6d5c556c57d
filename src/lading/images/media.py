"""The nouns of an image (OCI image specification 1.1): media types, descriptors, layers, and the image itself."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from enum import StrEnum
from typing import Any, BinaryIO, Protocol

from lading.model.digests import is_sha256, other_algorithm
from lading.model.problems import ExitCode, LadingError, Problem
from lading.model.records import dataclass, field

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_INDEX = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_LAYER = "application/vnd.docker.image.rootfs.diff.tar.gzip"
MANIFESTS = (MANIFEST, DOCKER_MANIFEST)
INDEXES = (INDEX, DOCKER_INDEX)


class Compression(StrEnum):
    """How layers are compressed. Every reader takes gzip; zstd needs Docker 23, containerd 1.5, podman 4 or newer."""

    GZIP = "gzip"
    ZSTD = "zstd"

    @property
    def media_type(self) -> str:
        """A layer's media type."""
        return f"{LAYER}+{self.value}"


class Kind(StrEnum):
    """What a layer is for, in the order of an image from the ground up."""

    BASE = "base"
    HIDDEN = "hidden folders"
    INTERPRETER = "interpreter"
    SYSTEM = "system packages"
    SCRIPT = "build steps"
    FRONT = "server"
    PACKAGES = "packages"
    BYTECODE = "bytecode"
    ENVIRONMENT = "environment"
    STEPS = "run steps"
    WEIGHTS = "weights"
    BILL = "bill of materials"
    PROJECT = "project"


@dataclass(frozen=True, slots=True, kw_only=True)
class Descriptor:
    """What points to a blob: its media type, its digest (``sha256:…``) and its size in bytes."""

    media_type: str
    digest: str
    size: int
    annotations: Mapping[str, str] = field(default_factory=dict)

    def __hash__(self) -> int:
        return hash((self.media_type, self.digest, self.size))

    def as_json(self) -> dict[str, Any]:
        """As it stands in a manifest."""
        record: dict[str, Any] = {"mediaType": self.media_type, "digest": self.digest, "size": self.size}
        return {**record, "annotations": dict(self.annotations)} if self.annotations else record

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> Descriptor:
        """The inverse of `as_json`.

        Raises:
            LadingError: if its digest is none.
        """
        return cls(
            media_type=str(record["mediaType"]),
            digest=checked_digest(record["digest"]),
            size=int(record["size"]),
            annotations=dict(record.get("annotations") or {}),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """One layer. ``diff_id`` is the digest of its uncompressed tar; ``title`` says what it holds, ``unpacked`` the tar's size in bytes."""

    descriptor: Descriptor
    diff_id: str
    kind: Kind
    title: str
    unpacked: int = 0
    reused: bool = False

    def as_json(self) -> dict[str, Any]:
        """The record as JSON data."""
        return {
            "kind": str(self.kind),
            "title": self.title,
            "digest": self.descriptor.digest,
            "size": self.descriptor.size,
            "unpacked": self.unpacked,
            "diff_id": self.diff_id,
            "media_type": self.descriptor.media_type,
        }

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> Layer:
        """The inverse of `as_json`."""
        return cls(
            descriptor=Descriptor(media_type=record["media_type"], digest=record["digest"], size=record["size"]),
            diff_id=record["diff_id"],
            kind=Kind(record["kind"]),
            title=record["title"],
            unpacked=record["unpacked"],
            reused=True,
        )


class Blobs(Protocol):
    """Where blobs come from."""

    def open(self, digest: str) -> BinaryIO:
        """The blob's bytes.

        Raises:
            LadingError: if it is not there.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """A finished image: the bytes of its manifest and its configuration, its layers from the ground up, and where its blobs lie.

    ``platform`` is ``linux/amd64`` or ``linux/arm64``. ``base`` names the repository that the base came from, for a registry's mounts.
    """

    manifest: bytes
    config: bytes
    layers: tuple[Layer, ...]
    blobs: Blobs
    platform: str
    base: str | None = None

    @property
    def digest(self) -> str:
        """The digest of the manifest, by which the image is known."""
        return digest_of(self.manifest)

    @property
    def descriptor(self) -> Descriptor:
        """What points to the image."""
        return Descriptor(media_type=MANIFEST, digest=self.digest, size=len(self.manifest))

    @property
    def labels(self) -> Mapping[str, str]:
        """The labels of its configuration."""
        labels: Mapping[str, str] = json.loads(self.config).get("config", {}).get("Labels") or {}
        return labels

    @property
    def size(self) -> int:
        """What a registry holds of it, in bytes."""
        return sum(layer.descriptor.size for layer in self.layers) + len(self.config) + len(self.manifest)


class Destination(Protocol):
    """Where an image goes: a registry, a folder, an archive, the local store."""

    def publish(self, images: tuple[Image, ...], reference: str) -> str:
        """Put the image there under a name; several are one image for several platforms. Returns its digest.

        Raises:
            LadingError: if that is not possible.
        """


def digest_of(content: bytes) -> str:
    """``sha256:…`` of a blob's bytes."""
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def checked_digest(value: object) -> str:
    """A digest that others wrote, by SHA-256: so it is safe as a file's name and in an address.

    Raises:
        LadingError: if it is by another algorithm, which the image specification leaves to its readers, or is none: ``sha256:../…`` would be
            a file of this machine where blobs are files.
    """
    if isinstance(value, str) and is_sha256(value):
        return value
    algorithm = other_algorithm(value) if isinstance(value, str) else ""
    raise LadingError(_not_read(str(value), algorithm) if algorithm else _malformed(value))


def _not_read(digest: str, algorithm: str) -> Problem:
    return Problem(
        rule="digest-algorithm",
        what=f"The blob {digest[: len(algorithm) + 13]}… has a digest by {algorithm}, and Lading reads those by sha256 alone.",
        why="The image specification asks every tool for sha256; others are optional, and many registries and engines refuse them.",
        instead="Build or copy the image again with digests by sha256, as every tool makes them unless it is told otherwise.",
        code=ExitCode.BUILD,
    )


def _malformed(value: object) -> Problem:
    return Problem(
        rule="digest-malformed",
        what=f"{value!r} is no digest of a blob.",
        why="A digest is sha256: and 64 hexadecimal digits.",
        instead="Take the image from another place: what describes it there is damaged, or made to read files of this machine.",
        code=ExitCode.BUILD,
    )


def canonical(record: Any) -> bytes:
    """JSON with one spelling: sorted keys, no spaces, UTF-8."""
    return json.dumps(record, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
