"""Names of images: ``python:3.11-slim``, ``ghcr.io/me/model:v1``, ``127.0.0.1:5000/model@sha256:…``."""

from __future__ import annotations

import re

from lading.model.digests import is_sha256, other_algorithm
from lading.model.origin import Origin
from lading.model.problems import LadingError, Problem
from lading.model.records import dataclass

_REGISTRY = "docker.io"
_PART = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_REPOSITORY = re.compile(rf"{_PART}(?:/{_PART})*")
_TAG = re.compile(r"\w[\w.-]{0,127}", re.ASCII)
_HOST = re.compile(r"(?:[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?|\[[0-9a-fA-F:]+\])(?::\d+)?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """A name taken apart. ``registry`` is a host, with a port where there is one."""

    registry: str
    repository: str
    tag: str = "latest"
    digest: str | None = None

    @property
    def target(self) -> str:
        """What a registry is asked for: the digest where there is one, else the tag."""
        return self.digest or self.tag

    @property
    def host(self) -> str:
        """The host that speaks for the registry: Docker Hub's has another name."""
        return "registry-1.docker.io" if self.registry == _REGISTRY else self.registry

    @property
    def local(self) -> bool:
        """Whether the registry is on this machine, where plain HTTP is usual."""
        name = self.registry.rsplit(":", 1)[0] if not self.registry.endswith("]") else self.registry
        return name in ("localhost", "[::1]") or name.startswith("127.")

    def __str__(self) -> str:
        tag = f"@{self.digest}" if self.digest else f":{self.tag}"
        return f"{self.registry}/{self.repository}{tag}"


def names_registry(text: str) -> bool:
    """Whether a name begins with a registry's host, as Docker tells: ``ghcr.io/me/model``, not ``me/model`` and not ``model:v1``."""
    first, slash, _ = text.partition("@")[0].partition("/")
    return bool(slash) and ("." in first or ":" in first or first == "localhost" or first.startswith("["))


def parse_reference(text: str, origin: Origin | None = None) -> Reference:
    """Take a name apart, as Docker does: no host means Docker Hub, no tag means ``latest``.

    Raises:
        LadingError: if it is no image's name.
    """
    rest, _, digest = text.partition("@")
    first, _, others = rest.partition("/")
    named = names_registry(text)
    registry, path = (first, others) if named else (_REGISTRY, rest)
    repository, _, tag = path.partition(":")
    if not named and "/" not in repository:
        repository = f"library/{repository}"
    right = _REPOSITORY.fullmatch(repository) and _HOST.fullmatch(registry) and (not tag or _TAG.fullmatch(tag))
    if not right or ("@" in text and not is_sha256(digest)) or (":" in path and not tag):
        algorithm = other_algorithm(digest) if right else ""
        raise LadingError(
            Problem(
                rule="image-name-invalid",
                what=f'"{text}" is not an image\'s name.',
                origin=origin,
                why=f"Its digest is by {algorithm}, and Lading reads those by sha256 alone, as registries have them."
                if algorithm
                else "A name is host/repository:tag, in lower case; host and tag may be left out.",
                instead="Write my-model, my-model:v1, or ghcr.io/me/my-model:v1.",
            )
        )
    return Reference(registry=registry, repository=repository, tag=tag or "latest", digest=digest or None)


def check_name(text: str, origin: Origin | None = None) -> Reference:
    """A name that an image can be given, taken apart: one with a digest is that of an image that is there already.

    Raises:
        LadingError: if it is none.
    """
    reference = parse_reference(text, origin)
    if reference.digest:
        raise LadingError(
            Problem(
                rule="image-name-invalid",
                what=f'"{text}" cannot be the name of a new image.',
                origin=origin,
                why="A digest says what is in an image, and nobody knows that of one before it is made.",
                instead=f"Write a tag: {text.partition('@')[0]}{'' if ':' in text.partition('@')[0].rpartition('/')[2] else ':v1'}.",
            )
        )
    return reference


def require_registry(text: str, origin: Origin) -> None:
    """Refuse to push what would go to Docker Hub's own images, which nobody but Docker can push to.

    Raises:
        LadingError: if the name says neither where an image goes nor whose it is.
    """
    if parse_reference(text, origin).registry == _REGISTRY and not text.startswith(f"{_REGISTRY}/") and "/" not in text:
        raise LadingError(
            Problem(
                rule="push-without-registry",
                what=f"{text} names no registry to push to.",
                origin=origin,
                instead=f"Write `lading build -t ghcr.io/me/{text} --push` or `lading push {text} ghcr.io/me/{text}`; Docker Hub is docker.io/me/{text}.",
            )
        )


def local_name(text: str) -> str:
    """The spelling under which the local store keeps a name: with a tag, and a host only where one was given.

    Raises:
        LadingError: if it is no image's name.
    """
    reference = parse_reference(text)
    if reference.registry == _REGISTRY and not text.startswith(_REGISTRY):
        repository = reference.repository.removeprefix("library/") if not text.startswith("library/") else reference.repository
        return f"{repository}{f'@{reference.digest}' if reference.digest else f':{reference.tag}'}"
    return str(reference)


def name_from(text: str) -> str:
    """A name for an image made from a folder's name: lower case, nothing that a name may not hold."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-") or "model"
