"""Crews of jobs: workers of a job's own, or the standing ones of an AsyncAPI."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TextIO

from lading.jobs.engine import CrewLostError, Done
from lading.jobs.store import Job, Leased
from lading.model.cortex import merged
from lading.model.problems import LadingError
from lading.model.service import ServedApi
from lading.service.calls import Call, CallEvent, Cause, EventKind, Result, Status
from lading.service.counters import Counters
from lading.service.log import ServiceLog
from lading.service.pool import Health, Refusal, RefusedError
from lading.service.prediction import PredictionService

_QUEUE = 100_000  # the engine itself limits what is on its way
_MEMORY = "ran out of memory"
_WORKER_STATES = ("pending", "initializing", "running", "succeeded", "failed", "stalled", "unknown")


class ServiceCrew:
    """The workers of a `PredictionService`. ``own``: it is started and ended with the job."""

    def __init__(self, service: PredictionService, *, own: bool, watch: Callable[[CallEvent], None] | None = None) -> None:
        self.service, self._own, self._watch = service, own, watch
        self.lanes = service.pool.processes * max(1, service.api.worker.threads)

    async def start(self) -> None:
        """See `Crew`."""
        try:
            if self._own:
                await self.service.start()
            await self.service.pool.wait_settled()
        except LadingError as error:
            raise CrewLostError(str(error)) from error
        setup = self.service.pool.setup
        if setup.failure is not None and not self.service.pool.ever_ready:
            raise CrewLostError(f"setup failed: {setup.failure.error}", memory=_MEMORY in setup.failure.error)

    async def work(self, action: str, item: Leased | None = None) -> Done:
        """See `Crew`."""
        await self.service.pool.wait_settled()  # its API may have begun again a moment ago
        began = time.monotonic()
        call = self._call(action, item)
        try:
            result = await self.service.submit(call)
        except RefusedError as error:
            if error.refusal is Refusal.STOPPING:
                raise CrewLostError("the server is shutting down") from error
            raise CrewLostError(error.message, memory=_MEMORY in error.message) from error
        return _done(result, time.monotonic() - began, task=action == "task")

    def _call(self, action: str, item: Leased | None) -> Call:
        head: dict[str, object] = {"do": action}
        if item is not None:
            head |= {"batch_id": str(item.number), "request_id": item.key, "content_type": item.content_type}
        call = self.service.new_call(b"" if item is None else item.payload, head=json.dumps(head).encode())
        if self._watch is not None:
            call.watchers.append(self._watch)
        return call

    async def stop(self) -> None:
        """See `Crew`."""
        if self._own:
            await self.service.stop()

    def states(self) -> dict[str, int]:
        """How many workers are where, with the names of Cortex's ``worker_counts``."""
        pool = self.service.pool
        ready = len(pool.ready_workers)
        counts = dict.fromkeys(_WORKER_STATES, 0)
        lost = pool.processes if pool.health() in (Health.SETUP_FAILED, Health.DEFUNCT) else 0
        return {**counts, "running": ready, "failed": lost, "initializing": max(0, pool.processes - ready - lost)}


def seat_states(taken: int, workers: int) -> dict[str, int]:
    """The same of a job whose workers are on several servers: what is known of them is how many were started."""
    return {**dict.fromkeys(_WORKER_STATES, 0), "running": taken, "pending": max(0, workers - taken)}


def _done(result: Result, seconds: float, *, task: bool) -> Done:
    """A task is a program: it may end its process itself, with 0 when all went well, and is not run again for that."""
    if result.status is Status.SUCCEEDED or (task and result.exit_code == 0):
        return Done(ok=True, result=result.output, seconds=result.predict_time or seconds)
    crashed = result.cause in (Cause.CRASH, Cause.REPLACED) and not (task and result.exit_code is not None)
    if result.cause is Cause.SHUTDOWN:
        raise CrewLostError("the server is shutting down")
    return Done(ok=False, error=result.error or str(result.status), seconds=result.predict_time or seconds, crashed=crashed)


class JobLog:
    """What the workers of a job print, in a file of its own; lines of the service go where the server's go."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._stream: TextIO | None = None

    def write(self, text: str) -> None:
        """Add text. A full disk costs the log, not the job."""
        with contextlib.suppress(OSError):
            if self._stream is None:
                self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
                self._stream = self.path.open("a", encoding="utf-8", errors="backslashreplace")
            self._stream.write(text)
            self._stream.flush()

    def watch(self, event: CallEvent) -> None:
        """Hear of a call's events."""
        if event.kind is EventKind.LOG:
            self.write(event.data.decode("utf-8", "replace"))

    def close(self) -> None:
        """Close the file."""
        with contextlib.suppress(OSError):
            if self._stream is not None:
                self._stream.close()
                self._stream = None


class JobCrew(ServiceCrew):
    """Workers of one job, with the job's ``config`` over the API's, and the job's ``job_spec``; ``workers`` of them are here."""

    def __init__(
        self,
        api: ServedApi,
        job: Job,
        *,
        workers: int,
        log: ServiceLog,
        job_log: JobLog,
        counters: Counters,
        worker_main: str | None = None,
    ) -> None:
        worker = replace(
            api.worker,
            config=merged(api.worker.config, job.config) if job.kind != "TaskAPI" else api.worker.config,
            cortex={**api.worker.cortex, "job_spec": job_spec(job)},
            env={**api.worker.env, "CORTEX_JOB_ID": job.id},
        )
        made = replace(api, worker=worker, processes=workers)
        super().__init__(
            PredictionService(made, max_queue=_QUEUE, worker_main=worker_main, log=log, counters=counters), own=True, watch=job_log.watch
        )
        self._job_log = job_log

    async def start(self) -> None:
        """See `Crew`."""
        try:
            await super().start()
        finally:
            self._job_log.write(self.service.pool.setup.logs)

    async def stop(self) -> None:
        """See `Crew`."""
        await super().stop()
        self._job_log.close()


def job_spec(job: Job) -> dict[str, object]:
    """What predictors get as ``job_spec``, and what a submission is answered with: Cortex's record of a job."""
    return {
        "job_id": job.id,
        "api_name": job.api,
        "kind": job.kind,
        "workers": job.workers,
        "sqs_dead_letter_queue": job.submission.get("sqs_dead_letter_queue"),
        "config": dict(job.config),
        "timeout": None if job.timeout is None else int(job.timeout),
        "api_id": job.api,
        "spec_id": job.api,
        "predictor_id": job.api,
        "sqs_url": "",
        "total_batch_count": job.total,
        "start_time": iso(job.started),
    }


def iso(seconds: float | None) -> str | None:
    """A time as Cortex writes it; None stays."""
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def job_status(job: Job, workers: dict[str, int] | None, endpoint: str) -> dict[str, object]:
    """The answer to a question for a job's status, in Cortex's shape."""
    ended = job.succeeded + job.failed
    status = {
        **job_spec(job),
        "status": str(job.status),
        "end_time": iso(job.ended),
        "error": job.error,
        "batches_in_queue": job.waiting,
        "batch_metrics": {
            "succeeded": job.succeeded,
            "failed": job.failed,
            "average_time_per_batch": job.seconds / ended if ended else None,
        },
        "worker_counts": workers if not job.status.over else None,
    }
    return {"api_spec": {"name": job.api, "kind": job.kind}, "job_status": status, "endpoint": endpoint}


def endpoints_of(apis: Sequence[ServedApi]) -> dict[str, str]:
    """The endpoint of each API by its name."""
    return {api.name: "/" + (api.endpoint or api.name).strip("/") for api in apis}
