"""One API that is called by gRPC (Cortex's ``protobuf_path``): messages go to the worker and come from it as bytes.

Follows Cortex 0.32's ``grpc.py`` (an exception of the predictor is INTERNAL, ``internal server error``), but for ``context.abort``, whose status
Cortex overwrote.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import re
import time
from collections import deque
from collections.abc import AsyncIterator, Iterable, Sequence
from typing import Any

import grpc

from lading.service.asgi import TEXT, Budget, NoRoomError, Request
from lading.service.calls import Call, CallEvent, Cause, EventKind, Result, Status
from lading.service.pool import Refusal, RefusedError
from lading.service.prediction import PredictionService
from lading.service.worker import Slot, StreamEnd

Metadata = Sequence[tuple[str, str | bytes]]
_CODES = {code.value[0]: code for code in grpc.StatusCode}
_KEY = re.compile(r"(?!grpc-)[0-9a-z_.-]+")
_VALUE = re.compile(r"[\x20-\x7e]*")
_HELD = 1 << 20  # bytes of answers that wait for a client, and of requests that wait for a worker
_SLOWEST = 1 << 14  # bytes per second that one message must go at, after the client's patience is over
_MOMENT = 0.005
_PAUSES, _TURNS = 20, 10
_HTTP1 = "this API is called by gRPC, over HTTP/2: see grpc.io, or try `grpcurl -plaintext HOST:PORT list`"


class GrpcRoutes:
    """The methods of one API. ``room`` is shared by all bodies of the server; a client may take ``patience`` seconds for each answer of a stream."""

    def __init__(self, service: PredictionService, room: Budget, patience: float) -> None:
        self.service, self.room, self.patience = service, room, patience

    @property
    def told(self) -> dict[str, Any]:
        """What the configuration says; see `lading.model.cortex.Grpc`."""
        told: dict[str, Any] = self.service.api.worker.cortex["grpc"]
        return told

    @property
    def paths(self) -> list[str]:
        """``/package.Service/Method`` for each method."""
        return [f"/{self.told['service']}/{name}" for name in self.told["methods"]]

    async def endpoint(self, request: Request) -> None:
        """Whoever asks by HTTP/1.1."""
        request.api = self.service.api.name
        if request.method in ("GET", "HEAD"):
            await request.respond(200, json.dumps({"message": _HTTP1, "methods": self.paths}).encode())
        else:
            await request.respond(415, f"{_HTTP1}\n".encode(), TEXT)

    def handler(self, rpc: str) -> grpc.RpcMethodHandler[Any, Any] | None:
        """What answers one method; None if there is none of that name."""
        streams = self.told["methods"].get(rpc)
        if streams is None:
            return None

        async def unary(message: bytes, context: Any) -> bytes:
            return await self._unary(rpc, message, context)

        async def giving(message: bytes, context: Any) -> None:
            await self._stream(rpc, message, None, context)

        async def taking(messages: AsyncIterator[bytes], context: Any) -> bytes:
            return await self._stream(rpc, b"", messages, context)

        async def both(messages: AsyncIterator[bytes], context: Any) -> None:
            await self._stream(rpc, b"", messages, context)

        if streams["takes_stream"]:
            return grpc.stream_stream_rpc_method_handler(both) if streams["gives_stream"] else grpc.stream_unary_rpc_method_handler(taking)
        return grpc.unary_stream_rpc_method_handler(giving) if streams["gives_stream"] else grpc.unary_unary_rpc_method_handler(unary)

    async def _unary(self, rpc: str, message: bytes, context: Any) -> bytes:
        call = self._call(rpc, message, context)
        early: list[bytes] = []
        call.watchers.append(lambda event: early.append(event.data) if event.kind is EventKind.OUTPUT else None)
        result: Result | Exception
        try:
            with self._held(len(message)):
                result = await self.service.submit(call)
        except (RefusedError, NoRoomError) as error:
            result = error
        for metadata in early:
            await context.send_initial_metadata(_decoded(json.loads(metadata)))
        return await self._answered(result, context)

    async def _stream(self, rpc: str, message: bytes, messages: AsyncIterator[bytes] | None, context: Any) -> bytes:
        """Any call with a stream on one side, or on both. Returns the answer of a method that gives a single one."""
        call = self._call(rpc, message, context)
        call.takes_more = messages is not None
        service = self.service  # the routes may be another's when the client leaves
        answers = _Answers(call, service)
        feeding = None if messages is None else asyncio.create_task(answers.feed(messages))
        result: Result | Exception
        try:
            with self._held(len(message)):
                service.begin(call)
                async for first, piece in answers.pieces():
                    async with asyncio.timeout(self.patience + len(piece) / _SLOWEST):
                        await (context.send_initial_metadata(_decoded(json.loads(piece))) if first else context.write(piece))
                result = await call.answer
        except (RefusedError, NoRoomError, TimeoutError) as error:
            result = error
        finally:
            answers.close()
            if feeding is not None:
                feeding.cancel()
            if call.result is None:
                service.pool.cancel(call)
        return await self._answered(result, context)

    def _call(self, rpc: str, message: bytes, context: Any) -> Call:
        left = context.time_remaining()
        head = {
            "rpc": rpc,
            "metadata": [_encoded(name, value) for name, value in context.invocation_metadata() or ()],
            "peer": context.peer(),
            "deadline": None if left is None else time.time() + left,
        }
        call = self.service.new_call(message, head=json.dumps(head).encode())
        call.history_limit = 0  # nobody asks for it later
        return call

    @contextlib.contextmanager
    def _held(self, size: int) -> Any:
        self.room.take(size)
        try:
            yield
        finally:
            self.room.give(size)

    async def _answered(self, result: Result | Exception, context: Any) -> bytes:
        """The message of the answer; its status, if that is an error, and its metadata are told to the client."""
        code, details, trailing = _status(result)
        self.service.counters.requested(self.service.api.name, "gRPC", 200 if code is grpc.StatusCode.OK else 500)
        if trailing:
            context.set_trailing_metadata(trailing)
        if code is not grpc.StatusCode.OK:
            await context.abort(code, details)
        assert isinstance(result, Result)
        return result.output


class _Answers:
    """The messages of one call between gRPC and a worker's slot, with a limit to what waits on either side."""

    def __init__(self, call: Call, service: PredictionService) -> None:
        self.call, self._service = call, service
        self._pieces: deque[tuple[bool, bytes]] = deque()
        self._size = 0
        self._wake, self._begun = asyncio.Event(), asyncio.Event()
        self._paused: Slot | None = None
        self._closed = False
        call.watchers.append(self._heard)
        call.answer.add_done_callback(lambda _: self._wake.set())

    def _heard(self, event: CallEvent) -> None:
        if event.kind is EventKind.OUTPUT:
            self.call.chunks.clear()  # they are sent, and not kept
            if self._closed:
                return
            self._pieces.append((event.facts["index"] < 0, event.data))
            self._size += len(event.data)
            if self._size > _HELD and self._paused is None:
                self._pause()
        elif event.kind is EventKind.START:
            self._begun.set()
        self._wake.set()

    async def pieces(self) -> AsyncIterator[tuple[bool, bytes]]:
        """``(whether it is metadata, its bytes)``, until the call is over."""
        while True:
            self._wake.clear()
            while self._pieces:
                first, piece = self._pieces.popleft()
                self._size -= len(piece)
                yield first, piece
            if self._paused is not None:
                self._resume()
            elif self.call.answer.done():
                return
            else:
                await self._wake.wait()

    def _pause(self) -> None:
        """Let the worker wait: the client reads slower than it writes."""
        self._paused = self._service.pool.slot_running(self.call)
        if self._paused is not None:
            self._paused.channel.pause()

    def _resume(self) -> None:
        """Let the worker go on."""
        paused, self._paused = self._paused, None
        if paused is not None:
            paused.channel.resume()

    def close(self) -> None:
        """The client takes no more answers: those that wait and those to come are dropped, so that the worker never waits for it again."""
        self._closed = True
        self._pieces.clear()
        self._size = 0
        self._resume()

    async def feed(self, messages: AsyncIterator[bytes]) -> None:
        """Pass the client's messages on, once the call runs, and whether they end or were broken off."""
        end = StreamEnd.BROKEN
        try:
            await self._begun.wait()
            async for message in messages:
                await self._give(message)
            await _cancelation_would_be_known()
            end = StreamEnd.WHOLE
        finally:
            slot = self._service.pool.slot_running(self.call)
            if slot is not None:
                slot.end_more(self.call, end)

    async def _give(self, message: bytes) -> None:
        slot = self._service.pool.slot_running(self.call)
        if slot is None:
            return
        slot.give_more(self.call, message)
        while slot.channel.waiting > _HELD and self.call.result is None:  # noqa: ASYNC110 - a transport tells of itself alone
            await asyncio.sleep(_MOMENT)


async def _cancelation_would_be_known() -> None:
    """Wait after a stream's last message until it is known whether its client has left.

    Of a client that has left, gRPC first says that its messages have ended, then (30 microseconds later) cancels the call, and so the task that waits
    here. On a loop that something held up, both the end of a pause and that word lie ready at once, and the word takes some turns of the loop
    to get here: hence a pause that was not held up, and turns after it.
    """
    loop = asyncio.get_running_loop()
    for _ in range(_PAUSES):
        due = loop.time() + _MOMENT
        await asyncio.sleep(_MOMENT)
        if loop.time() - due < _MOMENT:
            break
    for _ in range(_TURNS):
        await asyncio.sleep(0)


def _status(result: Result | Exception) -> tuple[grpc.StatusCode, str, Metadata]:
    """What a client is told of the end of a call."""
    if isinstance(result, NoRoomError):
        return grpc.StatusCode.RESOURCE_EXHAUSTED, str(result), ()
    if isinstance(result, RefusedError):
        full = result.refusal is Refusal.FULL
        return (grpc.StatusCode.RESOURCE_EXHAUSTED if full else grpc.StatusCode.UNAVAILABLE), result.message, ()
    if isinstance(result, TimeoutError):
        return grpc.StatusCode.CANCELLED, "the client did not take its answers in time", ()
    if isinstance(result, Exception):
        raise result
    if result.http_status is not None:
        headers = dict(result.headers[:2])
        code = _CODES.get(int(headers["grpc-status"]), grpc.StatusCode.UNKNOWN)
        return code, headers["grpc-message"], _decoded(result.headers[2:])
    if result.cause is Cause.TIMEOUT:
        return grpc.StatusCode.DEADLINE_EXCEEDED, result.error or "", ()
    if result.cause is Cause.SHUTDOWN:
        return grpc.StatusCode.UNAVAILABLE, result.error or "", ()
    if result.status is Status.CANCELED:
        return grpc.StatusCode.CANCELLED, result.error or "the call was canceled", ()
    return grpc.StatusCode.INTERNAL, "internal server error", ()


def _encoded(name: str, value: str | bytes) -> tuple[str, str]:
    return name, base64.b64encode(value).decode() if isinstance(value, bytes) else value


def _decoded(pairs: Iterable[Sequence[str]]) -> Metadata:
    """Metadata from a worker, without what is none: gRPC would end the connection for it."""
    found: list[tuple[str, str | bytes]] = []
    for name, value in pairs:
        if not _KEY.fullmatch(name):
            continue
        if name.endswith("-bin"):
            with contextlib.suppress(ValueError):
                found.append((name, base64.b64decode(value, validate=True)))
        elif _VALUE.fullmatch(value):
            found.append((name, value))
    return found
