"""Attempts of a gateway that end together: the first answer counts, and the other ones leave nothing behind."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from lading.service.gateway import Gateway, Limits
from lading.service.upstreams import Upstream

ANSWER = b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nfine"
SCOPE = {"type": "http", "method": "PUT", "path": "/predictions/a", "raw_path": b"/predictions/a", "query_string": b"", "headers": []}


async def _ask(gateway: Gateway, method: str = "PUT") -> list[Any]:
    """What the client of one request is sent."""
    asked, sent = asyncio.Event(), []

    async def receive() -> Any:
        if asked.is_set():
            await asyncio.Event().wait()  # a client that stays
        asked.set()
        return {"type": "http.request", "body": b"{}"}

    async def send(message: Any) -> None:
        sent.append(message)

    await gateway({**SCOPE, "method": method}, receive, send)
    return sent


async def _rounds(count: int) -> tuple[list[int], int]:
    """Requests of which two servers answer both attempts at one moment; what the servers still have to do then, and how often both did."""
    waiting: list[asyncio.StreamWriter] = []
    together = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal together
        while b"\r\n\r\n" in (head := await reader.read(1 << 16)) and head:
            waiting.append(writer)
            if len(waiting) == 2:
                together += 1
                both, waiting[:] = list(waiting), []
                for one in both:
                    one.write(ANSWER)
        writer.close()

    servers = [await asyncio.start_server(serve, "127.0.0.1", 0) for _ in range(2)]
    upstreams = [Upstream("127.0.0.1", one.sockets[0].getsockname()[1]) for one in servers]
    gateway = Gateway(upstreams, Limits(patience=0.02))
    for _ in range(count):
        sent = await _ask(gateway)
        assert (sent[0]["status"], sent[1]["body"]) == (200, b"fine")
    left = await _settled(lambda: [one.in_flight for one in upstreams] + [gateway.room.used])
    for one in servers:
        one.close()
    await asyncio.sleep(0.05)
    return left, together


async def _settled(look: Callable[[], list[int]]) -> list[int]:
    """What there is in the end, which is nothing a moment after the last answer."""
    for _ in range(1000):
        if not any(look()):
            break
        await asyncio.sleep(0.01)
    return look()


def test_two_attempts_that_are_answered_at_once_leave_nothing_behind():
    assert asyncio.run(_rounds(20)) == ([0, 0, 0], 20)


async def _connections(method: str, count: int) -> list[list[bytes]]:
    """The heads that a server gets on each connection, by connection. It would keep every one of them open."""
    heads: list[list[bytes]] = []
    ended: asyncio.Queue[None] = asyncio.Queue()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append([])
        while head := await reader.read(1 << 16):
            heads[-1].append(head)
            writer.write(ANSWER)
        writer.close()
        await ended.put(None)

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    gateway = Gateway([Upstream("127.0.0.1", server.sockets[0].getsockname()[1])])
    for _ in range(count):
        await _ask(gateway, method)
    async with asyncio.timeout(60):
        for _ in range(count):
            await ended.get()
    server.close()
    return heads


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_every_request_has_a_connection_of_its_own_which_is_closed_after_it(method):
    heads = asyncio.run(_connections(method, 5))
    assert [len(one) for one in heads] == [1] * 5
    assert all(b"\r\nconnection: close\r\n" in one for (one,) in heads)


async def _refused(method: str, status: bytes) -> tuple[int, int]:
    """The status of a request that its server refuses until the deadline, and how much room it still takes then."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 %b no\r\ncontent-length: 4\r\n\r\nnope" % status)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    gateway = Gateway([Upstream("127.0.0.1", server.sockets[0].getsockname()[1])], Limits(deadline=0.5))
    sent = await _ask(gateway, method)
    server.close()
    (left,) = await _settled(lambda: [gateway.room.used])
    return sent[0]["status"], left


@pytest.mark.parametrize("method", ["GET", "PUT", "POST"])
def test_what_is_over_takes_no_room(method):
    assert asyncio.run(_refused(method, b"503")) == (503, 0)
    assert asyncio.run(_refused(method, b"200")) == (200, 0)
