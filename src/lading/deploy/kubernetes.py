"""Kubernetes as an engine: the objects of `lading.deploy.kubernetes_render`, applied by the server, watched, taken back when they fail.

For images that ``lading build`` made. Lading schedules nothing: Deployments, autoscalers, Jobs and CronJobs of the cluster do.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, NoReturn

from lading.deploy import kubernetes_revisions as revisions
from lading.deploy.engine import (
    STEP,
    ApiStatus,
    Deployment,
    Endpoint,
    Place,
    Revision,
    State,
    Status,
    not_deployed,
)
from lading.deploy.kubernetes_api import KINDS, Cluster, configuration_of
from lading.deploy.kubernetes_files import files as manifest_files
from lading.deploy.kubernetes_files import secrets_to_make
from lading.deploy.kubernetes_pods import needs_of
from lading.deploy.kubernetes_problems import (
    api_unknown,
    at_the_same_time,
    kind_unknown,
    name_taken,
    not_scaled,
    not_served,
    only_one_pod,
    revision_unknown,
    runs_together,
)
from lading.deploy.kubernetes_render import INITIAL, render
from lading.deploy.kubernetes_settings import read_file, settings_of
from lading.deploy.kubernetes_shape import NAME, WORKLOAD, Object
from lading.deploy.kubernetes_watch import (
    RUNNING,
    api_statuses,
    container_of,
    inference_status,
    is_alone,
    is_hopeless,
    is_up,
    job_status,
    members,
    newest_of,
    of_running,
    of_workload,
    outside,
    routes,
    service_endpoints,
    state_of_workload,
    troubles,
)
from lading.deploy.logs import in_turn, merged
from lading.model.events import Event, Phase, Reporter
from lading.model.problems import LadingError

__all__ = ["KubernetesEngine", "connect", "files", "secrets_to_make"]

_POLL_SECONDS = 1.0
_BACK_SECONDS = 300.0
_TAIL = 15
_LAST = ("ControllerRevision",)


def connect(place: Place, environ: Mapping[str, str]) -> KubernetesEngine:
    """See `lading.deploy.engine.EngineModule`. The cluster is looked for when something is asked of it."""
    file = place.options.get("kubeconfig") or configuration_of(environ)
    return KubernetesEngine(replace(place, options={**place.options, "kubeconfig": file}) if file else place)


def files(deployment: Deployment, resources: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """What ``--output`` writes, by path."""
    return manifest_files(deployment.name, resources, kustomize=bool(deployment.options.get("kustomize")))


class KubernetesEngine:
    """See `lading.deploy.engine.Engine`. ``poll`` is how long to wait between two looks (seconds)."""

    def __init__(self, place: Place, *, poll: float = _POLL_SECONDS) -> None:
        self.place, self._poll = place, poll
        # Manifests name no namespace that was not asked for, so that a dry run, which knows no cluster, prints the same.
        self._options = place.options
        self._known: Cluster | None = None

    @property
    def cluster(self) -> Cluster:
        """The cluster, once it is needed."""
        if self._known is None:
            self._known = Cluster(self.place)
            self.place = self._known.place
        return self._known

    def render(self, deployment: Deployment) -> tuple[Object, ...]:
        """See `lading.deploy.engine.Engine`."""
        return render(deployment, settings_of(deployment, self._options, read_file))

    def apply(self, deployment: Deployment, reporter: Reporter) -> Revision:
        """See `lading.deploy.engine.Engine`: everything is tried without effect first, so that what is refused changes nothing."""
        objects = self.render(deployment)
        return self._apply(
            deployment.name, deployment.image or "", objects, reporter, force=bool(deployment.options.get("force_conflicts"))
        )

    def _apply(self, name: str, image: str, objects: Sequence[Mapping[str, Any]], reporter: Reporter, *, force: bool) -> Revision:
        cluster = self.cluster
        reporter(Event(step=STEP, phase=Phase.STARTED, message=f"{name} to namespace {cluster.namespace} of {self.place}"))
        self._check_names(name, objects)
        taken = revisions.in_order(self._acknowledged(name, self._revisions(name)))
        number = int(taken[-1]["revision"]) + 1 if taken else 1
        objects = revisions.numbered(objects, number)
        self._send(objects, force=force, dry_run=True)
        made = revisions.snapshot(name, number, image, objects, self._options.get("namespace"))
        kept = self._created(name, made)
        try:
            self._send(objects, force=force, dry_run=False)
        except BaseException:  # Ctrl-C too: no half of the new one stays
            with contextlib.suppress(LadingError):
                before = self._failed(name, number)
                if before is not None:
                    self._send(revisions.served_by(before), force=True, dry_run=False)
                    self._prune(name)
            raise
        return Revision(name=name, number=number, digest=image, created=kept["metadata"].get("creationTimestamp"))

    def _created(self, name: str, made: Object) -> Object:
        """The revision as the cluster keeps it. A request whose answer was lost is sent again, and then is in its own way.

        Raises:
            LadingError: if somebody else has made a revision of that number meanwhile, or the cluster refuses.
        """
        own = made["metadata"]["name"]
        answer = self.cluster.create(made)
        if answer.status == 409:
            there = self.cluster.get("ControllerRevision", own)
            if there is None or revisions.attempt_of(there) != revisions.attempt_of(made):
                raise LadingError(at_the_same_time(name))
            return there
        return dict(self.cluster.checked(answer, f"create ControllerRevision {own}"))

    def _check_names(self, name: str, objects: Sequence[Mapping[str, Any]]) -> None:
        """Another deployment's objects are not ours to change, and nothing but a label tells them apart.

        Raises:
            LadingError: for each Deployment or Service that belongs to something else.
        """
        problems = []
        for one in objects:
            kind, own = revisions.key_of(one)
            found = self.cluster.get(kind, own) if kind in ("Deployment", "Service") else None
            owner = ((found or {}).get("metadata", {}).get("labels") or {}).get(NAME)
            if found is not None and owner != name:
                problems.append(name_taken(kind, own, owner))
        if problems:
            raise LadingError(*problems)

    def _send(self, objects: Sequence[Mapping[str, Any]], *, force: bool, dry_run: bool) -> None:
        problems = []
        for one in objects:
            kind, name = revisions.key_of(one)
            if kind == "Secret" and not one.get("stringData"):
                continue  # of an earlier revision: it is there, or its pods will say so
            answer = self.cluster.apply(one, dry_run=dry_run, force=force)
            if answer.status == 404 and "namespaces" not in answer.message:
                problems.append(kind_unknown(kind))
            elif answer.status >= 300:
                problems.append(self.cluster.problem(answer, f"apply {kind} {name}"))
            elif answer.status == 201 and not dry_run and INITIAL in (one["metadata"].get("annotations") or {}):
                self.cluster.merge(kind, name, {"spec": {"replicas": int(one["metadata"]["annotations"][INITIAL])}}, "scale")
        if problems:
            raise LadingError(*dict.fromkeys(problems))

    def wait(self, revision: Revision, reporter: Reporter, timeout: float) -> Status:
        """See `lading.deploy.engine.Engine`."""
        own = self.cluster.get("ControllerRevision", f"{revision.name}-{revision.number}")
        if own is None:
            raise not_deployed(revision.name, self.place)
        trouble = self._settled(revision.name, revisions.objects_of(own), reporter, timeout)
        if trouble is not None:
            self._take_back(revision, reporter, *trouble)
        self._serves(revision.name, revision.number)
        status = self.status(revision.name)
        reporter(Event(step=STEP, phase=Phase.FINISHED, message=f"{revision.name} is served"))
        return status

    def _settled(self, name: str, objects: Sequence[Mapping[str, Any]], reporter: Reporter, timeout: float) -> tuple[str, str] | None:
        """Wait until every workload of a revision is up to date: None then, else what went wrong, and what the pods say.

        What it does not have any more is not waited for: it may be what is broken.
        """
        until, before = time.monotonic() + timeout, None
        while True:
            running = self._running(name, objects)
            states = [state_of_workload(kind, live) for (kind, _), live in running.items()]
            wanted, ready = sum(one[1] for one in states), sum(min(one[2], one[3]) for one in states)
            if (ready, wanted) != before:
                before = (ready, wanted)
                reporter(Event(step=STEP, phase=Phase.PROGRESS, done=ready, total=wanted, unit="replicas"))
            if all(one[0] in (State.LIVE, State.STOPPED) for one in states):
                return None
            pods = of_running(self._pods(name), running)
            late = time.monotonic() > until
            if late or is_hopeless(pods) or any(one[0] is State.FAILED for one in states):
                why = f"it was not ready within {timeout:g} s" if late else "the rollout does not get on"
                found = troubles(pods)
                return (f"{why}: {found[0]}" if found else why, self._last_words(pods))
            time.sleep(self._poll)

    def _running(self, name: str, objects: Sequence[Mapping[str, Any]]) -> dict[tuple[str, str], Object | None]:
        """What the cluster has of the objects that run something, by kind and name."""
        keys = [revisions.key_of(one) for one in objects if one["kind"] in RUNNING]
        chosen = revisions.selector_of(name)
        live = {(kind, one["metadata"]["name"]): one for kind in dict(keys) for one in self.cluster.all(kind, chosen)}
        return {key: live.get(key) for key in keys}

    def _last_words(self, pods: Sequence[Mapping[str, Any]]) -> str:
        """The end of the log of a pod that is not ready."""
        for pod in pods:
            statuses = (pod.get("status") or {}).get("containerStatuses") or ()
            if statuses and not all(one.get("ready") for one in statuses):
                try:
                    lines = list(self.cluster.lines(pod["metadata"]["name"], statuses[0]["name"], follow=False, tail=_TAIL))
                except LadingError as error:
                    return str(error)  # what went wrong is told all the same
                if lines:
                    return "\n".join(lines)
        return ""

    def _take_back(self, revision: Revision, reporter: Reporter, why: str, detail: str) -> NoReturn:
        """Serve the last revision that was served, if there is one, and say what went wrong."""
        name = revision.name
        reporter(Event(step=STEP, phase=Phase.FAILED))
        before = self._failed(name, revision.number)
        back = f"Look at it with `lading status` and `lading logs`, or take it away: lading delete --name {name}."
        if before is not None:
            number = int(before["revision"])
            earlier = revisions.served_by(before)
            self._send(earlier, force=True, dry_run=False)
            trouble = self._settled(name, earlier, reporter, _BACK_SECONDS)
            self._prune(name)
            back = (
                f"Correct it, and deploy again: revision {number} is served again."
                if trouble is None
                else f"Revision {number}: {trouble[0]}."
            )
        raise LadingError(not_served(name, revision.number, why, back, detail))

    def status(self, name: str) -> Status:
        """See `lading.deploy.engine.Engine`."""
        found = self._revisions(name)
        with contextlib.suppress(LadingError):  # who may only look sees it all the same
            found = self._acknowledged(name, found)
        current = revisions.current_of(found) or (revisions.in_order(found)[-1] if found else None)
        if current is None:
            return Status(name=name, place=self.place, state=State.ABSENT)
        chosen = revisions.selector_of(name)
        by_kind = {
            kind: {one["metadata"]["name"]: one for one in self.cluster.all(kind, chosen)} for kind in ("Deployment", "Service", "Job")
        }
        objects, pods = revisions.objects_of(current), self._pods(name)
        apis: list[ApiStatus] = []
        endpoints: list[Endpoint] = []
        for one in objects:
            kind, own = revisions.key_of(one)
            if kind == "Deployment":
                apis += api_statuses(members(one), by_kind[kind].get(own), troubles(of_workload(pods, own)))
                endpoints += service_endpoints(by_kind["Service"].get(own) or one, self.cluster.namespace, routes(one))
            elif kind == "InferenceService":
                live = self.cluster.get(kind, own) or one
                apis += inference_status(live, members(one))
                url = (live.get("status") or {}).get("url")
                endpoints += [Endpoint(api=api, url=f"{url}{path}", reach="outside") for api, path in routes(one) if url]
            elif kind == "Ingress":
                endpoints += outside(one, {each["metadata"]["name"]: routes(each) for each in objects if each["kind"] == "Deployment"})
        apis += [job_status(job) for job in by_kind["Job"].values()]
        states = {one.state for one in apis if one.kind != "Job"}
        order = (State.FAILED, State.DEGRADED, State.UPDATING, State.LIVE, State.STOPPED)
        state = next((one for one in order if one in states), State.LIVE)
        shown = revisions.as_revisions(name, found)
        return Status(name=name, place=self.place, state=state, apis=tuple(apis), revisions=shown, endpoints=tuple(endpoints))

    def scale(self, name: str, api: str, replicas: int, reporter: Reporter) -> Status:
        """See `lading.deploy.engine.Engine`; where it autoscales, the autoscaler goes on from there.

        Raises:
            LadingError: if there is no such API, or it cannot have so many replicas.
        """
        own = self._workload(name, api)
        if is_alone(own) and replicas > 1:
            raise LadingError(only_one_pod(api))
        kind, workload = revisions.key_of(own)
        if kind == "Deployment":
            self.cluster.merge(kind, workload, {"spec": {"replicas": replicas}}, "scale")
        else:
            most = max(replicas, int(own["spec"]["predictor"]["maxReplicas"]))
            self.cluster.merge(kind, workload, {"spec": {"predictor": {"minReplicas": replicas, "maxReplicas": most}}})
        trouble = self._settled(name, [own], reporter, _BACK_SECONDS)
        if trouble is not None:
            raise LadingError(not_scaled(name, api, replicas, *trouble))
        return self.status(name)

    def rollback(self, name: str, number: int | None, reporter: Reporter) -> Revision:
        """See `lading.deploy.engine.Engine`.

        Raises:
            LadingError: if there is no such revision.
        """
        found = self._acknowledged(name, self._require(name))
        current = revisions.current_of(found)
        others = [one for one in revisions.in_order(found) if one is not current and revisions.state_of(one) == revisions.LIVE]
        wanted = next((one for one in reversed(others) if number in (None, int(one["revision"]))), None)
        if wanted is None:
            raise LadingError(revision_unknown(name, number, [str(one["revision"]) for one in others]))
        return self._apply(name, revisions.image_of(wanted), revisions.served_by(wanted), reporter, force=True)

    def delete(self, name: str, api: str | None, reporter: Reporter) -> None:
        """See `lading.deploy.engine.Engine`."""
        if api is None:
            self._require(name)
            chosen = revisions.selector_of(name)
        else:
            own = self._workload(name, api)
            if len(members(own)) > 1:
                raise LadingError(runs_together(api, [one for one, _ in members(own) if one != api]))
            chosen = f"{WORKLOAD}={own['metadata']['name']}"
        # The revisions last: as long as they are there, what is left can be found and deleted.
        for kind in sorted(KINDS, key=lambda one: one in _LAST):
            for one in self.cluster.all(kind, chosen):
                self.cluster.delete(kind, one["metadata"]["name"])
        reporter(Event(step="Deleting", phase=Phase.FINISHED, message=api or name))

    def logs(self, name: str, api: str | None, *, follow: bool) -> Iterator[str]:
        """See `lading.deploy.engine.Engine`; of several pods, each line begins with the pod's name."""
        self._require(name)
        pods = self._pods(name) if api is None else of_workload(self._pods(name), self._workload(name, api)["metadata"]["name"])
        names = [(str(pod["metadata"]["name"]), container_of(pod)) for pod in pods]
        if len(names) == 1:
            yield from self.cluster.lines(*names[0], follow=follow)
        else:
            readers = [partial(self.cluster.lines, pod, container, follow=follow) for pod, container in names]
            yield from (merged if follow else in_turn)([pod for pod, _ in names], readers)

    # What is there

    def _revisions(self, name: str) -> list[dict[str, Any]]:
        return self.cluster.all("ControllerRevision", revisions.selector_of(name))

    def _acknowledged(self, name: str, found: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """The revisions, the newest as one that was served if nobody waited until it was, and now it is."""
        current = revisions.current_of(found)
        if current is None or revisions.state_of(current) != revisions.PENDING:
            return found
        objects = revisions.objects_of(current)
        running = self._running(name, objects)
        if not all(is_up(one, running[revisions.key_of(one)]) for one in objects if one["kind"] in RUNNING):
            return found
        self._serves(name, int(current["revision"]))
        return self._revisions(name)

    def _serves(self, name: str, number: int) -> None:
        """Mark a revision as one that was served, and take away what it has not."""
        self.cluster.merge("ControllerRevision", f"{name}-{number}", _mark(revisions.LIVE))
        self._prune(name)

    def _failed(self, name: str, number: int) -> Mapping[str, Any] | None:
        """Mark a revision as one that failed; the last one that was served, if any, which is then the current one.

        Those between the two were never served, and are passed over too.
        """
        found = revisions.in_order(self._revisions(name))
        served = [one for one in found if revisions.state_of(one) == revisions.LIVE]
        last = int(served[-1]["revision"]) if served else 0
        for one in found:
            if int(one["revision"]) == number or last < int(one["revision"]) < number:
                self.cluster.merge("ControllerRevision", one["metadata"]["name"], _mark(revisions.FAILED))
        return served[-1] if served else None

    def _require(self, name: str) -> list[dict[str, Any]]:
        found = self._revisions(name)
        if not found:
            raise not_deployed(name, self.place)
        return found

    def _pods(self, name: str) -> list[Mapping[str, Any]]:
        return newest_of(self.cluster.all("Pod", revisions.selector_of(name)))

    def _workload(self, name: str, api: str) -> Object:
        """The object that runs an API.

        Raises:
            LadingError: if there is none.
        """
        found = self._require(name)
        objects = revisions.objects_of(revisions.current_of(found) or revisions.in_order(found)[-1])
        running = [one for one in objects if one["kind"] in RUNNING]
        for one in running:
            if api in [member for member, _ in members(one)] or api == one["metadata"]["name"]:
                return one
        raise LadingError(api_unknown(name, api, [member for one in running for member, _ in members(one)]))

    def _prune(self, name: str) -> None:
        """Take away what no revision that is kept has any more, and revisions beyond those that are kept."""
        found = revisions.in_order(self._revisions(name))
        good = [one for one in found if revisions.state_of(one) != revisions.FAILED]
        kept = good[-revisions.KEPT :]
        for one in found:
            if one not in kept:
                self.cluster.delete("ControllerRevision", one["metadata"]["name"])
        if not kept:
            return
        now = {revisions.key_of(one) for one in revisions.objects_of(kept[-1])}
        # Earlier revisions need their variables again when one goes back to them; finished Jobs stay as long as they say themselves.
        ever = {revisions.key_of(one) for each in kept for one in revisions.objects_of(each) if one["kind"] in ("ConfigMap", "Secret")}
        for job in self.cluster.all("Job", revisions.selector_of(name)):
            ever |= needs_of(job["spec"]["template"]["spec"])
        for kind in KINDS:
            if kind in ("ControllerRevision", "Job"):
                continue
            for one in self.cluster.all(kind, revisions.selector_of(name)):
                if (kind, one["metadata"]["name"]) not in now | ever and not one["metadata"].get("ownerReferences"):
                    self.cluster.delete(kind, one["metadata"]["name"])


def _mark(state: str) -> Object:
    return {"metadata": {"labels": {revisions.STATE: state}}}
