"""One worker as the event loop sees it: its control channel, its slots, its raw output, its end."""

from __future__ import annotations

import asyncio
import codecs
import contextlib
import os
import select
import socket
import struct
import threading
import time
from collections import deque
from collections.abc import Callable
from enum import StrEnum
from typing import Any, Protocol, cast

import msgspec

from lading.service.calls import Call, Cause, Result, Status
from lading.service.frames import CONTROL_KINDS, SLOT_KINDS, Frame, FrameError, FrameReader, Kind, encode
from lading.service.process import Child, describe_exit
from lading.service.shared import LEAST, Region

CANCEL_GRACE = 5.0
"""Seconds between asking a prediction to stop and killing its worker."""
_EXIT_GRACE = 1.0  # between a worker closing its control socket and its end
_SETTLE = 0.5  # between a worker's end and the last of what it sent
_READ = 64 * 1024
_READS = 16
_SIZE = struct.Struct("!Q")


class State(StrEnum):
    """Where a worker is."""

    STARTING = "starting"
    READY = "ready"
    FAILED = "failed"
    GONE = "gone"


class StreamEnd(StrEnum):
    """How a client's stream of messages is over: MORE's head says so."""

    WHOLE = "end"
    BROKEN = "broken"


class Ready(msgspec.Struct):
    """READY's head."""

    setup_seconds: float = 0.0
    asynchronous: bool = False
    streaming: bool = False
    healthcheck: bool = False
    encoder: str | None = None
    model_metadata: dict[str, Any] | None = None
    shared: bool = False
    files: tuple[str, ...] = ()


class Hello(msgspec.Struct):
    """HELLO's head."""

    pid: int = 0
    python: str = ""
    implementation: str = ""


class SetupFailed(msgspec.Struct):
    """Why setup did not succeed: SETUP_FAILED's head, or how the process ended before it could say."""

    error: str = "setup failed"
    phase: str = "setup"
    kind: str | None = None
    traceback: str | None = None
    file: str | None = None
    line: int | None = None
    exit_code: int | None = None


class _Log(msgspec.Struct):
    source: str = "stdout"


class _Health(msgspec.Struct):
    healthy: bool
    error: str | None = None


class _Done(msgspec.Struct):
    status: str | int
    error: str | None = None
    metrics: dict[str, Any] | None = None
    predict_time: float | None = None
    headers: list[tuple[str, str]] | None = None


class _Metric(msgspec.Struct):
    name: str
    value: Any = None
    mode: str = "replace"


class _Chunk(msgspec.Struct):
    index: int = 0


class _Invalid(msgspec.Struct):
    detail: msgspec.Raw


_ready = msgspec.json.Decoder(Ready)
_hello = msgspec.json.Decoder(Hello)
_failed = msgspec.json.Decoder(SetupFailed)
_log = msgspec.json.Decoder(_Log)
_health = msgspec.json.Decoder(_Health)
_done = msgspec.json.Decoder(_Done)
_metric = msgspec.json.Decoder(_Metric)
_chunk = msgspec.json.Decoder(_Chunk)
_invalid = msgspec.json.Decoder(_Invalid)

_FINAL = {"succeeded": Status.SUCCEEDED, "failed": Status.FAILED, "canceled": Status.CANCELED}


class Owner(Protocol):
    """Who hears of a worker: the pool."""

    predict_timeout: float | None

    def worker_ready(self, worker: Worker) -> None:
        """Setup is done."""

    def worker_failed(self, worker: Worker) -> None:
        """Setup failed; the worker is about to end."""

    def worker_gone(self, worker: Worker, unbegun: list[Call]) -> None:
        """The process has ended. Calls that were sent and not begun come back in their order."""

    def slot_free(self, slot: Slot, call: Call, result: Result | None) -> None:
        """A call has left its slot; ``result`` is None when its answer was given before."""

    def output(self, call: Call | None, text: str, source: str) -> None:
        """The model printed something, during ``call`` or outside of any."""


class _Channel(asyncio.Protocol):
    """A socket that speaks frames. Whatever is not a frame condemns the worker; nothing gets past to the event loop."""

    def __init__(self, worker: Worker, end: socket.socket, kinds: frozenset[Kind], handle: Callable[[Frame], None]) -> None:
        self._worker, self.end, self._handle = worker, end, handle
        self._reader = FrameReader(kinds)
        self._closed = False
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        try:
            for frame in self._reader.feed(data):
                self._handle(frame)
        except (FrameError, msgspec.MsgspecError, UnicodeError) as error:
            self.close()
            self._worker.condemn(f"sent what is not of the protocol: {error}")

    def connection_lost(self, exc: Exception | None) -> None:
        self.transport = None
        if exc is not None:
            self._read_rest()
        self._worker.channel_lost()

    def _read_rest(self) -> None:
        """A failed write ends the reading, too, and what the worker sent before its end may not have been read yet."""
        with contextlib.suppress(OSError):  # there is no more for now, or nothing at all
            while not self._closed and (data := self.end.recv(_READ)):
                self.data_received(data)

    def send(self, frame: bytes) -> None:
        if self.transport is not None:
            self.transport.write(frame)

    @property
    def waiting(self) -> int:
        """Bytes that the worker has not taken yet."""
        return 0 if self.transport is None else self.transport.get_write_buffer_size()

    def pause(self) -> None:
        """Read no more for now: whoever gets what the worker sends is slower."""
        if self.transport is not None:
            self.transport.pause_reading()

    def resume(self) -> None:
        """Read again."""
        if self.transport is not None:
            self.transport.resume_reading()

    def close(self) -> None:
        self._closed = True
        if self.transport is not None:
            self.transport.abort()


class Slot:
    """A place in a worker, or as many as a batch has: ``running`` are the calls that run, by their numbers, ``ahead`` those behind them."""

    __slots__ = ("ahead", "channel", "idle", "places", "region", "running", "worker")

    def __init__(self, worker: Worker, end: socket.socket, region: Region | None, places: int) -> None:
        self.worker, self.region, self.places = worker, region, places
        self.running: dict[int, Call] = {}
        self.ahead: deque[Call] = deque()
        self.channel = _Channel(worker, end, SLOT_KINDS, self._on_frame)
        self.idle = False

    def __len__(self) -> int:
        return len(self.running) + len(self.ahead)

    @property
    def has_room(self) -> bool:
        """Whether a call that is sent now runs at once, or as one of a batch. What comes after the worker's end has not begun, and another runs it."""
        return len(self.running) < self.places and self.channel.transport is not None

    def send(self, call: Call) -> None:
        """Put a call on its way."""
        alone = not self.running
        if self.has_room:
            self.running[call.number] = call
            self._begin(call)
        else:
            self.ahead.append(call)
        body = call.body
        if len(body) > LEAST and alone and self._share(body):
            self.channel.send(encode(Kind.SHARED, call.number, call.head, _SIZE.pack(len(body))))
        else:
            self.channel.send(encode(Kind.PREDICT, call.number, call.head, body))

    def give_more(self, call: Call, body: bytes) -> None:
        """Pass on one more message of a client's stream."""
        self.channel.send(encode(Kind.MORE, call.number, b"{}", body))

    def end_more(self, call: Call, end: StreamEnd) -> None:
        """No more messages of a client's stream will come."""
        self.channel.send(encode(Kind.MORE, call.number, b'{"%b":true}' % end.encode(), b""))

    def _share(self, body: bytes) -> bool:
        """Pass a body by memory, if this worker can and nothing else on this slot may still need that."""
        ready = self.worker.ready
        return self.places == 1 and self.region is not None and ready is not None and ready.shared and self.region.put(body)

    def _begin(self, call: Call) -> None:
        call.begin()
        timeout = self.worker.owner.predict_timeout
        if timeout is not None and call.result is None:
            call.timer = self.worker.loop.call_later(timeout, self.worker.time_out, self, call, timeout)
        if call.cancel_asked:
            if call.takes_more:
                self.end_more(call, StreamEnd.BROKEN)
            self.worker.ask_cancel(self, call)

    def _on_frame(self, frame: Frame) -> None:
        kind = frame.kind
        call = self.running.get(frame.call)
        if call is None:
            if kind == Kind.LOG:
                self.worker.print(None, frame)
                return
            raise FrameError(f"an answer to call {frame.call}, which is not running there")
        if kind == Kind.DONE:
            self._finish(call, _done.decode(frame.head), frame.body)
        elif kind == Kind.LOG:
            self.worker.print(call, frame)
        elif kind == Kind.CHUNK:
            call.add_chunk(_chunk.decode(frame.head).index, frame.body)
        elif kind == Kind.METRIC:
            metric = _metric.decode(frame.head)
            call.add_metric(metric.name, metric.value, metric.mode)
        else:
            detail = bytes(_invalid.decode(frame.head).detail)
            self._free(call, Result(id=call.id, status=Status.INVALID, detail=detail, logs=call.log_text()))

    def _finish(self, call: Call, done: _Done, body: bytes) -> None:
        self.worker.drain_output()
        metrics = {**call.metrics, **done.metrics} if done.metrics else call.metrics
        status, http_status = _outcome(done)
        result = Result(
            id=call.id,
            status=status,
            output=body,
            error=done.error,
            logs=call.log_text(),
            metrics=metrics,
            predict_time=done.predict_time,
            http_status=http_status,
            headers=tuple(done.headers or ()),
        )
        self._free(call, result)

    def _free(self, call: Call, result: Result) -> None:
        # The slot takes its next call before the answer to this one is written: a sequential client never waits for itself.
        del self.running[call.number]
        if call.timer is not None:
            call.timer.cancel()
            call.timer = None
        if self.ahead:
            following = self.ahead.popleft()
            self.running[following.number] = following
            self._begin(following)
        answered = call.result is not None
        self.worker.owner.slot_free(self, call, None if answered else result)
        call.finish(result)


def _outcome(done: _Done) -> tuple[Status, int | None]:
    if isinstance(done.status, int):
        if not 100 <= done.status <= 599:
            raise FrameError(f"the impossible HTTP status {done.status}")
        return (Status.SUCCEEDED if done.status < 500 else Status.FAILED), done.status
    status = _FINAL.get(done.status)
    if status is None:
        raise FrameError(f"the unknown status {done.status!r}")
    return status, None


class Worker:
    """One worker process with its slots. Everything here runs in the event loop's thread."""

    def __init__(self, child: Child, owner: Owner) -> None:
        self.loop = asyncio.get_running_loop()
        self.child, self.owner = child, owner
        self.state = State.STARTING
        self.hello: Hello | None = None
        self.ready: Ready | None = None
        self.failure: SetupFailed | None = None
        self.started = time.time()
        self.condemned: str | None = None
        self.condemned_call: Call | None = None
        self.condemned_cause = Cause.CRASH
        self.returncode: int | None = None
        self.left: list[Call] = []  # what it was running when it ended
        self.gone = asyncio.Event()
        regions: list[Region | None] = [Region(number) for number in child.regions]
        self.slots = tuple(
            Slot(self, end, region, child.places) for end, region in zip(child.slots, regions or [None] * len(child.slots), strict=True)
        )
        self._control = _Channel(self, child.control, CONTROL_KINDS, self._on_control)
        self._open = 1 + len(self.slots)
        self._health: asyncio.Future[_Health] | None = None
        self._printing = select.poll()
        for number in child.outputs:
            self._printing.register(number, select.POLLIN)
        self._decoders = {source: codecs.getincrementaldecoder("utf-8")("replace") for source in ("stdout", "stderr")}

    async def attach(self) -> None:
        """Connect the event loop to the process. The process may have ended already."""
        for number, source in zip(self.child.outputs, ("stdout", "stderr"), strict=True):
            self.loop.add_reader(number, self._read_output, number, source)
        try:
            for channel in self._channels():
                await self.loop.create_unix_connection(lambda channel=channel: channel, sock=channel.end)  # type: ignore[misc]  # the default binds it
        finally:
            # Not before: its end is told when everything is connected.
            threading.Thread(target=self._wait, name=f"worker-{self.child.pid}", daemon=True).start()
        if self.child.unsent:
            self._control.send(self.child.unsent)

    def _channels(self) -> tuple[_Channel, ...]:
        # Control comes last: READY may be waiting there, and whoever hears of it sends calls to the slots.
        return (*(slot.channel for slot in self.slots), self._control)

    # What arrives

    def _on_control(self, frame: Frame) -> None:
        kind = frame.kind
        if kind == Kind.LOG:
            self.print(None, frame)
        elif kind == Kind.HELLO:
            self.hello = _hello.decode(frame.head)
        elif kind == Kind.READY and self.state is State.STARTING:
            self.ready = _ready.decode(frame.head)
            self.drain_output()
            self.state = State.READY
            self.owner.worker_ready(self)
        elif kind == Kind.SETUP_FAILED and self.state is State.STARTING:
            self.drain_output()
            self.fail_setup(_failed.decode(frame.head))
        elif kind == Kind.HEALTH and self._health is not None and not self._health.done():
            self._health.set_result(_health.decode(frame.head))

    def fail_setup(self, failure: SetupFailed) -> None:
        """Setup did not succeed; the process is about to end, or is ended by the caller."""
        self.failure = failure
        self.state = State.FAILED
        self.owner.worker_failed(self)

    def print(self, call: Call | None, frame: Frame) -> None:
        """A LOG frame: the model printed something."""
        text = frame.body.decode("utf-8", "replace")
        self._printed(call, text, _log.decode(frame.head).source)

    def _printed(self, call: Call | None, text: str, source: str) -> None:
        if call is not None and call.result is None:
            call.add_log(text, source)
        self.owner.output(call, text, source)

    def drain_output(self) -> None:
        """Take what native code has printed so far, so that it is with its prediction's logs."""
        if not self._printing.poll(0):
            return
        for number, source in zip(self.child.outputs, ("stdout", "stderr"), strict=True):
            # A thread that prints without end must not hold the event loop.
            for _ in range(_READS):
                if number < 0 or not self._read_output(number, source):
                    break

    def _read_output(self, number: int, source: str) -> bool:
        try:
            data = os.read(number, _READ)
        except BlockingIOError:
            return False
        except OSError:
            data = b""
        if not data:
            self.loop.remove_reader(number)
            self._stop_polling(number)
            return False
        running = [call for slot in self.slots for call in slot.running.values()]
        text = self._decoders[source].decode(data)
        self._printed(running[0] if len(running) == 1 else None, text, source)
        return True

    def _stop_polling(self, number: int) -> None:
        with contextlib.suppress(KeyError):
            self._printing.unregister(number)

    # What is asked of it

    def ask_cancel(self, slot: Slot, call: Call) -> None:
        """Ask the running call to stop; after `CANCEL_GRACE` seconds the worker is killed."""
        self._control.send(encode(Kind.CANCEL, call.number, b"{}"))
        self.loop.call_later(CANCEL_GRACE, self._cancel_overdue, slot, call)

    def _cancel_overdue(self, slot: Slot, call: Call) -> None:
        if slot.running.get(call.number) is call:
            self.condemn(f"was replaced: a prediction did not stop within {CANCEL_GRACE:g} s of being canceled", call)

    def time_out(self, slot: Slot, call: Call, seconds: float) -> None:
        """The running call has taken too long: answer it, and stop it, alone if others run here too."""
        if slot.running.get(call.number) is not call:
            return
        error = f"prediction timed out after {seconds:g} s"
        call.finish(Result(id=call.id, status=Status.FAILED, error=error, logs=call.log_text(), cause=Cause.TIMEOUT))
        if sum(len(other.running) for other in self.slots) > 1:
            self.ask_cancel(slot, call)
        else:
            self.condemn(f"was replaced: a {error}", call)

    async def check(self, seconds: float) -> str | None:
        """Run the predictor's health check; None when it is well, else what is wrong."""
        if self._health is None or self._health.done():
            self._health = self.loop.create_future()
            self._control.send(encode(Kind.CHECK, 0, b"{}"))
        try:
            health = await asyncio.wait_for(asyncio.shield(self._health), seconds)
        except TimeoutError:
            self._health = None
            return f"the health check did not answer within {seconds:g} s"
        except asyncio.CancelledError:
            if self._health is not None and self._health.cancelled():
                return "the worker ended during the health check"
            raise
        return None if health.healthy else health.error or "the health check returned False"

    def quit(self) -> None:
        """Ask it to finish what runs and exit."""
        self._control.send(encode(Kind.QUIT, 0, b"{}"))

    # Its end

    def condemn(self, reason: str, call: Call | None = None, cause: Cause = Cause.CRASH) -> None:
        """Kill the process and its group. ``reason`` completes the sentence "the worker ..."; ``call`` is to blame."""
        if self.condemned is None and self.returncode is None:
            self.condemned, self.condemned_call, self.condemned_cause = reason, call, cause
            self.child.kill()

    def channel_lost(self) -> None:
        """A socket was closed: the process is ending, or it closed what is not its own."""
        self._open -= 1
        if self.returncode is None:
            self.loop.call_later(_EXIT_GRACE, self._end_overdue)
        elif self._open == 0:
            self._settle()

    def _end_overdue(self) -> None:
        # One that has ended may still be waited for: what it has left behind is ended first.
        if self.child.process.returncode is None:
            self.condemn("closed its sockets")

    def _wait(self) -> None:
        returncode = self.child.wait()
        # The loop may be closed by now: then nobody is left to tell.
        with contextlib.suppress(RuntimeError):
            self.loop.call_soon_threadsafe(self._ended, returncode)

    def _ended(self, returncode: int) -> None:
        self.returncode = returncode
        if self._open == 0:
            self._settle()
        else:
            self.loop.call_later(_SETTLE, self._settle)

    def _settle(self) -> None:
        """Everything that it sent has arrived: say what happened to its calls."""
        if self.gone.is_set():
            return
        self.gone.set()
        self.drain_output()
        if self.state is State.STARTING:
            error = f"the process {self.ending()} during setup"
            self.fail_setup(SetupFailed(error=error, exit_code=self.returncode if (self.returncode or 0) >= 0 else None))
        if self.state is State.READY:
            self.state = State.GONE
        if self._health is not None and not self._health.done():
            self._health.cancel()
        unbegun = [call for slot in self.slots for call in self._fail_running(slot)]
        self._close()
        self.owner.worker_gone(self, unbegun)

    def ending(self) -> str:
        """How it ended, as the second half of a sentence."""
        return self.condemned or describe_exit(self.returncode or 0, out_of=self.child.out_of)

    def _fail_running(self, slot: Slot) -> list[Call]:
        running, unbegun = list(slot.running.values()), list(slot.ahead)
        slot.running.clear()
        slot.ahead.clear()
        for call in running:
            self.left.append(call)
            call.finish(self._last_words(call))
        return [call for call in unbegun if call.result is None]

    def _last_words(self, call: Call) -> Result:
        if call.cancel_asked:
            return Result(id=call.id, status=Status.CANCELED, logs=call.log_text())
        cause = self.condemned_cause
        if self.condemned is not None and self.condemned_call not in (None, call):
            cause = Cause.REPLACED
        error = f"the model's process {self.ending()}"
        exit_code = self.returncode if self.condemned is None and (self.returncode or 0) >= 0 else None
        return Result(id=call.id, status=Status.FAILED, error=error, logs=call.log_text(), cause=cause, exit_code=exit_code)

    def _close(self) -> None:
        for number in self.child.outputs:
            if number >= 0:
                self.loop.remove_reader(number)
                self._stop_polling(number)
        for channel in self._channels():
            channel.close()
        for slot in self.slots:
            if slot.region is not None:
                slot.region.close()
        self.child.close()
