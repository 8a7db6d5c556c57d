"""A gateway in front of several servers of one service: requests that may be repeated come through, whatever becomes of one server.

A request is repeated if that does no harm: its method is idempotent (RFC 9110: GET, HEAD, OPTIONS, PUT, DELETE; Cog's ``PUT /predictions/ID``
is). A server whose link was cut says nothing, so a second attempt is begun on another one after a while, and the first answer of either
counts. Others are repeated only where nothing of them was sent; one with an ``Idempotency-Key`` also where the connection broke before it
was answered and the server says, when it is asked, that it honors such keys there: Lading's do where jobs are submitted.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from lading.service.asgi import HONORS_KEYS, Budget, ClientGoneError, NoRoomError, Request, TooLargeError
from lading.service.attempts import Refusals, Share, Whole
from lading.service.counters import Counters
from lading.service.upstreams import Answer, BrokenError, Header, Sent, UnreachedError, Upstream, ask, choose

_IDEMPOTENT = frozenset((b"GET", b"HEAD", b"OPTIONS", b"PUT", b"DELETE"))
_WHOLE = 8 << 20  # bytes of an answer that is read to its end before any of it goes on, where it may be asked for again
_LONGER = 1.5
"""By how much each attempt is waited for longer than the one before, so that a long prediction is begun a few times and no more."""
_LONGEST_PAUSE = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Times in seconds, sizes in bytes. ``deadline`` is for a request with all its attempts, ``patience`` until a second one begins.

    A body may have ``max_body``; those of all requests, and of answers that are read before they go on, ``max_held``, or ``max_body`` if
    that is more. ``repeats``: what may be repeated is; else every request is sent once.
    """

    deadline: float = 120.0
    patience: float = 5.0
    max_body: int = 100 << 20
    max_held: int = 512 << 20
    repeats: bool = True


class Gateway:
    """An ASGI application; see the module. ``counts`` are of requests: ``answered``, ``repeated``, ``lost``.

    ``room`` is what bodies may take, for several gateways together; by default what the limits say, for this one.
    """

    def __init__(self, upstreams: Sequence[Upstream], limits: Limits | None = None, room: Budget | None = None) -> None:
        self.upstreams, self.limits = list(upstreams), limits or Limits()
        self.room = room or Budget(max(self.limits.max_held, self.limits.max_body))
        self._counters = Counters()
        self.counts = {"answered": 0, "repeated": 0, "lost": 0}

    async def __call__(self, scope: Any, receive: Callable[[], Awaitable[Any]], send: Callable[[Any], Awaitable[None]]) -> None:
        """See the ASGI specification."""
        if scope["type"] != "http":
            return
        request = Request(scope, receive, send, self._counters, self.room)
        try:
            body = await request.body(self.limits.max_body)
            await self._answer(_sent(scope, body), receive, send)
        except TooLargeError:
            await request.refuse_body(413, b'{"error":"The body is larger than this gateway takes."}')
        except NoRoomError as error:
            what = b'{"error":"The bodies of waiting requests fill the %d bytes there are for them."}' % error.limit
            await request.refuse_body(503, what, [(b"retry-after", b"1")])
        except ClientGoneError:
            return
        finally:
            request.release()

    async def _answer(self, sent: Sent, receive: Callable[[], Awaitable[Any]], send: Callable[[Any], Awaitable[None]]) -> None:
        """Answer a request, as long as its client stays."""
        relaying = asyncio.ensure_future(self._relay(sent, send))
        leaving = asyncio.ensure_future(_left(receive))
        try:
            await asyncio.wait((relaying, leaving), return_when=asyncio.FIRST_COMPLETED)
        finally:
            leaving.cancel()
            if not relaying.done():
                relaying.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await relaying

    async def _relay(self, sent: Sent, send: Callable[[Any], Awaitable[None]]) -> None:
        refusals = Refusals(sent)
        try:
            await self._relay_answer(sent, refusals, send)
        finally:
            refusals.drop()

    async def _relay_answer(self, sent: Sent, refusals: Refusals, send: Callable[[Any], Awaitable[None]]) -> None:
        harmless = self.limits.repeats and sent.method in _IDEMPOTENT
        try:
            async with asyncio.timeout(self.limits.deadline):
                whole = await (self._surely(sent, refusals) if harmless else self._once(sent))
        except TimeoutError:
            if refusals.last is None:
                self.counts["lost"] += 1
                await _respond(send, 504, b'{"error":"No server has answered in time."}')
                return
            whole = refusals.last
        except (UnreachedError, BrokenError) as error:
            self.counts["lost"] += 1
            what = b"No server can be reached." if isinstance(error, UnreachedError) else b"The server ended before it had answered."
            await _respond(send, 502, b'{"error":"%b"}' % what)
            return
        try:
            await _pass_on(whole, send, self.limits.deadline)
        except (BrokenError, TimeoutError):
            self.counts["lost"] += 1
            raise
        self.counts["answered"] += 1

    async def _once(self, sent: Sent) -> Whole:
        """Send what must not be repeated: to another server only while nothing of it was sent, or as the module says of keys."""
        tried: list[Upstream] = []
        keyed = self.limits.repeats and any(name == b"idempotency-key" for name, _ in sent.headers)
        while True:
            upstream = choose(self.upstreams, tried)
            tried.append(upstream)
            try:
                answer = await ask(upstream, sent)
            except UnreachedError:
                upstream.failed()
                if not keyed and len(tried) >= 2 * len(self.upstreams):
                    raise
            except BrokenError:
                upstream.failed()
                if not (keyed and await self._honors_keys(sent)):
                    raise
            else:
                upstream.worked()
                return Whole(answer)
            await asyncio.sleep(0 if len(tried) < len(self.upstreams) else 0.25)

    async def _honors_keys(self, sent: Sent) -> bool:
        """Ask whether the servers run once what has the same key."""
        question = Sent(method=b"OPTIONS", target=sent.target, headers=[one for one in sent.headers if one[0] == b"host"], body=b"")
        refusals = Refusals(question)
        try:
            whole = await self._surely(question, refusals)
        finally:
            refusals.drop()
        whole.drop()
        return HONORS_KEYS in whole.answer.headers

    async def _surely(self, sent: Sent, refusals: Refusals) -> Whole:
        """Send what may be repeated, until there is an answer; the caller sets the deadline, and has ``refusals`` then."""
        tried: list[Upstream] = []
        running: set[asyncio.Task[Whole]] = set()
        unjudged: set[asyncio.Task[Whole]] = set()
        patience, pause = self.limits.patience, 0.05
        try:
            while True:
                upstream = choose(self.upstreams, tried)
                tried.append(upstream)
                if len(tried) == 2:
                    self.counts["repeated"] += 1
                running.add(asyncio.ensure_future(self._whole(upstream, sent)))
                done, running = await asyncio.wait(running, timeout=patience, return_when=asyncio.FIRST_COMPLETED)
                if not done:
                    patience *= _LONGER
                while done:
                    unjudged = set(done)
                    for task in done:
                        unjudged.discard(task)
                        if task.exception() is not None:
                            continue
                        whole = task.result()
                        # Cog's 202 for a second PUT: an earlier attempt is running there, and nobody asked to be told before it is done.
                        unfinished = whole.answer.status == HTTPStatus.ACCEPTED and len(tried) > 1 and _waits(sent)
                        if not unfinished and (not whole.improvable or refusals.believed(whole)):
                            return whole
                        refusals.keep(whole)
                    done, running = await _pause(running, max(pause, refusals.rest(choose(self.upstreams, tried))))
                    pause = min(_LONGEST_PAUSE, pause * 2)
        finally:
            for task in running | unjudged:
                task.add_done_callback(_drop)
                task.cancel()

    async def _whole(self, upstream: Upstream, sent: Sent) -> Whole:
        """One attempt, its body read with it unless it is long, comes over time, or finds no room."""
        answer: Answer | None = None
        share = Share(self.room)
        try:
            answer = await ask(upstream, sent)
            begun, size = [], 0
            complete = sent.method == b"HEAD"
            if not complete and not answer.streams and (answer.length or 0) <= _WHOLE:
                async for piece in answer.body():
                    begun.append(piece)
                    size += len(piece)
                    if size > _WHOLE or not _fits(piece, share):
                        break
                else:
                    complete = True
        except BaseException as error:
            share.give_back()
            if answer is not None:
                answer.end()
            if isinstance(error, UnreachedError | BrokenError):
                upstream.failed()
            raise
        whole = Whole(answer, b"".join(begun), complete=complete, share=share)
        upstream.failed() if whole.improvable else upstream.worked()
        return whole


async def _pause(running: set[asyncio.Task[Whole]], seconds: float) -> tuple[set[asyncio.Task[Whole]], set[asyncio.Task[Whole]]]:
    """Wait before another attempt, or until one of those that are running is over; returns those that are, and the others."""
    if running:
        return await asyncio.wait(running, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    await asyncio.sleep(seconds)
    return set(), running


def _sent(scope: Any, body: bytes) -> Sent:
    """A request as it goes on."""
    query = scope["query_string"]
    target = (scope.get("raw_path") or scope["path"].encode()) + (b"?" + query if query else b"")
    headers: list[Header] = [(name, value) for name, value in scope["headers"] if name != b"expect"]
    client = scope.get("client")
    if client:
        headers.append((b"x-forwarded-for", client[0].encode()))
    return Sent(method=scope["method"].encode(), target=target, headers=headers, body=body)


def _fits(piece: bytes, share: Share) -> bool:
    """Take room for a piece of an answer, if there is any."""
    try:
        share.take(len(piece))
    except NoRoomError:
        return False
    return True


def _waits(sent: Sent) -> bool:
    """Whether it is a PUT of a prediction whose client wants it done, not begun."""
    return sent.method == b"PUT" and not any(name == b"prefer" and b"respond-async" in value for name, value in sent.headers)


def _drop(task: asyncio.Task[Whole]) -> None:
    """An attempt that came too late."""
    if not task.cancelled() and task.exception() is None:
        task.result().drop()


async def _pass_on(whole: Whole, send: Callable[[Any], Awaitable[None]], silence: float) -> None:
    """Pass an answer on; ``silence`` is how many seconds its server may say nothing in the middle of it.

    Raises:
        BrokenError: if it ends too early. The client's connection has to be closed then, so that it knows.
        TimeoutError: if it goes silent.
    """
    answer = whole.answer
    try:
        await send({"type": "http.response.start", "status": answer.status, "headers": answer.headers})
        if not whole.complete:
            if whole.begun:
                await send({"type": "http.response.body", "body": whole.begun, "more_body": True})
            pieces = answer.body()
            while True:
                async with asyncio.timeout(silence):
                    piece = await anext(pieces, None)
                if piece is None:
                    break
                await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": whole.begun if whole.complete else b""})
    finally:
        whole.drop()


async def _respond(send: Callable[[Any], Awaitable[None]], status: int, body: bytes) -> None:
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def _left(receive: Callable[[], Awaitable[Any]]) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
