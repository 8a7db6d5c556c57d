"""The pods of a workload: container, probes, resources, security. Pure."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping
from typing import Any

from lading.deploy.kubernetes_shape import PORT, PREFIX, WORKLOAD, Asked, Object, Workload, labels
from lading.model.cluster import Compute

PYTHON = "/opt/lading/bin/python"
"""The server's own Python in an image (`lading.images.front`)."""
DRAIN_SECONDS = 30
"""How long running predictions may go on after SIGTERM, as `lading.model.service.ServiceSpec.drain_seconds` says."""
LEAVE_SECONDS = 5
"""How long a pod still takes requests after it is to end: so long some of the cluster's proxies still send it some."""
JOBS_FOLDER = "/var/lib/lading/jobs"
SUBMISSION = "/etc/lading/submission"
_KEY = "LADING_JOB_KEY"  # see `lading.service.job`
GPU = "nvidia.com/gpu"
APIS = f"{PREFIX}/apis"
TEMPLATE = f"{PREFIX}/template"
"""A hash of what a pod is made from: it tells the pods of the newest revision from those that are on their way out."""
_MEBI = 1 << 20
_SOURCES = {"configMapRef": "ConfigMap", "secretRef": "Secret"}
"""What ``envFrom`` calls the kinds that it takes variables from."""


def pod_template(asked: Asked, workload: Workload) -> Object:
    """The template of a Deployment's pods."""
    spec = pod_spec(asked, workload)
    said = {
        "prometheus.io/scrape": "true",
        "prometheus.io/port": str(PORT),
        "prometheus.io/path": "/metrics",
        TEMPLATE: template_hash(spec),
    }
    return {"metadata": {"labels": labels(asked.deployment.name, workload.name), "annotations": said}, "spec": spec}


def template_hash(spec: Mapping[str, Any]) -> str:
    """See `TEMPLATE`."""
    return hashlib.sha256(json.dumps(spec, sort_keys=True).encode()).hexdigest()[:10]


def pod_spec(asked: Asked, workload: Workload) -> Object:
    """A pod that serves until it is stopped."""
    container = {
        **_container(asked, workload),
        "ports": [{"name": "http", "containerPort": PORT}],
        "startupProbe": {"httpGet": {"path": "/livez", "port": "http"}, "periodSeconds": 1, "failureThreshold": 120},
        # Each second: a pod that cannot take requests any more is left out after one to three of them.
        "readinessProbe": {
            "httpGet": {"path": "/readyz", "port": "http"},
            "periodSeconds": 1,
            "timeoutSeconds": 5,
            "failureThreshold": 3,
        },
        "livenessProbe": {"httpGet": {"path": "/livez", "port": "http"}, "periodSeconds": 10, "timeoutSeconds": 5, "failureThreshold": 3},
        "lifecycle": {"preStop": {"exec": {"command": [PYTHON, "-c", f"import time; time.sleep({LEAVE_SECONDS})"]}}},
    }
    spread = {
        "maxSkew": 1,
        "topologyKey": "kubernetes.io/hostname",
        "whenUnsatisfiable": "ScheduleAnyway",
        "labelSelector": {"matchLabels": {WORKLOAD: workload.name}},
    }
    return {
        **_pod(asked, workload),
        "terminationGracePeriodSeconds": LEAVE_SECONDS + DRAIN_SECONDS + 10,
        "topologySpreadConstraints": [spread],
        "containers": [container],
        "volumes": _volumes(workload, asked.settings.jobs_claim),
    }


def job_pod_spec(asked: Asked, workload: Workload, api: str, submission: str) -> Object:
    """A pod that runs one job of an API and ends. ``submission`` is the ConfigMap that holds what it is asked."""
    container = _container(asked, workload)
    # Every pod of one Job asks for the same work, which is done once where the store of jobs outlives the pod.
    known_by = {"name": _KEY, "valueFrom": {"fieldRef": {"fieldPath": "metadata.labels['controller-uid']"}}}
    container["env"] = [*container["env"], known_by]
    mounts = [*container["volumeMounts"], {"name": "submission", "mountPath": SUBMISSION, "readOnly": True}]
    command = [PYTHON, "-m", "lading.service.job", api, f"{SUBMISSION}/submission.json"]
    return {
        **_pod(asked, workload),
        "restartPolicy": "Never",
        "terminationGracePeriodSeconds": DRAIN_SECONDS,
        "containers": [{**container, "command": command, "volumeMounts": mounts}],
        "volumes": [*_volumes(workload, asked.settings.jobs_claim), {"name": "submission", "configMap": {"name": submission}}],
    }


def _pod(asked: Asked, workload: Workload) -> Object:
    settings = asked.settings
    spec: Object = {
        # The server asks nothing of the cluster, so a model that is broken into can ask nothing either.
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
    }
    if settings.jobs_claim and workload.has_jobs:
        spec["securityContext"]["fsGroup"] = 65532
    if settings.service_account:
        spec["serviceAccountName"] = settings.service_account
    if settings.pull_secrets:
        spec["imagePullSecrets"] = [{"name": name} for name in settings.pull_secrets]
    if settings.node_selector:
        spec["nodeSelector"] = dict(settings.node_selector)
    if workload.compute.gpu:
        spec["tolerations"] = [{"key": GPU, "operator": "Exists", "effect": "NoSchedule"}]
    return spec


def _container(asked: Asked, workload: Workload) -> Object:
    made: Object = {"name": "model", "image": asked.deployment.image}
    if asked.settings.pull_policy:
        made["imagePullPolicy"] = asked.settings.pull_policy
    given = {*asked.deployment.variables, *asked.deployment.secrets}
    made["env"] = [{"name": name, "value": value} for name, value in _variables(workload, given).items()]
    if asked.sources:
        made["envFrom"] = [_source(one) for one in asked.sources]
    made["resources"] = resources(workload.compute)
    made["securityContext"] = {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": not asked.settings.writable_root,
        "capabilities": {"drop": ["ALL"]},
    }
    mounts = [{"name": "tmp", "mountPath": "/tmp"}]  # noqa: S108 -- a path in the container
    if workload.has_jobs:
        mounts.append({"name": "jobs", "mountPath": JOBS_FOLDER})
    if workload.compute.shared_memory:
        mounts.append({"name": "shm", "mountPath": "/dev/shm"})  # noqa: S108 -- as above
    made["volumeMounts"] = mounts
    return made


def _source(configuration: Object) -> Object:
    reference = next(key for key, kind in _SOURCES.items() if kind == configuration["kind"])
    return {reference: {"name": configuration["metadata"]["name"]}}


def needs_of(spec: Mapping[str, Any]) -> set[tuple[str, str]]:
    """The ConfigMaps and Secrets without which a pod does not start, by kind and name."""
    found = {("ConfigMap", str(one["configMap"]["name"])) for one in spec.get("volumes") or () if "configMap" in one}
    for source in (one for container in spec["containers"] for one in container.get("envFrom") or ()):
        found |= {(kind, str(source[key]["name"])) for key, kind in _SOURCES.items() if key in source}
    return found


def _variables(workload: Workload, given: Collection[str]) -> dict[str, str]:
    """What the container itself is told; a variable of the user's wins over ours, as ``env`` would win over ``envFrom``."""
    own = {"LADING_APIS": ",".join(workload.members), "PORT": str(PORT)}
    # The image's user has no home of its own, and libraries keep caches there.
    usual = {"HOME": "/tmp"}  # noqa: S108 -- as above
    if workload.has_jobs:
        usual["LADING_JOBS"] = JOBS_FOLDER
    return {**own, **{name: value for name, value in usual.items() if name not in given}}


def _volumes(workload: Workload, jobs_claim: str | None) -> list[Object]:
    volumes: list[Object] = [{"name": "tmp", "emptyDir": {}}]
    if workload.has_jobs:
        kept: Any = {"persistentVolumeClaim": {"claimName": jobs_claim}} if jobs_claim else {"emptyDir": {}}
        volumes.append({"name": "jobs", **kept})
    if workload.compute.shared_memory:
        volumes.append({"name": "shm", "emptyDir": {"medium": "Memory", "sizeLimit": _bytes(workload.compute.shared_memory)}})
    return volumes


def resources(compute: Compute) -> Object:
    """Requests and limits: memory has both, so that a model that grows ends alone; CPU has no limit, as an idle core helps nobody."""
    requests, limits = {}, {}
    if compute.cpu is not None:
        requests["cpu"] = _cores(compute.cpu)
    if compute.memory is not None:
        requests["memory"] = limits["memory"] = _bytes(compute.memory)
    if compute.gpu:
        requests[GPU] = limits[GPU] = str(compute.gpu)
    return {key: value for key, value in (("requests", requests), ("limits", limits)) if value}


def _cores(cpu: float) -> str:
    return f"{cpu:.0f}" if cpu == int(cpu) else f"{round(cpu * 1000)}m"


def _bytes(count: int) -> str:
    return f"{count // _MEBI}Mi" if count % _MEBI == 0 else str(count)


def about(asked: Asked, workload: Workload) -> dict[str, str]:
    """What the object that runs a workload says of it: the image, and its APIs with their kinds and routes (`apis_of`)."""
    kinds = {api.name: str(api.worker.cortex.get("kind") or "RealtimeAPI") for api in workload.apis}
    apis = ",".join(f"{name} {kinds.get(name, 'TrafficSplitter')} {path}" for name, path in workload.endpoints)
    return {f"{PREFIX}/image": asked.deployment.image or "", APIS: apis}


def apis_of(obj: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """The APIs that an object runs: name, kind, route."""
    text = str(obj["metadata"]["annotations"][APIS])
    return [(name, kind, path) for name, kind, path in (one.split(" ") for one in text.split(","))]
