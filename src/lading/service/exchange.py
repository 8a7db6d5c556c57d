"""A request that is answered without a task: a plain POST to a predictor, which is what nearly every request is.

The event loop calls its handler when the body is there, and the handler's answer is written when the worker's comes, in the same turn
of the loop. Whatever is less plain (a stream, a preference, a body of unknown length, a request behind another) goes the way of
`lading.service.asgi`; both ways give the same answers.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Protocol

from lading.service.asgi import JSON, OWN_ERROR, Budget, Headers, NoRoomError
from lading.service.counters import Counters
from lading.service.log import ServiceLog


class Handler(Protocol):
    """What answers the plain requests of one path."""

    def takes(self, headers: Mapping[bytes, bytes]) -> bool:
        """Whether a POST with these headers is plain."""

    def handle(self, exchange: Exchange) -> None:
        """Answer a request, now or later. Its body is there."""


class Direct:
    """The handlers of plain requests by path, and what all of them share. ``limit`` is the longest body's, in bytes."""

    def __init__(
        self, limit: int, room: Budget, counters: Counters, log: ServiceLog, failed: Callable[[Exchange, Exception], None]
    ) -> None:
        self.handlers: dict[bytes, Handler] = {}
        self.limit, self.room, self.counters, self.log, self.failed = limit, room, counters, log, failed

    def told(self, exchange: Exchange, status: int) -> None:
        """A request was answered."""
        self.counters.requested(exchange.api, "POST", status)
        if self.log.wants("debug"):
            self.log.say("debug", f"POST {exchange.url.decode('ascii', 'replace')} {status}", api=exchange.api)


class Connection(Protocol):
    """What an exchange needs of its connection."""

    transport: asyncio.Transport

    def head_start(self) -> bytes:
        """The header lines that every answer has."""

    def answered(self) -> None:
        """The answer was written."""


_STATUS_LINES = {status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n".encode() for status in HTTPStatus}


class Exchange:
    """One plain request and its answer. ``api`` is the name of the API that it concerns.

    ``on_gone`` is called if the client hangs up before the answer. ``response_complete``, ``disconnected`` and ``keep_alive`` are what
    uvicorn looks at in what it calls a cycle.
    """

    __slots__ = (
        "_connection",
        "_direct",
        "_handler",
        "_held",
        "_parts",
        "api",
        "disconnected",
        "header_lines",
        "headers",
        "keep_alive",
        "on_gone",
        "response_complete",
        "url",
    )
    method = "POST"

    def __init__(
        self,
        connection: Connection,
        direct: Direct,
        handler: Handler,
        *,
        url: bytes,
        header_lines: list[tuple[bytes, bytes]],
        headers: dict[bytes, bytes],
        length: int,
    ) -> None:
        self._connection, self._direct, self._handler = connection, direct, handler
        self.url, self.header_lines, self.headers = url, header_lines, headers
        self._parts: list[bytes] = []
        self._held = length
        self.api = ""
        self.on_gone: Callable[[], None] | None = None
        self.response_complete = self.disconnected = False
        self.keep_alive = True

    @classmethod
    def of(cls, connection: Connection, direct: Direct, url: bytes, header_lines: list[tuple[bytes, bytes]]) -> Exchange | None:
        """The exchange for a POST whose head is there, None if it is not plain."""
        handler = direct.handlers.get(url)
        if handler is None:
            return None
        headers = dict(header_lines)
        length = headers.get(b"content-length", b"")
        if not length.isdigit() or int(length) > direct.limit or b"expect" in headers or not handler.takes(headers):
            return None
        try:
            direct.room.take(int(length))
        except NoRoomError:
            return None
        return cls(connection, direct, handler, url=url, header_lines=header_lines, headers=headers, length=int(length))

    # What the connection says

    def add(self, piece: bytes) -> None:
        """A piece of the body."""
        self._parts.append(piece)

    def run(self) -> None:
        """The body is there."""
        try:
            self._handler.handle(self)
        except Exception as error:  # noqa: BLE001 - one request that we cannot answer must be told, and stop no other
            self._direct.failed(self, error)

    def gone(self) -> None:
        """The client has hung up."""
        if self.response_complete or self.disconnected:
            return
        self.disconnected = True
        self.release()
        if self.on_gone is not None:
            self.on_gone()

    # What the handler says

    def body(self) -> bytes:
        """The whole body."""
        parts, self._parts = self._parts, []
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def release(self) -> None:
        """The body is needed no more: its room is given back."""
        if self._held:
            self._direct.room.give(self._held)
            self._held = 0

    def respond(self, status: int, body: bytes = b"", content_type: bytes | None = JSON, headers: Headers = ()) -> None:
        """Answer. Nothing is sent if the client has gone or was answered."""
        self._direct.told(self, status)
        self.release()
        if self.response_complete or self.disconnected:
            return
        self.response_complete = True
        self.on_gone = None
        start = _STATUS_LINES.get(status) or b"HTTP/1.1 %d \r\n" % status
        lines = [start, self._connection.head_start()]
        if content_type is not None and status != 204:
            lines.append(b"content-type: %b\r\n" % content_type)
        lines.extend(b"%b: %b\r\n" % header for header in headers)
        if status >= 500:
            lines.append(b"%b: %b\r\n" % OWN_ERROR)
        if not self.keep_alive:
            lines.append(b"connection: close\r\n")
        lines.append(b"\r\n" if status == 204 else b"content-length: %d\r\n\r\n" % len(body))
        transport = self._connection.transport
        if status != 204:
            lines.append(body)
        transport.write(b"".join(lines))
        self._connection.answered()
