"""The store of jobs for several machines: PostgreSQL, with the tables and the promises of the one in SQLite.

Every call is one transaction. Items are claimed with ``FOR UPDATE SKIP LOCKED``, so that claims of different servers pass by each other,
and leases are times of the database's clock, so that the servers' clocks need not agree. What a killed server had leased is given out
again when the lease has run out; the number of the attempt is the fencing token that keeps a late answer from counting.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lading.jobs import rows
from lading.jobs.connections import Connections, unreachable
from lading.jobs.leases import SPENT, Open, sort_out
from lading.jobs.store import Item, ItemState, Job, Kept, Leased, Outcome, StoreLostError, storable
from lading.model.problems import LadingError
from lading.model.secrets import SecretUrl

if TYPE_CHECKING:
    import psycopg

    Connection = psycopg.Connection[tuple[Any, ...]]

VERSION = 1
"""Of the tables; a database with newer ones is left alone."""
_NOW = "extract(epoch FROM clock_timestamp())::float8"
_SCHEMA = """
CREATE TABLE IF NOT EXISTS lading (version integer NOT NULL);
INSERT INTO lading SELECT 1 WHERE NOT EXISTS (SELECT 1 FROM lading);
CREATE TABLE IF NOT EXISTS jobs (
  id text PRIMARY KEY, api text NOT NULL, kind text NOT NULL, status text NOT NULL, workers integer NOT NULL, timeout float8,
  attempts integer NOT NULL, config text NOT NULL, submission text NOT NULL, started float8 NOT NULL, ended float8, error text,
  total bigint NOT NULL DEFAULT 0, succeeded bigint NOT NULL DEFAULT 0, failed bigint NOT NULL DEFAULT 0,
  seconds float8 NOT NULL DEFAULT 0, owner text, owner_until float8
);
CREATE INDEX IF NOT EXISTS jobs_of_api ON jobs (api, started, id);
CREATE INDEX IF NOT EXISTS jobs_open ON jobs (id) WHERE ended IS NULL;
CREATE TABLE IF NOT EXISTS items (
  job text NOT NULL, number bigint NOT NULL, state text NOT NULL DEFAULT 'in_queue', attempt integer NOT NULL DEFAULT 0,
  failures integer NOT NULL DEFAULT 0, crashes integer NOT NULL DEFAULT 0, lost integer NOT NULL DEFAULT 0, lease float8,
  payload bytea NOT NULL, content_type text, key text, result bytea NOT NULL DEFAULT '', error text, ended float8, PRIMARY KEY (job, number)
) WITH (fillfactor = 80);
-- By `ended`, which a claim does not change: a claimed row can stay on its page, and the index as it is.
CREATE INDEX IF NOT EXISTS items_open ON items (job, number) WHERE ended IS NULL;
CREATE INDEX IF NOT EXISTS items_failed ON items (job, number) WHERE state = 'failed';
CREATE UNIQUE INDEX IF NOT EXISTS items_by_key ON items (job, key) WHERE key IS NOT NULL;
CREATE TABLE IF NOT EXISTS submissions (job text NOT NULL, number integer NOT NULL, piece bytea NOT NULL, PRIMARY KEY (job, number));
CREATE TABLE IF NOT EXISTS members (id text PRIMARY KEY, apis text[] NOT NULL, until float8 NOT NULL);
CREATE TABLE IF NOT EXISTS seats (job text NOT NULL, seat integer NOT NULL, member text, until float8, PRIMARY KEY (job, seat));
"""
_PIECE = 1 << 20
_JOB, _KEPT = ", ".join(rows.JOB), ", ".join(rows.KEPT)
_OVER = list(rows.OVER)


class PostgresJobStore:
    """See the module. ``schema`` is where the tables are, unless the URL names one.

    Raises:
        LadingError: if the database cannot be used.
    """

    def __init__(self, url: SecretUrl, schema: str) -> None:
        self.connections = Connections(url, schema)
        self._run = self.connections.run
        try:
            version = self._run(self._set_up)
        except StoreLostError as error:
            raise LadingError(unreachable(str(error))) from None
        except Exception as error:
            self.close()
            if not type(error).__module__.startswith("psycopg"):
                raise
            raise LadingError(unreachable(f"{self.connections.name}: {error}")) from None
        if version > VERSION:
            self.close()
            raise LadingError(unreachable(f"{self.connections.name} has tables of a newer Lading"))

    @property
    def name(self) -> str:
        """Where the jobs are, as it may be shown."""
        return self.connections.name

    def _set_up(self, connection: Connection) -> int:
        schema = self.connections.schema
        # Servers that start together make the tables once.
        connection.execute("SELECT pg_advisory_xact_lock(hashtext(%s))", (f"lading {schema}",))
        if connection.execute("SELECT to_regclass(%s)", (f"{schema}.seats",)).fetchone() == (None,):
            if connection.execute("SELECT to_regnamespace(%s)", (schema,)).fetchone() == (None,):
                connection.execute(f"CREATE SCHEMA {schema}")
            connection.execute(_SCHEMA)
        row = connection.execute("SELECT max(version) FROM lading").fetchone()
        return int(row[0]) if row and row[0] is not None else VERSION

    def close(self) -> None:
        """Close the connections."""
        self.connections.close()

    def _change(self, query: str, values: Sequence[Any] = ()) -> int:
        return self._run(lambda connection: connection.execute(query, values).rowcount)

    def _rows(self, query: str, values: Sequence[Any]) -> list[tuple[Any, ...]]:
        return self._run(lambda connection: connection.execute(query, values).fetchall())

    # Jobs

    def create(self, job: Job) -> None:
        """See `JobStore`."""
        marks = ", ".join("%s" for _ in rows.CREATED)
        self._change(
            f"INSERT INTO jobs ({', '.join(rows.CREATED)}) VALUES ({marks}) ON CONFLICT (id) DO NOTHING",  # noqa: S608 -- names of ours
            rows.row_of(job),
        )

    def update(self, job: str, **values: object) -> bool:
        """See `JobStore`."""
        changed, over = rows.changes(values)
        assignments = ", ".join(f"{name} = %s" for name in changed)

        def change(connection: Connection) -> bool:
            done = connection.execute(
                f"UPDATE jobs SET {assignments} WHERE id = %s AND NOT status = ANY(%s)",  # noqa: S608 -- names of ours
                (*changed.values(), job, _OVER),
            )
            if done.rowcount > 0 and over:
                connection.execute("DELETE FROM seats WHERE job = %s", (job,))
                connection.execute("DELETE FROM items WHERE job = %s AND state <> 'failed'", (job,))
            if done.rowcount > 0 and "status" in changed:
                connection.execute("DELETE FROM submissions WHERE job = %s", (job,))
            return done.rowcount > 0

        return self._run(change)

    def job(self, job: str) -> Job | None:
        """See `JobStore`."""
        found = self._rows(f"SELECT {_JOB} FROM jobs WHERE id = %s", (job,))  # noqa: S608 -- no values in it
        return rows.job_of(found[0]) if found else None

    def jobs(self, api: str | None = None, *, limit: int = 100, unfinished: bool = False) -> Sequence[Job]:
        """See `JobStore`."""
        where = ["api = %s"] if api is not None else []
        where += ["ended IS NULL"] if unfinished else []
        query = f"SELECT {_JOB} FROM jobs {'WHERE' if where else ''} {' AND '.join(where)} ORDER BY started DESC, id DESC LIMIT %s"  # noqa: S608 -- as above
        return [rows.job_of(row) for row in self._rows(query, (*(() if api is None else (api,)), limit))]

    def delete(self, job: str) -> None:
        """See `JobStore`."""

        def change(connection: Connection) -> None:
            for table in ("items", "submissions", "seats"):
                connection.execute(f"DELETE FROM {table} WHERE job = %s", (job,))  # noqa: S608 -- names of ours
            connection.execute("DELETE FROM jobs WHERE id = %s", (job,))

        self._run(change)

    # Items

    def add(self, job: str, items: Iterable[Item]) -> int:
        """See `JobStore`. Some thousand items make a transaction."""
        return rows.add(items, lambda chunk: self._insert(job, chunk))

    def _insert(self, job: str, chunk: Sequence[Item]) -> bool:
        """Insert items; False if the job is over."""
        columns = ([one.number for one in chunk], [one.payload for one in chunk])
        texts = ([one.content_type for one in chunk], [one.key for one in chunk])

        def change(connection: Connection) -> bool:
            # The job's row is locked, so that whoever ends the job waits for these items, and drops them with the others.
            if connection.execute("SELECT ended FROM jobs WHERE id = %s FOR SHARE", (job,)).fetchone() not in (None, (None,)):
                return False
            connection.execute(
                "INSERT INTO items (job, number, payload, content_type, key)"
                " SELECT %s, * FROM unnest(%s::bigint[], %s::bytea[], %s::text[], %s::text[]) ON CONFLICT DO NOTHING",
                (job, *columns, *texts),
            )
            return True

        return self._run(change)

    def append(self, job: str, key: str, payload: bytes, content_type: str | None) -> bool:
        """Add one item behind all others; False if there is one of that key already."""

        def change(connection: Connection) -> bool:
            # The job's row is the lock for numbers.
            connection.execute("SELECT 1 FROM jobs WHERE id = %s FOR UPDATE", (job,))
            done = connection.execute(
                "INSERT INTO items (job, number, payload, content_type, key)"
                " SELECT %s, coalesce(max(number), -1) + 1, %s, %s, %s FROM items WHERE job = %s ON CONFLICT DO NOTHING",
                (job, payload, content_type, key, job),
            )
            if done.rowcount > 0:
                connection.execute("UPDATE jobs SET total = total + 1 WHERE id = %s", (job,))
            return done.rowcount > 0

        return self._run(change)

    def claim(self, job: str, limit: int, seconds: float, *, alone: bool = True) -> Sequence[Leased]:
        """See `JobStore`."""
        query = (
            "SELECT number, state <> 'in_queue', crashes, lost FROM items WHERE job = %s AND ended IS NULL"  # noqa: S608 -- no values in it
            f" AND (state = 'in_queue' OR lease < {_NOW}) ORDER BY number LIMIT %s FOR UPDATE SKIP LOCKED"
        )

        def change(connection: Connection) -> Sequence[Leased]:
            while True:
                given, spent = sort_out([Open(*row) for row in connection.execute(query, (job, limit))], alone=alone)
                if spent:
                    _fail(connection, job, spent)
                if given or not spent:
                    return _lease(connection, job, given, seconds) if given else []

        return self._run(change)

    def extend(self, leases: Iterable[Leased], seconds: float) -> None:
        """See `JobStore`."""
        held = list(leases)
        self._change(
            f"UPDATE items SET lease = {_NOW} + %s FROM unnest(%s::text[], %s::bigint[], %s::integer[]) AS held (job, number, attempt)"  # noqa: S608 -- as above
            " WHERE items.job = held.job AND items.number = held.number AND items.attempt = held.attempt AND state = 'in_progress'",
            (seconds, *_holds(held)),
        )

    def give_back(self, leases: Sequence[Leased]) -> None:
        """See `JobStore`."""
        self._change(
            "UPDATE items SET state = 'in_queue', lease = NULL"
            " FROM unnest(%s::text[], %s::bigint[], %s::integer[]) AS held (job, number, attempt)"
            " WHERE items.job = held.job AND items.number = held.number AND items.attempt = held.attempt AND state = 'in_progress'",
            _holds(leases),
        )

    def finish(self, outcomes: Sequence[Outcome]) -> int:
        """See `JobStore`. What was written down before a connection broke is not counted a second time."""
        again = [one for one in outcomes if one.again]
        ended = [one for one in outcomes if not one.again]
        return self._run(lambda connection: _put_back(connection, again) + _end(connection, ended))

    def item(self, job: str, key: str) -> Kept | None:
        """See `JobStore`."""
        found = self._rows(f"SELECT {_KEPT} FROM items WHERE job = %s AND key = %s", (job, key))  # noqa: S608 -- as above
        return rows.kept_of(found[0]) if found else None

    def items(self, job: str, state: ItemState, *, after: int = -1, limit: int = 1000) -> Sequence[Kept]:
        """See `JobStore`."""
        query = f"SELECT {_KEPT} FROM items WHERE job = %s AND state = %s AND number > %s ORDER BY number LIMIT %s"  # noqa: S608 -- as above
        return [rows.kept_of(row) for row in self._rows(query, (job, state.value, after, limit))]

    def forget(self, job: str, before: float) -> None:
        """Drop items that ended before a time: results are not kept for ever."""
        self._change("DELETE FROM items WHERE job = %s AND ended < %s", (job, before))

    # Submissions, until their items are here

    def keep_submission(self, job: str, path: Path) -> None:
        """Keep what a client sent, so that any server can make items of it."""

        def write(connection: Connection) -> None:
            connection.execute("DELETE FROM submissions WHERE job = %s", (job,))
            with path.open("rb") as stream:
                for number, piece in enumerate(iter(lambda: stream.read(_PIECE), b"")):
                    connection.execute("INSERT INTO submissions VALUES (%s, %s, %s)", (job, number, piece))

        self._run(write)

    def submission(self, job: str) -> Iterator[bytes]:
        """What a client sent, piece by piece."""
        number = 0
        while found := self._rows("SELECT piece FROM submissions WHERE job = %s AND number = %s", (job, number)):
            yield found[0][0]
            number += 1

    # Servers that share the work (see `lading.jobs.shared`)

    def join(self, member: str, apis: Sequence[str], seconds: float) -> None:
        """Say that a server works jobs of these APIs off, for so many seconds."""
        self._change(
            f"INSERT INTO members VALUES (%s, %s, {_NOW} + %s)"  # noqa: S608 -- as above
            " ON CONFLICT (id) DO UPDATE SET apis = excluded.apis, until = excluded.until",
            (member, list(apis), seconds),
        )

    def leave(self, member: str) -> None:
        """Give back what a server holds, so that others need not wait for its leases to run out."""

        def change(connection: Connection) -> None:
            connection.execute("DELETE FROM members WHERE id = %s", (member,))
            connection.execute("UPDATE seats SET member = NULL, until = NULL WHERE member = %s", (member,))
            connection.execute("UPDATE jobs SET owner = NULL, owner_until = NULL WHERE owner = %s", (member,))

        self._run(change)

    def take_seats(self, job: Job, member: str, most: int, seconds: float) -> int:
        """Take a fair share of a job's free places for workers, ``most`` at most; returns how many."""

        def change(connection: Connection) -> int:
            connection.execute(
                "INSERT INTO seats (job, seat) SELECT %s, * FROM generate_series(0, %s - 1)"
                " WHERE EXISTS (SELECT 1 FROM jobs WHERE id = %s AND ended IS NULL) ON CONFLICT DO NOTHING",
                (job.id, job.workers, job.id),
            )
            done = connection.execute(
                f"WITH free AS (SELECT seat FROM seats WHERE job = %s AND (until IS NULL OR until < {_NOW}) FOR UPDATE SKIP LOCKED),"  # noqa: S608 -- as above
                f" servers AS (SELECT greatest(1, count(*)) AS count FROM members WHERE %s = ANY(apis) AND until > {_NOW}),"
                " share AS (SELECT seat FROM free ORDER BY seat"
                " LIMIT (SELECT least(%s, ceil((SELECT count(*) FROM free)::numeric / servers.count)::bigint) FROM servers))"
                f" UPDATE seats SET member = %s, until = {_NOW} + %s FROM share WHERE job = %s AND seats.seat = share.seat",
                (job.id, job.api, most, member, seconds, job.id),
            )
            return max(0, done.rowcount)

        return self._run(change)

    def keep_seats(self, member: str, jobs: Sequence[str], seconds: float) -> None:
        """Keep a server's places in these jobs, and give those in others back."""

        def change(connection: Connection) -> None:
            connection.execute("UPDATE seats SET member = NULL, until = NULL WHERE member = %s AND NOT job = ANY(%s)", (member, list(jobs)))
            connection.execute(f"UPDATE seats SET until = {_NOW} + %s WHERE member = %s", (seconds, member))  # noqa: S608 -- as above

        self._run(change)

    def seats(self) -> dict[str, int]:
        """How many workers each job has, on all servers together."""
        return dict(self._rows(f"SELECT job, count(*) FROM seats WHERE until > {_NOW} GROUP BY job", ()))  # noqa: S608 -- as above

    def own(self, job: str, member: str, seconds: float) -> bool:
        """Be the one server that enqueues or ends a job, for so many seconds; False while another one is."""
        return (
            self._change(
                f"UPDATE jobs SET owner = %s, owner_until = {_NOW} + %s"  # noqa: S608 -- as above
                f" WHERE id = %s AND ended IS NULL AND (owner IS NULL OR owner = %s OR owner_until < {_NOW})",
                (member, seconds, job, member),
            )
            > 0
        )

    def disown(self, job: str, member: str) -> None:
        """Let another server end or enqueue a job."""
        self._change("UPDATE jobs SET owner = NULL, owner_until = NULL WHERE id = %s AND owner = %s", (job, member))


def _holds(leases: Sequence[Leased]) -> tuple[list[Any], ...]:
    return [one.job for one in leases], [one.number for one in leases], [one.attempt for one in leases]


def _lease(connection: Connection, job: str, numbers: list[int], seconds: float) -> Sequence[Leased]:
    given = connection.execute(
        "UPDATE items SET lost = lost + (state <> 'in_queue')::integer, state = 'in_progress', attempt = attempt + 1,"  # noqa: S608 -- as above
        f" lease = {_NOW} + %s WHERE job = %s AND number = ANY(%s) RETURNING {', '.join(rows.LEASED)}",
        (seconds, job, numbers),
    )
    return sorted((rows.leased_of(job, row) for row in given), key=lambda leased: leased.number)


def _fail(connection: Connection, job: str, numbers: list[int]) -> None:
    """End items that are spent."""
    connection.execute(
        f"UPDATE items SET lost = lost + (state <> 'in_queue')::integer, state = 'failed', lease = NULL, error = %s, ended = {_NOW}"  # noqa: S608 -- as above
        " WHERE job = %s AND number = ANY(%s)",
        (SPENT, job, numbers),
    )
    connection.execute("UPDATE jobs SET failed = failed + %s WHERE id = %s", (len(numbers), job))


def _put_back(connection: Connection, outcomes: Sequence[Outcome]) -> int:
    if not outcomes:
        return 0
    done = connection.execute(
        "UPDATE items SET state = 'in_queue', lease = NULL, error = given.error, crashes = crashes + given.crash,"
        " failures = failures + 1 - given.crash"
        " FROM unnest(%s::text[], %s::bigint[], %s::integer[], %s::text[], %s::integer[]) AS given (job, number, attempt, error, crash)"
        " WHERE items.job = given.job AND items.number = given.number AND items.attempt = given.attempt AND state = 'in_progress'",
        (*_holds([one.leased for one in outcomes]), [storable(one.error) for one in outcomes], [int(one.crash) for one in outcomes]),
    )
    return done.rowcount


def _end(connection: Connection, outcomes: Sequence[Outcome]) -> int:
    if not outcomes:
        return 0
    # A payload is needed no more once it was worked on; a failed one stays, for who looks after it.
    counts = connection.execute(
        "WITH done AS (UPDATE items SET state = CASE WHEN given.ok THEN 'completed' ELSE 'failed' END, lease = NULL,"  # noqa: S608 -- no values in it
        f" result = given.result, error = given.error, ended = {_NOW}, payload = CASE WHEN given.ok THEN ''::bytea ELSE items.payload END"
        " FROM unnest(%s::text[], %s::bigint[], %s::integer[], %s::boolean[], %s::bytea[], %s::text[], %s::float8[])"
        " AS given (job, number, attempt, ok, result, error, seconds)"
        " WHERE items.job = given.job AND items.number = given.number AND items.attempt = given.attempt AND state = 'in_progress'"
        " RETURNING items.job, given.ok, given.seconds),"
        " sums AS (SELECT job, count(*) FILTER (WHERE ok) AS good, count(*) FILTER (WHERE NOT ok) AS bad, sum(seconds) AS seconds"
        " FROM done GROUP BY job)"
        " UPDATE jobs SET succeeded = succeeded + good, failed = failed + bad, seconds = jobs.seconds + sums.seconds"
        " FROM sums WHERE jobs.id = sums.job RETURNING good + bad",
        (
            *_holds([one.leased for one in outcomes]),
            [one.ok for one in outcomes],
            [one.result for one in outcomes],
            [storable(one.error) for one in outcomes],
            [one.seconds for one in outcomes],
        ),
    ).fetchall()
    return sum(int(row[0]) for row in counts)
