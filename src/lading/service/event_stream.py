"""A prediction's events as a ``text/event-stream`` (server-sent events), in Cog's words."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import msgspec

from lading.service.asgi import Request
from lading.service.calls import Call, CallEvent, EventKind, Listener

_KEEP_ALIVE = 15.0  # seconds between comments on a quiet event stream
_encode = msgspec.json.Encoder().encode
Snapshot = Callable[[Call], bytes]


def accepts_events(request: Request) -> str:
    """``only``: the client takes nothing but an event stream; ``also``: it takes JSON too; empty: it did not ask for one."""
    if b"accept" not in request.headers:
        return ""
    accept = request.header_list(b"accept")
    if "text/event-stream" not in accept:
        return ""
    return "also" if {"application/json", "*/*", "application/*"} & set(accept) else "only"


async def send_events(request: Request, call: Call, listener: Listener, snapshot: Snapshot) -> None:
    """Send what a listener hears, until the prediction is over or the client has gone."""
    await request.start_stream(b"text/event-stream; charset=utf-8")
    watch = asyncio.create_task(request.gone())
    try:
        await _pump(request, call, listener.__anext__, watch, snapshot)
    finally:
        watch.cancel()
        if listener in call.listeners:
            call.listeners.remove(listener)
    await request.end_stream()


async def _pump(
    request: Request, call: Call, following: Callable[[], Awaitable[CallEvent]], gone: asyncio.Task[None], snapshot: Snapshot
) -> None:
    waiting: asyncio.Future[CallEvent] | None = None
    try:
        while not gone.done():
            waiting = waiting or asyncio.ensure_future(following())
            await asyncio.wait((waiting, gone), timeout=_KEEP_ALIVE, return_when=asyncio.FIRST_COMPLETED)
            if gone.done():
                return
            if not waiting.done():
                await request.write(b": still here\n\n")
                continue
            event, waiting = waiting.result(), None
            await request.write(event_text(event, call, snapshot))
            if event.kind is EventKind.COMPLETED:
                return
    finally:
        if waiting is not None:
            waiting.cancel()


def event_text(event: CallEvent, call: Call, snapshot: Snapshot) -> bytes:
    """One server-sent event."""
    if event.kind is EventKind.START:
        data = _encode({"id": call.id, "status": "processing"})
    elif event.kind is EventKind.OUTPUT:
        data = b'{"chunk":%b,"index":%d}' % (event.data, event.facts["index"])
    elif event.kind is EventKind.LOG:
        data = _encode({"source": event.facts["source"], "data": event.data.decode("utf-8", "replace")})
    elif event.kind is EventKind.COMPLETED:
        data = snapshot(call)
    else:
        data = _encode(dict(event.facts))
    # A line feed inside JSON is only ever white space between its tokens.
    return b"event: %b\ndata: %b\n\n" % (str(event.kind).encode(), data.replace(b"\r", b" ").replace(b"\n", b" "))
