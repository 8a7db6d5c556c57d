"""What a deployment is on Ray, as data: one Serve application for each API, whose replicas host our supervisor, and for each splitter. Pure."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import msgspec

from lading.deploy.engine import Deployment, port_of
from lading.model.cluster import Autoscaling, ClusterSettings
from lading.model.cortex import Splitter
from lading.model.origin import Origin
from lading.model.problems import ExitCode, LadingError, Problem
from lading.model.service import ServedApi, ServiceSpec

HOST = "Host"
"""The Serve deployment of every application."""
_LOGGED: Mapping[str, Any] = {"logging_config": {"enable_access_log": False}}
"""Our servers write no line for each request either."""
_DIRECT: Mapping[str, Any] = {
    "env_vars": {
        "RAY_SERVE_RUN_USER_CODE_IN_SEPARATE_THREAD": "0",
        "RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH": "lading.deploy.ray_ingress:middlewares",
    }
}
"""Serve puts a thread, two queues and two tasks between a connection and a handler, which may block and is no server; ours is one.

The other variables of a replica, that of the fast ingress too, are those of Serve's controller.
"""
_JOBS = ("BatchAPI", "AsyncAPI", "TaskAPI")
_HEALTH = {"health_check_period_s": 2.0, "health_check_timeout_s": 10.0}
_BETWEEN = "."  # names of deployments and APIs have dashes, so a dash would make one name of several pairs
_ROUTE = re.compile(r"(/[A-Za-z0-9._~-]+)*")
_PORT = 8000
_SPLITTING: Mapping[str, Any] = {
    "num_replicas": 2,
    "max_ongoing_requests": 1000,
    "ray_actor_options": {"num_cpus": 0, "runtime_env": _DIRECT},
}
"""A splitter waits for others, and needs no place of its own; where one of its replicas dies, there is another."""
_TRIES = 3  # starts of a replica whose setup fails; more only take longer to say so


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """One of a splitter's APIs, as `Share`. ``route`` is its application's; ``takes_all``: its predictor answers every method itself."""

    name: str
    route: str
    weight: int
    shadow: bool = False
    takes_all: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """What a replica that is a TrafficSplitter is told: requests for ``route`` go to the targets. ``max_body`` is in bytes."""

    route: str
    targets: tuple[Target, ...]
    max_body: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a replica is told: which API of which bundle, below which path; or, with ``split``, which others requests are passed on to.

    ``secrets`` names the record of the cluster's store that has the variables nobody may read; ``revision`` makes replicas of equal plans new.
    """

    deployment: str
    digest: str
    prefix: str
    api: str
    revision: int
    variables: Mapping[str, str] = field(default_factory=dict)
    secrets: str | None = None
    drain_seconds: float = 30.0
    split: Split | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Application:
    """One Serve application. ``options`` are those of ``ray.serve.deployment``; ``by_hand`` is the number of replicas that somebody asked for."""

    name: str
    route: str
    kind: str
    options: Mapping[str, Any]
    plan: Plan
    by_hand: int | None = None

    def as_json(self) -> dict[str, Any]:
        """The record as JSON data."""
        record: dict[str, Any] = msgspec.to_builtins(self)
        return record


def from_json(record: Mapping[str, Any]) -> Application:
    """The inverse of `Application.as_json`."""
    return msgspec.convert(record, Application)


def applications(deployment: Deployment, digest: str, revision: int, secrets: str | None) -> tuple[Application, ...]:
    """The applications of a deployment. ``secrets`` names the record with its secret variables; None if it has none.

    Raises:
        LadingError: if ``--route`` is no path that Serve takes.
    """
    prefix = route_prefix(deployment)
    common = Plan(
        deployment=deployment.name,
        digest=digest,
        prefix=prefix,
        api="",
        revision=revision,
        variables=dict(deployment.variables),
        secrets=secrets,
        drain_seconds=deployment.service.drain_seconds,
    )
    hosted = {
        **_HEALTH,
        **_LOGGED,
        "name": HOST,
        "max_constructor_retry_count": _TRIES,
        "graceful_shutdown_timeout_s": common.drain_seconds,
    }

    def application(name: str, route: str, kind: str, split: Split | None = None, **options: Any) -> Application:
        plan = replace(common, api=name, split=split)
        return Application(name=f"{deployment.name}{_BETWEEN}{name}", route=route, kind=kind, options={**hosted, **options}, plan=plan)

    own = [
        application(
            api.name, _route(api, prefix), kind_of(api), **_size(api), **_update(api.cluster), ray_actor_options=_resources(api.cluster)
        )
        for api in deployment.apis
    ]
    shared = [
        application(one.name, f"{prefix}{one.endpoint}", "TrafficSplitter", _split(deployment.service, one, prefix), **_SPLITTING)
        for one in deployment.service.splitters
    ]
    return (*own, *shared)


def _split(service: ServiceSpec, splitter: Splitter, prefix: str) -> Split:
    by_name = {api.name: api for api in service.apis}
    targets = tuple(
        Target(
            name=share.name,
            route=_route(by_name[share.name], prefix),
            weight=share.weight,
            shadow=share.shadow,
            takes_all=by_name[share.name].worker.object == "Handler",
        )
        for share in splitter.shares
    )
    return Split(route=f"{prefix}{splitter.endpoint}", targets=targets, max_body=service.max_body_bytes)


def route_prefix(deployment: Deployment) -> str:
    """The path that a deployment's APIs lie below: ``--route``, else its name.

    Raises:
        LadingError: if ``--route`` is no path that Serve takes.
    """
    given = deployment.options.get("route")
    text = (deployment.name if given is None else str(given)).strip("/")
    prefix = f"/{text}" if text else ""
    if not _ROUTE.fullmatch(prefix):
        raise LadingError(
            Problem(
                rule="usage",
                what=f'"{given}" is no path that APIs can lie below.',
                origin=Origin("--route"),
                why="It has parts of letters, digits, dots, dashes, underscores and tildes, with one slash between two of them.",
                instead=f"Write, for example, --route /{deployment.name}.",
            )
        )
    return prefix


def http_port(deployment: Deployment) -> int:
    """The port of Serve on every node: ``--http-port``, else 8000.

    Raises:
        LadingError: if ``--http-port`` is none.
    """
    return port_of(deployment.options, "--http-port", _PORT)


def kind_of(api: ServedApi) -> str:
    """Cortex's name of an API's kind; Cog's predictors are realtime ones."""
    return str(api.worker.cortex.get("kind") or "RealtimeAPI")


def _route(api: ServedApi, prefix: str) -> str:
    """Where an application begins. Cog's routes are several, so its predictor has all below the prefix."""
    if api.worker.style != "cortex":
        return prefix or "/"
    return f"{prefix}/{(api.endpoint or api.name).strip('/')}"


def concurrency(api: ServedApi) -> int:
    """How many requests a replica works on at a time."""
    batching = api.worker.cortex.get("batching") or (api.worker.signature or {}).get("batched")
    places = int(batching["max_batch_size"]) if batching else max(1, api.worker.threads)
    return max(1, api.processes) * places


def _size(api: ServedApi) -> dict[str, Any]:
    scaling = api.cluster.autoscaling
    if kind_of(api) in _JOBS:
        # Jobs are claimed, not routed: requests say nothing of the load.
        count = 1 if scaling is None else max(1, scaling.initial_replicas or scaling.min_replicas)
        return {"num_replicas": count, "max_ongoing_requests": 1000}
    if scaling is None:
        return {"num_replicas": 1, "max_ongoing_requests": 1000}
    return {"autoscaling_config": _autoscaling(scaling, concurrency(api)), "max_ongoing_requests": scaling.max_concurrency}


def _autoscaling(scaling: Autoscaling, places: int) -> dict[str, Any]:
    """Cortex's ``autoscaling`` in Serve's words. Serve has no tolerances; its factors scale the whole difference, so they stay at 1."""
    return {
        "min_replicas": scaling.min_replicas,
        "max_replicas": scaling.max_replicas,
        "initial_replicas": scaling.initial_replicas if scaling.initial_replicas is not None else scaling.min_replicas,
        "target_ongoing_requests": scaling.target_concurrency or float(places),
        "look_back_period_s": scaling.window,
        "upscale_delay_s": scaling.upscale_stabilization,
        "downscale_delay_s": scaling.downscale_stabilization,
    }


def _update(settings: ClusterSettings) -> dict[str, Any]:
    """Cortex's ``update_strategy``. Serve takes percentages; a number of replicas is one of the least number there is."""
    replicas = settings.autoscaling.min_replicas if settings.autoscaling else 1
    surge = _percent(settings.update.max_surge, replicas)
    unavailable = _percent(settings.update.max_unavailable, replicas)
    # Of the replicas that there should be, so many change at a time.
    step = min(100, max(1, surge or unavailable))
    return {"max_surge_percent": min(100, surge), "rolling_update_percentage": step / 100}


def _percent(value: int | str, replicas: int) -> int:
    if isinstance(value, str):
        return int(value.rstrip("%"))
    return math.ceil(100 * value / max(1, replicas))


def _resources(settings: ClusterSettings) -> dict[str, Any]:
    compute = settings.compute
    resources: dict[str, Any] = {"num_cpus": compute.cpu or 0, "runtime_env": _DIRECT}
    if compute.memory is not None:
        resources["memory"] = compute.memory
    if compute.gpu:
        resources["num_gpus"] = compute.gpu
    return resources


def scaled(application: Application, replicas: int) -> Application:
    """An application with another number of replicas, by hand; where it autoscales, that is where it starts from."""
    options = dict(application.options)
    scaling = options.get("autoscaling_config")
    if scaling is None:
        return replace(application, options={**options, "num_replicas": replicas}, by_hand=replicas)
    changed = {
        **scaling,
        "initial_replicas": replicas,
        "min_replicas": min(scaling["min_replicas"], replicas),
        "max_replicas": max(scaling["max_replicas"], replicas),
    }
    return replace(application, options={**options, "autoscaling_config": changed}, by_hand=replicas)


def scaled_as(made: tuple[Application, ...], before: tuple[Application, ...]) -> tuple[Application, ...]:
    """Applications with as many replicas as those of their names got by hand: an update must not leave a few with the load of many."""
    numbers = {one.name: one.by_hand for one in before if one.by_hand is not None}
    return tuple(scaled(one, numbers[one.name]) if one.name in numbers else one for one in made)


def require_unshared(api: str | None, made: tuple[Application, ...]) -> None:
    """Refuse to take an API away that a splitter sends requests to; None are all of them, splitters too.

    Raises:
        LadingError: if one does.
    """
    using = [one.plan.api for one in made if one.plan.split and api in {target.name for target in one.plan.split.targets}]
    if using:
        raise LadingError(
            Problem(
                rule="api-in-use",
                what=f"The TrafficSplitter {using[0]} sends requests to {api}.",
                instead="Deploy the project without it, or delete the splitter first.",
                code=ExitCode.DEPLOY,
            )
        )


def part(spec: ServiceSpec, api: str) -> ServiceSpec:
    """A service with one of its APIs alone."""
    return replace(spec.only(lambda name: name == api), splitters=(), training=None)
