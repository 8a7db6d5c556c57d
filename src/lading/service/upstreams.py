"""Servers behind a gateway: one request sent to one of them, and which of them to send the next one to.

Each request has a connection of its own, on purpose. A server may close a kept one, or say 408 on it, at the moment of the next request;
what must not be repeated would be lost by that, and what hangs on a kept connection after a link was cut says nothing of the server.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

import httptools

CONNECT_SECONDS = 2.0
_LONGEST_REST = 5.0
_READ = 1 << 16
_HOP = frozenset(
    (b"connection", b"keep-alive", b"proxy-authenticate", b"te", b"trailer", b"transfer-encoding", b"upgrade", b"proxy-connection")
)

Header = tuple[bytes, bytes]


class UnreachedError(Exception):
    """Nothing of the request was sent: another server may have it, whatever it asks for."""


class BrokenError(Exception):
    """The connection ended before the answer did; what the server did with the request is not known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """A request as it goes to every server that is tried."""

    method: bytes
    target: bytes
    headers: Sequence[Header]
    body: bytes


@dataclass(slots=True, eq=False)
class _Connection:
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    def close(self) -> None:
        with contextlib.suppress(Exception):
            self.writer.close()


@dataclass(slots=True, eq=False)
class Upstream:
    """One server. ``prefix`` stands before the path of each request. One that failed rests for a while, if there are others."""

    host: str
    port: int
    prefix: bytes = b""
    failures: int = 0
    rests_until: float = 0.0
    in_flight: int = 0

    def failed(self) -> None:
        """Note a failure: the next requests go to others, for longer each time."""
        self.failures += 1
        self.rests_until = time.monotonic() + min(_LONGEST_REST, 0.25 * 2**self.failures)

    def worked(self) -> None:
        """Note an answer."""
        self.failures, self.rests_until = 0, 0.0

    async def connect(self) -> _Connection:
        """A new connection.

        Raises:
            UnreachedError: if there is none to be had.
        """
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                return _Connection(*await asyncio.open_connection(self.host, self.port))
        except (OSError, TimeoutError) as error:
            raise UnreachedError(str(error) or "no answer") from error


class Answer:
    """An answer whose head is there. ``length`` is what the body will have, if that is known; `body` reads it."""

    def __init__(self, upstream: Upstream, connection: _Connection, method: bytes) -> None:
        self.status = 0
        self.headers: list[Header] = []
        self.length: int | None = None
        self.upstream, self._connection, self._method = upstream, connection, method
        self._parser = httptools.HttpResponseParser(self)
        self._pieces: list[bytes] = []
        self._headed = self._over = self._chunked = self._ended = False

    @property
    def streams(self) -> bool:
        """Whether it comes over time, and each piece counts at once."""
        return any(name == b"content-type" and value.startswith(b"text/event-stream") for name, value in self.headers)

    # What the parser says

    def on_header(self, name: bytes, value: bytes) -> None:
        """See `httptools.HttpResponseParser`."""
        lower = name.lower()
        if lower == b"content-length" and value.isdigit():
            self.length = int(value)
        if lower == b"transfer-encoding":
            self._chunked = True
        if lower not in _HOP:
            self.headers.append((lower, value))

    def on_headers_complete(self) -> None:
        """As above."""
        self.status = self._parser.get_status_code()
        # An interim answer (100, 103) is followed by the one that counts.
        self._headed = self.status >= 200
        if not self._headed:
            self.headers.clear()

    def on_body(self, piece: bytes) -> None:
        """As above."""
        self._pieces.append(piece)

    def on_message_complete(self) -> None:
        """As above."""
        self._over = self._headed

    # Reading

    async def head(self) -> None:
        """Wait for the head.

        Raises:
            BrokenError: if it does not come.
        """
        while not self._headed:
            await self._read()
        if self._method == b"HEAD":
            self._over = True

    async def body(self) -> AsyncIterator[bytes]:
        """The body, piece by piece.

        Raises:
            BrokenError: if it ends too early.
        """
        while True:
            pieces, self._pieces = self._pieces, []
            for piece in pieces:
                yield piece
            if self._over and not self._pieces:
                return
            if not self._over:
                await self._read()

    async def _read(self) -> None:
        try:
            data = await self._connection.reader.read(_READ)
            if not data and self._headed and self.length is None and not self._chunked and not self._parser.should_keep_alive():
                self._over = True  # the end of the connection is the end of such a body; a chunked one says itself where it ends
                return
            if not data:
                raise BrokenError("the connection was closed")
            self._parser.feed_data(data)
        except (OSError, httptools.HttpParserError) as error:
            raise BrokenError(str(error) or type(error).__name__) from error

    def end(self) -> None:
        """Close the connection. A second time does nothing."""
        if self._ended:
            return
        self._ended = True
        self.upstream.in_flight -= 1
        self._connection.close()


async def ask(upstream: Upstream, sent: Sent) -> Answer:
    """Send a request to one server, and wait for the head of its answer. Whoever gets the answer calls its `end`.

    Raises:
        UnreachedError: if nothing was sent.
        BrokenError: if no answer came.
    """
    upstream.in_flight += 1
    connection: _Connection | None = None
    try:
        connection = await upstream.connect()
        answer = Answer(upstream, connection, sent.method)
        head = [b"%b %b%b HTTP/1.1\r\n" % (sent.method, upstream.prefix, sent.target)]
        head.append(b"connection: close\r\n")
        head += [b"%b: %b\r\n" % header for header in sent.headers if header[0] not in _HOP and header[0] != b"content-length"]
        if sent.body or sent.method in (b"POST", b"PUT", b"PATCH"):
            head.append(b"content-length: %d\r\n" % len(sent.body))
        try:
            connection.writer.write(b"".join(head) + b"\r\n" + sent.body)
            await connection.writer.drain()
        except OSError as error:
            raise BrokenError(str(error)) from error
        await answer.head()
    except BaseException:
        upstream.in_flight -= 1
        if connection is not None:
            connection.close()
        raise
    return answer


def choose(upstreams: Sequence[Upstream], tried: Sequence[Upstream]) -> Upstream:
    """The server for the next attempt: one that was not tried for this request and does not rest, with the least to do."""
    now = time.monotonic()
    return min(upstreams, key=lambda one: (tried.count(one), one.rests_until > now, one.in_flight, one.rests_until))
