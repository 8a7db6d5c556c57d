"""One predictor as every protocol sees it: predictions are submitted, followed, canceled, remembered; health is told."""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from lading.model.events import Reporter, silent
from lading.model.problems import LadingError
from lading.model.service import ServedApi
from lading.service.calls import EVENT_LIMIT, Call, Cause, Listener, Result, Status
from lading.service.counters import Counters
from lading.service.finished import Finished
from lading.service.log import ServiceLog, printable
from lading.service.pool import Health, Refusal, RefusedError, Setup, WorkerPool
from lading.service.process import Child
from lading.service.variables import of_worker

LONGEST_ID = 256
_IDS_AT_ONCE = 64


@dataclass(frozen=True, slots=True)
class HealthReport:
    """What is known of one predictor's health. ``error`` says what the predictor's own health check found, or why it is defunct."""

    status: Health
    setup: Setup
    error: str | None = None
    python: str | None = None


class PredictionService:
    """The state machine of one predictor's predictions. Belongs to the event loop's thread.

    ``counters`` is shared by all predictors of a server; without one it has its own.
    """

    def __init__(
        self,
        api: ServedApi,
        reporter: Reporter = silent,
        *,
        max_queue: int = 256,
        setup_timeout: float | None = None,
        predict_timeout: float | None = None,
        worker_main: str | None = None,
        log: ServiceLog | None = None,
        counters: Counters | None = None,
    ) -> None:
        self.api = api
        self.log = log or ServiceLog(reporter)
        self.counters = counters or Counters()
        self.pool = WorkerPool(
            api.worker,
            api.processes,
            reporter,
            name=api.name,
            max_queue=max_queue,
            setup_timeout=setup_timeout,
            predict_timeout=predict_timeout,
            worker_main=worker_main,
            log=self.log,
        )
        self.in_flight: dict[str, Call] = {}
        self._finished = Finished()
        self._earlier: list[PredictionService] = []
        self.draining = self.started = False
        self._starting: asyncio.Future[None] | None = None
        self._history = _history_limit(of_worker(api.worker, os.environ))
        self._numbers = 0
        self._randoms: list[str] = []
        self._scratch = b""

    async def start(self, children: Sequence[Child] = ()) -> None:
        """Start the workers, or take over those that were started already."""
        self.started = True
        await self.pool.start(children)
        self._scratch = json.dumps(self.pool.scratch)[1:-1].encode()

    async def start_late(self) -> None:
        """Start a service that was not started with the server, and wait for its setup.

        Raises:
            RefusedError: if its worker cannot be started.
        """
        if self._starting is None:
            self._starting = asyncio.ensure_future(self._start_late())
        await asyncio.shield(self._starting)

    async def _start_late(self) -> None:
        if self.draining:
            raise RefusedError(Refusal.STOPPING, "the server is shutting down", 1)
        try:
            await self.start()
        except LadingError as error:
            self.started, self._starting = False, None
            raise RefusedError(Refusal.SETUP_FAILED, str(error)) from error
        await self.pool.wait_settled()

    async def stop(self) -> None:
        """End everything at once; see `WorkerPool.stop`."""
        await self.pool.stop()

    # Predictions

    def new_call(
        self,
        body: bytes,
        *,
        id_: str | None = None,
        head: bytes | None = None,
        context: bytes = b"",
        input_: bytes = b"",
        trace: Mapping[str, str] | None = None,
        span: Mapping[str, str] | None = None,
    ) -> Call:
        """A call that is not submitted yet. ``head`` None means Cog's, made of the scratch folder and ``context`` (JSON).

        ``trace`` are the request's trace headers; they go along with what is uploaded. ``span`` are those of the prediction's own span.
        """
        self._numbers += 1
        number = self._numbers
        id_ = id_ or self._new_id()
        if head is None:
            extra = b',"context":' + context if context else b""
            if self.api.worker.upload_url is not None:
                extra += b"," + json.dumps({"id": id_, "trace": dict(trace or {})}).encode()[1:-1]
            if span:
                extra += b"," + json.dumps({"span": dict(span)}).encode()[1:-1]
            head = b'{"scratch":"%b/%d"%b}' % (self._scratch, number, extra)
        call = Call(id_, number, body, head, input_=input_, history_limit=self._history)
        call.on_done = self._done
        return call

    def _new_id(self) -> str:
        """32 hexadecimal digits that nobody can guess: who knows an id can read and cancel its prediction."""
        if not self._randoms:
            # The kernel is asked for many at a time.
            block = os.urandom(16 * _IDS_AT_ONCE)
            self._randoms = [block[start : start + 16].hex() for start in range(0, len(block), 16)]
        return self._randoms.pop()

    def begin(self, call: Call) -> None:
        """Put a call on its way.

        Raises:
            RefusedError: if no predictions are taken now; nothing is remembered of the call then.
        """
        if self.draining:
            raise RefusedError(Refusal.STOPPING, "the server is shutting down", 1)
        self.pool.submit(call)
        if call.result is None:
            self.in_flight[call.id] = call

    async def submit(self, call: Call) -> Result:
        """Put a call on its way and wait for its result. If the waiting task is canceled, so is the prediction.

        Raises:
            RefusedError: if no predictions are taken now, or it was dropped from the queue.
        """
        self.begin(call)
        try:
            return await call.answer
        finally:
            if call.result is None:
                self.pool.cancel(call)

    def follow(self, call: Call) -> Listener:
        """An asynchronous iterator over the events of a call."""
        return call.listen()

    def succeed(self, old: PredictionService) -> None:
        """Answer for the predictions of the service whose place this one takes: what it has finished, and what it has still to finish."""
        self._finished = old._finished
        self._numbers = max(self._numbers, old._numbers)
        self._earlier = [old, *old._earlier]

    def _with_earlier(self) -> list[PredictionService]:
        """This service, and those before it that still work."""
        self._earlier = [service for service in self._earlier if service.in_flight]
        return [self, *self._earlier]

    def find(self, id_: str) -> Call | None:
        """The prediction of this id: in flight, or finished not long ago."""
        running = (service.in_flight.get(id_) for service in self._with_earlier())
        return next((call for call in running if call is not None), None) or self._finished.find(id_)

    def listing(self) -> list[Call]:
        """Every prediction that is known, the newest first."""
        running = [call for service in self._with_earlier() for call in service.in_flight.values()]
        return sorted([*running, *self._finished.all()], key=lambda call: call.number, reverse=True)

    def cancel(self, id_: str) -> bool:
        """Cancel the prediction of this id; False when none is in flight."""
        for service in self._with_earlier():
            call = service.in_flight.get(id_)
            if call is not None:
                call.unwanted = True
                service.pool.cancel(call)
                return True
        return False

    def fail_all(self, reason: str) -> None:
        """End what still runs with a clear answer: the time to finish is over."""
        self.pool.queue.clear()
        for call in list(self.in_flight.values()):
            call.finish(Result(id=call.id, status=Status.CANCELED, error=reason, logs=call.log_text(), cause=Cause.SHUTDOWN))

    def _done(self, call: Call, result: Result) -> None:
        if self.in_flight.get(call.id) is call:
            del self.in_flight[call.id]
        self._finished.keep(call, result)
        self._count(call, result)
        if result.error is not None and self.log.wants("warning"):
            self.log.say(
                "warning", f"prediction {printable(call.id)} {result.status}: {result.error}", api=self.api.name, prediction=call.id
            )
        elif self.log.wants("debug"):
            message = f"prediction {printable(call.id)} {result.status}"
            self.log.say("debug", message, api=self.api.name, prediction=call.id, predict_time=result.predict_time)

    def _count(self, call: Call, result: Result) -> None:
        seconds = result.predict_time
        if seconds is None and call.started is not None:
            seconds = time.time() - call.started
        self.counters.predicted(self.api.name, result.status, seconds)
        if result.metrics:
            self.counters.recorded(self.api.name, result.metrics)

    # Health

    async def health(self) -> HealthReport:
        """How the predictor is, its own health check included."""
        status, error = self.pool.health(), self.pool.defunct
        if status in (Health.READY, Health.BUSY):
            error = await self.pool.check()
            status = Health.UNHEALTHY if error else status
        python = next((worker.hello.python for worker in self.pool.workers if worker.hello), None)
        return HealthReport(status, self.pool.setup, error, python)


def _history_limit(environ: Mapping[str, str]) -> int:
    """``COG_STREAM_HISTORY_CAPACITY``, 0 for no replay; what is no number counts as not given, as in Cog."""
    text = environ.get("COG_STREAM_HISTORY_CAPACITY", "")
    return int(text) if text.isascii() and text.isdigit() and int(text) <= 1_000_000 else EVENT_LIMIT
