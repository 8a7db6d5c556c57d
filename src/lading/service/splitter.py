"""A TrafficSplitter: requests go to APIs by weight, and a share of them, as copies, to a shadow."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping

from lading.model.cortex import Share, Splitter
from lading.service.asgi import Budget, ClientGoneError, NoRoomError, Request
from lading.service.cortex_http import CortexRoutes, head_of
from lading.service.pool import RefusedError

ONLY_COPIES = 256
"""Copies that run or wait; more are left out, so that a slow shadow costs nobody anything."""
COPIED_BYTES = 128 << 20
"""What their bodies may take together."""


class Turns:
    """Whose turn it is, so that every run of 100 is shared out exactly by the weights, and evenly (smooth weighted round robin)."""

    def __init__(self, shares: Mapping[str, int]) -> None:
        self._shares = {name: weight for name, weight in shares.items() if weight}
        self._credit = dict.fromkeys(self._shares, 0)
        self._total = sum(self._shares.values())

    def next(self) -> str:
        """The name of the next one."""
        for name, weight in self._shares.items():
            self._credit[name] += weight
        chosen = max(self._credit, key=lambda name: self._credit[name])
        self._credit[chosen] -= self._total
        return chosen


class SplitterRoutes:
    """The routes of one splitter; ``targets`` are the routes of the APIs by their names."""

    def __init__(self, splitter: Splitter, targets: Mapping[str, CortexRoutes], max_body: int) -> None:
        self.splitter, self.targets, self.max_body = splitter, targets, max_body
        self._turns = Turns({share.name: share.weight for share in splitter.shares if not share.shadow})
        self._shadow: Share | None = next((share for share in splitter.shares if share.shadow), None)
        weight = self._shadow.weight if self._shadow else 0
        self._mirrored = Turns({"copy": weight, "none": 100 - weight})
        self._copies: set[asyncio.Task[None]] = set()
        self.copied = Budget(COPIED_BYTES)

    async def endpoint(self, request: Request) -> None:
        """The splitter's endpoint, every method."""
        target = self.targets[self._turns.next()]
        if request.method in ("OPTIONS", "GET", "HEAD") and not target.takes_all:
            await target.endpoint(request)
            return
        try:
            body = await request.body(self.max_body)
        except ClientGoneError:
            return
        if self._shadow is not None and self._mirrored.next() == "copy" and len(self._copies) < ONLY_COPIES:
            self._mirror(self.targets[self._shadow.name], head_of(request), body)
        await target.answer(request, body)

    async def redirect(self, request: Request) -> None:
        """The endpoint with a slash too many."""
        await self.targets[self.splitter.shares[0].name].redirect(request)

    def _mirror(self, shadow: CortexRoutes, head: bytes, body: bytes) -> None:
        try:
            self.copied.take(len(body))
        except NoRoomError:
            return
        task = asyncio.get_running_loop().create_task(_copy(shadow, head, body))
        self._copies.add(task)
        task.add_done_callback(self._copies.discard)
        size = len(body)  # of what is called when the task is over, that it does not keep the body
        task.add_done_callback(lambda _: self.copied.give(size))


async def _copy(shadow: CortexRoutes, head: bytes, body: bytes) -> None:
    with contextlib.suppress(RefusedError):
        await shadow.service.submit(shadow.service.new_call(body, head=head))
