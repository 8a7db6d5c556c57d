"""Where jobs are kept: a folder of this machine, or a database that several machines share."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from lading.model.secrets import SecretUrl

if TYPE_CHECKING:
    from lading.jobs.postgres import PostgresJobStore
    from lading.jobs.sqlite import SqliteJobStore

VARIABLE = "LADING_JOBS"


def is_database(place: str) -> bool:
    """Whether a place is libpq's URL of a database, and not a folder."""
    return place.startswith(("postgresql://", "postgres://"))


def schema_of(project: str) -> str:
    """The schema of a project's tables, if the URL names none: projects in one database keep out of each other's way."""
    return f"lading_{re.sub('[^a-z0-9]+', '_', project.lower()).strip('_')[:50]}".rstrip("_")


def open_store(folder: Path, project: str, environ: Mapping[str, str]) -> SqliteJobStore | PostgresJobStore:
    """The store that ``LADING_JOBS`` names, else the one in ``folder``.

    Raises:
        LadingError: if it cannot be opened.
    """
    place = environ.get(VARIABLE, "")
    if is_database(place):
        from lading.jobs.postgres import PostgresJobStore  # noqa: PLC0415 -- few have their jobs in a database

        return PostgresJobStore(SecretUrl(place), schema_of(project))
    from lading.jobs.sqlite import SqliteJobStore  # noqa: PLC0415 -- as above

    return SqliteJobStore(folder)
