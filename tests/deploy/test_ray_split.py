"""The splitter that runs on Ray's nodes, in front of real sockets; it needs no Ray."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import pytest

from lading.deploy.ray_plan import Split, Target
from lading.deploy.ray_split import Splitting

ROUTE = "/m/both"


def split(*shadow: Target) -> Split:
    targets = (Target(name="a", route="/m/a", weight=75), Target(name="b", route="/m/b", weight=25), *shadow)
    return Split(route=ROUTE, targets=targets, max_body=100)


class Ingress:
    """A server that answers with the path that it was asked for, and keeps what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, bytes]] = []
        self.copied = asyncio.Event()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while head := await _head(reader):
            first, *lines = head.split(b"\r\n")
            length = next((int(line[15:]) for line in lines if line.lower().startswith(b"content-length:")), 0)
            path = first.split()[1]
            self.asked.append((path.decode(), await reader.readexactly(length)))
            if path.startswith(b"/m/c"):
                if self.paths()["/m/c?x=1"] == 10:
                    self.copied.set()
                continue  # it never answers
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(path), path))
        writer.close()

    def paths(self) -> Counter[str]:
        return Counter(path for path, _ in self.asked)


async def _head(reader: asyncio.StreamReader) -> bytes:
    with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
        return await reader.readuntil(b"\r\n\r\n")
    return b""


@contextlib.asynccontextmanager
async def splitting(what: Split) -> AsyncIterator[tuple[Splitting, Ingress]]:
    ingress = Ingress()
    server = await asyncio.start_server(ingress.serve, "127.0.0.1", 0)
    made = Splitting(what, server.sockets[0].getsockname()[1])
    try:
        yield made, ingress
    finally:
        for task in list(made._copies):
            task.cancel()
        await asyncio.gather(*made._copies, return_exceptions=True)
        server.close()
        await asyncio.sleep(0.05)


async def ask(application: Splitting, method: str = "POST", path: str = ROUTE, pieces: tuple[bytes, ...] = (b"{", b"}")) -> list[Any]:
    """What a client is sent."""
    sent: list[Any] = []
    left = list(pieces)

    async def receive() -> Any:
        if not left:
            await asyncio.Event().wait()  # a client that stays
        piece = left.pop(0)
        return {"type": "http.request", "body": piece, "more_body": bool(left)}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": "http", "method": method, "path": path, "raw_path": path.encode(), "query_string": b"x=1", "headers": []}
    await application(scope, receive, send)
    return sent


def test_requests_are_shared_out_by_weight():
    async def run() -> None:
        async with splitting(split()) as (application, ingress):
            for _ in range(40):
                sent = await ask(application)
                assert (sent[0]["status"], b"".join(one.get("body", b"") for one in sent)) == (200, ingress.asked[-1][0].encode())
            assert ingress.paths() == {"/m/a?x=1": 30, "/m/b?x=1": 10}
            assert {body for _, body in ingress.asked} == {b"{}"}

    asyncio.run(run())


def test_a_shadow_gets_copies_and_nobody_waits_for_it():
    async def run() -> None:
        async with splitting(split(Target(name="c", route="/m/c", weight=50, shadow=True))) as (application, ingress):
            for _ in range(20):
                await ask(application)
            await ask(application, "GET", pieces=(b"",))
            await asyncio.wait_for(ingress.copied.wait(), 60)
            assert ingress.paths() == {"/m/a?x=1": 16, "/m/b?x=1": 5, "/m/c?x=1": 10}
            assert Counter(body for path, body in ingress.asked if "/m/c" in path) == {b"{}": 10}

    asyncio.run(run())


def test_copies_that_wait_are_counted_by_their_bytes(monkeypatch):
    monkeypatch.setattr("lading.deploy.ray_split.COPIED_BYTES", 250)

    async def run() -> None:
        async with splitting(split(Target(name="c", route="/m/c", weight=100, shadow=True))) as (application, _):
            for _ in range(4):
                assert (await ask(application, pieces=(b"x" * 100,)))[0]["status"] == 200
            assert (len(application._copies), application.copied.used) == (2, 200)
            for task in application._copies:
                task.cancel()
            await asyncio.wait(list(application._copies))
            await asyncio.sleep(0)
            assert (len(application._copies), application.copied.used) == (0, 0)

    asyncio.run(run())


def test_a_copy_that_a_shadow_never_answers_ends(monkeypatch):
    monkeypatch.setattr("lading.deploy.ray_split.COPY_SECONDS", 0.2)

    async def run() -> None:
        async with splitting(split(Target(name="c", route="/m/c", weight=100, shadow=True))) as (application, _):
            await ask(application)
            async with asyncio.timeout(60):
                await asyncio.wait(list(application._copies))
            await asyncio.sleep(0)
            assert (len(application._copies), application.copied.used) == (0, 0)

    asyncio.run(run())


@pytest.mark.parametrize(("path", "status"), [(f"{ROUTE}/", 307), (f"{ROUTE}/below", 404)])
def test_it_has_one_path(path, status):
    async def run() -> list[Any]:
        async with splitting(split()) as (application, ingress):
            sent = await ask(application, path=path)
            assert ingress.asked == []
            return sent

    sent = asyncio.run(run())
    assert sent[0]["status"] == status
    if status == 307:
        assert (b"location", b"/m/both?x=1") in sent[0]["headers"]


def test_a_body_that_is_too_large_is_refused_and_what_no_api_answers_is_told():
    async def run() -> None:
        async with splitting(split()) as (application, ingress):
            assert (await ask(application, pieces=(b"x" * 101,)))[0]["status"] == 413
            assert ingress.asked == []

    asyncio.run(run())
