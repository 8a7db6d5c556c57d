"""Jobs and items as rows of tables: what the stores in databases have in common beside their tables."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import islice
from typing import Any

from lading.jobs.store import Item, ItemState, Job, JobStatus, Kept, Leased, storable

JOB = (
    "id",
    "api",
    "kind",
    "status",
    "workers",
    "timeout",
    "attempts",
    "config",
    "submission",
    "started",
    "ended",
    "error",
    "total",
    "succeeded",
    "failed",
    "seconds",
)
"""The columns of a job."""
CREATED = ("id", "api", "kind", "status", "workers", "timeout", "attempts", "config", "submission", "started", "total")
"""Those that a new job has; the others have values of their own then."""
KEPT = ("number", "state", "attempt", "payload", "key", "result", "error", "ended")
"""The columns of an item that is looked at."""
LEASED = ("number", "attempt", "payload", "key", "content_type", "failures", "crashes", "lost")
"""Those of an item that is given out."""
OVER = tuple(status.value for status in JobStatus if status.over)
"""The states of a job that is over."""
_CHANGEABLE = frozenset({"status", "ended", "error", "total", "started"})
_CHUNK = 2000


def row_of(job: Job) -> tuple[Any, ...]:
    """The values of a new job, in the order of `CREATED`."""
    texts = {"config": json.dumps(dict(job.config)), "submission": json.dumps(dict(job.submission))}
    values = {"status": job.status.value, "started": job.started or time.time(), **texts}
    return tuple(values.get(name, getattr(job, name)) for name in CREATED)


def changes(values: Mapping[str, object]) -> tuple[dict[str, object], bool]:
    """What a job's columns become, and whether it is over then, which it is from now on unless it is said since when.

    Raises:
        ValueError: if a column never changes.
    """
    if not set(values) <= _CHANGEABLE:
        raise ValueError(f"these fields of a job do not change: {', '.join(sorted(set(values) - _CHANGEABLE))}")
    status = values.get("status")
    over = isinstance(status, JobStatus) and status.over
    given = {"ended": time.time(), **values} if over else values
    return {name: storable(str(value)) if isinstance(value, str) else value for name, value in given.items()}, over


def job_of(row: Sequence[Any]) -> Job:
    """A job, of its columns in the order of `JOB`."""
    values = dict(zip(JOB, row, strict=True))
    read: dict[str, Callable[[Any], Any]] = {"status": JobStatus, "config": json.loads, "submission": json.loads}
    return Job(**{name: read[name](value) if name in read else value for name, value in values.items()})


def kept_of(row: Sequence[Any]) -> Kept:
    """An item, of its columns in the order of `KEPT`."""
    values = dict(zip(KEPT, row, strict=True))
    return Kept(**{**values, "state": ItemState(values["state"])})


def leased_of(job: str, row: Sequence[Any]) -> Leased:
    """An item that is given out, of its columns in the order of `LEASED`."""
    return Leased(job=job, **dict(zip(LEASED, row, strict=True)))


def add(items: Iterable[Item], insert: Callable[[Sequence[Item]], bool]) -> int:
    """Insert items, some thousand at a time, so that there may be more than memory holds; until ``insert`` takes no more. Returns how many."""
    count, stream = 0, iter(items)
    while (chunk := list(islice(stream, _CHUNK))) and insert(chunk):
        count += len(chunk)
    return count
