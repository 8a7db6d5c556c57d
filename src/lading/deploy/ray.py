"""Ray as an engine: Serve applications whose replicas are our supervisors (see `lading.deploy.ray_host`), on the nodes that Ray chooses.

Ray schedules, scales and replaces replicas; the model runs in its own environment beside them, whatever Python it needs. Jobs are
claimed from a PostgreSQL store by replicas of the APIs of jobs, so Ray owns none of them.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, NoReturn

from lading.deploy import bundle as bundles
from lading.deploy import ray_store as kept
from lading.deploy.engine import (
    STEP,
    ApiStatus,
    Capabilities,
    Deployment,
    Endpoint,
    Feature,
    Option,
    Place,
    Revision,
    State,
    Status,
    not_deployed,
)
from lading.deploy.ray_plan import HOST, Application, applications, from_json, http_port, route_prefix, scaled
from lading.deploy.ray_session import nodes, patiently, problems_of, session, slow_ingress, warnings_of
from lading.jobs.opening import VARIABLE, is_database
from lading.model.events import Event, Phase, Reporter
from lading.model.origin import Origin
from lading.model.problems import ExitCode, LadingError, Problem

OPTIONS = (
    Option(name="--route", metavar="PATH", help="the path that the APIs lie below (default: the deployment's name; / for none)"),
    Option(name="--http-port", metavar="PORT", help="the port of Serve on every node, when it is not running yet (default: 8000)"),
)
CAPABILITIES = Capabilities(
    image=False,
    features=frozenset(
        (Feature.SCALE, Feature.AUTOSCALE, Feature.GPU, Feature.ROLLING, Feature.ROLLBACK, Feature.JOBS, Feature.LOGS),
    ),
    remarks={
        Feature.SPLIT: "Serve's routes have one application each.",
        Feature.GRPC: "Replicas are asked by way of Serve's HTTP proxy.",
        Feature.JOBS: "Jobs need a database that every node reaches: --secret-env LADING_JOBS=postgresql://...",
        Feature.AUTOSCALE: "Serve has no tolerances, and no factors that bound one change: those of cortex.yaml are left out.",
    },
)
_KEPT = 10
"""Revisions that are kept."""
_POLL_SECONDS = 0.25
_START_SECONDS = 120.0
_FAILED = ("DEPLOY_FAILED", "UNHEALTHY")
_TAIL = 1500


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

    capabilities = CAPABILITIES

    def __init__(self, place: Place, environ: Mapping[str, str]) -> None:
        self.place, self._environ = place, environ

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
        _require_database(deployment, secrets)
        port, _prefix = http_port(deployment), route_prefix(deployment)  # refused before anything is written
        with session(self.place, self._environ) as ray:
            problems = problems_of(nodes(ray))
            if problems:
                raise LadingError(*problems)
            record = kept.read_record(deployment.name) or _new_record()
            number = max((one["number"] for one in record["revisions"]), default=0) + 1
            reporter(Event(step=STEP, phase=Phase.STARTED, message=f"{deployment.name} revision {number} on Ray"))
            digest = bundled.bundle.digest
            with tempfile.TemporaryFile() as archive:
                bundles.pack(bundled, archive)
                _require_small(archive.tell())
                archive.seek(0)
                kept.write_bundle(digest, archive)
            key = f"{deployment.name}/{number}" if secrets else None
            if key is not None:
                kept.write_secrets(key, secrets)
            made = applications(deployment, digest, number, key)
            patiently(lambda: _start_serve(port), _START_SECONDS)
            return self._begin(deployment.name, record, made, digest)

    def _begin(self, name: str, record: dict[str, Any], made: tuple[Application, ...], digest: str) -> Revision:
        """Make applications the newest revision, and run them."""
        before = record["revisions"]
        number = max((one["number"] for one in before), default=0) + 1
        revision = Revision(name=name, number=number, digest=digest, created=datetime.now(UTC).isoformat(timespec="seconds"))
        new = {**revision.as_json(), "applications": [one.as_json() for one in made]}
        older = [{**one, "current": False} for one in before]
        self._run(name, {"revisions": [*older, new]}, made)
        return revision

    def _run(self, name: str, record: dict[str, Any], made: tuple[Application, ...]) -> None:
        """Ask Serve for these applications and no others of this deployment."""
        from ray import serve  # noqa: PLC0415 -- an extra

        old = {one["name"] for revision in record["revisions"] for one in revision["applications"]}
        dropped, record["revisions"] = record["revisions"][:-_KEPT], record["revisions"][-_KEPT:]
        kept.write_record(name, record)
        targets = [_target(one) for one in made]
        patiently(lambda: serve.run_many(targets, wait_for_ingress_deployment_creation=False, wait_for_applications_running=False))
        running = patiently(serve.status).applications
        for gone in sorted((old - {one.name for one in made}) & set(running)):
            serve.delete(gone, _blocking=False)
        _forget(record, dropped)

    def wait(self, revision: Revision, reporter: Reporter, timeout: float) -> Status:
        """See `lading.deploy.engine.Engine`."""
        until = time.monotonic() + timeout
        with session(self.place, self._environ):
            from ray import serve  # noqa: PLC0415 -- an extra

            record = self._require(revision.name)
            names = [one.name for one in _applications(_revision(record, revision.number))]
            told = ""
            while True:
                running = patiently(serve.status).applications
                states = {name: str(running[name].status.value) if name in running else "NOT_STARTED" for name in names}
                bad = next((name for name in names if states[name] in _FAILED), None)
                if bad is not None:
                    self._give_up(revision, record, reporter, _reasons(running[bad]))
                if all(state == "RUNNING" for state in states.values()):
                    reporter(Event(step=STEP, phase=Phase.FINISHED, message=f"{revision.name} is served on Ray"))
                    return self._status(revision.name, record)
                if time.monotonic() > until:
                    self._give_up(revision, record, reporter, f"it was not ready within {timeout:g} s")
                words = ", ".join(f"{name} {state.lower().replace('_', ' ')}" for name, state in states.items())
                if words != told:
                    reporter(Event(step=STEP, phase=Phase.PROGRESS, message=words))
                told = words
                time.sleep(_POLL_SECONDS)

    def _give_up(self, revision: Revision, record: dict[str, Any], reporter: Reporter, why: str) -> NoReturn:
        """Serve what was served before, if anything was, and say what went wrong."""
        from ray import serve  # noqa: PLC0415 -- an extra

        reporter(Event(step=STEP, phase=Phase.FAILED))
        failed = _revision(record, revision.number)
        others = [one for one in record["revisions"] if one["number"] != revision.number]
        back = ""
        if others:
            before = {**others[-1], "current": True}
            self._run(revision.name, {"revisions": [*others[:-1], before]}, _applications(before))
            gone = {one.name for one in _applications(failed)} - {one.name for one in _applications(before)}
            back = f" Revision {before['number']} is served again."
        else:
            gone = {one.name for one in _applications(failed)}
            kept.delete_record(revision.name)
        for name in sorted(gone & set(serve.status().applications)):
            serve.delete(name, _blocking=False)
        raise LadingError(
            Problem(
                rule="deployment-failed",
                what=f"{revision.name} is not served: {_first_line(why)}.{back}",
                instead="Correct it, and deploy again.",
                code=ExitCode.MODEL if "setup of" in why else ExitCode.DEPLOY,
                detail=why[-_TAIL:] if "\n" in why else None,
            )
        )

    def status(self, name: str) -> Status:
        """See `lading.deploy.engine.Engine`."""
        with session(self.place, self._environ):
            record = kept.read_record(name)
            if record is None:
                return Status(name=name, place=self.place, state=State.ABSENT)
            return self._status(name, record)

    def _status(self, name: str, record: dict[str, Any]) -> Status:
        details = _details()
        made = _applications(_current(record))
        apis = tuple(_api_status(one, details["applications"].get(one.name)) for one in made)
        states = {one.state for one in apis}
        order = (State.FAILED, State.DEGRADED, State.UPDATING)
        fields = ("name", "number", "digest", "created", "current")
        return Status(
            name=name,
            place=self.place,
            state=next((one for one in order if one in states), State.LIVE),
            apis=apis,
            revisions=tuple(Revision(**{field: one[field] for field in fields}) for one in record["revisions"]),
            endpoints=_endpoints(made, details),
            dashboard=_dashboard(),
        )

    def scale(self, name: str, api: str, replicas: int, reporter: Reporter) -> Status:
        """See `lading.deploy.engine.Engine`.

        Raises:
            LadingError: if there is no such deployment or API, or the number is negative.
        """
        with session(self.place, self._environ):
            record = self._require(name)
            current = _current(record)
            made = _applications(current)
            known = [one.plan.api for one in made]
            if api not in known or replicas < 1:
                what = f"{name} has no API {api}." if api not in known else "An API has one replica at least."
                instead = f"It has {', '.join(known)}." if api not in known else f"`lading delete --to ray --name {name}` takes all away."
                raise LadingError(Problem(rule="cannot-scale", what=what, instead=instead, code=ExitCode.DEPLOY))
            changed = tuple(scaled(one, replicas) if one.plan.api == api else one for one in made)
            current["applications"] = [one.as_json() for one in changed]
            reporter(Event(step="Scaling", phase=Phase.STARTED, message=f"{api} to {replicas}"))
            self._run(name, record, changed)
            return self.wait(Revision(name=name, number=current["number"], digest=current["digest"]), reporter, 600.0)

    def rollback(self, name: str, number: int | None, reporter: Reporter) -> Revision:
        """See `lading.deploy.engine.Engine`.

        Raises:
            LadingError: if there is no such revision.
        """
        with session(self.place, self._environ):
            record = self._require(name)
            others: list[int] = [one["number"] for one in record["revisions"] if not one["current"]]
            wanted = max(others, default=None) if number is None else number
            if wanted is None or wanted not in others:
                what = f"{name} has no revision {number} to go back to." if number else f"{name} has one revision alone."
                instead = f"It has {', '.join(map(str, others))}." if others else "Deploy another one."
                raise LadingError(Problem(rule="revision-unknown", what=what, instead=instead, code=ExitCode.DEPLOY))
            reporter(Event(step=STEP, phase=Phase.STARTED, message=f"{name} back to revision {wanted} on Ray"))
            old = _revision(record, wanted)
            return self._begin(name, record, _applications(old), old["digest"])

    def delete(self, name: str, api: str | None, reporter: Reporter) -> None:
        """See `lading.deploy.engine.Engine`; jobs stay in their database.

        Raises:
            LadingError: if there is no such deployment or API.
        """
        with session(self.place, self._environ):
            from ray import serve  # noqa: PLC0415 -- an extra

            record = self._require(name)
            current = _current(record)
            meant = [one for one in _applications(current) if api in (None, one.plan.api)]
            if not meant:
                raise not_deployed(f"{name} {api}", self.place)
            for one in meant:
                serve.delete(one.name)
            left = [one for one in current["applications"] if one["plan"]["api"] not in [gone.plan.api for gone in meant]]
            if left:
                current["applications"] = left
                kept.write_record(name, record)
            else:
                kept.delete_record(name)
                _forget({"revisions": []}, record["revisions"])
            reporter(Event(step="Deleting", phase=Phase.FINISHED, message=name if api is None else f"{name} {api}"))

    def logs(self, name: str, api: str | None, *, follow: bool) -> Iterator[str]:
        """See `lading.deploy.engine.Engine`: what each replica and its model printed, a replica after the other.

        Raises:
            LadingError: if there is no such deployment.
        """
        with session(self.place, self._environ):
            from ray.util.state import get_log  # noqa: PLC0415 -- an extra

            made = [one for one in _applications(_current(self._require(name))) if api in (None, one.plan.api)]
            details = _details()["applications"]
            replicas = [
                replica
                for one in made
                for replica in details.get(one.name, {}).get("deployments", {}).get(HOST, {}).get("replicas", [])
                if replica.get("actor_id")
            ]
            for number, replica in enumerate(replicas):
                last = number == len(replicas) - 1
                rest = ""
                for piece in get_log(actor_id=replica["actor_id"], suffix="err", tail=-1, follow=follow and last):
                    *lines, rest = (rest + piece).split("\n")
                    yield from lines
                if rest:
                    yield rest

    def _require(self, name: str) -> dict[str, Any]:
        record = kept.read_record(name)
        if record is None:
            raise not_deployed(name, self.place)
        return record


def _new_record() -> dict[str, Any]:
    return {"revisions": []}


def _current(record: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = next(one for one in record["revisions"] if one["current"])
    return found


def _revision(record: Mapping[str, Any], number: int) -> dict[str, Any]:
    found: dict[str, Any] = next(one for one in record["revisions"] if one["number"] == number)
    return found


def _applications(revision: Mapping[str, Any]) -> tuple[Application, ...]:
    return tuple(from_json(one) for one in revision["applications"])


def _target(application: Application) -> Any:
    from ray.serve.api import RunTarget  # noqa: PLC0415 -- as above

    from lading.deploy.ray_host import Host  # noqa: PLC0415 -- it brings the server with it
    from ray import serve  # noqa: PLC0415 -- an extra

    # By its version Serve knows that the replicas there are do, where their number alone changes.
    version = f"{application.plan.revision}-{application.plan.digest[:12]}"
    hosted: Any = serve.deployment(**application.options)(serve.ingress()(Host))
    hosted._version = version  # noqa: SLF001 -- without one, Serve makes one up each time
    return RunTarget(hosted.bind(application.as_json()["plan"]), name=application.name, route_prefix=application.route)


def _start_serve(port: int) -> None:
    """Let every node take requests. Where Serve is running, it stays as it was started."""
    from ray import serve  # noqa: PLC0415 -- an extra

    serve.start(proxy_location="EveryNode", http_options={"host": "0.0.0.0", "port": port})  # noqa: S104 -- a cluster's own network


def _details() -> dict[str, Any]:
    """All that Serve's controller tells its dashboard."""
    from ray.serve.context import _get_global_client  # noqa: PLC0415 -- an extra, and no public name for it

    client: Any = _get_global_client()
    found: dict[str, Any] = patiently(client.get_serve_details)
    return found


def _dashboard() -> str | None:
    from ray._private import worker  # noqa: PLC0415 -- an extra, and no public name for it

    url: str | None = worker.get_dashboard_url()  # type: ignore[no-untyped-call]
    return f"http://{url}/#/serve" if url else None


def _api_status(application: Application, details: Mapping[str, Any] | None) -> ApiStatus:
    if details is None:
        return ApiStatus(name=application.plan.api, kind=application.kind, state=State.ABSENT, wanted=0, ready=0, updated=0)
    hosted = details["deployments"].get(HOST, {})
    wanted = int(hosted.get("target_num_replicas") or 0)
    ready = sum(str(_value(one["state"])) == "RUNNING" for one in hosted.get("replicas", ()))
    word = str(_value(details["status"]))
    states = {"RUNNING": State.LIVE, "DEPLOYING": State.UPDATING, "NOT_STARTED": State.UPDATING, "DELETING": State.STOPPED}
    state = states.get(word, State.FAILED)
    if state is State.LIVE and ready < wanted:
        state = State.DEGRADED
    texts = dict.fromkeys(text for text in (details.get("message"), hosted.get("message")) if text)
    return ApiStatus(
        name=application.plan.api,
        kind=application.kind,
        state=state,
        wanted=wanted,
        ready=ready,
        updated=ready if state is State.LIVE else 0,
        messages=tuple(texts) if state is not State.LIVE else (),
    )


def _value(state: Any) -> Any:
    return getattr(state, "value", state)


def _endpoints(made: tuple[Application, ...], details: Mapping[str, Any]) -> tuple[Endpoint, ...]:
    """Every node takes requests for every API; the addresses are those of the nodes."""
    port = (details.get("http_options") or {}).get("port") or 8000
    addresses = sorted({str(one["node_ip"]) for one in (details.get("proxies") or {}).values() if one.get("node_ip")})
    return tuple(
        Endpoint(api=one.plan.api, url=f"http://{address}:{port}{one.route.rstrip('/')}", reach="cluster")
        for one in made
        for address in addresses
    )


def _reasons(application: Any) -> str:
    texts = [application.message, *(one.message for one in application.deployments.values())]
    return "\n".join(dict.fromkeys(text.strip() for text in texts if text)) or "Serve does not say why"


def _first_line(text: str) -> str:
    """The model's own words, where Ray's traceback has them."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    telling = [line for line in lines if "setup of" in line or "Error:" in line]
    return (telling or lines or ["Serve does not say why"])[-1].rstrip(".")


def _forget(record: Mapping[str, Any], dropped: list[dict[str, Any]]) -> None:
    """Take bundles and secrets away that no revision needs any more."""
    plans = [one.plan for revision in record["revisions"] for one in _applications(revision)]
    others = {kept.read_record(name)["revisions"][-1]["digest"] for name in kept.names() if kept.read_record(name)}  # type: ignore[index]
    for revision in dropped:
        for application in _applications(revision):
            plan = application.plan
            if plan.secrets and plan.secrets not in {one.secrets for one in plans}:
                kept.delete_secrets(plan.secrets)
            if plan.digest not in {one.digest for one in plans} | others:
                kept.delete_bundle(plan.digest)


def _require_database(deployment: Deployment, secrets: Mapping[str, str]) -> None:
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


def _require_small(size: int) -> None:
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
