"""What a predictor may import of Lading: ``from lading import batched``. It is here while Lading serves it; nothing need be installed."""

from lading_worker.batched import batched

__all__ = ["batched"]
