"""Connections that speak HTTP/2 from their first byte, which is gRPC, passed on to the server that understands it.

So that one port serves everything: uvicorn reads HTTP/1.1, and knows a connection of the other kind by its preface (RFC 9113, 3.4).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import cast

PREFACE = b"PRI * HTTP/2.0"
SLOWEST = 1024  # bytes per second that what is sent must go at, after the patience is over; as `lading.service.http_server` has it
_MOST_AHEAD = 1 << 16  # bytes that a client may send before the other end is there


class _End(asyncio.Protocol):
    """One end of a tunnel: what it receives, the other end sends. The slower end slows the other down. ``lost`` is called at its end.

    Who is at this end may take ``patience`` seconds for each stretch of what is sent to it; then the tunnel is closed.
    """

    def __init__(self, lost: Callable[[_End], None], patience: float) -> None:
        self._lost, self._patience = lost, patience
        self._timer: asyncio.TimerHandle | None = None
        self.transport: asyncio.Transport | None = None
        self.other: _End | None = None
        self.early: list[bytes] = []
        self.closed = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)

    def join(self, other: _End) -> None:
        """Send on what comes, and what came before: either side may speak first."""
        self.other, other.other = other, self
        for end in (self, other):
            early, end.early = end.early, []
            for piece in early:
                end.data_received(piece)

    def data_received(self, data: bytes) -> None:
        if self.other is not None and self.other.transport is not None:
            self.other.transport.write(data)
            return
        self.early.append(data)
        if sum(map(len, self.early)) > _MOST_AHEAD and self.transport is not None:
            self.transport.abort()

    def pause_writing(self) -> None:
        if self.other is not None and self.other.transport is not None and not self.other.closed:
            self.other.transport.pause_reading()
        self._watch()

    def resume_writing(self) -> None:
        self._stop_watching()
        if self.other is not None and self.other.transport is not None and not self.other.closed:
            self.other.transport.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - how it was lost does not matter
        self.closed = True
        self._stop_watching()
        self._lost(self)
        if self.other is not None:
            self.other.finish()

    def finish(self) -> None:
        """Send what waits, and close."""
        if self.transport is not None and not self.closed:
            self.transport.close()
            self._watch()

    def _watch(self) -> None:
        """See in a while whether what waits has become less."""
        self._stop_watching()
        if self.transport is not None:
            left = self.transport.get_write_buffer_size()
            self._timer = asyncio.get_running_loop().call_later(self._patience, self._look, left)

    def _look(self, before: int) -> None:
        assert self.transport is not None
        if self.transport.get_write_buffer_size() > before - SLOWEST * self._patience:
            self.transport.abort()
        else:
            self._watch()

    def _stop_watching(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


class Tunnels:
    """The tunnels to the server that listens on a socket in the file system. ``most`` are open at a time; one more is closed at once.

    ``patience`` is how many seconds a client may take for reading a stretch of what is sent to it.
    """

    def __init__(self, path: str, most: int, patience: float) -> None:
        self._path, self._most, self._patience = path, most, patience
        self._opening: set[asyncio.Task[None]] = set()
        self._open: set[_End] = set()

    def take(self, transport: asyncio.Transport, data: bytes) -> None:
        """Take a connection over, with what was read of it."""
        if len(self._open) >= self._most:
            transport.abort()
            return
        near = _End(self._open.discard, self._patience)
        self._open.add(near)
        transport.set_protocol(near)
        near.connection_made(transport)
        near.data_received(data)
        task = asyncio.get_running_loop().create_task(self._connect(near, transport))
        self._opening.add(task)
        task.add_done_callback(self._opening.discard)

    async def _connect(self, near: _End, transport: asyncio.Transport) -> None:
        try:
            _, far = await asyncio.get_running_loop().create_unix_connection(lambda: _End(lambda _: None, self._patience), self._path)
        except OSError:
            transport.abort()
            return
        near.join(far)
        if near.closed and far.transport is not None:
            far.finish()

    def close(self) -> None:
        """Open no more."""
        for task in self._opening:
            task.cancel()
