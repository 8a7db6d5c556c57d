"""Exceptions of Cog up to 0.16."""

from cog import CancelationException

__all__ = ["CancelationException", "FatalWorkerException", "InvalidStateException"]


class FatalWorkerException(Exception):  # noqa: N818 - Cog's name
    """Cog's own, raised nowhere here."""


class InvalidStateException(Exception):  # noqa: N818 - Cog's name
    """Cog's own, raised nowhere here."""
