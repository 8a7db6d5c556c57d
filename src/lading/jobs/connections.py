"""Connections to a PostgreSQL database that may restart, fail over or be out of reach for a while."""

from __future__ import annotations

import contextlib
import re
import threading
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from lading.jobs.opening import VARIABLE
from lading.jobs.store import StoreLostError
from lading.model.origin import Origin
from lading.model.problems import ExitCode, LadingError, Problem
from lading.model.secrets import Redactor, Secret, SecretUrl

if TYPE_CHECKING:
    import psycopg

T = TypeVar("T")
_SCHEMA_NAME = re.compile(r"[a-z_][a-z0-9_]{0,62}")
_USUAL: Mapping[str, Any] = {
    "application_name": "lading",
    "connect_timeout": 5,
    # A cut link says nothing: without these a call would wait for it for ever. Seconds, and milliseconds for the last one.
    "keepalives_idle": 5,
    "keepalives_interval": 3,
    "keepalives_count": 3,
    "tcp_user_timeout": 15_000,
}
_TRIES = 3


class Connections:
    """Connections to one database, opened when they are needed and kept for the next call; calls may come from several threads.

    ``url`` is libpq's (several hosts, TLS options and ``PGPASSFILE`` work as there), with ``schema`` as one more parameter.

    Raises:
        LadingError: if the URL is none, or psycopg is not installed.
    """

    def __init__(self, url: SecretUrl, schema: str) -> None:
        self._driver = _driver()
        libpq, named = _without_schema(url)
        self.schema = named or schema
        if not _SCHEMA_NAME.fullmatch(self.schema):
            raise LadingError(_bad_schema(self.schema))
        try:
            given = self._driver.conninfo.conninfo_to_dict(libpq)
        except self._driver.ProgrammingError as error:
            raise LadingError(_bad_url(Redactor([url])(str(error)).strip())) from None
        self.name = _name(given, self.schema)
        self._redact = Redactor(
            [url, *(Secret(str(value)) for key, value in given.items() if key in ("password", "sslpassword") and value)]
        )
        self._parameters = {**_USUAL, **given}
        self._idle: list[psycopg.Connection[Any]] = []
        self._guard = threading.Lock()
        self._closed = False

    def run(self, work: Callable[[psycopg.Connection[Any]], T]) -> T:
        """Do ``work`` in one transaction. It is done again where the connection had broken before, or others stood in its way.

        Raises:
            StoreLostError: if the database cannot be reached, or can keep nothing now.
        """
        driver = self._driver
        lost = (driver.OperationalError, driver.InterfaceError, driver.errors.ReadOnlySqlTransaction)
        for number in range(1, _TRIES + 1):
            connection: psycopg.Connection[Any] | None = None
            try:
                connection = self._take()
                with connection.transaction():
                    done = work(connection)
            except lost as error:
                self._drop(connection)
                if connection is None or number == _TRIES:
                    raise StoreLostError(f"{self.name}: {self._redact(str(error)).strip()}") from None
            except BaseException:
                self._drop(connection)
                raise
            else:
                self._give_back(connection)
                return done
        raise AssertionError  # pragma: no cover -- the loop returns or raises

    def _take(self) -> psycopg.Connection[Any]:
        with self._guard:
            if self._closed:
                raise StoreLostError(f"{self.name} was closed")
            if self._idle:
                return self._idle.pop()
        connection: psycopg.Connection[Any] = self._driver.connect(**self._parameters, autocommit=True)
        connection.execute(f"SET search_path TO {self.schema}")  # checked by _SCHEMA_NAME
        return connection

    def _give_back(self, connection: psycopg.Connection[Any]) -> None:
        with self._guard:
            if not self._closed:
                self._idle.append(connection)
                return
        connection.close()

    def _drop(self, connection: psycopg.Connection[Any] | None) -> None:
        """Forget a connection that failed, and with it those that the same restart has broken."""
        with self._guard:
            dropped, self._idle = self._idle, []
        for one in (*dropped, *((connection,) if connection else ())):
            with contextlib.suppress(Exception):
                one.close()

    def close(self) -> None:
        """Close every connection."""
        with self._guard:
            self._closed = True
        self._drop(None)


def _driver() -> Any:
    try:
        import psycopg  # noqa: PLC0415 -- an extra: few have their jobs in a database
        import psycopg.conninfo  # noqa: PLC0415 -- as above
    except ImportError as error:
        raise LadingError(
            Problem(
                rule="jobs-driver-missing",
                what=f"Jobs in PostgreSQL need psycopg, and it cannot be imported: {error}.",
                origin=Origin(VARIABLE),
                instead="Install it beside Lading: pip install 'lading[postgres]'",
            )
        ) from error
    return psycopg


def _without_schema(url: SecretUrl) -> tuple[str, str | None]:
    parts = urlsplit(url.reveal())
    query = parse_qsl(parts.query, keep_blank_values=True)
    named = next((value for key, value in query if key == "schema"), None)
    # libpq reads %20, and not +, as a space.
    rest = urlencode([(key, value) for key, value in query if key != "schema"]).replace("+", "%20")
    return urlunsplit(parts._replace(query=rest)), named


def _name(given: Mapping[str, Any], schema: str) -> str:
    """The database as it may be shown: without password, and without what else the URL may hold."""
    user = f"{given['user']}@" if given.get("user") else ""
    port = f":{given['port']}" if given.get("port") else ""
    return f"postgresql://{user}{given.get('host') or ''}{port}/{given.get('dbname') or ''} (schema {schema})"


def _bad_url(reason: str) -> Problem:
    return Problem(
        rule="jobs-url",
        what=f"{VARIABLE} is no URL of a PostgreSQL database: {reason}.",
        origin=Origin(VARIABLE),
        instead=f"Write {VARIABLE}=postgresql://USER:PASSWORD@HOST:5432/DATABASE, with %XX for special characters of the password.",
    )


def _bad_schema(name: str) -> Problem:
    return Problem(
        rule="jobs-url",
        what=f'"{name}" is no name of a schema.',
        origin=Origin(VARIABLE),
        why="It has small letters, digits and underscores, and begins with a letter.",
        instead="Write, for example, ?schema=fraud at the end of the URL.",
    )


def unreachable(reason: str) -> Problem:
    """A database that does not answer when a server starts."""
    return Problem(
        rule="jobs-database",
        what=f"The database of jobs cannot be used: {reason}.",
        origin=Origin(VARIABLE),
        instead="Start the database, or correct host, user, password and database in the URL. The user must be allowed to create a schema.",
        code=ExitCode.NETWORK,
    )
