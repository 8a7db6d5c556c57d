"""What an image says about itself: the OCI's annotations, Cog's labels, and ours."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from lading import __version__
from lading.images.base import Base
from lading.images.media import digest_of
from lading.images.packages import Package
from lading.model.decisions import Decision
from lading.model.records import dataclass
from lading.model.secrets import Redactor

_LONGEST = 64 * 1024
"""Of one label: some registries refuse configurations of more than a few MB."""
_ANNOTATED = 8 * 1024
"""Of one annotation: whoever asks what a name stands for gets the whole manifest."""
_ABOUT_THE_BASE = ("run.lading.", "run.cog.", "org.opencontainers.image.", "org.cogmodel.")
"""Labels that a base has of its own making: they would be wrong of what stands on it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """Something that an image says about itself at length: a file of it at ``path`` (absolute)."""

    name: str
    path: str
    content: bytes


def make_labels(
    *,
    title: str,
    base: Base,
    revision: str | None,
    source: str | None,
    config: Any,
    openapi: Mapping[str, Any] | None,
    packages: Sequence[Package],
    decisions: Sequence[Decision],
    documents: Sequence[Document],
    service: Mapping[str, Any],
    redact: Redactor,
) -> dict[str, str]:
    """The labels. Credentials are masked, as everywhere; what is too long for a label is only in the image's files.

    ``run.cog.*`` are the labels of Cog's images, for the tools that read them.
    """
    freeze = "\n".join(f"{package.name}=={package.version}" for package in packages if package.version)
    labels: dict[str, Any] = {
        "org.opencontainers.image.title": title,
        "org.opencontainers.image.base.name": base.name if base.digest else None,
        "org.opencontainers.image.base.digest": base.digest or None,
        "org.opencontainers.image.revision": revision,
        "org.opencontainers.image.source": source,
        "run.cog.version": f"lading-{__version__}",
        "run.cog.config": config,
        "run.cog.has_init": "true",
        "run.cog.openapi_schema": openapi,
        "run.cog.pip_freeze": freeze,
        "run.cog.cog-base-image-name": base.name if base.digest else None,
        "run.cog.cog-base-image-last-layer-sha": base.layers[-1].diff_id if base.layers else None,
        "run.cog.cog-base-image-last-layer-idx": str(len(base.layers) - 1) if base.layers else None,
        "run.lading.version": __version__,
        "run.lading.service": {**service, "apis": [{**api, "openapi": None} for api in service.get("apis", ())]},
        "run.lading.decisions": [decision.as_json() for decision in decisions],
        **_described(documents),
    }
    written = {name: _text(value, redact) for name, value in labels.items() if value}
    return {name: text for name, text in written.items() if len(text) <= _LONGEST or name == "run.lading.service"}


def _text(value: Any, redact: Redactor) -> str:
    text = value if isinstance(value, str) else json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return redact(text)


def _described(documents: Sequence[Document]) -> dict[str, str]:
    """Where each document lies in the image, and its digest; and the document itself, which is left out again where it is too long."""
    found: dict[str, str] = {}
    for one in documents:
        found |= {f"run.lading.{one.name}-path": one.path, f"run.lading.{one.name}-digest": digest_of(one.content)}
        if one.name != "openapi":  # it is run.cog.openapi_schema
            found[f"run.lading.{one.name}"] = one.content.decode()
    return found


def inherited_labels(labels: Mapping[str, str]) -> dict[str, str]:
    """Those of a base that hold for an image on it too."""
    return {name: text for name, text in labels.items() if not name.startswith(_ABOUT_THE_BASE)}


def annotations_of(labels: Mapping[str, str]) -> dict[str, str]:
    """Those of the labels that stand in the manifest too, for tools that read no configuration: the short ones."""
    return {name: text for name, text in labels.items() if name != "run.lading.service" and len(text) <= _ANNOTATED}
