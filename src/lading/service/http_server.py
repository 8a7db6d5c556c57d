"""uvicorn, as we run it: our sockets, our signals, no lifespan, no log of its own, and no client that can hold a connection for nothing.

uvicorn alone waits without end for the rest of a request, and for a client that does not read its answer, and takes a head of any
length. Here each of them has a bound; what is bounded is looked at every few seconds for all connections at once, so that a request costs
nothing more.
"""

from __future__ import annotations

import asyncio
import contextlib
import resource
import socket
from collections.abc import Iterator
from typing import Any, cast

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from lading.service.exchange import Direct, Exchange
from lading.service.tunnel import PREFACE, SLOWEST

_KEEP_ALIVE = 75  # seconds an idle connection stays open: longer than the load balancers in front keep theirs
_LONGEST_HEAD = 64 * 1024
_OWN_FILES = 256  # descriptors that are not connections: workers, their sockets and pipes, webhooks
_FEWEST = 64
_HEAD, _BODY, _NOTHING = range(3)
_PROBES = {"TCP_KEEPIDLE": 60, "TCP_KEEPINTVL": 15, "TCP_KEEPCNT": 4}  # a client that vanished is noticed after two minutes


class BoundedProtocol(HttpToolsProtocol):
    """One connection. `look` ends it when its client has kept us waiting for longer than it may."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See `asyncio.Protocol`."""
        super().connection_made(transport)  # type: ignore[arg-type] # a socket's is a Transport
        self._awaits = _HEAD
        self._since = self.loop.time()
        self._received = 0  # bytes of what is awaited
        self._stuck: tuple[float, int] | None = None
        self._direct: Direct | None = getattr(self.app, "direct", None)
        self._exchange: Exchange | None = None
        _probe(transport.get_extra_info("socket"))

    def data_received(self, data: bytes) -> None:
        """See `asyncio.Protocol`."""
        if data.startswith(PREFACE) and self._awaits == _HEAD and not self._received and self._hand_over(data):
            return
        super().data_received(data)
        self._received += len(data)
        if self._awaits == _HEAD and self._received > _LONGEST_HEAD and not self.transport.is_closing():
            self._refuse(b"431 Request Header Fields Too Large", b"The head of a request may have 64 KiB.")

    def _hand_over(self, data: bytes) -> bool:
        """Let who speaks HTTP/2 have the connection, if there is one; from then on it is none of ours."""
        take = getattr(self.app, "http2", None)
        if take is None:
            return False
        self.connections.discard(self)
        take(self.transport, data)
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        """See `asyncio.Protocol`."""
        exchange, self._exchange = self._exchange, None
        cycle: Any = self.cycle
        if isinstance(cycle, Exchange):
            self.cycle = None  # type: ignore[assignment] # uvicorn begins with None, too
        super().connection_lost(exc)
        if exchange is not None:
            exchange.gone()

    def on_message_begin(self) -> None:
        """A request begins: its head is awaited."""
        # uvicorn makes its scope here; most requests need none.
        self.url, self.headers, self.expect_100_continue = b"", [], False
        self._await(_HEAD)

    def on_headers_complete(self) -> None:
        """Its head is there: its body is awaited."""
        exchange = self._begin_exchange()
        if exchange is not None:
            self._exchange = self.cycle = exchange  # type: ignore[assignment] # it has what uvicorn looks at
        else:
            url, headers, expect = self.url, self.headers, self.expect_100_continue
            super().on_message_begin()
            self.url, self.headers, self.expect_100_continue = url, headers, expect
            self.scope["headers"] = headers
            super().on_headers_complete()
        self._await(_BODY)

    def _begin_exchange(self) -> Exchange | None:
        """The exchange for this request if it is a plain one, and nothing before it on this connection is still to be answered."""
        parser, cycle = self.parser, self.cycle
        if self._direct is None or parser.get_method() != b"POST" or parser.get_http_version() != "1.1":
            return None
        if (cycle is not None and not cycle.response_complete) or self.flow.write_paused or parser.should_upgrade():
            return None
        if self.limit_concurrency is not None and len(self.connections) >= self.limit_concurrency:
            return None
        exchange = Exchange.of(self, self._direct, self.url, self.headers)
        if exchange is not None:
            exchange.keep_alive = parser.should_keep_alive()
        return exchange

    def on_body(self, body: bytes) -> None:
        """A piece of its body."""
        exchange, cycle = self._exchange, self.cycle
        if exchange is not None and exchange is cast("Any", cycle):
            exchange.add(body)
        else:
            super().on_body(body)

    def on_message_complete(self) -> None:
        """It is there as a whole."""
        self._await(_NOTHING)
        exchange, cycle = self._exchange, self.cycle
        if exchange is not None and exchange is cast("Any", cycle):
            exchange.run()
        else:
            super().on_message_complete()

    def head_start(self) -> bytes:
        """See `lading.service.exchange.Connection`."""
        return _head_start(self.server_state.default_headers)

    def answered(self) -> None:
        """See `lading.service.exchange.Connection`: the next request may come, or is there already."""
        exchange, self._exchange = self._exchange, None
        self._since = self.loop.time()
        if exchange is not None and not exchange.keep_alive:
            self.transport.close()
        if self.pipeline:
            self.on_response_complete()
        else:
            # `look` ends idle connections: no timer for each request.
            self.server_state.total_requests += 1

    def _await(self, part: int) -> None:
        self._awaits, self._since, self._received = part, self.loop.time(), 0

    def look(self, patience: float) -> None:
        """End the connection if its client is too slow. ``patience`` is in seconds; it may take so long for each step."""
        if self.transport.is_closing():
            return
        now = self.loop.time()
        waited = now - self._since
        answered = self.cycle is None or self.cycle.response_complete
        if self._stuck_in_writing(now, patience):
            self.transport.abort()
        elif self._awaits == _HEAD and answered and waited > patience:
            if self._received:
                self._refuse(b"408 Request Timeout", b"The request did not come in time.")
            else:
                self.transport.close()
        elif self._awaits == _BODY and not self.flow.read_paused and waited > patience + self._received / SLOWEST:
            self.transport.abort()
        elif self._awaits == _NOTHING and answered and waited > _KEEP_ALIVE and self.timeout_keep_alive_task is None:
            # uvicorn forgets its own limit when a body's end comes after the answer to it.
            self.transport.close()

    def _stuck_in_writing(self, now: float, patience: float) -> bool:
        if not self.flow.write_paused:
            self._stuck = None
            return False
        size = self.transport.get_write_buffer_size()
        if self._stuck is None or size < self._stuck[1] - SLOWEST * patience or size > self._stuck[1]:
            self._stuck = (now, size)
        return now - self._stuck[0] > patience

    def _refuse(self, status: bytes, text: bytes) -> None:
        head = b"content-type: text/plain; charset=utf-8\r\ncontent-length: %d\r\nconnection: close\r\n\r\n" % len(text)
        self.transport.write(b"HTTP/1.1 " + status + b"\r\n" + head + text)
        self.transport.close()


_rendered: tuple[list[tuple[bytes, bytes]], bytes] = ([], b"")


def _head_start(default: list[tuple[bytes, bytes]]) -> bytes:
    """Uvicorn's own headers (the date) as bytes; it makes a new list every second."""
    global _rendered  # noqa: PLW0603 - the last second's
    if _rendered[0] is not default:
        _rendered = (default, b"".join(b"%b: %b\r\n" % header for header in default))
    return _rendered[1]


def _probe(connection: Any) -> None:
    """Let the kernel notice a client whose machine is gone, so that its prediction is canceled."""
    if connection is None or connection.family not in (socket.AF_INET, socket.AF_INET6):
        return
    with contextlib.suppress(OSError):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name, value in _PROBES.items():
            if hasattr(socket, name):
                connection.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


class HttpServer(uvicorn.Server):
    """A uvicorn server that leaves signals to us and ends connections whose clients are too slow."""

    def __init__(self, config: uvicorn.Config, patience: float) -> None:
        super().__init__(config)
        self._patience = patience

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Take no signals: `lading.service.server` has them."""
        yield

    async def main_loop(self) -> None:
        """See `uvicorn.Server`."""
        looking = asyncio.create_task(self._look_often())
        try:
            await super().main_loop()
        finally:
            looking.cancel()

    async def _look_often(self) -> None:
        while True:
            await asyncio.sleep(min(5.0, self._patience / 4))
            for connection in list(self.server_state.connections):
                if isinstance(connection, BoundedProtocol):
                    connection.look(self._patience)


def make_server(app: Any, graceful_seconds: float, patience: float = 30.0) -> HttpServer:
    """A server for an ASGI application.

    ``graceful_seconds`` is how long open answers may take once it should exit; ``patience`` how long a client may take, in seconds, for a
    request's head, for each stretch of its body, and for reading a stretch of the answer.
    """
    config = uvicorn.Config(
        app,
        loop="none",
        http=BoundedProtocol,
        ws="none",
        lifespan="off",
        interface="asgi3",
        log_config=None,
        log_level="critical",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        limit_concurrency=most_connections(),
        timeout_keep_alive=_KEEP_ALIVE,
        timeout_graceful_shutdown=max(1, round(graceful_seconds)),
    )
    return HttpServer(config, patience)


def most_connections() -> int:
    """As many as there are descriptors for: one more is told 503 rather than left waiting."""
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return max(_FEWEST, files - _OWN_FILES) if files != resource.RLIM_INFINITY else 1 << 20
