"""One prediction as the front keeps it: what was asked, how far it is, what came of it."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import msgspec

from lading_worker import scope

nest: Callable[[Mapping[str, Any]], dict[str, Any]] = scope.nest
"""Metrics by name as Cog shows them: dots make objects within objects."""
LOG_LIMIT = 1024 * 1024
"""Characters of log kept for one prediction."""
EVENT_LIMIT = 1024
"""Events kept for a listener that is slow, or comes late, unless ``COG_STREAM_HISTORY_CAPACITY`` says otherwise."""
_LEAST_WAITING = 16  # events that a listener may fall behind, however short the history


class Status(StrEnum):
    """Where a prediction is, in Cog's words; ``invalid``: its input did not fit, nothing was run."""

    STARTING = "starting"
    PROCESSING = "processing"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELED = "canceled"
    INVALID = "invalid"


class Cause(StrEnum):
    """Why a prediction failed, when it was not the predictor's own code that raised."""

    CRASH = "crash"
    TIMEOUT = "timeout"
    REPLACED = "replaced"
    SHUTDOWN = "shutdown"


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """What came of one prediction.

    ``output`` is the model's: JSON for Cog style, the answer's body for Cortex style, never decoded. ``detail`` is the JSON list of
    what does not fit the signature, when the status is INVALID. ``http_status`` and ``headers`` are set for Cortex style.
    ``predict_time`` is in seconds, as the worker measured it. ``exit_code`` is set where the model ended its process itself.
    """

    id: str
    status: Status
    output: bytes = b""
    error: str | None = None
    logs: str = ""
    metrics: Mapping[str, Any] = {}
    predict_time: float | None = None
    detail: bytes = b""
    http_status: int | None = None
    headers: tuple[tuple[str, str], ...] = ()
    cause: Cause | None = None
    exit_code: int | None = None


class EventKind(StrEnum):
    """What happened to a prediction, in the words of Cog's event stream."""

    START = "start"
    OUTPUT = "output"
    LOG = "log"
    METRIC = "metric"
    COMPLETED = "completed"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class CallEvent:
    """One thing that happened. ``data`` is a chunk of output as JSON (OUTPUT), the text of a log (LOG); ``facts`` says the rest."""

    kind: EventKind
    data: bytes = b""
    facts: Mapping[str, Any] = field(default_factory=dict)


class Listener:
    """Follows a prediction: an asynchronous iterator over its events, the last one COMPLETED.

    ``so_far`` comes first; ``skipped`` events before it are lost. A listener that falls behind by more than ``limit`` events loses the
    oldest. Either is told by one ERROR.
    """

    def __init__(self, so_far: Iterable[CallEvent], limit: int = EVENT_LIMIT, skipped: int = 0) -> None:
        self._events: deque[CallEvent] = deque(so_far)
        self._limit, self._skipped = limit, skipped
        self._late = bool(skipped)
        self._over = False
        self._wake = asyncio.Event()

    def put(self, event: CallEvent) -> None:
        """Add an event; never waits."""
        if len(self._events) > self._limit:
            self._events.popleft()
            self._skipped += 1
        self._events.append(event)
        self._wake.set()

    def __aiter__(self) -> Listener:
        return self

    async def __anext__(self) -> CallEvent:
        if self._over:
            raise StopAsyncIteration
        while not self._events:
            self._wake.clear()
            await self._wake.wait()
        if self._skipped:
            skipped, self._skipped = self._skipped, 0
            why = "came too late for all events" if self._late else "was too slow and missed events"
            self._late = False
            return CallEvent(EventKind.ERROR, facts={"error": f"this listener {why}", "skipped": skipped})
        event = self._events.popleft()
        self._over = event.kind is EventKind.COMPLETED
        return event


class Call:
    """One prediction on its way. Belongs to the event loop's thread.

    ``id`` is the client's name for it (data, never a path), ``number`` ours on the wire. ``head`` and ``body`` are what the worker
    gets; ``input`` is what snapshots show. ``on_done`` is called once with the result, before whoever waits hears of it; ``on_answer``
    then with the result, or with why the call was not run after all; ``release`` gives the body's room back. ``takes_more`` says
    that its client's messages come after its head, one by one. ``unwanted`` says that somebody asked for its end by its id, where
    others are canceled because their client hung up.
    """

    __slots__ = (
        "_answer",
        "body",
        "cancel_asked",
        "chunks",
        "created",
        "finished",
        "head",
        "history",
        "history_limit",
        "id",
        "input",
        "listeners",
        "logs",
        "logs_size",
        "metrics",
        "number",
        "on_answer",
        "on_done",
        "release",
        "result",
        "skipped",
        "started",
        "takes_more",
        "timer",
        "unwanted",
        "watchers",
    )

    def __init__(
        self, id_: str, number: int, body: bytes, head: bytes = b"{}", *, input_: bytes = b"", history_limit: int = EVENT_LIMIT
    ) -> None:
        self.id, self.number, self.head, self.body, self.input = id_, number, head, body, input_
        self.history: deque[CallEvent] | None = None
        self.history_limit, self.skipped = history_limit, 0
        self.created = time.time()
        self.started: float | None = None
        self.finished: float | None = None
        self.result: Result | None = None
        self._answer: asyncio.Future[Result] | None = None
        self.chunks: list[bytes] = []
        self.logs: list[str] = []
        self.logs_size = 0
        self.metrics: dict[str, Any] = {}
        self.listeners: list[Listener] = []
        self.watchers: list[Callable[[CallEvent], None]] = []
        self.on_answer: Callable[[Result | Exception], None] | None = None
        self.on_done: Callable[[Call, Result], None] | None = None
        self.release: Callable[[], None] | None = None
        self.timer: asyncio.TimerHandle | None = None
        self.cancel_asked = False
        self.unwanted = False
        self.takes_more = False

    @property
    def abandoned(self) -> bool:
        """Whether it was canceled, and not because somebody did not want its result any more."""
        return self.result is not None and self.result.status is Status.CANCELED and not self.unwanted

    @property
    def status(self) -> Status:
        """Where it is."""
        if self.result is not None:
            return self.result.status
        return Status.STARTING if self.started is None else Status.PROCESSING

    @property
    def answer(self) -> asyncio.Future[Result]:
        """What a task can wait for: the result, or the exception that `refuse` got."""
        if self._answer is None:
            self._answer = asyncio.get_running_loop().create_future()
            if self.result is not None:
                self._answer.set_result(self.result)
        return self._answer

    def listen(self) -> Listener:
        """A new listener; what happened so far comes first."""
        # Who listens live is not held to the history's limit, which may be 0.
        listener = Listener(self._so_far(), max(self.history_limit, _LEAST_WAITING), self.skipped)
        if self.result is None:
            self.listeners.append(listener)
        return listener

    def _so_far(self) -> Iterable[CallEvent]:
        if self.started is not None:
            yield CallEvent(EventKind.START)
        yield from self.history or ()
        if self.result is not None:
            yield CallEvent(EventKind.COMPLETED)

    def tell(self, event: CallEvent) -> None:
        """Pass an event to whoever follows."""
        for listener in self.listeners:
            listener.put(event)
        for watcher in self.watchers:
            watcher(event)

    def _remember(self, event: CallEvent) -> None:
        """Pass an event to whoever follows, and keep it for who comes later. START and COMPLETED need no keeping."""
        if self.history is None:
            self.history = deque(maxlen=self.history_limit)
        self.skipped += len(self.history) == self.history_limit
        self.history.append(event)
        self.tell(event)

    def begin(self) -> None:
        """It has reached the front of its slot."""
        if self.started is None:
            self.started = time.time()
            if self.listeners or self.watchers:
                self.tell(CallEvent(EventKind.START))

    def add_chunk(self, index: int, value: bytes) -> None:
        """One piece of output."""
        self.chunks.append(value)
        self._remember(CallEvent(EventKind.OUTPUT, value, {"index": index}))

    def add_log(self, text: str, source: str) -> None:
        """A piece of what the model printed; beyond `LOG_LIMIT` characters it is shown to listeners and not kept."""
        kept = text[: max(0, LOG_LIMIT - self.logs_size)]
        if kept:
            self.logs.append(kept)
        if kept != text and self.logs_size < LOG_LIMIT:
            self.logs.append(f"\n[the log is longer than {LOG_LIMIT} characters; the rest was left out]\n")
        self.logs_size += len(text)
        self._remember(CallEvent(EventKind.LOG, text.encode("utf-8", "replace"), {"source": source}))

    def add_metric(self, name: str, value: Any, mode: str) -> None:
        """A metric that the model recorded (``replace``, ``incr``, ``append``) or deleted (``delete``), as coglet counts them."""
        before = self.metrics.get(name)
        if mode == "delete":
            self.metrics.pop(name, None)
        elif mode == "incr" and isinstance(before, int | float) and isinstance(value, int | float):
            self.metrics[name] = before + value
        elif mode == "append":
            earlier = before if isinstance(before, list) else [before] * (name in self.metrics)
            self.metrics[name] = [*earlier, value]
        else:
            self.metrics[name] = value
        self._remember(CallEvent(EventKind.METRIC, facts={"name": name, "value": value, "mode": mode}))

    def log_text(self) -> str:
        """Everything the model printed so far."""
        return "".join(self.logs)

    def finish(self, result: Result) -> None:
        """It is over. Only the first result counts."""
        if self.result is not None:
            return
        self.result = result
        self.finished = time.time()
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None
        if self.release is not None:
            self.release()
            self.release = None
        if self.on_done is not None:
            self.on_done(self, result)
        if self.listeners or self.watchers:
            self.tell(CallEvent(EventKind.COMPLETED))
            self.listeners.clear()
            self.watchers.clear()
        self._tell_answer(result)

    def refuse(self, error: Exception) -> None:
        """It will not run after all: whoever waits for its answer is told why."""
        self._tell_answer(error)

    def _tell_answer(self, answer: Result | Exception) -> None:
        on_answer, self.on_answer = self.on_answer, None
        if on_answer is not None:
            on_answer(answer)
        if self._answer is None or self._answer.done():
            return
        if isinstance(answer, Exception):
            self._answer.set_exception(answer)
            # Nobody waits for the answer to a call that was made with `Prefer: respond-async`: then this is no lost exception.
            self._answer.exception()
        else:
            self._answer.set_result(answer)
