"""What a store of jobs does, and the records that it keeps."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol


class JobStatus(StrEnum):
    """Where a job is, with Cortex's names on the wire."""

    ENQUEUING = "status_enqueuing"
    RUNNING = "status_running"
    ENQUEUE_FAILED = "status_enqueue_failed"
    COMPLETED_WITH_FAILURES = "status_completed_with_failures"
    SUCCEEDED = "status_succeeded"
    UNEXPECTED_ERROR = "status_unexpected_error"
    WORKER_ERROR = "status_worker_error"
    WORKER_OOM = "status_worker_oom"
    TIMED_OUT = "status_timed_out"
    STOPPED = "status_stopped"

    @property
    def over(self) -> bool:
        """Whether it is a final state."""
        return self not in (JobStatus.ENQUEUING, JobStatus.RUNNING)

    @property
    def words(self) -> str:
        """As Cortex's command line prints it: ``completed with failures``."""
        return self.value.removeprefix("status_").replace("_", " ")


class ItemState(StrEnum):
    """Where an item is, with the names that Cortex's AsyncAPI has for it."""

    WAITING = "in_queue"
    LEASED = "in_progress"
    SUCCEEDED = "completed"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A job. Times are seconds since the epoch; ``timeout`` is in seconds, None for no limit.

    ``attempts`` is how often an item whose predictor raises is tried in all. ``total`` counts items (batches), ``seconds`` what the
    finished ones took together. ``submission`` is what the client asked for, without items.
    """

    id: str
    api: str
    kind: str
    status: JobStatus = JobStatus.ENQUEUING
    workers: int = 1
    timeout: float | None = None
    attempts: int = 1
    config: Mapping[str, Any] = field(default_factory=dict)
    submission: Mapping[str, Any] = field(default_factory=dict)
    started: float = 0.0
    ended: float | None = None
    error: str | None = None
    total: int = 0
    succeeded: int = 0
    failed: int = 0
    seconds: float = 0.0

    @property
    def waiting(self) -> int:
        """Items that are still to be worked on: none, once the job is over."""
        return 0 if self.status.over else self.total - self.succeeded - self.failed


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """Something to be worked on once. ``number`` is its place in the job, ``key`` another name that it can be found by."""

    number: int
    payload: bytes
    key: str | None = None
    content_type: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Leased:
    """An item that was given out for the ``attempt``-th time. Only this lease can finish it.

    What the times before came to: ``failures`` of the predictor, ``crashes`` of its worker, ``lost`` leases that ran out (see
    `lading.jobs.leases`), and those that were given back, which count for nothing.
    """

    job: str
    number: int
    attempt: int
    payload: bytes
    key: str | None = None
    content_type: str | None = None
    failures: int = 0
    crashes: int = 0
    lost: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of a leased item. ``again``: it goes back to the queue; ``crash``: since its worker ended, which is counted."""

    leased: Leased
    ok: bool
    result: bytes = b""
    error: str | None = None
    seconds: float = 0.0
    again: bool = False
    crash: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """An item as it is kept."""

    number: int
    state: ItemState
    attempt: int
    payload: bytes
    key: str | None = None
    result: bytes = b""
    error: str | None = None
    ended: float | None = None


class StoreLostError(Exception):
    """The store cannot be reached now; whether what was asked of it was done is not known. All calls may be made again."""


class JobStore(Protocol):
    """A store of jobs: what was told to it holds when the call returns, whatever is killed afterwards.

    Each item ends once: `finish` counts only for the lease that holds it. An item whose lease has run out is given out again, so that
    the user's code sees it at least once; not for ever, if servers end over it (see `lading.jobs.leases`). Calls may come from several
    threads.
    """

    def create(self, job: Job) -> None:
        """Keep a new job."""

    def add(self, job: str, items: Iterable[Item]) -> int:
        """Add items, those that are there already left alone; returns how many items were given. Stops where the job is over."""

    def claim(self, job: str, limit: int, seconds: float, *, alone: bool = True) -> Sequence[Leased]:
        """Lease up to ``limit`` items, the first ones first, for so many seconds. ``alone``: nothing else is worked on meanwhile."""

    def extend(self, leases: Iterable[Leased], seconds: float) -> None:
        """Keep leases for so many seconds from now."""

    def give_back(self, leases: Sequence[Leased]) -> None:
        """Put items back that were not worked on to their end: a server is stopped. It counts neither as a failure nor as a crash."""

    def finish(self, outcomes: Sequence[Outcome]) -> int:
        """Write outcomes down, all or none; returns how many counted: those of leases that still hold."""

    def update(self, job: str, **values: object) -> bool:
        """Change fields of a job that is not over; False if it is, or is not there.

        With a job that is over by this, its items are dropped, but those that failed: nobody will work on the others, or ask for them.
        """

    def job(self, job: str) -> Job | None:
        """A job by its id."""

    def jobs(self, api: str | None = None, *, limit: int = 100, unfinished: bool = False) -> Sequence[Job]:
        """Jobs, the newest first."""

    def item(self, job: str, key: str) -> Kept | None:
        """An item by its key."""

    def items(self, job: str, state: ItemState, *, after: int = -1, limit: int = 1000) -> Sequence[Kept]:
        """Items in a state, in their order, beginning after a number."""

    def delete(self, job: str) -> None:
        """Forget a job with its items."""


def storable(text: str | None) -> str | None:
    """A text that every database takes: what a predictor raised may hold a NUL, or halves of surrogate pairs."""
    return None if text is None else text.replace("\0", "\\0").encode("utf-8", "backslashreplace").decode()


def new_id() -> str:
    """A name for a job; later ones sort later."""
    return f"{int(time.time() * 1000):012x}{secrets.token_hex(4)}"
