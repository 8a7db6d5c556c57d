"""A deployment as Kubernetes objects: plain data in the order in which they are sent. Pure.

Every API version here is served by all Kubernetes from 1.25 to the newest: ``apps/v1``, ``autoscaling/v2`` (since 1.23), ``batch/v1``,
``policy/v1``, ``networking.k8s.io/v1``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from lading.deploy.engine import Deployment
from lading.deploy.kubernetes_extras import inference_service, ingress, scaled_object
from lading.deploy.kubernetes_pods import about, job_pod_spec, pod_template
from lading.deploy.kubernetes_shape import (
    PREFIX,
    Asked,
    Object,
    Settings,
    Workload,
    behavior,
    content_name,
    labels,
    metadata,
    object_name,
    selector,
    workloads,
)
from lading.model.cluster import Autoscaling

INITIAL = f"{PREFIX}/initial-replicas"
"""How many replicas a new Deployment begins with, where the autoscaler decides afterwards."""
_PROGRESS_SECONDS = 1800
"""After so long without progress the cluster itself calls a rollout failed; who waits for it gives up earlier, with ``--timeout``."""
_ATTEMPTS = 2
"""Of a Job: Cortex runs a task once; one more is for a node that goes away meanwhile."""
_KEPT_SECONDS = 7 * 24 * 3600
"""How long a finished Job stays, with its logs."""


def render(deployment: Deployment, settings: Settings) -> tuple[Object, ...]:
    """All objects of a deployment. Values of Secrets are `Secret`, and nothing else holds any."""
    asked = Asked(deployment=deployment, settings=settings)
    found = _configuration(asked)
    asked = replace(asked, sources=tuple(found))
    shapes = workloads(deployment)
    for workload in shapes:
        found += _of_workload(asked, workload)
    found += _jobs(asked, shapes)
    if settings.host:
        found.append(ingress(asked, shapes))
    return tuple(found)


def _configuration(asked: Asked) -> list[Object]:
    """The variables: in a ConfigMap, and those that are secret in a Secret."""
    found: list[Object] = []
    deployment = asked.deployment
    if deployment.variables:
        values = dict(sorted(deployment.variables.items()))
        found.append(_kept(asked, "ConfigMap", content_name(f"{deployment.name}-env", values), {"data": values}))
    if deployment.secrets:
        secret = dict(sorted(deployment.secrets.items()))
        name = content_name(f"{deployment.name}-secret", {key: value.reveal() for key, value in secret.items()})
        found.append(_kept(asked, "Secret", name, {"type": "Opaque", "stringData": secret}))
    return found


def _kept(asked: Asked, kind: str, name: str, content: Mapping[str, Any]) -> Object:
    return {"apiVersion": "v1", "kind": kind, "metadata": metadata(asked, name), **content}


def _of_workload(asked: Asked, workload: Workload) -> list[Object]:
    settings = asked.settings
    if settings.kserve and not workload.has_jobs:
        return [inference_service(asked, workload)]
    found = [_service(asked, workload), _deployment(asked, workload)]
    if not workload.alone:
        found.append(_disruption_budget(asked, workload))
    scaling = _scaling(workload, settings)
    if scaling is not None:
        found.append((scaled_object if settings.keda else _autoscaler)(asked, workload, scaling))
    return found


def _scaling(workload: Workload, settings: Settings) -> Autoscaling | None:
    """The autoscaling; None where the number of replicas is fixed."""
    found = workload.autoscaling
    return found if settings.replicas is None and found is not None and found.max_replicas > found.min_replicas else None


def replicas_of(workload: Workload, settings: Settings) -> int | None:
    """How many replicas there are; None where the autoscaler alone decides (a number here would be set anew by every deployment)."""
    if workload.alone:
        return 1
    if _scaling(workload, settings) is not None:
        return None
    if settings.replicas is not None:
        return settings.replicas
    return workload.autoscaling.min_replicas if workload.autoscaling else 1


def _service(asked: Asked, workload: Workload) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": metadata(asked, workload.name, workload),
        "spec": {
            "type": asked.settings.service_type,
            "selector": selector(workload.name),
            "ports": [{"name": "http", "port": 80, "targetPort": "http", "protocol": "TCP"}],
        },
    }


def _deployment(asked: Asked, workload: Workload) -> Object:
    update = workload.update
    rolling = {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": update.max_surge, "maxUnavailable": update.max_unavailable}}
    spec: Object = {}
    replicas = replicas_of(workload, asked.settings)
    if replicas is not None:
        spec["replicas"] = replicas
    spec |= {
        "revisionHistoryLimit": 3,
        "progressDeadlineSeconds": _PROGRESS_SECONDS,
        # Two servers must never work off the jobs of one folder.
        "strategy": {"type": "Recreate"} if workload.alone else rolling,
        "selector": {"matchLabels": selector(workload.name)},
        "template": pod_template(asked, workload),
    }
    said = about(asked, workload)
    scaling = _scaling(workload, asked.settings)
    if scaling is not None and (scaling.initial_replicas or 0) > scaling.min_replicas:
        said[INITIAL] = str(scaling.initial_replicas)
    own = metadata(asked, workload.name, workload, said)
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": own, "spec": spec}


def _disruption_budget(asked: Asked, workload: Workload) -> Object:
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": metadata(asked, workload.name, workload),
        # Not minAvailable: with one replica that would keep its node from ever being drained.
        "spec": {"maxUnavailable": 1, "selector": {"matchLabels": selector(workload.name)}},
    }


def _autoscaler(asked: Asked, workload: Workload, scaling: Autoscaling) -> Object:
    target = {"type": "Utilization", "averageUtilization": asked.settings.cpu_target}
    return {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": metadata(asked, workload.name, workload),
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": workload.name},
            "minReplicas": scaling.min_replicas,
            "maxReplicas": scaling.max_replicas,
            "metrics": [{"type": "Resource", "resource": {"name": "cpu", "target": target}}],
            "behavior": behavior(scaling),
        },
    }


def _jobs(asked: Asked, shapes: Sequence[Workload]) -> list[Object]:
    """One Job for each job that is asked for, one CronJob for each schedule, with what each is asked in a ConfigMap.

    A Job is never changed, so it is named by all that it is made of.
    """
    by_api = {api.name: workload for workload in shapes for api in workload.apis}
    name = asked.deployment.name
    found: list[Object] = []
    for api, text in asked.settings.jobs:
        submission = _submission(asked, api, text)
        spec = _job_spec(asked, by_api[api], api, submission)
        own = metadata(asked, content_name(object_name(name, api, "job"), spec))
        found += [submission, {"apiVersion": "batch/v1", "kind": "Job", "metadata": own, "spec": spec}]
    for api, schedule, text in asked.settings.schedules:
        submission = _submission(asked, api, text)
        spec = {
            "schedule": schedule,
            "concurrencyPolicy": "Forbid",
            "successfulJobsHistoryLimit": 3,
            "failedJobsHistoryLimit": 3,
            "jobTemplate": {"metadata": {"labels": labels(name)}, "spec": _job_spec(asked, by_api[api], api, submission)},
        }
        own = metadata(asked, object_name(name, api, "schedule"))
        found += [submission, {"apiVersion": "batch/v1", "kind": "CronJob", "metadata": own, "spec": spec}]
    return [one for index, one in enumerate(found) if one not in found[:index]]


def _job_spec(asked: Asked, workload: Workload, api: str, submission: Object) -> Object:
    own = replace(workload, apis=tuple(one for one in workload.apis if one.name == api), splitters=())
    # A job's pod keeps nothing beyond its job, and must not open the folder of a server that runs.
    asked = replace(asked, settings=replace(asked.settings, jobs_claim=None))
    return {
        "backoffLimit": _ATTEMPTS - 1,
        "ttlSecondsAfterFinished": _KEPT_SECONDS,
        "template": {
            "metadata": {"labels": labels(asked.deployment.name)},
            "spec": job_pod_spec(asked, own, api, submission["metadata"]["name"]),
        },
    }


def _submission(asked: Asked, api: str, text: str) -> Object:
    content = {"submission.json": text}
    return _kept(asked, "ConfigMap", content_name(object_name(asked.deployment.name, api), content), {"data": content})
