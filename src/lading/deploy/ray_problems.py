"""What is wrong with a deployment on Ray, or with what is asked for it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lading.deploy import ray_records as records
from lading.deploy import ray_serve as serving
from lading.deploy import ray_store as kept
from lading.deploy.engine import Deployment, Revision
from lading.deploy.ray_plan import Application
from lading.jobs.opening import VARIABLE, is_database
from lading.model.origin import Origin
from lading.model.problems import ExitCode, LadingError, Problem

TAIL = 1500
"""Letters of what Serve says that are shown, from its end."""


def detail(why: str) -> str | None:
    """What Serve says in more than a line; None if it does not."""
    return why[-TAIL:] if "\n" in why else None


def not_ready(name: str, why: str) -> Problem:
    """A revision that was ready, and fell ill before whoever deployed it saw it."""
    return Problem(
        rule="deployment-not-ready",
        what=f"{name} was ready, and is not now: {serving.first_line(why)}.",
        instead="Look at `lading status` and `lading logs`; `lading rollback` serves the revision before.",
        code=ExitCode.DEPLOY,
        detail=detail(why),
    )


def not_scaled(asked: Application, why: str, *, still: bool) -> Problem:
    """A number of replicas that was not reached; ``still``: nobody had asked for another one meanwhile."""
    return Problem(
        rule="deployment-not-scaled",
        what=f"{asked.plan.api} of {asked.plan.deployment} is not scaled to {asked.by_hand}: {serving.first_line(why)}.",
        why="It is served as before." if still else "Somebody else scaled it since.",
        instead="Look at `ray status`, which tells what the nodes have left, and scale it again.",
        code=ExitCode.DEPLOY,
        detail=detail(why),
    )


def require_current(record: Mapping[str, Any], revision: Revision) -> None:
    """Refuse to wait for a revision that is no longer the current one of a deployment's record.

    Raises:
        LadingError: if it is not.
    """
    number = records.current(record)["number"]
    if number != revision.number:
        raise LadingError(
            Problem(
                rule="deployment-superseded",
                what=f"Revision {revision.number} of {revision.name} is waited for no more: somebody else made revision {number}.",
                instead="Look at `lading status`, and deploy again if yours is the one that should be served.",
                code=ExitCode.DEPLOY,
            )
        )


def require_scalable(name: str, api: str, replicas: int, made: tuple[Application, ...]) -> None:
    """Refuse an API that a deployment has not, and a number below one.

    Raises:
        LadingError: if it is so.
    """
    known = [one.plan.api for one in made]
    if api not in known or replicas < 1:
        what = f"{name} has no API {api}." if api not in known else "An API has one replica at least."
        instead = f"It has {', '.join(known)}." if api not in known else f"`lading delete --to ray --name {name}` takes all away."
        raise LadingError(Problem(rule="cannot-scale", what=what, instead=instead, code=ExitCode.DEPLOY))


def wanted(name: str, number: int | None, record: Mapping[str, Any]) -> dict[str, Any]:
    """The revision to go back to: the one of a number, else the newest other one that was ever ready.

    Raises:
        LadingError: if there is none.
    """
    others = [one for one in record["revisions"] if not one["current"]]
    if number is None:
        found = records.newest_live(others)
        what = f"{name} has no other revision that was ever ready." if others else f"{name} has one revision alone."
    else:
        found = next((one for one in others if one["number"] == number), None)
        what = f"{name} has no revision {number} to go back to."
    if found is None:
        instead = f"It has {', '.join(str(one['number']) for one in others)}." if others else "Deploy another one."
        raise LadingError(Problem(rule="revision-unknown", what=what, instead=instead, code=ExitCode.DEPLOY))
    return found


def require_database(deployment: Deployment, secrets: Mapping[str, str]) -> None:
    """Refuse APIs of jobs without a database to keep them in.

    Raises:
        LadingError: if there are some.
    """
    later = [api.name for api in deployment.apis if api.worker.cortex.get("kind") in ("BatchAPI", "AsyncAPI", "TaskAPI")]
    place = secrets.get(VARIABLE) or deployment.variables.get(VARIABLE, "")
    if later and not is_database(place):
        raise LadingError(
            Problem(
                rule="jobs-need-database",
                what=f"Jobs of {', '.join(later)} need a database that every node of the cluster reaches.",
                origin=Origin("--secret-env"),
                why="Replicas come and go, and what one of them keeps on its disk goes with it.",
                instead=f"Write --secret-env {VARIABLE}=postgresql://USER:PASSWORD@HOST/DATABASE, or --secret-env {VARIABLE} if it is set here.",
                code=ExitCode.DEPLOY,
            )
        )


def require_small(size: int) -> None:
    """Refuse a bundle of more bytes than the store of a cluster's head takes.

    Raises:
        LadingError: if it has more.
    """
    if size > kept.LARGEST:
        raise LadingError(
            Problem(
                rule="bundle-too-large",
                what=f"The project has {size >> 20} MiB, and a Ray cluster's store takes {kept.LARGEST >> 20} MiB.",
                why="It lies in the memory of the cluster's head.",
                instead="Load weights in setup, from a place that every node reaches; name files that are not needed in .dockerignore.",
                code=ExitCode.DEPLOY,
            )
        )
