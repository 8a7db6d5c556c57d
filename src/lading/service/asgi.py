"""A request and its answer over ASGI, as thin as can be: no framework, so that a request costs the front as little as possible."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any

from lading.service.counters import Counters

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Headers = Iterable[tuple[bytes, bytes]]

JSON = b"application/json"
TEXT = b"text/plain; charset=utf-8"
OWN_ERROR = (b"lading-error", b"own")
"""Stands in every answer of 500 and above: ingresses in front of the server say 500 and 503, too, of servers that they do not reach."""
HONORS_KEYS = (b"lading-idempotency-key", b"honored")
"""Stands in the answer to OPTIONS where a POST that is sent twice with the same ``Idempotency-Key`` is run once."""
_WATCH_AFTER = 0.05  # seconds before a request is watched for its client's going away
_LINGER = 2.0  # seconds in which the rest of a refused body is read and dropped


class TooLargeError(Exception):
    """The request's body is over the limit. ``limit`` is in bytes."""

    def __init__(self, limit: int) -> None:
        super().__init__(f"the body is larger than {limit} bytes")
        self.limit = limit


class Budget:
    """So many bytes of bodies are held at a time, by all requests together: a full queue must not fill the memory."""

    __slots__ = ("limit", "used")

    def __init__(self, limit: int) -> None:
        self.limit, self.used = limit, 0

    def take(self, size: int) -> None:
        """Take a share.

        Raises:
            NoRoomError: if there is not so much left.
        """
        if self.used + size > self.limit:
            raise NoRoomError(self.limit)
        self.used += size

    def give(self, size: int) -> None:
        """Give a share back."""
        self.used -= size


class NoRoomError(Exception):
    """The bodies of requests that wait fill the room there is. ``limit`` is in bytes."""

    def __init__(self, limit: int) -> None:
        super().__init__(f"the bodies of waiting requests fill the {limit} bytes there are for them")
        self.limit = limit


class ClientGoneError(Exception):
    """The client hung up before its request was complete."""


class Request:
    """One HTTP request and the answer to it. ``api`` is the name of the API that it concerns, empty for none."""

    __slots__ = ("_counters", "_held", "_room", "_send", "api", "headers", "method", "path", "query", "receive", "scope", "status")

    def __init__(self, scope: Scope, receive: Receive, send: Send, counters: Counters, room: Budget) -> None:
        self.scope, self.receive, self._send, self._counters, self._room = scope, receive, send, counters, room
        self._held = 0
        self.method: str = scope["method"]
        self.path: str = scope["path"]
        self.query: bytes = scope.get("query_string", b"")
        self.headers: dict[bytes, bytes] = dict(scope["headers"])
        self.api = ""
        self.status = 0

    def segments(self) -> list[bytes]:
        """The path's segments, still percent-encoded: an encoded slash does not separate."""
        raw: bytes = self.scope.get("raw_path") or self.path.encode()
        return raw.partition(b"?")[0].split(b"/")[1:]

    def header_list(self, name: bytes, *, keep_parameters: bool = False) -> list[str]:
        """The members of a header that is a list, in lower case, of all lines of it; what follows a semicolon is left out."""
        lines = (value.decode("latin-1").lower() for key, value in self.scope["headers"] if key == name)
        members = (member for line in lines for member in line.split(","))
        return [(member if keep_parameters else member.partition(";")[0]).strip() for member in members]

    async def body(self, limit: int) -> bytes:
        """The whole body.

        Raises:
            TooLargeError: as soon as the body's length is known to be over ``limit`` bytes; at once if the client says it.
            NoRoomError: as soon as it is known that the bodies that are held leave no room for it.
            ClientGoneError: if the client hangs up.
        """
        length = self.headers.get(b"content-length", b"")
        if length.isdigit():
            if int(length) > limit:
                raise TooLargeError(limit)
            self._hold(int(length))
        message = await self.receive()
        if message["type"] == "http.request" and not message.get("more_body"):
            return self._within(message.get("body", b""), limit)
        return await self._rest_of_body(message, limit)

    def _hold(self, size: int) -> None:
        """Take room for a body of so many bytes, all told."""
        if size > self._held:
            self._room.take(size - self._held)
            self._held = size

    def release(self) -> None:
        """The body is needed no more."""
        if self._held:
            self._room.give(self._held)
            self._held = 0

    def hand_over(self) -> Callable[[], None] | None:
        """Keep the body's room beyond this request: who calls the function that this returns gives it back."""
        if not self._held:
            return None
        size, self._held = self._held, 0
        return lambda: self._room.give(size)

    async def _rest_of_body(self, message: Message, limit: int) -> bytes:
        parts, size = [], 0
        while True:
            if message["type"] != "http.request":
                raise ClientGoneError
            part = message.get("body", b"")
            parts.append(part)
            size += len(part)
            if size > limit:
                raise TooLargeError(limit)
            self._hold(size)
            if not message.get("more_body"):
                return b"".join(parts)
            message = await self.receive()

    def _within(self, body: bytes, limit: int) -> bytes:
        if len(body) > limit:
            raise TooLargeError(limit)
        self._hold(len(body))
        return body

    async def respond(self, status: int, body: bytes = b"", content_type: bytes | None = JSON, headers: Headers = ()) -> None:
        """Answer at once."""
        all_headers = [(b"content-length", b"%d" % len(body)), *headers] if status != 204 else list(headers)
        if content_type is not None and status != 204:
            all_headers.insert(0, (b"content-type", content_type))
        if status >= 500:
            all_headers.append(OWN_ERROR)
        self._count(status)
        await self._send({"type": "http.response.start", "status": status, "headers": all_headers})
        await self._send({"type": "http.response.body", "body": body})

    async def refuse_body(self, status: int, body: bytes, extra: Headers = ()) -> None:
        """Answer without reading the body. What the client still sends is dropped for a moment, so that it gets to read the answer."""
        self.release()  # what was read of it is dropped, too, while the client may still be sending
        headers = [(b"content-type", JSON), (b"content-length", b"%d" % len(body)), (b"connection", b"close"), *extra]
        if status >= 500:
            headers.append(OWN_ERROR)
        self._count(status)
        await self._send({"type": "http.response.start", "status": status, "headers": headers})
        await self._send({"type": "http.response.body", "body": body, "more_body": True})
        if b"100-continue" not in self.headers.get(b"expect", b"").lower():
            await self._drop_body()
        await self._send({"type": "http.response.body", "body": b""})

    async def _drop_body(self) -> None:
        try:
            async with asyncio.timeout(_LINGER):
                while True:
                    message = await self.receive()
                    if message["type"] != "http.request" or not message.get("more_body"):
                        return
        except TimeoutError:
            return

    async def start_stream(self, content_type: bytes, headers: Headers = ()) -> None:
        """Begin an answer that comes in pieces."""
        self._count(200)
        all_headers = [(b"content-type", content_type), (b"cache-control", b"no-store"), *headers]
        await self._send({"type": "http.response.start", "status": 200, "headers": all_headers})

    async def write(self, piece: bytes) -> None:
        """Send a piece; waits while the client reads slowly."""
        await self._send({"type": "http.response.body", "body": piece, "more_body": True})

    async def end_stream(self) -> None:
        """The last piece was sent."""
        await self._send({"type": "http.response.body", "body": b""})

    def _count(self, status: int) -> None:
        self.status = status
        self._counters.requested(self.api, self.method, status)

    async def gone(self) -> None:
        """Return when the client hangs up. Only after the body was read."""
        while (await self.receive())["type"] != "http.disconnect":
            pass


class HangUpWatch:
    """Calls ``on_gone`` if the client hangs up while its request is being worked on.

    The watching task is made only for requests that take a while: most do not.
    """

    __slots__ = ("_on_gone", "_request", "_task", "_timer")

    def __init__(self, request: Request, on_gone: Callable[[], None]) -> None:
        self._request, self._on_gone = request, on_gone
        self._task: asyncio.Task[None] | None = None
        self._timer = asyncio.get_running_loop().call_later(_WATCH_AFTER, self._start)

    def _start(self) -> None:
        self._task = asyncio.get_running_loop().create_task(self._watch())

    async def _watch(self) -> None:
        await self._request.gone()
        self._on_gone()

    def stop(self) -> None:
        """The request is done."""
        self._timer.cancel()
        if self._task is not None:
            self._task.cancel()
