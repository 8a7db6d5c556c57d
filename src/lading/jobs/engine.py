"""Works jobs off: items are leased from the store, run by a crew, and written down together, so that a commit serves many of them."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Awaitable, Callable, Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Protocol

from lading.jobs.leases import CRASHES
from lading.jobs.store import Item, ItemState, Job, JobStatus, JobStore, Leased, Outcome, StoreLostError
from lading.jobs.submission import SubmissionError
from lading.model.tasks import to_its_end

LEASE_SECONDS = 60.0
"""How long an item belongs to who leased it; the engine prolongs what still runs."""
_AHEAD = 16  # items on their way for each lane
_ADDERS = 8  # jobs whose items are added at a time
_AHEAD_SECONDS = 1.0  # of work that a server takes for each lane where others would do it meanwhile
_LONGEST_PAUSE = 2.0
_LAST_SECONDS = 2.0  # that a claim which nobody waits for any more is given


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """What came of one item. ``crashed``: its worker ended."""

    ok: bool
    result: bytes = b""
    error: str | None = None
    seconds: float = 0.0
    crashed: bool = False


class CrewLostError(Exception):
    """The crew can work no more: its setup failed, or its workers end again and again. ``memory``: they were killed for memory."""

    def __init__(self, message: str, *, memory: bool = False) -> None:
        super().__init__(message)
        self.memory = memory


class Crew(Protocol):
    """Workers that run a job's items. ``lanes`` is how many run at a time."""

    lanes: int

    async def start(self) -> None:
        """Start the workers, and wait for their setup.

        Raises:
            CrewLostError: if it fails.
        """

    async def work(self, action: str, item: Leased | None = None) -> Done:
        """Run ``predict`` or ``task`` with an item, or ``on_job_complete``.

        Raises:
            CrewLostError: if there are no workers any more.
        """

    async def stop(self) -> None:
        """End the workers."""


class JobEngine:
    """Runs the jobs of one server. Belongs to the event loop's thread; the store is used in a thread of its own.

    ``make_crew`` makes the workers of a job, ``enqueue`` its items; ``tell`` hears what becomes of jobs.
    """

    poll: float | None = None
    """How often, in seconds, to look for what other servers did; None: there are no others."""

    def __init__(
        self,
        store: JobStore,
        make_crew: Callable[[Job], Crew],
        enqueue: Callable[[Job], Iterator[Item]],
        tell: Callable[[Job, str], None] = lambda _job, _text: None,
        *,
        lease_seconds: float = LEASE_SECONDS,
        threads: int = 1,
    ) -> None:
        self.store, self._make_crew, self._enqueue, self._tell = store, make_crew, enqueue, tell
        self.lease_seconds = lease_seconds
        self._thread = ThreadPoolExecutor(threads, "lading-jobs")
        self._adders = ThreadPoolExecutor(_ADDERS, "lading-enqueue")
        self._runs: dict[str, asyncio.Task[None]] = {}

    async def in_store(self, function: Callable[..., Any], *values: Any, **named: Any) -> Any:
        """Call the store in its thread."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, lambda: function(*values, **named))

    async def surely(self, function: Callable[..., Any], *values: Any, **named: Any) -> Any:
        """Call the store, again and again while it cannot be reached: a job waits for its store, and does not fail with it."""
        pause = 0.05
        while True:
            try:
                return await self.in_store(function, *values, **named)
            except StoreLostError:
                pause = min(_LONGEST_PAUSE, pause * 2)
                await asyncio.sleep(pause)

    async def resume(self, apis: Collection[str]) -> int:
        """Go on with every job of these APIs that is not over; returns how many there are."""
        found = await self.in_store(self.store.jobs, None, limit=1_000_000, unfinished=True)
        jobs = [job for job in reversed(found) if job.api in apis]
        for job in jobs:
            self.begin(job)
        return len(jobs)

    def begin(self, job: Job) -> None:
        """Run a job that the store has."""
        task = asyncio.get_running_loop().create_task(self._run(job), name=f"job-{job.id}")
        self._runs[job.id] = task
        task.add_done_callback(lambda _task: self._runs.pop(job.id, None))

    async def stop(self, job: str) -> bool:
        """End a job before it is over; False if it was over already."""
        stopped: bool = await self.in_store(self.store.update, job, status=JobStatus.STOPPED)
        run = self._runs.get(job)
        if run is not None:
            run.cancel()
            await asyncio.wait([run])
        return stopped

    async def close(self) -> None:
        """End every run; the jobs go on when a server opens the store again."""
        runs = list(self._runs.values())
        for run in runs:
            run.cancel()
        if runs:
            await asyncio.wait(runs)
        # Both: the store is closed next, and nobody may use it any more then. Who adds items was told to give up.
        self._adders.shutdown(wait=True)
        self._thread.shutdown(wait=True)

    # One job

    async def _run(self, job: Job) -> None:
        try:
            left = None if job.timeout is None else max(0.01, job.started + job.timeout - time.time())
            async with asyncio.timeout(left):
                status, error = await self._work(job)
        except TimeoutError:
            status, error = JobStatus.TIMED_OUT, f"it took longer than {job.timeout:g} s"
        except SubmissionError as problem:
            status, error = JobStatus.ENQUEUE_FAILED, str(problem)
        except CrewLostError as lost:
            status, error = (JobStatus.WORKER_OOM if lost.memory else JobStatus.WORKER_ERROR), str(lost)
        except asyncio.CancelledError:
            return
        except Exception as problem:  # noqa: BLE001 - whatever it was, the job must not stay for ever in a state that means work
            status, error = JobStatus.UNEXPECTED_ERROR, f"{type(problem).__name__}: {problem}"
        await self.surely(self.store.update, job.id, status=status, error=error)
        self._tell(job, status.words + (f": {error}" if error else ""))

    async def _work(self, job: Job) -> tuple[JobStatus, str | None]:
        if job.status is JobStatus.ENQUEUING:
            given_up = threading.Event()
            try:
                # In another thread: a long list must not keep the store from other jobs.
                items = until(given_up, self._enqueue(job))
                total = await asyncio.get_running_loop().run_in_executor(self._adders, lambda: self.store.add(job.id, items))
            finally:
                given_up.set()
            await self.in_store(self.store.update, job.id, status=JobStatus.RUNNING, total=total)
        crew = self._make_crew(job)
        try:
            await crew.start()
            await Shift(self, job, crew, "task" if job.kind == "TaskAPI" else "predict").work_off()
            return await self._end(job, crew)
        finally:
            await to_its_end(crew.stop())

    async def _end(self, job: Job, crew: Crew) -> tuple[JobStatus, str | None]:
        now: Job = await self.surely(self.store.job, job.id)
        if job.kind == "TaskAPI":
            failed = await self.surely(self.store.items, job.id, ItemState.FAILED)
            return (JobStatus.WORKER_ERROR, failed[0].error) if failed else (JobStatus.SUCCEEDED, None)
        done = await crew.work("on_job_complete")
        if not done.ok:
            return JobStatus.WORKER_ERROR, f"on_job_complete: {done.error}"
        return (JobStatus.COMPLETED_WITH_FAILURES if now.failed else JobStatus.SUCCEEDED), None


def until(given_up: threading.Event, items: Iterator[Item]) -> Iterator[Item]:
    """Items, until nobody wants them any more: the thread that adds them cannot be canceled."""
    for item in items:
        if given_up.is_set():
            return
        yield item


class Shift:
    """Works the items of one job off, with one crew. ``forever``: waits for more items when there are none.

    ``more`` tells, when there is nothing to lease, whether there may be something later: what another server has leased.
    """

    def __init__(
        self,
        engine: JobEngine,
        job: Job,
        crew: Crew,
        action: str,
        *,
        forever: bool = False,
        more: Callable[[], Awaitable[bool]] | None = None,
    ) -> None:
        self._engine, self._job, self.crew, self._action, self._forever, self._more = engine, job, crew, action, forever, more
        self._cost: float | None = None  # seconds that an item takes, smoothed
        self._running: dict[asyncio.Task[None], Leased] = {}
        self._done: list[Outcome] = []
        self._lost: CrewLostError | None = None
        self._wake = asyncio.Event()

    def wake(self) -> None:
        """There are new items."""
        self._wake.set()

    async def work_off(self) -> None:
        """Until every item has ended.

        Raises:
            CrewLostError: if the crew can work no more.
        """
        prolonging = asyncio.create_task(self._prolong())
        try:
            while await self._step():
                pass
        finally:
            prolonging.cancel()
            held = list(self._running.values())
            for task in self._running:
                task.cancel()
            if self._running:
                await asyncio.wait(self._running)
            await self._hand_over(held)

    async def _hand_over(self, held: Sequence[Leased]) -> None:
        """Write down what has ended, and let others have the rest at once: that this server stops is no item's fault."""
        outcomes, self._done = self._done, []
        with contextlib.suppress(StoreLostError):
            if outcomes:
                await self._engine.in_store(self._engine.store.finish, outcomes)
            if held:
                await self._engine.in_store(self._engine.store.give_back, held)

    async def _step(self) -> bool:
        """Write down what has ended, lease more, wait for something to end; False when nothing is left."""
        self._wake.clear()
        await self._write_down()
        if self._lost is not None:
            raise self._lost
        await self._claim()
        going_on = bool(self._running or self._forever or self._done) or (self._more is not None and await self._more())
        if going_on and not self._done:
            await self._pause()
        return going_on

    async def _claim(self) -> None:
        """Lease more when what is on its way gets less. What a server ended over has this one for itself."""
        ahead = self._ahead()
        most = self.crew.lanes * ahead
        if len(self._running) > (most // 2 if ahead > 1 else most - 1) or any(leased.lost for leased in self._running.values()):
            return
        store, count, seconds = self._engine.store, most - len(self._running), self._engine.lease_seconds
        claiming = asyncio.ensure_future(self._engine.surely(store.claim, self._job.id, count, seconds, alone=not self._running))
        try:
            claimed: Sequence[Leased] = await asyncio.shield(claiming)
        except asyncio.CancelledError:
            # The store's thread goes on with it: nobody would have these items until their leases run out.
            done, _ = await asyncio.wait((claiming,), timeout=_LAST_SECONDS)
            await self._hand_over(claiming.result() if done and claiming.exception() is None else [])
            claiming.cancel()
            raise
        for leased in claimed:
            self._running[asyncio.create_task(self._one(leased))] = leased

    def _ahead(self) -> int:
        """Items on their way for each lane. Where others share the work, nobody hoards what they could begin with."""
        if self._engine.poll is None:
            return _AHEAD
        return 1 if self._cost is None else int(max(1, min(_AHEAD, _AHEAD_SECONDS / max(self._cost, 1e-6))))

    async def _pause(self) -> None:
        """Until something ends, something is added, or it is time to look at what others did."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._wake.wait(), self._engine.poll)

    async def _write_down(self) -> None:
        if self._done:
            outcomes, self._done = self._done, []
            await self._engine.surely(self._engine.store.finish, outcomes)

    async def _one(self, leased: Leased) -> None:
        try:
            done = await self.crew.work(self._action, leased)
            self._cost = done.seconds if self._cost is None else self._cost + 0.2 * (done.seconds - self._cost)
            self._done.append(self._outcome(leased, done))
        except CrewLostError as lost:
            self._lost = self._lost or lost
        finally:
            task = asyncio.current_task()
            assert task is not None
            self._running.pop(task, None)
            self._wake.set()

    def _outcome(self, leased: Leased, done: Done) -> Outcome:
        crashes = leased.crashes + leased.lost + 1
        again = not done.ok and (crashes < CRASHES if done.crashed else leased.failures + 1 < self._job.attempts)
        return Outcome(
            leased=leased, ok=done.ok, result=done.result, error=done.error, seconds=done.seconds, again=again, crash=done.crashed
        )

    async def _prolong(self) -> None:
        while True:
            await asyncio.sleep(self._engine.lease_seconds / 4)
            await self._engine.surely(self._engine.store.extend, list(self._running.values()), self._engine.lease_seconds)
