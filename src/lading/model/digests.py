"""Digests as locks, registries and hubs write them."""

from __future__ import annotations

import re

_SHA256 = re.compile(r"sha256:[0-9a-f]{64}")


def is_sha256(text: str) -> bool:
    """Whether a text is a digest as ``sha256:0123…``."""
    return _SHA256.fullmatch(text) is not None
