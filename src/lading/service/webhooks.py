"""Webhooks: snapshots of a prediction, posted to the URL that its client gave.

The events of one prediction are sent one after the other, in their order. ``output`` and ``logs`` at most every half second
(``COG_THROTTLE_RESPONSE_INTERVAL`` seconds); ``completed`` is tried again, the others are not. Threads do the sending, so that a
slow receiver delays nothing but its own webhooks.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from lading import __version__
from lading.model.secrets import Secret, redact_urls
from lading.service.calls import Call, CallEvent, EventKind
from lading.service.log import ServiceLog, printable

if TYPE_CHECKING:
    from concurrent.futures import ThreadPoolExecutor
    from http.client import HTTPConnection

_TIMEOUT = 30.0
_TRIES = 12
_LONGEST_PAUSE = 102.4
_FIRST_PAUSE = 0.1
_AGAIN = frozenset({429, 500, 502, 503, 504})
_SENDERS = 8


class WebhookEvent(StrEnum):
    """What a webhook can be asked for."""

    START = "start"
    OUTPUT = "output"
    LOGS = "logs"
    COMPLETED = "completed"


_EVENTS = {
    EventKind.START: WebhookEvent.START,
    EventKind.OUTPUT: WebhookEvent.OUTPUT,
    EventKind.LOG: WebhookEvent.LOGS,
    EventKind.COMPLETED: WebhookEvent.COMPLETED,
}


class Webhooks:
    """Sends webhooks for all predictions of a server. ``token`` (``WEBHOOK_AUTH_TOKEN``) goes along as a bearer token."""

    def __init__(self, log: ServiceLog, environ: Mapping[str, str] | None = None) -> None:
        variables = os.environ if environ is None else environ
        token = variables.get("WEBHOOK_AUTH_TOKEN")
        self.token = Secret(token) if token else None
        self.interval = _seconds(variables.get("COG_THROTTLE_RESPONSE_INTERVAL"), 0.5)
        self.log = log
        self._threads: ThreadPoolExecutor | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    def follow(
        self, call: Call, url: str, events: frozenset[WebhookEvent], *, trace: Mapping[str, str], snapshot: Callable[[Call], bytes]
    ) -> None:
        """Send the wanted events of ``call``, which has not begun yet."""
        feed = _Feed(self, call, url, events, trace=trace, snapshot=snapshot)
        call.watchers.append(feed.hear)

    def start(self, feed: _Feed) -> None:
        """Begin to send a prediction's events."""
        task = asyncio.get_running_loop().create_task(feed.run())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def post(self, url: str, body: bytes, trace: Mapping[str, str]) -> int | str:
        """Post once; returns the status, or what went wrong."""
        if self._threads is None:
            from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415 - most servers send no webhooks

            self._threads = ThreadPoolExecutor(_SENDERS, thread_name_prefix="webhook")
        headers = {"Content-Type": "application/json", "User-Agent": f"lading/{__version__}"}
        headers.update(trace)
        if self.token is not None:
            headers["Authorization"] = f"Bearer {self.token.reveal()}"
        return await asyncio.get_running_loop().run_in_executor(self._threads, _post, url, body, headers)

    async def drain(self, seconds: float) -> None:
        """Wait for what is being sent, for at most so many seconds."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=max(0.0, seconds))
        for task in self._tasks:
            task.cancel()
        if self._threads is not None:
            self._threads.shutdown(wait=False, cancel_futures=True)


class _Feed:
    """The webhooks of one prediction: events come in, snapshots go out."""

    def __init__(
        self,
        owner: Webhooks,
        call: Call,
        url: str,
        events: frozenset[WebhookEvent],
        *,
        trace: Mapping[str, str],
        snapshot: Callable[[Call], bytes],
    ) -> None:
        self._owner, self._call, self._url, self._events, self._trace, self._snapshot = owner, call, url, events, trace, snapshot
        self._start: bytes | None = None
        self._changed = self._completed = self._running = False
        self._wake = asyncio.Event()

    def hear(self, event: CallEvent) -> None:
        """Note an event; never waits."""
        kind = _EVENTS.get(event.kind)
        if kind not in self._events and kind is not WebhookEvent.COMPLETED:
            return
        if kind is WebhookEvent.START:
            # Its snapshot is taken now: it must not show what came later.
            self._start = self._snapshot(self._call)
        elif kind is WebhookEvent.COMPLETED:
            self._completed = True
        else:
            self._changed = True
        self._wake.set()
        if not self._running:
            self._running = True
            self._owner.start(self)

    async def run(self) -> None:
        """Send until the prediction is completed."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            if self._start is not None:
                body, self._start = self._start, None
                await self._send(body)
            if self._completed:
                break
            if self._changed:
                self._changed = False
                await self._send(self._snapshot(self._call))
                await self._pause()
        if WebhookEvent.COMPLETED in self._events:
            await self._send_completed(self._snapshot(self._call))

    async def _pause(self) -> None:
        """Wait for the throttle's interval, or for the end of the prediction."""
        loop = asyncio.get_running_loop()
        until = loop.time() + self._owner.interval
        while not self._completed and (left := until - loop.time()) > 0:
            try:
                await asyncio.wait_for(self._wake.wait(), left)
            except TimeoutError:
                break
            if not self._completed:
                self._wake.clear()
        if self._changed or self._completed:
            self._wake.set()

    async def _send(self, body: bytes) -> bool:
        answer = await self._owner.post(self._url, body, self._trace)
        if isinstance(answer, int) and answer < 300:
            return True
        self._note(answer)
        return isinstance(answer, int) and answer not in _AGAIN

    async def _send_completed(self, body: bytes) -> None:
        for number in range(_TRIES):
            if await self._send(body):
                return
            await asyncio.sleep(min(_LONGEST_PAUSE, _FIRST_PAUSE * 2**number))

    def _note(self, answer: int | str) -> None:
        what = f"answered {answer}" if isinstance(answer, int) else f"failed: {answer}"
        parts = urlsplit(redact_urls(self._url))
        self._owner.log.say("warning", f"the webhook of prediction {printable(self._call.id)} to {parts.scheme}://{parts.netloc} {what}")


def _post(url: str, body: bytes, headers: Mapping[str, str]) -> int | str:
    from http.client import HTTPException  # noqa: PLC0415 - most servers send no webhooks

    parts = urlsplit(url)
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    try:
        connection = _connection(parts.scheme, parts.hostname or "", parts.port)
        try:
            connection.request("POST", path, body, dict(headers))
            return connection.getresponse().status
        finally:
            connection.close()
    except (OSError, HTTPException, ValueError) as error:
        return str(error) or type(error).__name__


def _connection(scheme: str, host: str, port: int | None) -> HTTPConnection:
    from http.client import HTTPConnection, HTTPSConnection  # noqa: PLC0415 - most servers send no webhooks

    if scheme == "https":
        return HTTPSConnection(host, port, timeout=_TIMEOUT)
    return HTTPConnection(host, port, timeout=_TIMEOUT)


def _seconds(text: str | None, default: float) -> float:
    try:
        return max(0.0, float(text)) if text else default
    except ValueError:
        return default
