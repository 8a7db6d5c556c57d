"""What of a service becomes which object on Kubernetes: workloads, names, labels. Pure."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from lading.deploy.engine import Deployment
from lading.jobs.opening import VARIABLE, is_database
from lading.model.cluster import Autoscaling, Compute, UpdateStrategy
from lading.model.cortex import Splitter
from lading.model.project import Style
from lading.model.service import ServedApi

Object = dict[str, Any]
PREFIX = "lading.run"
"""Of our own labels and annotations."""
NAME = f"{PREFIX}/deployment"
WORKLOAD = f"{PREFIX}/workload"
MANAGER = "app.kubernetes.io/managed-by"
PORT = 5000
_LONGEST = 52
"""Of an object's name: a CronJob's, the shortest that any kind allows (its Jobs' names are made of it)."""
JOB_KINDS = ("BatchAPI", "TaskAPI")


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """What one Deployment runs: one API, or those that share a TrafficSplitter, which hands requests over within one server.

    ``shared_jobs``: its jobs are kept where several servers can work them off (``LADING_JOBS`` names a database).
    """

    name: str
    apis: tuple[ServedApi, ...]
    splitters: tuple[Splitter, ...] = ()
    shared_jobs: bool = False

    @property
    def kinds(self) -> frozenset[str]:
        """Cortex's kinds of its APIs; Cog's predictors are RealtimeAPIs."""
        return frozenset(str(api.worker.cortex.get("kind") or "RealtimeAPI") for api in self.apis)

    @property
    def has_jobs(self) -> bool:
        """Whether its server keeps jobs."""
        return self.kinds != {"RealtimeAPI"}

    @property
    def alone(self) -> bool:
        """Whether there can be one server alone: one that keeps its jobs in a folder."""
        return self.has_jobs and not self.shared_jobs

    @property
    def members(self) -> tuple[str, ...]:
        """The names of its APIs and splitters."""
        return (*(api.name for api in self.apis), *(one.name for one in self.splitters))

    @property
    def compute(self) -> Compute:
        """What one replica asks for: the sum of what its APIs do, as one container runs them."""
        each = [api.cluster.compute for api in self.apis]
        cpus = [one.cpu for one in each if one.cpu is not None]
        memory = [one.memory for one in each if one.memory is not None]
        shared = [one.shared_memory for one in each if one.shared_memory is not None]
        return Compute(
            cpu=sum(cpus) if cpus else None,
            memory=sum(memory) if len(memory) == len(each) else None,
            gpu=sum(one.gpu for one in each),
            shared_memory=sum(shared) if shared else None,
        )

    @property
    def autoscaling(self) -> Autoscaling | None:
        """The autoscaling of its first API that has one; none where there can be one server alone."""
        return None if self.alone else next((api.cluster.autoscaling for api in self.apis if api.cluster.autoscaling), None)

    @property
    def update(self) -> UpdateStrategy:
        """The update strategy of its first API."""
        return self.apis[0].cluster.update

    @property
    def concurrency(self) -> int:
        """How many requests one replica works on at a time."""
        return sum(max(1, api.processes) * max(1, api.worker.threads) for api in self.apis)

    @property
    def endpoints(self) -> tuple[tuple[str, str], ...]:
        """The routes of its members: name and path."""
        own = [(api.name, endpoint_of(api)) for api in self.apis]
        return (*own, *((one.name, one.endpoint) for one in self.splitters))


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The options of a deployment on Kubernetes, checked; see `lading.deploy.kubernetes_options`.

    ``jobs`` are pairs of an API and its submission (JSON), ``schedules`` have the schedule (cron's five fields) between the two.
    """

    namespace: str | None = None
    pull_secrets: tuple[str, ...] = ()
    pull_policy: str | None = None
    service_type: str = "ClusterIP"
    host: str | None = None
    ingress_class: str | None = None
    tls_secret: str | None = None
    service_account: str | None = None
    node_selector: Mapping[str, str] = field(default_factory=dict)
    cpu_target: int = 80
    keda: str | None = None
    kserve: bool = False
    replicas: int | None = None
    writable_root: bool = False
    jobs_claim: str | None = None
    jobs: tuple[tuple[str, str], ...] = ()
    schedules: tuple[tuple[str, str, str], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What is rendered. ``sources`` are the objects that the containers' variables come from."""

    deployment: Deployment
    settings: Settings
    sources: tuple[Object, ...] = ()


def workloads(deployment: Deployment) -> tuple[Workload, ...]:
    """The workloads of a deployment, in the order of its APIs."""
    groups: list[tuple[list[ServedApi], list[Splitter]]] = []
    by_api: dict[str, tuple[list[ServedApi], list[Splitter]]] = {}
    for api in deployment.apis:
        by_api[api.name] = ([api], [])
        groups.append(by_api[api.name])
    for splitter in deployment.service.splitters:
        first, *others = (by_api[name] for name in dict.fromkeys(share.name for share in splitter.shares))
        for other in others:
            if other is not first:
                first[0].extend(other[0])
                first[1].extend(other[1])
                groups.remove(other)
                by_api.update((api.name, first) for api in other[0])
        first[1].append(splitter)
    alone = len(groups) == 1
    shared = _shares_jobs(deployment)
    found = []
    for apis, splitters in groups:
        member = splitters[0].name if splitters else apis[0].name
        own = deployment.name if alone or member == deployment.name else object_name(deployment.name, member)
        found.append(Workload(name=own, apis=tuple(apis), splitters=tuple(splitters), shared_jobs=shared))
    return tuple(found)


def _shares_jobs(deployment: Deployment) -> bool:
    """Whether ``LADING_JOBS`` names a database; a folder is that of one pod, whoever named it."""
    secret = deployment.secrets.get(VARIABLE)
    return is_database(secret.reveal() if secret else deployment.variables.get(VARIABLE, ""))


def endpoint_of(api: ServedApi) -> str:
    """Where an API is reached on its server."""
    return "/predictions" if api.worker.style != Style.CORTEX else "/" + (api.endpoint or api.name).strip("/")


def object_name(*parts: str) -> str:
    """A name made of parts, shortened where it is too long, and then with a hash of all of it."""
    whole = "-".join(part.lower() for part in parts)
    if len(whole) <= _LONGEST:
        return whole
    return f"{whole[: _LONGEST - 9].rstrip('-')}-{hashlib.sha256(whole.encode()).hexdigest()[:8]}"


def content_name(name: str, content: Mapping[str, Any]) -> str:
    """A name that changes with the content, as Kustomize's generators make it: pods start anew when it does, and old ones keep theirs."""
    return object_name(name, hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:10])


def labels(deployment: str, workload: str | None = None) -> dict[str, str]:
    """The labels of every object of a deployment, or of one of its workloads."""
    common = {"app.kubernetes.io/name": deployment, MANAGER: "lading", NAME: deployment}
    return common if workload is None else {**common, "app.kubernetes.io/instance": workload, WORKLOAD: workload}


def selector(workload: str) -> dict[str, str]:
    """What chooses a workload's pods; it can never be changed, so it holds nothing that might."""
    return {WORKLOAD: workload}


def metadata(asked: Asked, name: str, workload: Workload | None = None, annotations: Mapping[str, str] | None = None) -> Object:
    """The metadata of an object of the deployment, or of one of its workloads."""
    made: Object = {"name": name}
    if asked.settings.namespace:
        made["namespace"] = asked.settings.namespace
    made["labels"] = labels(asked.deployment.name, workload.name if workload else None)
    if annotations:
        made["annotations"] = dict(annotations)
    return made


def behavior(scaling: Autoscaling) -> Object:
    """Cortex's factors and stabilization periods as an autoscaler's policies; a step of one replica is always allowed."""
    period = int(min(1800, max(1, scaling.window)))

    def rules(seconds: float, percent: float) -> Object:
        return {
            "stabilizationWindowSeconds": int(min(3600, seconds)),
            "selectPolicy": "Max",
            "policies": [
                {"type": "Percent", "value": max(1, math.ceil(round(percent, 6))), "periodSeconds": period},
                {"type": "Pods", "value": 1, "periodSeconds": period},
            ],
        }

    return {
        "scaleUp": rules(scaling.upscale_stabilization, (scaling.max_upscale_factor - 1) * 100),
        "scaleDown": rules(scaling.downscale_stabilization, (1 - scaling.max_downscale_factor) * 100),
    }
