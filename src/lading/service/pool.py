"""The workers of one predictor: a bounded queue in front of them, replacements for those that end."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import tempfile
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from lading.model.events import Reporter, silent
from lading.model.problems import LadingError
from lading.model.service import WorkerSpec
from lading.service.calls import Call, Cause, Result, Status
from lading.service.guard import GUARD
from lading.service.log import ServiceLog
from lading.service.process import Child, places_of, slots_of, spawn
from lading.service.shared import LEAST
from lading.service.worker import SetupFailed, Slot, State, Worker

SETUP_LOG_LIMIT = 256 * 1024
"""Characters of log kept of setup."""
CRASHES = 5
"""So many ends of workers within `CRASH_WINDOW` seconds, without one good answer between them, and no more are started."""
CRASH_WINDOW = 60.0
QUIT_GRACE = 4.0
"""Seconds that an idle worker has to end when it is asked to; it limits the model's exit handlers to three."""
_KILL_SECONDS = 5.0  # until a killed process is surely gone
_FIRST_DELAY, _LONGEST_DELAY = 0.1, 30.0
_AHEAD = 8  # calls on their way through one slot, the running one included
_AHEAD_BYTES = LEAST  # larger bodies wait in the queue: they go through memory that one call has at a time
_AHEAD_SECONDS = 0.01  # with several slots, no call waits longer than this behind another by being sent ahead
_HEALTHCHECK_SECONDS = 5.0


class Health(StrEnum):
    """What `/health-check` says, in Cog's words."""

    UNKNOWN = "UNKNOWN"
    STARTING = "STARTING"
    READY = "READY"
    BUSY = "BUSY"
    SETUP_FAILED = "SETUP_FAILED"
    UNHEALTHY = "UNHEALTHY"
    DEFUNCT = "DEFUNCT"


class Refusal(StrEnum):
    """Why a call is not taken."""

    STARTING = "starting"
    SETUP_FAILED = "setup-failed"
    DEFUNCT = "defunct"
    FULL = "full"
    STOPPING = "stopping"


class RefusedError(Exception):
    """A call is not taken, or not any more. ``retry_after`` is in whole seconds, when trying again makes sense."""

    def __init__(self, refusal: Refusal, message: str, retry_after: int | None = None) -> None:
        super().__init__(message)
        self.refusal, self.message, self.retry_after = refusal, message, retry_after


@dataclass(slots=True)
class Setup:
    """How setup went. Times are seconds since the epoch."""

    started: float | None = None
    completed: float | None = None
    status: str = "starting"
    log: list[str] = field(default_factory=list)
    size: int = 0
    failure: SetupFailed | None = None
    seconds: float | None = None

    def add(self, text: str) -> None:
        """Keep a piece of log, up to `SETUP_LOG_LIMIT` characters."""
        if self.size < SETUP_LOG_LIMIT:
            self.log.append(text[: SETUP_LOG_LIMIT - self.size])
        self.size += len(text)

    @property
    def logs(self) -> str:
        """What setup printed, and the traceback of its failure."""
        text = "".join(self.log)
        trace = self.failure.traceback if self.failure else None
        return text if not trace or trace.strip() in text else f"{text.rstrip()}\n{trace}".lstrip()


class WorkerPool:
    """Keeps ``processes`` workers of one spec running and hands calls to them. Belongs to the event loop's thread.

    A call goes to an idle slot at once; else it is sent ahead to a busy one when that costs nobody anything; else it waits in a queue
    of at most ``max_queue`` calls. A worker that ends is replaced, with growing delays when it ends again and again, until the pool is
    DEFUNCT. Times are in seconds; None means no limit.
    """

    def __init__(
        self,
        spec: WorkerSpec,
        processes: int = 1,
        reporter: Reporter = silent,
        *,
        name: str = "model",
        max_queue: int = 256,
        setup_timeout: float | None = None,
        predict_timeout: float | None = None,
        worker_main: str | None = None,
        log: ServiceLog | None = None,
    ) -> None:
        self.spec, self.processes, self.name = spec, max(1, processes), name
        self.max_queue, self.setup_timeout, self.predict_timeout = max_queue, setup_timeout, predict_timeout
        self.log = log or ServiceLog(reporter)
        self.setup = Setup()
        self.workers: list[Worker] = []
        self.queue: deque[Call] = deque()
        self.restarts = 0
        self.ever_ready = False
        self.defunct: str | None = None
        self.stopping = False
        self.settled = asyncio.Event()
        self.scratch = ""
        self._main = worker_main
        self._total_slots = self.processes * slots_of(spec)
        self._places = places_of(spec)
        self._idle: deque[Slot] = deque()
        self._crashes: deque[float] = deque(maxlen=CRASHES)
        self._streak = 0
        self._coming = 0
        self._cost = 0.0  # seconds a prediction takes, smoothed
        self._tasks: set[asyncio.Task[None]] = set()
        self._told_unlimited = False

    # Starting and stopping

    async def start(self, children: Sequence[Child] = ()) -> None:
        """Take over the workers that were started already and start the missing ones. May be called again when it failed.

        Raises:
            LadingError: if the first worker cannot be started at all.
        """
        if not self.scratch:
            self.scratch = tempfile.mkdtemp(prefix="lading-")
            GUARD.folder(self.scratch)
        self.setup.started = time.time()
        # Until a worker is attached it is one to come: the first may be ready before the last is attached, and must not have it replaced.
        self._coming = self.processes - len(self.workers)
        for number in range(len(self.workers), self.processes):
            child = children[number] if number < len(children) else spawn(self.spec, self._main)
            self._coming -= 1
            await self._attach(child)

    async def _attach(self, child: Child) -> None:
        worker = Worker(child, self)
        self.workers.append(worker)
        if child.unlimited and not self._told_unlimited:
            self._told_unlimited = True
            self.log.say("warning", f"{self.name} runs without the limit of {' and '.join(child.unlimited)}", api=self.name)
        await worker.attach()
        if self.setup_timeout is not None:
            worker.loop.call_later(self.setup_timeout, self._setup_overdue, worker, self.setup_timeout)

    def _setup_overdue(self, worker: Worker, seconds: float) -> None:
        if worker.state is State.STARTING and not worker.gone.is_set():
            worker.fail_setup(SetupFailed(error=f"setup did not finish within {seconds:g} s"))
            worker.condemn("was killed: its setup took too long")

    async def stop(self) -> None:
        """End every worker, and wait until all have ended; what still runs or waits fails.

        A worker that runs nothing is asked to end, so that the model's exit handlers run; if it takes longer than `QUIT_GRACE`, and
        if it runs something, it is killed with its process group.
        """
        self.stopping = True
        for task in self._tasks:
            task.cancel()
        self.drop_queue(Refusal.STOPPING, "the server is shutting down")
        for worker in self.ready_workers:
            if not any(slot.running for slot in worker.slots):
                worker.quit()
        busy = [worker for worker in self.workers if worker.state is not State.READY or any(slot.running for slot in worker.slots)]
        await self._end(busy, 0.0)
        await self._end(self.workers, QUIT_GRACE)
        if self.scratch:
            shutil.rmtree(self.scratch, ignore_errors=True)
            GUARD.forget(self.scratch)

    async def _end(self, workers: Sequence[Worker], grace: float) -> None:
        """Kill those that have not ended within ``grace`` seconds, and wait until all have."""
        ends = [asyncio.ensure_future(worker.gone.wait()) for worker in workers]
        if not ends:
            return
        if grace:
            await asyncio.wait(ends, timeout=grace)
        for worker in list(workers):
            worker.condemn("was stopped: the server is shutting down", cause=Cause.SHUTDOWN)
        _, late = await asyncio.wait(ends, timeout=_KILL_SECONDS)
        for end in late:
            end.cancel()

    def kill(self) -> None:
        """Kill every worker now, without waiting for anything."""
        self.stopping = True
        for worker in self.workers:
            worker.child.kill()

    async def wait_settled(self) -> None:
        """Wait until setup has succeeded or failed."""
        await self.settled.wait()

    # Calls

    def submit(self, call: Call) -> None:
        """Take a call; its ``answer`` will get the result.

        Raises:
            RefusedError: if it cannot be taken.
        """
        self._check_open()
        if self._idle:
            slot = self._idle.popleft()
            self._send(slot, call)
            self._rest(slot)
            return
        if self.waiting >= self.max_queue:
            raise RefusedError(Refusal.FULL, f"the queue is full: {self.waiting} predictions are waiting", self._retry_after())
        ahead = self._slot_ahead(call) if not self.queue else None
        if ahead is not None:
            ahead.send(call)
        else:
            self.queue.append(call)

    def _check_open(self) -> None:
        if self.stopping:
            raise RefusedError(Refusal.STOPPING, "the server is shutting down", 1)
        if self.defunct is not None:
            raise RefusedError(Refusal.DEFUNCT, self.defunct)
        if not self.ever_ready:
            if self.setup.status == "failed":
                error = self.setup.failure.error if self.setup.failure else "unknown"
                raise RefusedError(Refusal.SETUP_FAILED, f"setup failed: {error}")
            raise RefusedError(Refusal.STARTING, "Setup has not finished yet. Try again later, or poll /health-check.", 1)

    def _retry_after(self) -> int:
        waiting = len(self.queue) * self._cost / max(1, self._total_slots * self._places)
        return min(60, max(1, round(waiting + 0.5)))

    def _send(self, slot: Slot, call: Call) -> None:
        slot.idle = False
        slot.send(call)

    def _slot_ahead(self, call: Call) -> Slot | None:
        if len(call.body) > _AHEAD_BYTES:
            return None
        limit = _AHEAD
        if self._places > 1:
            limit = 2 * self._places
        elif self._total_slots > 1:
            limit = int(min(_AHEAD, _AHEAD_SECONDS / self._cost)) if self._cost else 1
        best: Slot | None = None
        for worker in self.workers:
            if worker.state is State.READY and worker.condemned is None:
                for slot in worker.slots:
                    if len(slot) < (limit if best is None else len(best)):
                        best = slot
        return best

    def cancel(self, call: Call) -> None:
        """Stop a call wherever it is. A running one answers when the predictor has stopped, or its worker was killed."""
        if call.result is not None or call.cancel_asked:
            return
        call.cancel_asked = True
        with contextlib.suppress(ValueError):
            self.queue.remove(call)
        slot = self.slot_running(call)
        if slot is not None:
            slot.worker.ask_cancel(slot, call)
        else:
            call.finish(Result(id=call.id, status=Status.CANCELED))

    def slot_running(self, call: Call) -> Slot | None:
        """The slot where a call runs; None while it waits, and when it is over."""
        for worker in self.workers:
            for slot in worker.slots:
                if slot.running.get(call.number) is call:
                    return slot
        return None

    def drop_queue(self, refusal: Refusal, message: str) -> None:
        """Refuse every call that waits."""
        while self.queue:
            call = self.queue.popleft()
            call.refuse(RefusedError(refusal, message))
            call.finish(Result(id=call.id, status=Status.FAILED, error=message, cause=Cause.SHUTDOWN))

    # What workers say (see `Owner`)

    def worker_ready(self, worker: Worker) -> None:
        """See `Owner`."""
        if not self.ever_ready:
            self.ever_ready = True
            self.setup.status = "succeeded"
            self.setup.failure = None
            self.setup.completed = time.time()
            self.setup.seconds = worker.ready.setup_seconds if worker.ready else None
            self.settled.set()
            self._revive_failed()
        for slot in worker.slots:
            self._feed(slot)

    def _revive_failed(self) -> None:
        """A sibling's setup works, so what failed in others may have been an accident."""
        for _ in range(self._missing()):
            self._replace(_FIRST_DELAY)

    def _missing(self) -> int:
        return self.processes - self._coming - sum(worker.state in (State.STARTING, State.READY) for worker in self.workers)

    def worker_failed(self, worker: Worker) -> None:
        """See `Owner`."""
        trace = worker.failure.traceback if worker.failure else None
        if trace and self.log.tee is not None:
            self.log.tee(self.name, trace)
        if self.ever_ready:
            return
        self.setup.failure = worker.failure
        if sum(other.state is State.FAILED for other in self.workers) >= self.processes:
            self.setup.status = "failed"
            self.setup.completed = time.time()
            self.settled.set()

    def slot_free(self, slot: Slot, call: Call, result: Result | None) -> None:
        """See `Owner`."""
        self._streak = 0
        self._crashes.clear()
        if result is not None and call.started is not None:
            seconds = time.time() - call.started if result.predict_time is None else result.predict_time
            self._cost += 0.2 * (max(seconds, 1e-6) - self._cost)
        self._feed(slot)
        self.log.end(self.name, call.id)

    def _feed(self, slot: Slot) -> None:
        while self.queue and self._takes_more(slot):
            self._send(slot, self.queue.popleft())
        self._rest(slot)

    def _rest(self, slot: Slot) -> None:
        """Note that a slot can take a call at once, if it can."""
        if slot.has_room and not slot.idle and slot.worker.condemned is None:
            slot.idle = True
            self._idle.append(slot)

    def _takes_more(self, slot: Slot) -> bool:
        if slot.worker.condemned is not None:
            return False
        if slot.has_room:
            return True
        limit = 2 * self._places if self._places > 1 else _AHEAD
        return self._total_slots == 1 and len(slot) < limit and len(self.queue[0].body) <= _AHEAD_BYTES

    def output(self, call: Call | None, text: str, source: str) -> None:
        """See `Owner`."""
        if not self.ever_ready:
            self.setup.add(text)
        self.log.model(self.name, call.id if call else "", text, source)

    def worker_gone(self, worker: Worker, unbegun: list[Call]) -> None:
        """See `Owner`."""
        self.workers.remove(worker)
        for call in worker.left:
            # It could not remove its files itself.
            worker.loop.run_in_executor(None, shutil.rmtree, f"{self.scratch}/{call.number}", True)
        self._idle = deque(slot for slot in self._idle if slot.worker is not worker)
        if self.stopping:
            self.queue.extend(unbegun)
            self.drop_queue(Refusal.STOPPING, "the server is shutting down")
            return
        self.queue.extendleft(reversed(unbegun))
        if not self.ever_ready:
            # A setup that fails at the first start would fail again: its worker stays listed as failed, and is not replaced.
            self.workers.append(worker)
            return
        if self._missing() > 0:
            self._count_crash(worker)

    def _count_crash(self, worker: Worker) -> None:
        now = time.monotonic()
        self._crashes.append(now)
        self._streak += 1
        ending = worker.failure.error if worker.failure else f"it {worker.ending()}"
        if len(self._crashes) == CRASHES and now - self._crashes[0] < CRASH_WINDOW:
            self._give_up(ending)
            return
        delay = 0.0 if self._streak == 1 else min(_LONGEST_DELAY, _FIRST_DELAY * 2 ** (self._streak - 2))
        self.log.say("warning", f"a worker of {self.name} is replaced: {ending}", api=self.name, pid=worker.child.pid)
        self._replace(delay)
        self._feed_idle()

    def _feed_idle(self) -> None:
        for slot in list(self._idle):
            if self.queue:
                self._idle.remove(slot)
                self._send(slot, self.queue.popleft())
                self._rest(slot)

    def _give_up(self, ending: str) -> None:
        self.defunct = f"the model's process ended {CRASHES} times within a minute without one good answer; the last time: {ending}"
        self.log.say("error", f"{self.name} is DEFUNCT: {self.defunct}", api=self.name)
        self.drop_queue(Refusal.DEFUNCT, self.defunct)

    def _replace(self, delay: float) -> None:
        self._coming += 1
        task = asyncio.get_running_loop().create_task(self._start_later(delay))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _start_later(self, delay: float) -> None:
        await asyncio.sleep(delay)
        self._coming -= 1
        if self.stopping or self.defunct is not None:
            return
        self.workers = [worker for worker in self.workers if not worker.gone.is_set()]
        self.restarts += 1
        try:
            await self._attach(spawn(self.spec, self._main))
        except LadingError as error:
            self._streak += 1
            self.log.say("error", str(error), api=self.name)
            self._replace(min(_LONGEST_DELAY, _FIRST_DELAY * 2**self._streak))

    # Health

    @property
    def running(self) -> int:
        """Predictions that run."""
        return sum(len(slot.running) for worker in self.workers for slot in worker.slots)

    @property
    def waiting(self) -> int:
        """Predictions that wait: in the queue, or sent ahead and not begun."""
        return len(self.queue) + sum(len(slot.ahead) for worker in self.workers for slot in worker.slots)

    @property
    def ready_workers(self) -> list[Worker]:
        """Workers that can take calls."""
        return [worker for worker in self.workers if worker.state is State.READY and worker.condemned is None]

    def health(self) -> Health:
        """Where the pool is, without asking the predictor's own health check."""
        if self.setup.started is None:
            return Health.UNKNOWN
        if self.defunct is not None:
            return Health.DEFUNCT
        if not self.ever_ready:
            return Health.SETUP_FAILED if self.setup.status == "failed" else Health.STARTING
        ready = self.ready_workers
        if not ready:
            return Health.STARTING
        return Health.BUSY if not any(slot.has_room for worker in ready for slot in worker.slots) else Health.READY

    async def check(self) -> str | None:
        """Run the predictor's own health check on every worker that has one; None when all are well."""
        asked = [worker.check(_HEALTHCHECK_SECONDS) for worker in self.ready_workers if worker.ready and worker.ready.healthcheck]
        errors: list[Any] = await asyncio.gather(*asked) if asked else []
        return next((error for error in errors if error is not None), None)
