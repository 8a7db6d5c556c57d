"""What runs on Ray's nodes for a TrafficSplitter: a Serve replica that passes requests on to the applications of its APIs, by weight.

Each API scales by itself, as on a cluster of Cortex's; so a request takes one hop more than on one machine, by the node's own ingress.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import msgspec

from lading.deploy.ray_ingress import UNWATCHED
from lading.deploy.ray_plan import Plan, Split, Target
from lading.service.asgi import Budget, NoRoomError
from lading.service.gateway import Gateway, Limits
from lading.service.splitter import COPIED_BYTES, ONLY_COPIES, Turns
from lading.service.upstreams import Upstream

Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]
_DEADLINE = 86400.0  # whoever asks has a deadline of their own
COPY_SECONDS = 300.0
"""How long a copy may take: nobody waits for it, and it takes room."""
_READING = ("OPTIONS", "GET", "HEAD")


class SplitHost:
    """One replica of a splitter; see the module. ``plan`` is `Plan` as JSON data."""

    async def __init__(self, plan: Mapping[str, Any]) -> None:  # type: ignore[misc]
        split = msgspec.convert(plan, Plan).split
        assert split is not None
        self.application = Splitting(split, await asyncio.to_thread(_ingress_port))

    def __serve_build_asgi_app__(self) -> Callable[[Any, Receive, Send], Awaitable[None]]:
        """The application; a function, by which uvicorn knows an ASGI 3 application."""

        async def application(scope: Any, receive: Receive, send: Send) -> None:
            if scope["type"] == "http":
                await self.application(scope, receive, send)
            elif scope["type"] == "lifespan":
                await receive()
                await send({"type": "lifespan.startup.complete"})
                await receive()
                await send({"type": "lifespan.shutdown.complete"})

        return application


def _ingress_port() -> int:
    """The port on which every node takes requests; Serve may have been started with another one than a deployment asked for."""
    from lading.deploy.ray_serve import details  # noqa: PLC0415 -- it needs Ray

    return int(details()["http_options"]["port"])


class Splitting:
    """An ASGI application that shares requests out among those below other paths of this machine's ``port``.

    What `lading.service.splitter.SplitterRoutes` does for the APIs of its own process.
    """

    def __init__(self, split: Split, port: int) -> None:
        # Whether a request may be repeated is for the gateway in front to judge.
        limits = Limits(deadline=_DEADLINE, max_body=split.max_body, repeats=False)
        self._split = split
        room = Budget(max(limits.max_held, limits.max_body))
        self._gateways = {one.name: Gateway([Upstream("127.0.0.1", port)], limits, None if one.shadow else room) for one in split.targets}
        self._targets = {one.name: one for one in split.targets}
        self._turns = Turns({one.name: one.weight for one in split.targets if not one.shadow})
        self._shadow = next((one for one in split.targets if one.shadow), None)
        weight = self._shadow.weight if self._shadow else 0
        self._mirrored = Turns({"copy": weight, "none": 100 - weight})
        self._copies: set[asyncio.Task[None]] = set()
        self.copied = Budget(COPIED_BYTES)

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
        """See the ASGI specification."""
        path: str = scope["path"]
        if path != self._split.route:
            await self._elsewhere(scope, send)
            return
        target = self._targets[self._turns.next()]
        if self._copied(scope["method"], target):
            receive = self._overheard(scope, receive)
        await self._pass(target, scope, receive, send)

    async def _pass(self, target: Target, scope: Any, receive: Receive, send: Send) -> None:
        headers = [header for header in scope["headers"] if header != UNWATCHED]
        there = {**scope, "path": target.route, "raw_path": target.route.encode(), "headers": headers}
        await self._gateways[target.name](there, receive, send)

    def _copied(self, method: str, target: Target) -> bool:
        predicts = method not in _READING or target.takes_all
        return self._shadow is not None and predicts and self._mirrored.next() == "copy" and len(self._copies) < ONLY_COPIES

    def _overheard(self, scope: Any, receive: Receive) -> Receive:
        """The request as it is received; when it is there, the shadow gets a copy."""
        pieces: list[bytes] = []
        complete = False

        async def heard() -> Any:
            nonlocal complete
            message = await receive()
            if message["type"] == "http.request" and not complete:
                pieces.append(message.get("body", b""))
                complete = not message.get("more_body")
                if complete:
                    self._mirror(scope, b"".join(pieces))
            return message

        return heard

    def _mirror(self, scope: Any, body: bytes) -> None:
        try:
            self.copied.take(len(body))
        except NoRoomError:
            return
        task = asyncio.get_running_loop().create_task(self._copy(scope, body))
        self._copies.add(task)
        task.add_done_callback(self._forget)
        size = len(body)  # of what is called when the task is over, that it does not keep the body
        task.add_done_callback(lambda _: self.copied.give(size))

    async def _copy(self, scope: Any, body: bytes) -> None:
        assert self._shadow is not None
        async with asyncio.timeout(COPY_SECONDS):
            await self._pass(self._shadow, scope, _once(body), _nowhere)

    def _forget(self, task: asyncio.Task[None]) -> None:
        self._copies.discard(task)
        if not task.cancelled():
            task.exception()  # what becomes of a copy is nobody's business

    async def _elsewhere(self, scope: Any, send: Send) -> None:
        """A path below the splitter's: it has one alone, which may be written with a slash too many."""
        if scope["path"] == f"{self._split.route}/":
            query = b"?" + scope["query_string"] if scope["query_string"] else b""
            headers = [(b"location", self._split.route.encode() + query), (b"content-length", b"0")]
            await send({"type": "http.response.start", "status": 307, "headers": headers})
            await send({"type": "http.response.body", "body": b""})
            return
        headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", b"9")]
        await send({"type": "http.response.start", "status": 404, "headers": headers})
        await send({"type": "http.response.body", "body": b"Not Found"})


def _once(body: bytes) -> Receive:
    """A client that sends a body, and stays."""
    sent = False

    async def receive() -> Any:
        nonlocal sent
        if sent:
            await asyncio.Event().wait()
        sent = True
        return {"type": "http.request", "body": body}

    return receive


async def _nowhere(message: Any) -> None:
    """A client that looks at no answer."""
