"""What a Ray cluster keeps of a deployment: its revisions, each with its applications. Pure, but for `forget`.

A record is JSON data: ``{"revisions": [...]}``, each as `Revision.as_json` with ``applications`` (`Application.as_json`) and ``live``, whether
it was ever ready. One of them is ``current``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from lading.deploy import ray_store as kept
from lading.deploy.engine import Revision
from lading.deploy.ray_plan import Application, from_json

_FIELDS = ("name", "number", "digest", "created", "current")
KEPT = 10
"""Revisions that are kept."""


def new_record() -> dict[str, Any]:
    """The record of a deployment that is not there yet."""
    return {"revisions": []}


def next_number(record: Mapping[str, Any]) -> int:
    """The number of the revision to come."""
    return max((int(one["number"]) for one in record["revisions"]), default=0) + 1


def new_revision(name: str, number: int, digest: str, made: Iterable[Application]) -> dict[str, Any]:
    """A revision that becomes the current one, and is not ready yet."""
    revision = Revision(name=name, number=number, digest=digest, created=datetime.now(UTC).isoformat(timespec="seconds"))
    return {**revision.as_json(), "applications": [one.as_json() for one in made], "live": False}


def with_newest(record: Mapping[str, Any], new: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The revisions with a new one, which is current, and without those that are too old; the last one that was ready is never too old."""
    older = [{**one, "current": False} for one in record["revisions"]]
    last = newest_live(older)
    kept_ones = older[-KEPT + 1 :]
    return [*([last] if last and last not in kept_ones else []), *kept_ones, dict(new)]


def with_application(record: Mapping[str, Any], changed: Application) -> list[dict[str, Any]]:
    """The revisions, the current one with this application in place of the one of its name."""
    now = current(record)
    made = [changed.as_json() if one["name"] == changed.name else one for one in now["applications"]]
    return [{**now, "applications": made} if one is now else one for one in record["revisions"]]


def newest_live(revisions: Iterable[dict[str, Any]]) -> dict[str, Any] | None:
    """The newest one that was ready at a time; None if none was."""
    return next((one for one in reversed(list(revisions)) if one.get("live")), None)


def current(record: Mapping[str, Any]) -> dict[str, Any]:
    """The revision that is, or should be, served."""
    found: dict[str, Any] = next(one for one in record["revisions"] if one["current"])
    return found


def applications_of(revision: Mapping[str, Any]) -> tuple[Application, ...]:
    """A revision's applications."""
    return tuple(from_json(one) for one in revision["applications"])


def served(record: Mapping[str, Any]) -> tuple[Application, ...]:
    """The applications that run: those of the current revision, and until it is ready what it left out of the last one that was."""
    revisions = [one for one in (newest_live(record["revisions"]), current(record)) if one] if record["revisions"] else []
    return tuple({one.name: one for revision in revisions for one in applications_of(revision)}.values())


def names_of(record: Mapping[str, Any]) -> set[str]:
    """The names of all applications that a deployment has, or had."""
    return {one["name"] for revision in record["revisions"] for one in revision["applications"]}


def revisions_of(record: Mapping[str, Any]) -> tuple[Revision, ...]:
    """The revisions as values."""
    return tuple(Revision(**{field: one[field] for field in _FIELDS}) for one in record["revisions"])


def forget(record: Mapping[str, Any], dropped: Iterable[Mapping[str, Any]]) -> None:
    """Take bundles and secrets of dropped revisions away that no revision of any deployment needs; ``record`` is what is left."""
    others = [found for name in kept.names() if (found := kept.read_record(name)) is not None]
    plans = [one.plan for one_record in (record, *others) for revision in one_record["revisions"] for one in applications_of(revision)]
    secrets, digests = {one.secrets for one in plans}, {one.digest for one in plans}
    for plan in {one.plan.secrets: one.plan for revision in dropped for one in applications_of(revision)}.values():
        if plan.secrets and plan.secrets not in secrets:
            kept.delete_secrets(plan.secrets)
    for digest in {one.plan.digest for revision in dropped for one in applications_of(revision)} - digests:
        kept.delete_bundle(digest)
