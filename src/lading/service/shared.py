"""Large bodies go to a worker through memory that both have: a socket takes them in small pieces, each with a change of process.

One region for each slot, made with the worker (``memfd_create``, Linux) and passed to it like its sockets. It is empty until the first
large body comes, grows with what is needed, and belongs to one call at a time: a large body is sent to a slot only when nothing else is on
its way there.
"""

from __future__ import annotations

import contextlib
import mmap
import os

LEAST = 64 * 1024
"""Smaller bodies go through the socket, in bytes."""
MOST = 16 * 1024 * 1024
"""Larger bodies go through the socket, too: the region would hold their room for good."""


def make_region() -> int | None:
    """The descriptor of an empty region; None where there are none. It is the caller's to close."""
    if not hasattr(os, "memfd_create"):
        return None
    try:
        return os.memfd_create("lading-body")
    except OSError:
        return None


class Region:
    """One region, as the front writes it."""

    __slots__ = ("_map", "_number")

    def __init__(self, number: int) -> None:
        self._number = number
        self._map: mmap.mmap | None = None

    def put(self, body: bytes) -> bool:
        """Write a body at its beginning; False if it does not go this way."""
        size = len(body)
        if not LEAST < size <= MOST:
            return False
        try:
            if self._map is None or len(self._map) < size:
                self._grow(size)
        except (OSError, ValueError):
            return False
        assert self._map is not None
        self._map[:size] = body
        return True

    def _grow(self, size: int) -> None:
        self.close()
        room = max(1 << (size - 1).bit_length(), 1 << 20)
        os.ftruncate(self._number, room)
        self._map = mmap.mmap(self._number, room)

    def close(self) -> None:
        """Let go of the memory; the descriptor stays open."""
        if self._map is not None:
            with contextlib.suppress(BufferError):
                self._map.close()
            self._map = None
