"""Works jobs off together with other servers, on other machines, by one shared store.

Nobody leads. Each server looks about once a second at the jobs that are not over. A job has as many *seats* as it asked for workers; a
server takes a fair share of the free ones and starts so many workers for it, which lease items. One server at a time *owns* a job, while it
enqueues the items, and while it calls ``on_job_complete`` when all have ended. Everything that is held is held until a time, so that others take over what a
server held that is gone.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import socket
import threading
import time
from collections.abc import Callable, Collection, Coroutine, Iterator, Sequence
from typing import Any, Protocol

from lading.jobs.engine import Crew, CrewLostError, JobEngine, Shift, until
from lading.jobs.store import Item, Job, JobStatus, JobStore, StoreLostError
from lading.jobs.submission import SubmissionError
from lading.model.tasks import to_its_end

SHARED_LEASE_SECONDS = 30.0
"""How long others wait before they take over what a server held that says nothing any more."""
POLL_SECONDS = 0.25
_ROUND_SECONDS = 1.0
_MANY = 100_000
_REFUSED = "the store of jobs refuses what this server asks, and jobs wait for it"
_OUT_OF_REACH = "the store of jobs is out of reach, and jobs wait for it"


class SharedStore(JobStore, Protocol):
    """A store that several servers use at a time."""

    def join(self, member: str, apis: Sequence[str], seconds: float) -> None:
        """Say that a server works jobs of these APIs off, for so many seconds."""

    def leave(self, member: str) -> None:
        """Give back what a server holds."""

    def take_seats(self, job: Job, member: str, most: int, seconds: float) -> int:
        """Take a fair share of a job's free seats, ``most`` at most; returns how many."""

    def keep_seats(self, member: str, jobs: Sequence[str], seconds: float) -> None:
        """Keep a server's seats in these jobs, and give those in others back."""

    def seats(self) -> dict[str, int]:
        """How many seats of each job are taken."""

    def own(self, job: str, member: str, seconds: float) -> bool:
        """Be the one that enqueues or ends a job; False while another server is."""

    def disown(self, job: str, member: str) -> None:
        """Let another be it."""


class SharedEngine(JobEngine):
    """See the module. ``make_crew`` gets a job and how many workers it has here; ``most`` workers run here at a time, None for no limit.

    ``say`` hears of what befalls the store.
    """

    poll = POLL_SECONDS

    def __init__(
        self,
        store: SharedStore,
        make_crew: Callable[[Job, int], Crew],
        enqueue: Callable[[Job], Iterator[Item]],
        tell: Callable[[Job, str], None] = lambda _job, _text: None,
        *,
        say: Callable[[str], None] = lambda _text: None,
        most: int | None = None,
        lease_seconds: float = SHARED_LEASE_SECONDS,
    ) -> None:
        super().__init__(store, lambda job: make_crew(job, job.workers), enqueue, tell, lease_seconds=lease_seconds, threads=4)
        self.shared, self._make, self._say = store, make_crew, say
        self._most = _MANY if most is None else most
        self.member = f"{socket.gethostname()}-{secrets.token_hex(6)}"
        self.held: dict[str, int] = {}
        self._apis: Collection[str] = ()
        self._work_here: dict[asyncio.Task[None], tuple[str, int]] = {}
        self._busy: set[str] = set()  # jobs that are enqueued or ended here
        self._nudged = asyncio.Event()
        self._tending: asyncio.Task[None] | None = None

    async def resume(self, apis: Collection[str]) -> int:
        """Take part in the jobs of these APIs from now on; returns how many there are. ``apis`` may change later."""
        self._apis = apis
        self._tending = asyncio.create_task(self._tend(), name="jobs-tend")
        try:
            return len(await self._open_jobs())
        except StoreLostError:
            return 0  # told by the other one, which tries again

    def begin(self, job: Job) -> None:
        """Look for work now: the store has a new job."""
        del job
        self._nudged.set()

    async def stop(self, job: str) -> bool:
        """End a job before it is over; False if it was over already. Other servers end their part within seconds."""
        stopped: bool = await self.in_store(self.store.update, job, status=JobStatus.STOPPED)
        await self._end_tasks([task for task, (name, _) in self._work_here.items() if name == job])
        return stopped

    async def close(self) -> None:
        """End the part of this server; the others go on."""
        await self._end_tasks([*([self._tending] if self._tending else []), *self._work_here])
        with contextlib.suppress(StoreLostError):
            await self.in_store(self.shared.leave, self.member)
        self._thread.shutdown(wait=True)

    async def _end_tasks(self, tasks: Sequence[asyncio.Task[None]]) -> None:
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    # Taking part

    async def _open_jobs(self) -> list[Job]:
        """Jobs that are not over, the oldest first; that of an AsyncAPI is its service's affair."""
        found = await self.in_store(self.store.jobs, None, limit=_MANY, unfinished=True)
        return [job for job in reversed(found) if job.api in self._apis and job.kind != "AsyncAPI"]

    async def _tend(self) -> None:
        lost = False
        while True:
            self._nudged.clear()
            try:
                await self._look_around()
            except StoreLostError as error:
                if not lost:
                    self._say(f"{_OUT_OF_REACH}: {error}")
                lost = True
            except Exception as error:  # noqa: BLE001 -- whatever the database refuses now, this server must take part again when it does not
                if not lost:
                    self._say(f"{_REFUSED}: {type(error).__name__}: {error}")
                lost = True
            else:
                if lost:
                    self._say("the store of jobs can be used again")
                lost = False
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._nudged.wait(), _ROUND_SECONDS)

    async def _look_around(self) -> None:
        await self.in_store(self.shared.join, self.member, sorted(self._apis), self.lease_seconds)
        jobs = await self._open_jobs()
        known = {job.id for job in jobs}
        await self._end_tasks([task for task, (name, _) in self._work_here.items() if name not in known])
        seated = {name for name, seats in self._work_here.values() if seats}
        await self.in_store(self.shared.keep_seats, self.member, sorted(seated), self.lease_seconds)
        self.held = await self.in_store(self.shared.seats)
        for job in jobs:
            if job.timeout is not None and time.time() > job.started + job.timeout:
                await self._over(job, JobStatus.TIMED_OUT, f"it took longer than {job.timeout:g} s")
            elif job.status is JobStatus.ENQUEUING:
                await self._begin_enqueuing(job)
            else:
                await self._take_part(job)

    async def _begin_enqueuing(self, job: Job) -> None:
        if await self._become_owner(job):
            self._start(job, 0, self._enqueue_job(job))

    async def _become_owner(self, job: Job) -> bool:
        """For one of the tasks here; those of one server would share the ownership else."""
        if job.id in self._busy:
            return False
        self._busy.add(job.id)
        owner: bool = False
        try:
            owner = await self.in_store(self.shared.own, job.id, self.member, self.lease_seconds)
        finally:
            if not owner:
                self._busy.discard(job.id)
        return owner

    async def _take_part(self, job: Job) -> None:
        taken = self.held.get(job.id, 0)
        room = self._most - sum(seats for _, seats in self._work_here.values())
        # When every item has ended, those who worked them off end the job, unless they are gone.
        if room > 0 and taken < job.workers and (job.waiting > 0 or not taken):
            seats = await self.in_store(self.shared.take_seats, job, self.member, room if job.waiting else 1, self.lease_seconds)
            if seats:
                self._start(job, seats, self._work_on(job, seats))

    def _start(self, job: Job, seats: int, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(self._guarded(job, work), name=f"job-{job.id}")
        self._work_here[task] = (job.id, seats)

        def done(_task: object) -> None:
            self._work_here.pop(task, None)
            self._nudged.set()

        task.add_done_callback(done)

    async def _guarded(self, job: Job, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except SubmissionError as problem:
            await self._over(job, JobStatus.ENQUEUE_FAILED, str(problem))
        except CrewLostError as lost:
            await self._over(job, JobStatus.WORKER_OOM if lost.memory else JobStatus.WORKER_ERROR, str(lost))
        except Exception as problem:  # noqa: BLE001 -- whatever it was, the job must not stay for ever in a state that means work
            await self._over(job, JobStatus.UNEXPECTED_ERROR, f"{type(problem).__name__}: {problem}")

    async def _over(self, job: Job, status: JobStatus, error: str | None) -> None:
        if await self.surely(self.store.update, job.id, status=status, error=error):
            self._tell(job, status.words + (f": {error}" if error else ""))

    # One job

    async def _enqueue_job(self, job: Job) -> None:
        given_up = threading.Event()
        async with self._owned(job):
            try:
                # In another thread: a long list must not keep the store from other jobs.
                total = await asyncio.to_thread(self._add, job, given_up)
            finally:
                given_up.set()
            await self.surely(self.store.update, job.id, status=JobStatus.RUNNING, total=total)

    def _add(self, job: Job, given_up: threading.Event) -> int:
        """Items that are there already are left alone, so a list that was interrupted is begun again."""
        while True:
            try:
                return self.store.add(job.id, until(given_up, self._enqueue(job)))
            except StoreLostError:
                if given_up.wait(_ROUND_SECONDS):
                    return 0

    async def _work_on(self, job: Job, seats: int) -> None:
        async def more() -> bool:
            now: Job | None = await self.surely(self.store.job, job.id)
            return now is not None and not now.status.over and now.waiting > 0

        crew = self._make(job, seats)
        try:
            await crew.start()
            await Shift(self, job, crew, "task" if job.kind == "TaskAPI" else "predict", more=more).work_off()
            await self._end_together(job, crew)
        finally:
            await to_its_end(crew.stop())

    async def _end_together(self, job: Job, crew: Crew) -> None:
        """Every item has ended: one of the servers ends the job, and the others wait in case it goes."""
        while True:
            now: Job | None = await self.surely(self.store.job, job.id)
            if now is None or now.status.over:
                return
            with contextlib.suppress(StoreLostError):
                if await self._become_owner(job):
                    async with self._owned(job):
                        await self._over(job, *await self._end(job, crew))
                    return
            await asyncio.sleep(POLL_SECONDS)

    @contextlib.asynccontextmanager
    async def _owned(self, job: Job) -> Any:
        """Stay the owner of a job for as long as it takes."""
        staying = asyncio.create_task(self._stay_owner(job))
        try:
            yield
        finally:
            staying.cancel()
            self._busy.discard(job.id)
            with contextlib.suppress(StoreLostError):
                await to_its_end(self.in_store(self.shared.disown, job.id, self.member))

    async def _stay_owner(self, job: Job) -> None:
        while True:
            await asyncio.sleep(self.lease_seconds / 4)
            await self.surely(self.shared.own, job.id, self.member, self.lease_seconds)
