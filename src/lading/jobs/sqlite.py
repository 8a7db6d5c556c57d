"""The store of jobs on one machine: SQLite with a write-ahead log.

Every change is one transaction with ``synchronous=FULL``: it survives a killed process and a power cut alike. One process owns a store
at a time (a lock file says so), so that whatever it finds leased when it opens the store belongs to nobody any more: its owner was killed.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

from lading.jobs import rows
from lading.jobs.leases import SPENT, Open, sort_out
from lading.jobs.store import Item, ItemState, Job, Kept, Leased, Outcome, storable
from lading.model.origin import Origin
from lading.model.problems import LadingError, Problem

_SCHEMA = """
CREATE TABLE IF NOT EXISTS jobs (
  id TEXT PRIMARY KEY, api TEXT NOT NULL, kind TEXT NOT NULL, status TEXT NOT NULL, workers INTEGER NOT NULL, timeout REAL,
  attempts INTEGER NOT NULL, config TEXT NOT NULL, submission TEXT NOT NULL, started REAL NOT NULL, ended REAL, error TEXT,
  total INTEGER NOT NULL DEFAULT 0, succeeded INTEGER NOT NULL DEFAULT 0, failed INTEGER NOT NULL DEFAULT 0,
  seconds REAL NOT NULL DEFAULT 0
);
CREATE INDEX IF NOT EXISTS jobs_of_api ON jobs (api, started, id);
CREATE TABLE IF NOT EXISTS items (
  job TEXT NOT NULL, number INTEGER NOT NULL, state TEXT NOT NULL DEFAULT 'in_queue', attempt INTEGER NOT NULL DEFAULT 0,
  failures INTEGER NOT NULL DEFAULT 0, crashes INTEGER NOT NULL DEFAULT 0, lost INTEGER NOT NULL DEFAULT 0, lease REAL, payload BLOB NOT NULL, content_type TEXT, key TEXT, result BLOB NOT NULL DEFAULT x'',
  error TEXT, ended REAL, PRIMARY KEY (job, number)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS items_open ON items (job, number) WHERE state IN ('in_queue', 'in_progress');
CREATE UNIQUE INDEX IF NOT EXISTS items_by_key ON items (job, key) WHERE key IS NOT NULL;
"""
_JOB, _KEPT = ", ".join(rows.JOB), ", ".join(rows.KEPT)
_DROPPED = 20_000
_BUSY_SECONDS = 60.0
_OVER = rows.OVER


class SqliteJobStore:
    """See the module. ``folder`` is made if it is not there.

    Raises:
        LadingError: if another process owns the store, or it cannot be opened.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._own = threading.local()
        self._open: list[sqlite3.Connection] = []
        self._guard = threading.Lock()
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise LadingError(_unusable(folder, error.strerror or str(error))) from error
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(self._lock)
            raise LadingError(_in_use(folder)) from error
        try:
            connection = self._connection()
            connection.executescript(_SCHEMA)
            with self._change() as change:
                change.execute("UPDATE items SET state = 'in_queue', lease = NULL, lost = lost + 1 WHERE state = 'in_progress'")
            for job in self._half_dropped():
                self._drop(job)
        except sqlite3.Error as error:
            self.close()
            raise LadingError(_unusable(folder, str(error))) from error

    def close(self) -> None:
        """Close the store, and let another process own it."""
        with self._guard:
            connections, self._open = self._open, []
        for connection in connections:
            connection.close()
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def _connection(self) -> sqlite3.Connection:
        connection = getattr(self._own, "connection", None)
        if connection is None:
            connection = sqlite3.connect(self.folder / "jobs.sqlite", timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False)
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
            self._own.connection = connection
            with self._guard:
                self._open.append(connection)
        return cast("sqlite3.Connection", connection)

    @contextmanager
    def _change(self) -> Iterator[sqlite3.Connection]:
        """One transaction."""
        connection = self._connection()
        connection.execute("BEGIN IMMEDIATE")
        try:
            yield connection
        except BaseException:
            connection.execute("ROLLBACK")
            raise
        connection.execute("COMMIT")

    # Jobs

    def create(self, job: Job) -> None:
        """See `JobStore`."""
        marks = ", ".join("?" for _ in rows.CREATED)
        with self._change() as change:
            change.execute(f"INSERT OR IGNORE INTO jobs ({', '.join(rows.CREATED)}) VALUES ({marks})", rows.row_of(job))  # noqa: S608 - names of ours

    def update(self, job: str, **values: object) -> bool:
        """See `JobStore`."""
        changed, over = rows.changes(values)
        assignments = ", ".join(f"{name} = ?" for name in changed)
        marks = ", ".join("?" for _ in _OVER)
        with self._change() as change:
            done = change.execute(
                f"UPDATE jobs SET {assignments} WHERE id = ? AND status NOT IN ({marks})",  # noqa: S608 - names from a set of ours
                (*changed.values(), job, *_OVER),
            )
        if done.rowcount > 0 and over:
            self._drop(job)
        return done.rowcount > 0

    def _drop(self, job: str) -> None:
        """Drop the items of a job that is over, but those that failed; some at a time: there may be a million."""
        query = "DELETE FROM items WHERE job = ?1 AND number IN (SELECT number FROM items WHERE job = ?1 AND state != 'failed' LIMIT ?2)"
        while True:
            with self._change() as change:
                if change.execute(query, (job, _DROPPED)).rowcount < _DROPPED:
                    return

    def _half_dropped(self) -> list[str]:
        """The jobs that are over and still have other items than failed ones: the process was killed while it dropped them."""
        marks = ", ".join("?" for _ in _OVER)
        query = (
            f"SELECT id FROM jobs WHERE status IN ({marks}) AND EXISTS (SELECT 1 FROM items"  # noqa: S608 - as above
            " WHERE job = id AND state != 'failed')"
        )
        return [row[0] for row in self._connection().execute(query, _OVER)]

    def job(self, job: str) -> Job | None:
        """See `JobStore`."""
        row = self._query(f"SELECT {_JOB} FROM jobs WHERE id = ?", (job,)).fetchone()  # noqa: S608 - no values in it
        return rows.job_of(row) if row else None

    def jobs(self, api: str | None = None, *, limit: int = 100, unfinished: bool = False) -> Sequence[Job]:
        """See `JobStore`."""
        marks = ", ".join("?" for _ in _OVER)
        where = f"(? IS NULL OR api = ?) AND (NOT ? OR status NOT IN ({marks}))"
        query = f"SELECT {_JOB} FROM jobs WHERE {where} ORDER BY started DESC, id DESC LIMIT ?"  # noqa: S608 - no values in it
        return [rows.job_of(row) for row in self._query(query, (api, api, unfinished, *_OVER, limit))]

    def delete(self, job: str) -> None:
        """See `JobStore`."""
        with self._change() as change:
            change.execute("DELETE FROM items WHERE job = ?", (job,))
            change.execute("DELETE FROM jobs WHERE id = ?", (job,))

    def _query(self, query: str, values: tuple[Any, ...]) -> sqlite3.Cursor:
        return self._connection().execute(query, values)

    # Items

    def add(self, job: str, items: Iterable[Item]) -> int:
        """See `JobStore`. Some thousand items make a transaction."""
        return rows.add(items, lambda chunk: self._insert(job, chunk))

    def _insert(self, job: str, chunk: Sequence[Item]) -> bool:
        """Insert items; False if the job is over."""
        marks = ", ".join("?" for _ in _OVER)
        with self._change() as change:
            query = f"SELECT 1 FROM jobs WHERE id = ? AND status IN ({marks})"  # noqa: S608 - as above
            if change.execute(query, (job, *_OVER)).fetchone():
                return False
            change.executemany(
                "INSERT OR IGNORE INTO items (job, number, payload, content_type, key) VALUES (?, ?, ?, ?, ?)",
                [(job, one.number, one.payload, one.content_type, one.key) for one in chunk],
            )
        return True

    def append(self, job: str, key: str, payload: bytes, content_type: str | None) -> bool:
        """Add one item behind all others; False if there is one of that key already."""
        with self._change() as change:
            done = change.execute(
                "INSERT OR IGNORE INTO items (job, number, payload, content_type, key)"
                " SELECT ?, coalesce(max(number), -1) + 1, ?, ?, ? FROM items WHERE job = ?",
                (job, payload, content_type, key, job),
            )
            if done.rowcount > 0:
                change.execute("UPDATE jobs SET total = total + 1 WHERE id = ?", (job,))
            return done.rowcount > 0

    def claim(self, job: str, limit: int, seconds: float, *, alone: bool = True) -> Sequence[Leased]:
        """See `JobStore`."""
        now = time.time()
        with self._change() as change:
            while True:
                found = change.execute(
                    "SELECT number, state = 'in_progress', crashes, lost FROM items INDEXED BY items_open WHERE job = ?"
                    " AND state IN ('in_queue', 'in_progress') AND (state = 'in_queue' OR lease < ?) ORDER BY number LIMIT ?",
                    (job, now, limit),
                ).fetchall()
                given, spent = sort_out([Open(*row) for row in found], alone=alone)
                self._fail(change, job, spent, now)
                if given or not spent:
                    return self._lease(change, job, given, now + seconds)

    @staticmethod
    def _lease(change: sqlite3.Connection, job: str, numbers: list[int], until: float) -> list[Leased]:
        query = (
            "UPDATE items SET lost = lost + (state = 'in_progress'), state = 'in_progress', attempt = attempt + 1, lease = ?"  # noqa: S608 - names of ours
            f" WHERE job = ? AND number = ? RETURNING {', '.join(rows.LEASED)}"
        )
        return [rows.leased_of(job, change.execute(query, (until, job, number)).fetchone()) for number in numbers]

    @staticmethod
    def _fail(change: sqlite3.Connection, job: str, numbers: list[int], now: float) -> None:
        """End items that are spent."""
        change.executemany(
            "UPDATE items SET lost = lost + (state = 'in_progress'), state = 'failed', lease = NULL, error = ?, ended = ?"
            " WHERE job = ? AND number = ?",
            [(SPENT, now, job, number) for number in numbers],
        )
        if numbers:
            change.execute("UPDATE jobs SET failed = failed + ? WHERE id = ?", (len(numbers), job))

    def extend(self, leases: Iterable[Leased], seconds: float) -> None:
        """See `JobStore`."""
        until = time.time() + seconds
        with self._change() as change:
            change.executemany(
                "UPDATE items SET lease = ? WHERE job = ? AND number = ? AND attempt = ? AND state = 'in_progress'",
                [(until, one.job, one.number, one.attempt) for one in leases],
            )

    def give_back(self, leases: Sequence[Leased]) -> None:
        """See `JobStore`."""
        with self._change() as change:
            change.executemany(
                "UPDATE items SET state = 'in_queue', lease = NULL WHERE job = ? AND number = ? AND attempt = ? AND state = 'in_progress'",
                [(one.job, one.number, one.attempt) for one in leases],
            )

    def finish(self, outcomes: Sequence[Outcome]) -> int:
        """See `JobStore`."""
        counted = 0
        with self._change() as change:
            for outcome in outcomes:
                counted += self._finish(change, outcome)
        return counted

    @staticmethod
    def _finish(change: sqlite3.Connection, outcome: Outcome) -> bool:
        leased = outcome.leased
        holds = (leased.job, leased.number, leased.attempt)
        if outcome.again:
            done = change.execute(
                "UPDATE items SET state = 'in_queue', lease = NULL, error = ?, crashes = crashes + ?, failures = failures + ?"
                " WHERE job = ? AND number = ? AND attempt = ? AND state = 'in_progress'",
                (storable(outcome.error), outcome.crash, not outcome.crash, *holds),
            )
            return done.rowcount > 0
        state = ItemState.SUCCEEDED if outcome.ok else ItemState.FAILED
        # A payload is needed no more once it was worked on; a failed one stays, for who looks after it.
        done = change.execute(
            "UPDATE items SET state = ?, lease = NULL, result = ?, error = ?, ended = ?, payload = iif(?, x'', payload)"
            " WHERE job = ? AND number = ? AND attempt = ? AND state = 'in_progress'",
            (state.value, outcome.result, storable(outcome.error), time.time(), outcome.ok, *holds),
        )
        if done.rowcount <= 0:
            return False
        change.execute(
            "UPDATE jobs SET succeeded = succeeded + ?, failed = failed + ?, seconds = seconds + ? WHERE id = ?",
            (outcome.ok, not outcome.ok, outcome.seconds, leased.job),
        )
        return True

    def item(self, job: str, key: str) -> Kept | None:
        """See `JobStore`."""
        row = self._query(f"SELECT {_KEPT} FROM items WHERE job = ? AND key = ?", (job, key)).fetchone()  # noqa: S608 - as above
        return rows.kept_of(row) if row else None

    def items(self, job: str, state: ItemState, *, after: int = -1, limit: int = 1000) -> Sequence[Kept]:
        """See `JobStore`."""
        query = f"SELECT {_KEPT} FROM items WHERE job = ? AND state = ? AND number > ? ORDER BY number LIMIT ?"  # noqa: S608 - as above
        return [rows.kept_of(row) for row in self._query(query, (job, state.value, after, limit))]

    def forget(self, job: str, before: float) -> None:
        """Drop items that ended before a time: results are not kept for ever."""
        with self._change() as change:
            change.execute("DELETE FROM items WHERE job = ? AND ended < ?", (job, before))


def _in_use(folder: Path) -> Problem:
    return Problem(
        rule="jobs-in-use",
        what="The jobs of this project are served by another process.",
        origin=Origin(str(folder)),
        why="One server at a time works a store of jobs off.",
        instead="Stop the other `lading serve` of this project, or give this one a folder of its own: LADING_JOBS=FOLDER. For several servers: LADING_JOBS=postgresql://...",
    )


def _unusable(folder: Path, reason: str) -> Problem:
    return Problem(
        rule="jobs-not-usable",
        what=f"The store of jobs cannot be opened: {reason}.",
        origin=Origin(str(folder)),
        instead="Make the folder writable, free some space, or name another: LADING_JOBS=FOLDER.",
    )
