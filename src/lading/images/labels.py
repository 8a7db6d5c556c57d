"""What an image says about itself: the OCI's annotations, Cog's labels, and ours."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from lading import __version__
from lading.images.base import Base
from lading.images.packages import Package
from lading.model.decisions import Decision
from lading.model.secrets import Redactor

_LONGEST = 64 * 1024
"""Of one label: some registries refuse configurations of more than a few MB."""


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
    lock_digest: str,
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
        "run.lading.lock-digest": lock_digest,
    }
    written = {name: _text(value, redact) for name, value in labels.items() if value}
    return {name: text for name, text in written.items() if len(text) <= _LONGEST or name == "run.lading.service"}


def _text(value: Any, redact: Redactor) -> str:
    text = value if isinstance(value, str) else json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return redact(text)


def annotations_of(labels: Mapping[str, str]) -> dict[str, str]:
    """Those of the labels that stand in the manifest too, for tools that read no configuration."""
    return {name: text for name, text in labels.items() if name.startswith("org.opencontainers.image.")}
