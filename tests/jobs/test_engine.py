"""The engine of jobs by itself, with a real store and a crew that can be watched."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from lading.jobs.engine import Done, JobEngine
from lading.jobs.sqlite import SqliteJobStore
from lading.jobs.store import Item, Job, Leased
from lading.model.tasks import to_its_end


class _Crew:
    """Works for ever, and takes a while to stop."""

    lanes = 1

    def __init__(self) -> None:
        self.works, self.stopping, self.stopped = asyncio.Event(), asyncio.Event(), False

    async def start(self) -> None:
        """See `lading.jobs.engine.Crew`."""

    async def work(self, _action: str, _item: Leased | None = None) -> Done:
        """See `lading.jobs.engine.Crew`."""
        self.works.set()
        await asyncio.sleep(60)
        return Done(ok=True)

    async def stop(self) -> None:
        """See `lading.jobs.engine.Crew`."""
        self.stopping.set()
        await asyncio.sleep(0.3)
        self.stopped = True


@pytest.mark.parametrize("by_user", [True, False])
def test_a_server_that_ends_waits_for_workers_that_are_being_stopped(tmp_path: Path, *, by_user: bool) -> None:
    """A job is stopped by its user or by its deadline, and the server ends while its workers do."""

    async def run() -> None:
        store, crew = SqliteJobStore(tmp_path), _Crew()

        def items(_job: Job) -> Iterator[Item]:
            yield Item(number=0, payload=b"1")

        engine = JobEngine(store, lambda _job: crew, items)
        job = Job(id="one", api="a", kind="BatchAPI", started=time.time(), timeout=None if by_user else 2.0)
        store.create(job)
        engine.begin(job)
        await asyncio.wait_for(crew.works.wait(), 60)
        stopping = asyncio.create_task(engine.stop("one")) if by_user else None
        await asyncio.wait_for(crew.stopping.wait(), 60)
        await engine.close()
        assert crew.stopped
        assert stopping is None or await stopping
        store.close()

    asyncio.run(run())


def test_a_cancelation_counts_though_the_work_fails_afterwards() -> None:
    """Else a job whose workers did not stop well would be over, and not go on with the next server."""

    async def run() -> None:
        begun = asyncio.Event()

        async def work() -> None:
            begun.set()
            await asyncio.sleep(0.1)
            raise RuntimeError("of the work")

        waiting = asyncio.create_task(to_its_end(work()))
        await begun.wait()
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        with pytest.raises(RuntimeError, match="of the work"):
            await to_its_end(work())

    asyncio.run(run())
