"""Ray as an engine: Serve applications whose replicas are our supervisors (see `lading.deploy.ray_host`), on the nodes that Ray chooses.

Ray schedules, scales and replaces replicas; the model runs in its own environment beside them, whatever Python it needs. Jobs are
claimed from a PostgreSQL store by replicas of the APIs of jobs, so Ray owns none of them.
"""

from __future__ import annotations

import contextlib
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from typing import Any, NoReturn

from lading.deploy import bundle as bundles
from lading.deploy import ray_records as records
from lading.deploy import ray_serve as serving
from lading.deploy import ray_store as kept
from lading.deploy.engine import (
    STEP,
    Deployment,
    Place,
    Revision,
    State,
    Status,
    not_deployed,
)
from lading.deploy.logs import in_turn, merged
from lading.deploy.ray_plan import Application, applications, http_port, require_unshared, route_prefix, scaled, scaled_as
from lading.deploy.ray_problems import (
    detail,
    not_ready,
    not_scaled,
    require_current,
    require_database,
    require_scalable,
    require_small,
    wanted,
)
from lading.deploy.ray_session import failures, nodes, patiently, problems_of, session, slow_ingress, warnings_of
from lading.model.events import Event, Phase, Reporter
from lading.model.problems import ExitCode, LadingError, Problem

_POLL_SECONDS = 0.25
_START_SECONDS = 120.0
_BACK_SECONDS = 120.0
_SCALE_SECONDS = 600.0
_SCALING = "Scaling"
_FAILED = ("DEPLOY_FAILED", "UNHEALTHY")


def connect(place: Place, environ: Mapping[str, str]) -> RayEngine:
    """See `lading.deploy.engine.EngineModule`."""
    return RayEngine(place, environ)


def diagnose(place: Place, environ: Mapping[str, str]) -> tuple[str, tuple[Problem, ...]]:
    """What a cluster is, in a line, and what is wrong with it: what keeps a deployment from working, and what will hurt on a bad day.

    Raises:
        LadingError: if it cannot be reached.
    """
    with session(place, environ) as ray:
        found = nodes(ray)
        head = next((node for node in found if node.head), found[0])
        seen = f"Ray {head.ray} on Python {head.python}, {len(found)} node{'s' if len(found) > 1 else ''}"
        return seen, (*problems_of(found), *warnings_of(found, environ), *slow_ingress())


class RayEngine:
    """See `lading.deploy.engine.Engine`."""

    def __init__(self, place: Place, environ: Mapping[str, str]) -> None:
        self.place, self._environ = replace(place, address=place.address or environ.get("RAY_ADDRESS") or None), environ

    def render(self, deployment: Deployment) -> tuple[Mapping[str, Any], ...]:
        """See `lading.deploy.engine.Engine`; the number of the revision is the cluster's to give."""
        bundled = deployment.bundled
        assert bundled is not None
        http_port(deployment)  # as with `apply`, which refuses what is none
        secrets: dict[str, Any] = {**bundled.secrets, **deployment.secrets}
        key = deployment.name if secrets else None
        rendered = [one.as_json() for one in applications(deployment, bundled.bundle.digest, 0, key)]
        return (*rendered, *([{"secrets": secrets}] if secrets else []))

    def apply(self, deployment: Deployment, reporter: Reporter) -> Revision:
        """See `lading.deploy.engine.Engine`.

        Raises:
            LadingError: if nodes lack Lading, jobs have no database, or the bundle is too large.
        """
        bundled = deployment.bundled
        assert bundled is not None
        secrets = {name: secret.reveal() for name, secret in {**bundled.secrets, **deployment.secrets}.items()}
        require_database(deployment, secrets)
        port, _prefix = http_port(deployment), route_prefix(deployment)  # refused before anything is written
        with session(self.place, self._environ) as ray:
            problems = problems_of(nodes(ray))
            if problems:
                raise LadingError(*problems)
            if self.place.address in (None, "auto"):
                self.place = replace(self.place, address=str(ray.get_runtime_context().gcs_address))
            with kept.changing(deployment.name) as renew:
                record = self._settled(deployment.name, kept.read_record(deployment.name) or records.new_record())
                number, digest = records.next_number(record), bundled.bundle.digest
                key = f"{deployment.name}/{number}-{uuid.uuid4().hex[:8]}" if secrets else None
                reporter(Event(step=STEP, phase=Phase.STARTED, message=f"{deployment.name} revision {number} on Ray"))
                before = records.applications_of(records.current(record)) if record["revisions"] else ()
                made = scaled_as(applications(deployment, digest, number, key), before)
                new = records.new_revision(deployment.name, number, digest, made)
                try:
                    _write(bundled, key, secrets, renew)
                    patiently(lambda: serving.start(port), _START_SECONDS)
                    self._run(deployment.name, record, records.with_newest(record, new), renew)
                except BaseException:
                    with contextlib.suppress(*failures()):
                        records.forget(record, [new])
                    raise
        return Revision(name=deployment.name, number=number, digest=digest, created=new["created"])

    def _run(self, name: str, record: dict[str, Any], revisions: list[dict[str, Any]], renew: Callable[[], None]) -> None:
        """Ask Serve for the current one of these revisions, instead of what a record has; what it refuses leaves all as it was.

        What the last revision that was ready has, and this one has not, is served until this one is ready: see `_settled`.

        Raises:
            LadingError: if names or routes are taken.
        """
        new = {"revisions": revisions}
        made = records.applications_of(records.current(new))
        names, owned = {one.name for one in made}, records.names_of(record)
        serving.require_free(made, owned)
        kept.write_record(name, new)
        try:
            routes = {one.route for one in made}
            ending = [one for one in records.served(record) if one.route in routes and one.name not in names]
            serving.remove(one.name for one in ending)
            serving.wait_ended(ending, renew)
            serving.ask(made)
        except BaseException:
            self._undo(name, record, names)
            raise
        serving.remove(owned - {one.name for one in records.served(new)})
        numbers = {one["number"] for one in revisions}
        records.forget(new, [one for one in record["revisions"] if one["number"] not in numbers])

    def _undo(self, name: str, record: dict[str, Any], names: set[str]) -> None:
        """Make a record true again, as far as the cluster answers; ``names`` are the applications that may have been begun."""
        if not record["revisions"]:
            kept.delete_record(name)
            with contextlib.suppress(*failures()):
                serving.remove(names)
            return
        kept.write_record(name, record)
        with contextlib.suppress(*failures()):
            old = records.served(record)
            serving.ask(old)
            serving.remove(names - {one.name for one in old})

    def _settled(self, name: str, record: dict[str, Any]) -> dict[str, Any]:
        """A record in which the current revision counts as one that was ready, if it is: what it left out ends now.

        Whoever calls holds `kept.changing`.
        """
        if self._is_ready(record):
            made = records.applications_of(records.current(record))
            serving.remove(records.names_of(record) - {one.name for one in made})
            records.current(record)["live"] = True
            kept.write_record(name, record)
        return record

    @staticmethod
    def _is_ready(record: Mapping[str, Any]) -> bool:
        """Whether the current revision is ready, and does not count as one that was."""
        if not record["revisions"] or records.current(record)["live"]:
            return False
        return serving.all_running(one.name for one in records.applications_of(records.current(record)))

    def _settle(self, name: str, patience: float = kept.PATIENCE) -> None:
        """`_settled`, unless somebody is changing the deployment for longer than so many seconds: then it can be done the next time.

        Who only looks holds nobody up for it: the right to change is taken when there is something to note, and for as long as that takes.
        """
        record = kept.read_record(name)
        if record is None or not self._is_ready(record):
            return
        with contextlib.suppress(LadingError), kept.changing(name, patience):
            self._settled(name, self._require(name))

    def wait(self, revision: Revision, reporter: Reporter, timeout: float) -> Status:
        """See `lading.deploy.engine.Engine`."""
        with session(self.place, self._environ):
            why = self._failure(revision, reporter, timeout)
            if why is not None:
                self._give_up(revision, reporter, why)
            self._settle(revision.name)
            reporter(Event(step=STEP, phase=Phase.FINISHED, message=f"{revision.name} is served on Ray"))
            return self._status(revision.name, self._require(revision.name))

    def _failure(
        self, revision: Revision, reporter: Reporter, timeout: float, failed: tuple[str, ...] = _FAILED, api: str | None = None
    ) -> str | None:
        """Wait for a revision's applications, or for one API's; why they are not ready: None if they are. ``failed``: states that end it."""
        until = time.monotonic() + timeout
        told = ""
        while True:
            record = self._require(revision.name)
            require_current(record, revision)
            made = [one.name for one in records.applications_of(records.current(record)) if api in (None, one.plan.api)]
            states, running = serving.states(made)
            bad = next((name for name, state in states.items() if state in failed), None)
            if bad is not None:
                return serving.reasons(running[bad])
            if all(state == "RUNNING" for state in states.values()):
                return None
            if time.monotonic() > until:
                return f"it was not ready within {timeout:g} s"
            words = ", ".join(f"{name} {state.lower().replace('_', ' ')}" for name, state in states.items())
            if words != told:
                reporter(Event(step=STEP, phase=Phase.PROGRESS, message=words))
            told = words
            time.sleep(_POLL_SECONDS)

    def _give_up(self, revision: Revision, reporter: Reporter, why: str) -> NoReturn:
        """Serve what was served before, if anything was, and say what went wrong."""
        reporter(Event(step=STEP, phase=Phase.FAILED))
        with kept.changing(revision.name) as renew:
            record = self._require(revision.name)
            require_current(record, revision)
            if records.current(record)["live"]:
                raise LadingError(not_ready(revision.name, why))
            left = [{**one, "current": False} for one in record["revisions"] if one["number"] != revision.number]
            before = records.newest_live(left)
            if before is None:
                self._take_away(revision.name, record)
            else:
                before["current"] = True
                self._run(revision.name, record, left, renew)
        raise LadingError(
            Problem(
                rule="deployment-failed",
                what=f"{revision.name} is not served: {serving.first_line(why)}.{_back(before)}",
                instead="Correct it, and deploy again.",
                code=ExitCode.MODEL if "setup of" in why else ExitCode.DEPLOY,
                detail=detail(why),
            )
        )

    def _take_away(self, name: str, record: dict[str, Any]) -> None:
        """End all that a deployment has, or had; and forget it."""
        serving.remove(records.names_of(record))
        kept.delete_record(name)
        records.forget(records.new_record(), record["revisions"])

    def status(self, name: str) -> Status:
        """See `lading.deploy.engine.Engine`."""
        with session(self.place, self._environ):
            self._settle(name, patience=0.0)
            record = kept.read_record(name)
            if record is None:
                return Status(name=name, place=self.place, state=State.ABSENT)
            return self._status(name, record)

    def _status(self, name: str, record: dict[str, Any]) -> Status:
        details = serving.details()
        made = records.applications_of(records.current(record))
        apis = tuple(serving.api_status(one, details["applications"].get(one.name)) for one in made)
        states = {one.state for one in apis}
        order = (State.FAILED, State.DEGRADED, State.UPDATING)
        return Status(
            name=name,
            place=self.place,
            state=next((one for one in order if one in states), State.LIVE),
            apis=apis,
            revisions=records.revisions_of(record),
            endpoints=serving.endpoints(made, details),
            dashboard=serving.dashboard(),
        )

    def scale(self, name: str, api: str, replicas: int, reporter: Reporter) -> Status:
        """See `lading.deploy.engine.Engine`.

        Raises:
            LadingError: if there is no such deployment or API, or the number is negative.
        """
        with session(self.place, self._environ):
            with kept.changing(name) as renew:
                record = self._require(name)
                current = records.current(record)
                made = records.applications_of(current)
                require_scalable(name, api, replicas, made)
                before = next(one for one in made if one.plan.api == api)
                asked = scaled(before, replicas)
                reporter(Event(step=_SCALING, phase=Phase.STARTED, message=f"{api} to {replicas}"))
                self._run(name, record, records.with_application(record, asked), renew)
            revision = Revision(name=name, number=current["number"], digest=current["digest"])
            # What is ill may get well with more of it, and is served as well as it can be until then.
            why = self._failure(revision, reporter, _SCALE_SECONDS, failed=("DEPLOY_FAILED",), api=api)
            if why is not None:
                self._scale_back(revision, before, asked, reporter, why)
            self._settle(name)
            reporter(Event(step=_SCALING, phase=Phase.FINISHED, message=f"{api} to {replicas}"))
            return self._status(name, self._require(name))

    def _scale_back(self, revision: Revision, before: Application, asked: Application, reporter: Reporter, why: str) -> NoReturn:
        """Ask for the number of replicas again that was served, unless somebody else asked for another; and say what went wrong."""
        reporter(Event(step=_SCALING, phase=Phase.FAILED))
        with kept.changing(revision.name) as renew:
            record = self._require(revision.name)
            require_current(record, revision)
            still = asked in records.applications_of(records.current(record))
            if still:
                self._run(revision.name, record, records.with_application(record, before), renew)
        raise LadingError(not_scaled(asked, why, still=still))

    def rollback(self, name: str, number: int | None, reporter: Reporter) -> Revision:
        """See `lading.deploy.engine.Engine`.

        Raises:
            LadingError: if there is no such revision.
        """
        with session(self.place, self._environ), kept.changing(name) as renew:
            record = self._settled(name, self._require(name))
            old = wanted(name, number, record)
            reporter(Event(step=STEP, phase=Phase.STARTED, message=f"{name} back to revision {old['number']} on Ray"))
            made = scaled_as(records.applications_of(old), records.applications_of(records.current(record)))
            new = records.new_revision(name, records.next_number(record), old["digest"], made)
            self._run(name, record, records.with_newest(record, new), renew)
            return Revision(name=name, number=new["number"], digest=new["digest"], created=new["created"])

    def delete(self, name: str, api: str | None, reporter: Reporter) -> None:
        """See `lading.deploy.engine.Engine`; jobs stay in their database.

        Raises:
            LadingError: if there is no such deployment or API, or a splitter needs it.
        """
        with session(self.place, self._environ):
            with kept.changing(name):
                record = self._require(name)
                current = records.current(record)
                meant = [one for one in records.served(record) if api in (None, one.plan.api)]
                if not meant:
                    raise not_deployed(f"{name} {api}", self.place)
                require_unshared(api, records.applications_of(current))
                names = {one.name for one in meant}
                left = [one for one in current["applications"] if one["name"] not in names]
                if left:
                    serving.remove(names)
                    current["applications"] = left
                    kept.write_record(name, record)
                else:
                    self._take_away(name, record)
            # What finishes slowly is deleted as well: it only has not ended yet.
            with contextlib.suppress(TimeoutError):
                serving.wait_ended(meant)
            reporter(Event(step="Deleting", phase=Phase.FINISHED, message=name if api is None else f"{name} {api}"))

    def logs(self, name: str, api: str | None, *, follow: bool) -> Iterator[str]:
        """See `lading.deploy.engine.Engine`: what each replica and its model printed; then, what they print at the same time.

        Raises:
            LadingError: if there is no such deployment.
        """
        with session(self.place, self._environ):
            made = [one for one in records.applications_of(records.current(self._require(name))) if api in (None, one.plan.api)]
            details = serving.details()["applications"]
            found = [(one.plan.api, actor) for one in made for actor in serving.actors(details.get(one.name, {}))]
            names = [f"{api} {actor[:8]}" for api, actor in found]
            yield from (merged if follow else in_turn)(names, [partial(serving.log_of, actor, follow=follow) for _api, actor in found])

    def _require(self, name: str) -> dict[str, Any]:
        record = kept.read_record(name)
        if record is None:
            raise not_deployed(name, self.place)
        return record


def _write(bundled: bundles.Bundled, key: str | None, secrets: Mapping[str, str], renew: Callable[[], None]) -> None:
    """Keep what replicas will need: the bundle, and the secrets."""
    with tempfile.TemporaryFile() as archive:
        bundles.pack(bundled, archive)
        require_small(archive.tell())
        archive.seek(0)
        kept.write_bundle(bundled.bundle.digest, archive, renew)
    if key is not None:
        kept.write_secrets(key, secrets)


def _back(before: Mapping[str, Any] | None) -> str:
    """What is served after a failure, in a sentence, once it is."""
    if before is None:
        return ""
    until = time.monotonic() + _BACK_SECONDS
    names = [one.name for one in records.applications_of(before)]
    while not serving.all_running(names):
        if time.monotonic() > until:
            return f" Revision {before['number']} was asked for again, and is not ready yet."
        time.sleep(_POLL_SECONDS)
    return f" Revision {before['number']} is served again."
