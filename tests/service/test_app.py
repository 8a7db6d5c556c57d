"""The application itself, when the fault is Lading's own."""

from __future__ import annotations

import asyncio

import httpx

from lading.model.events import Event
from lading.service.app import App
from lading.service.asgi import Budget, Request
from lading.service.counters import Counters
from lading.service.log import ServiceLog


def test_an_error_of_our_own_is_answered_logged_and_counted():
    said: list[str] = []

    def keep(event: Event) -> None:
        said.append(event.message)

    async def broken(_request: Request) -> None:
        raise ZeroDivisionError("a bug")

    async def ask(app: App) -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://test") as client:
            return await client.get("/broken")

    counters, log = Counters(), ServiceLog(keep)
    app = App(100, counters, log, Budget(1000))
    app.methods["/broken"] = {"GET": broken}
    answer = asyncio.run(ask(app))
    log.close()
    assert (answer.status_code, answer.json()["status"]) == (500, "failed")
    assert said == ["GET /broken: an error of Lading's own: ZeroDivisionError('a bug')"]
    assert counters.requests == {("", "GET", 500): 1}
