"""Images as what engines run: what an image serves, and under which name a cluster pulls it."""

from __future__ import annotations

import io
import json
from dataclasses import dataclass, replace
from typing import Any

from lading import imaging
from lading.images.media import INDEXES, Descriptor, digest_of
from lading.images.reference import names_registry, parse_reference
from lading.images.registry import Registry
from lading.images.stored import is_stored
from lading.model.origin import Origin
from lading.model.problems import ExitCode, LadingError, Problem
from lading.model.service import ServedApi, ServiceSpec
from lading.pipeline import Project
from lading.service.container import from_json

_SERVICE = "run.lading.service"
_ROOTS = ("", "0", "root")


@dataclass(frozen=True, slots=True, kw_only=True)
class Imaged:
    """An image that ``lading build`` made. ``reference`` is what a cluster pulls: by digest, unless the nodes have it already."""

    reference: str
    title: str
    service: ServiceSpec


def read_image(name: str, *, side_loaded: bool = False) -> Imaged:
    """What an image serves, from Lading's store or its registry.

    ``side_loaded``: the nodes have it under this name, so no registry need be named.

    Raises:
        LadingError: if it is not to be had, was not made by Lading, runs as root or as a user by name, or names no registry.
    """
    reference = parse_reference(name, Origin("--image"))
    if not side_loaded and not names_registry(name):
        raise LadingError(_no_registry(name))
    digest, config = _from_store(name) if side_loaded or is_stored(name) else _from_registry(name)
    record = json.loads(config)
    settings = record.get("config") or {}
    text = (settings.get("Labels") or {}).get(_SERVICE)
    if not text:
        raise LadingError(_not_ours(name))
    user = str(settings.get("User") or "").partition(":")[0]
    if user in _ROOTS:
        raise LadingError(_runs_as_root(name))
    if not user.isdecimal():
        raise LadingError(_unnumbered_user(name, user))
    pulled = name if side_loaded else f"{reference.registry}/{reference.repository}@{digest}"
    return Imaged(reference=pulled, title=reference.repository.rpartition("/")[2], service=from_json(text.encode()))


def _from_store(name: str) -> tuple[str, bytes]:
    from lading.images.manifest import make_index  # noqa: PLC0415 -- for images of several platforms

    images = imaging.stored(name)
    return images[0].digest if len(images) == 1 else digest_of(make_index(images)), images[0].config


def _from_registry(name: str) -> tuple[str, bytes]:
    """The digest that a name has in its registry, and the configuration of its first platform; no layer is fetched."""
    reference = parse_reference(name)
    with Registry(reference) as registry:
        content, kind = registry.manifest(reference.target)
        digest = digest_of(content)
        record: Any = json.loads(content)
        if kind in INDEXES:
            content, _ = registry.manifest(record["manifests"][0]["digest"])
            record = json.loads(content)
        config = io.BytesIO()
        registry.fetch(Descriptor.from_json(record["config"]), config)
    return digest, config.getvalue()


def with_settings_of(imaged: Imaged, project: Project) -> ServiceSpec:
    """The image's service with what the project says of the cluster now: changing it needs no new image.

    Raises:
        LadingError: if the project has other APIs than the image.
    """
    own = {api.name: api.cluster for api in project.config.apis}
    service = imaged.service
    built = {api.name for api in (*service.apis, *service.job_apis)}
    if built != set(own):
        raise LadingError(_other_apis(imaged, sorted(built), sorted(own)))

    def adjusted(api: ServedApi) -> ServedApi:
        cluster = own[api.name]
        gpu = max(cluster.compute.gpu, api.cluster.compute.gpu if not cluster.compute.gpu and project.config.gpu else 0)
        return replace(api, cluster=replace(cluster, compute=replace(cluster.compute, gpu=gpu)))

    return service.each(adjusted, training=False)


def _no_registry(name: str) -> Problem:
    return Problem(
        rule="image-without-registry",
        what=f"{name} names no registry that a cluster could pull it from.",
        origin=Origin("--image"),
        instead=f"Push it (`lading push {name} ghcr.io/me/{name}`) and deploy --image ghcr.io/me/{name}; or --image-pull-policy Never, if the nodes have it.",
        code=ExitCode.DEPLOY,
    )


def _not_ours(name: str) -> Problem:
    return Problem(
        rule="image-not-lading",
        what=f"The image {name} does not say what it serves.",
        why="`lading deploy` runs images that `lading build` made.",
        instead="Build it with `lading build`.",
        code=ExitCode.DEPLOY,
    )


def _runs_as_root(name: str) -> Problem:
    return Problem(
        rule="image-runs-as-root",
        what=f"The image {name} runs as root.",
        why="Its pods are not allowed to: a model that is broken into would own its node's kernel interface.",
        instead="Build it without --user root.",
        code=ExitCode.DEPLOY,
    )


def _unnumbered_user(name: str, user: str) -> Problem:
    return Problem(
        rule="image-user-unnumbered",
        what=f'The image {name} runs as "{user}".',
        why="A node cannot tell by a name that its pods do not run as root, and does not start them.",
        instead="Build it with the user's number: --user UID:GID.",
        code=ExitCode.DEPLOY,
    )


def _other_apis(imaged: Imaged, built: list[str], own: list[str]) -> Problem:
    return Problem(
        rule="image-out-of-date",
        what=f"The image {imaged.reference.partition('@')[0]} serves {', '.join(built)}, and the project has {', '.join(own)}.",
        instead="Build and push it again.",
        code=ExitCode.DEPLOY,
    )
