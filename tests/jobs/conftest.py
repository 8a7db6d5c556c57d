"""The stores of jobs that the tests run against."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from lading.jobs.postgres import PostgresJobStore
from lading.jobs.sqlite import SqliteJobStore
from lading.model.secrets import SecretUrl
from tests.support import postgres


@pytest.fixture(scope="session")
def database_server() -> Iterator[postgres.Postgres]:
    """A running PostgreSQL; skips where there is none."""
    reason = postgres.missing()
    if reason is not None:
        pytest.skip(reason)
    with postgres.Postgres() as server:
        yield server


@pytest.fixture
def database(database_server: postgres.Postgres) -> str:
    """The URL of an empty database."""
    return database_server.database()


@pytest.fixture(params=["sqlite", "postgres"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[SqliteJobStore | PostgresJobStore]:
    """Each store in turn, empty."""
    made: SqliteJobStore | PostgresJobStore
    if request.param == "sqlite":
        made = SqliteJobStore(tmp_path / "jobs")
    else:
        made = PostgresJobStore(SecretUrl(request.getfixturevalue("database")), "lading_tests")
    yield made
    made.close()
