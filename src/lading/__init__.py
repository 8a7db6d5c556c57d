"""Lading: from a machine-learning project's folder to an environment, a service, an image, a deployment."""

from __future__ import annotations

__version__ = "0.1.0"


def __getattr__(name: str) -> object:
    """``from lading import batched``, the same here as in a predictor that Lading serves."""
    if name == "batched":
        from lading_worker.batched import batched  # noqa: PLC0415 - only who asks for it

        return batched
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
