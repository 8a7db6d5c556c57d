"""Digests as locks, registries and hubs write them."""

from __future__ import annotations

import re

_SHA256 = re.compile(r"sha256:[0-9a-f]{64}")
_DIGEST = re.compile(r"([a-z0-9]+(?:[+._-][a-z0-9]+)*):[a-zA-Z0-9=_-]+")


def is_sha256(text: str) -> bool:
    """Whether a text is a digest as ``sha256:0123…``."""
    return _SHA256.fullmatch(text) is not None


def other_algorithm(text: str) -> str:
    """The algorithm of a digest that is by another one than SHA-256, as ``sha512``; empty for what is no digest.

    The image specification has a grammar of digests, and asks its readers for SHA-256 alone (https://github.com/opencontainers/image-spec,
    descriptor.md).
    """
    found = _DIGEST.fullmatch(text)
    return found[1] if found and found[1] != "sha256" else ""
