"""How a workload is and where it is reached, told from what the cluster says of it. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from lading.deploy.engine import ApiStatus, Endpoint, State
from lading.deploy.kubernetes_pods import TEMPLATE, apis_of
from lading.deploy.kubernetes_shape import WORKLOAD

_HOPELESS = frozenset(("InvalidImageName", "ErrImageNeverPull", "CreateContainerConfigError"))
"""What waiting does not mend."""
_PATIENT = frozenset(("ImagePullBackOff", "ErrImagePull", "CrashLoopBackOff", "CreateContainerError", "RunContainerError"))
"""What may mend itself: a registry that is busy, a model that needs something which starts later."""
_CRASHES = 3
_CONTAINERS = ("model", "kserve-container")
RUNNING = ("Deployment", "InferenceService")
"""The kinds of objects that run workloads."""


def state_of_workload(kind: str, live: Mapping[str, Any] | None) -> tuple[State, int, int, int]:
    """The state of an object that runs a workload, and its replicas: wanted, ready, updated. None: the cluster has none yet."""
    if live is None:
        return State.UPDATING, 1, 0, 0
    if kind == "Deployment":
        return state_of(live)
    (one,) = inference_status(live, [("", "")])
    return one.state, one.wanted, one.ready, one.updated


def state_of(deployment: Mapping[str, Any]) -> tuple[State, int, int, int]:
    """The state of a Deployment, and its replicas: wanted, ready, updated."""
    spec, status = deployment.get("spec") or {}, deployment.get("status") or {}
    wanted = int(spec.get("replicas", 1))
    ready, updated, every = (int(status.get(key) or 0) for key in ("readyReplicas", "updatedReplicas", "replicas"))
    seen = int(status.get("observedGeneration") or 0) >= int(deployment.get("metadata", {}).get("generation") or 0)
    conditions = {one["type"]: one for one in status.get("conditions") or ()}
    progressing = conditions.get("Progressing") or {}
    if wanted == 0 and seen and every == 0:
        return State.STOPPED, 0, 0, 0
    if seen and updated == every == wanted and int(status.get("availableReplicas") or 0) >= wanted:
        return State.LIVE, wanted, ready, updated
    if seen and progressing.get("reason") == "ProgressDeadlineExceeded":
        return State.FAILED, wanted, ready, updated
    if seen and updated >= wanted and progressing.get("reason") == "NewReplicaSetAvailable":
        return State.DEGRADED, wanted, ready, updated
    return State.UPDATING, wanted, ready, updated


def is_up(wanted: Mapping[str, Any], live: Mapping[str, Any] | None) -> bool:
    """Whether an object that runs a workload has become what a revision wants of it: its pods are of that template, and all there."""
    kind = str(wanted["kind"])
    if live is None or _template_of(kind, wanted) != _template_of(kind, live):
        return False
    return state_of_workload(kind, live)[0] in (State.LIVE, State.STOPPED)


def _template_of(kind: str, obj: Mapping[str, Any]) -> Any:
    """The hash of what an object's pods are made from; objects in lists do not tell their kinds."""
    template = obj["spec"]["template"] if kind == "Deployment" else obj
    return (template["metadata"].get("annotations") or {}).get(TEMPLATE)


def troubles(pods: Iterable[Mapping[str, Any]]) -> list[str]:
    """What keeps pods from being ready, in the cluster's words, each once."""
    found = []
    for pod in pods:
        status = pod.get("status") or {}
        scheduled = [one for one in status.get("conditions") or () if one.get("type") == "PodScheduled" and one.get("status") == "False"]
        found += [f"not scheduled: {one['message']}" for one in scheduled if one.get("message")]
        for container in status.get("containerStatuses") or ():
            found += _of_container(container)
    return list(dict.fromkeys(found))


def _of_container(container: Mapping[str, Any]) -> list[str]:
    waiting = (container.get("state") or {}).get("waiting") or {}
    reason, message = str(waiting.get("reason") or ""), str(waiting.get("message") or "")
    if reason not in _HOPELESS | _PATIENT:
        return []
    ended = (container.get("lastState") or {}).get("terminated") or {}
    how = f" (its last run ended with {ended.get('reason')}, exit status {ended.get('exitCode')})" if ended else ""
    return [f"{reason}: {message}{how}" if message else f"{reason}{how}"]


def is_hopeless(pods: Iterable[Mapping[str, Any]]) -> bool:
    """Whether waiting longer makes no sense."""
    for pod in pods:
        for container in (pod.get("status") or {}).get("containerStatuses") or ():
            reason = ((container.get("state") or {}).get("waiting") or {}).get("reason")
            if reason in _HOPELESS or (reason == "CrashLoopBackOff" and int(container.get("restartCount") or 0) >= _CRASHES):
                return True
    return False


def newest_of(pods: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The pods that are not on their way out, the newest first."""
    staying = [one for one in pods if not (one.get("metadata") or {}).get("deletionTimestamp")]
    return sorted(staying, key=lambda one: str((one.get("metadata") or {}).get("creationTimestamp")), reverse=True)


def api_statuses(members: Sequence[tuple[str, str]], deployment: Mapping[str, Any] | None, messages: Sequence[str]) -> list[ApiStatus]:
    """The status of each API (name and kind) that one Deployment runs; None where there is no Deployment yet."""
    state, wanted, ready, updated = state_of_workload("Deployment", deployment)
    shown = () if state is State.LIVE else tuple(messages)
    return [
        ApiStatus(name=name, kind=kind, state=state, wanted=wanted, ready=ready, updated=updated, messages=shown) for name, kind in members
    ]


def job_status(job: Mapping[str, Any]) -> ApiStatus:
    """The status of a Job."""
    status = job.get("status") or {}
    conditions = {one["type"]: one for one in status.get("conditions") or () if one.get("status") == "True"}
    failed, complete = conditions.get("Failed"), conditions.get("Complete")
    state = State.FAILED if failed else State.STOPPED if complete else State.UPDATING
    words = f"failed: {failed.get('reason')}" if failed else "succeeded" if complete else "running"
    name = str(job["metadata"]["name"])
    return ApiStatus(name=name, kind="Job", state=state, wanted=0, ready=0, updated=0, messages=(words,))


def inference_status(service: Mapping[str, Any], members: Sequence[tuple[str, str]]) -> list[ApiStatus]:
    """The status of each API that an InferenceService runs."""
    status, generation = service.get("status") or {}, int(service["metadata"].get("generation") or 0)
    seen = int(status.get("observedGeneration", generation)) >= generation
    conditions = {one["type"]: one for one in status.get("conditions") or ()}
    ready = (conditions.get("Ready") or {}) if seen else {}
    state = {"True": State.LIVE, "False": State.DEGRADED}.get(str(ready.get("status")), State.UPDATING)
    messages = (str(ready["message"]),) if ready.get("message") and state is not State.LIVE else ()
    live = int(state is State.LIVE)
    return [ApiStatus(name=name, kind=kind, state=state, wanted=1, ready=live, updated=live, messages=messages) for name, kind in members]


def service_endpoints(service: Mapping[str, Any], namespace: str, routes: Sequence[tuple[str, str]]) -> list[Endpoint]:
    """Where the routes of a Service are reached: inside the cluster, and by a load balancer where it has one."""
    name = service["metadata"]["name"]
    found = [Endpoint(api=api, url=f"http://{name}.{namespace}.svc{path}", reach="cluster") for api, path in routes]
    balancers = ((service.get("status") or {}).get("loadBalancer") or {}).get("ingress") or ()
    for one in balancers:
        host = one.get("hostname") or one.get("ip")
        found += [Endpoint(api=api, url=f"http://{host}{path}", reach="outside") for api, path in routes]
    return found


def members(obj: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The APIs that an object runs: name and kind."""
    return [(name, kind) for name, kind, _ in apis_of(obj)]


def routes(obj: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The routes of an object's APIs: name and path."""
    return [(name, path) for name, _, path in apis_of(obj)]


def is_alone(obj: Mapping[str, Any]) -> bool:
    """Whether there can be one pod alone (`Workload.alone`)."""
    return bool((obj["spec"].get("strategy") or {}).get("type") == "Recreate")


def outside(ingress: Mapping[str, Any], by_service: Mapping[str, Sequence[tuple[str, str]]]) -> list[Endpoint]:
    """Where the APIs are reached by an Ingress; ``by_service`` are the routes of each Service."""
    scheme, found = "https" if ingress["spec"].get("tls") else "http", []
    for rule in ingress["spec"]["rules"]:
        for path in rule["http"]["paths"]:
            own = by_service.get(path["backend"]["service"]["name"], ())
            led = [(api, route) for api, route in own if path["path"] in ("/", route)]
            found += [Endpoint(api=api, url=f"{scheme}://{rule['host']}{route}", reach="outside") for api, route in led]
    return found


def of_workload(pods: Sequence[Mapping[str, Any]], workload: str) -> list[Mapping[str, Any]]:
    """The pods of a workload."""
    return [one for one in pods if (one["metadata"].get("labels") or {}).get(WORKLOAD) == workload]


def of_running(pods: Sequence[Mapping[str, Any]], running: Mapping[tuple[str, str], Mapping[str, Any] | None]) -> list[Mapping[str, Any]]:
    """The pods that some workloads make now: those of an earlier revision may well fail on their way out."""
    deployments = [live for (kind, _), live in running.items() if kind == "Deployment" and live is not None]
    templates = {(one["spec"]["template"]["metadata"].get("annotations") or {}).get(TEMPLATE) for one in deployments} - {None}
    others = {name for kind, name in running if kind != "Deployment"}
    return [
        one
        for one in pods
        if (one["metadata"].get("annotations") or {}).get(TEMPLATE) in templates
        or (one["metadata"].get("labels") or {}).get(WORKLOAD) in others
    ]


def container_of(pod: Mapping[str, Any]) -> str:
    """The container that runs the model; others may have been added."""
    names = [one["name"] for one in pod["spec"]["containers"]]
    return next((name for name in _CONTAINERS if name in names), names[0])
