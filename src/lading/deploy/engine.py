"""The seam: what an engine is given, what it answers, and what it can do, said as data.

An engine is two modules of this package. ``NAME_options`` has what it adds to the command line and what it can do (`EngineOptions`): every
verb about deployments loads it when it starts, so it loads nothing but this module. ``NAME`` has ``connect``, which makes an `Engine` of a
`Place`. It hosts supervisors of our own: it never runs a model in its own process, and never owns the jobs. Its packages are an extra,
imported when `connect` is called and not before.

::

    make_bundle | image → Deployment → render → apply → wait → Status
                                       (pure)    status, scale, rollback, delete, logs
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Protocol, cast

from lading.model.events import Reporter
from lading.model.origin import Origin
from lading.model.problems import ExitCode, LadingError, Problem
from lading.model.secrets import Secret
from lading.model.service import ServedApi, ServiceSpec

if TYPE_CHECKING:
    from lading.deploy.bundle import Bundled

ENGINES: Mapping[str, str] = MappingProxyType({"local": "this machine", "kubernetes": "a Kubernetes cluster", "ray": "a Ray cluster"})
"""The engines by the names of their modules, with what they are."""
STEP = "Deploying"
"""The step of every event of a deployment."""


class Feature(StrEnum):
    """What a deployment may need of an engine."""

    SCALE = "scale"
    AUTOSCALE = "autoscale"
    GPU = "gpu"
    ROLLING = "rolling updates"
    ROLLBACK = "rollback"
    SPLIT = "traffic splitting"
    JOBS = "jobs"
    SCHEDULE = "scheduled jobs"
    LOGS = "logs"
    GRPC = "gRPC"


@dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities:
    """What an engine can do. ``image``: it runs container images; else it is given bundles.

    ``remarks`` tell, for a feature that it has in part or not at all, what a user should know, in a sentence.
    """

    image: bool
    features: frozenset[Feature]
    remarks: Mapping[Feature, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """One option of an engine for the command line. ``of_place``: it says where, and the verbs after ``deploy`` remember it.

    ``choices`` are the values it may have; ``flag``: it has none; ``path``: its value is a file's, and is kept so that it leads there from
    any folder.
    """

    name: str
    help: str
    metavar: str | None = None
    choices: tuple[str, ...] = ()
    flag: bool = False
    repeated: bool = False
    of_place: bool = False
    path: bool = False

    @property
    def key(self) -> str:
        """Its key in `Place.options` and `Deployment.options`: ``--image-pull-secret`` is ``image_pull_secret``."""
        return self.name.lstrip("-").replace("-", "_")


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where: the engine's name, its address (``--to ENGINE ADDRESS``; None: the engine's usual one) and its options of place."""

    engine: str
    address: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.engine} {self.address}" if self.address else self.engine


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployment:
    """The state that an engine is asked for.

    ``service`` is what is served; ``image`` (``name@sha256:...``) or ``bundled`` is what it runs, as its `Capabilities.image` says.
    ``variables`` are for the models in plain sight, ``secrets`` are not. ``options`` are the engine's own (`Option.key`).
    """

    name: str
    service: ServiceSpec
    image: str | None = None
    bundled: Bundled | None = None
    variables: Mapping[str, str] = field(default_factory=dict)
    secrets: Mapping[str, Secret] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def apis(self) -> tuple[ServedApi, ...]:
        """Every API, those of jobs after the others."""
        return (*self.service.apis, *self.service.job_apis)

    @property
    def needs(self) -> frozenset[Feature]:
        """The features that the engine must have."""
        found = {
            Feature.GPU: any(api.cluster.compute.gpu for api in self.apis),
            Feature.SPLIT: bool(self.service.splitters),
            Feature.JOBS: bool(self.service.job_apis),
            Feature.GRPC: any(api.worker.cortex.get("grpc") for api in self.apis),
        }
        return frozenset(one for one, needed in found.items() if needed)


class State(StrEnum):
    """How a deployment, or one API of it, is."""

    LIVE = "live"
    UPDATING = "updating"
    DEGRADED = "degraded"
    FAILED = "failed"
    STOPPED = "stopped"
    ABSENT = "absent"


@dataclass(frozen=True, slots=True, kw_only=True)
class Revision:
    """One state that a deployment was, or is to be, in. ``number`` counts from 1; ``digest`` names the bundle or the image.

    ``created`` is the time in UTC as ISO 8601, None where the engine does not tell.
    """

    name: str
    number: int
    digest: str
    created: str | None = None
    current: bool = True

    def as_json(self) -> dict[str, Any]:
        """The record as JSON data."""
        return {
            "name": self.name,
            "number": self.number,
            "digest": self.digest,
            "created": self.created,
            "current": self.current,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """Where an API is reached. ``reach`` is from where: ``machine``, ``cluster`` or ``outside``."""

    api: str
    url: str
    reach: str

    def as_json(self) -> dict[str, Any]:
        """The record as JSON data."""
        return {"api": self.api, "url": self.url, "reach": self.reach}


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiStatus:
    """One API. ``wanted`` replicas of which ``ready`` take requests and ``updated`` are of the newest revision.

    ``messages`` are the engine's own words about what is wrong, the most telling first.
    """

    name: str
    kind: str
    state: State
    wanted: int
    ready: int
    updated: int
    messages: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """The record as JSON data."""
        return {
            "name": self.name,
            "kind": self.kind,
            "state": str(self.state),
            "replicas": {"wanted": self.wanted, "ready": self.ready, "updated": self.updated},
            "messages": list(self.messages),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """A whole deployment. ``dashboard`` is the address of the engine's own page, where it has one."""

    name: str
    place: Place
    state: State
    apis: tuple[ApiStatus, ...] = ()
    revisions: tuple[Revision, ...] = ()
    endpoints: tuple[Endpoint, ...] = ()
    dashboard: str | None = None

    def as_json(self) -> dict[str, Any]:
        """The record as JSON data."""
        return {
            "name": self.name,
            "engine": self.place.engine,
            "place": self.place.address,
            "state": str(self.state),
            "apis": [one.as_json() for one in self.apis],
            "revisions": [one.as_json() for one in self.revisions],
            "endpoints": [one.as_json() for one in self.endpoints],
            "dashboard": self.dashboard,
        }


class Engine(Protocol):
    """One engine at one place. Every method raises `LadingError` (exit code DEPLOY, or NETWORK where it cannot be reached).

    Names of deployments that are not there are problems too (`not_deployed`), but for `status`, which says ABSENT.
    ``place`` is exact once something was asked of it: what was left to the environment (the current context, a variable) is in it, so that
    it leads to the same engine when the environment has changed.
    """

    place: Place

    def render(self, deployment: Deployment) -> tuple[Mapping[str, Any], ...]:
        """What `apply` sends, as data, in its order; pure. Secrets are `Secret`, so whoever prints them prints ``****``."""

    def apply(self, deployment: Deployment, reporter: Reporter) -> Revision:
        """Ask for a state; returns as soon as the engine has taken it."""

    def wait(self, revision: Revision, reporter: Reporter, timeout: float) -> Status:
        """Wait until a revision serves, at most ``timeout`` seconds, reporting the progress.

        Raises:
            LadingError: if it fails or takes too long. What was served before is served again then, if there was anything.
        """

    def status(self, name: str) -> Status:
        """How it is."""

    def scale(self, name: str, api: str, replicas: int, reporter: Reporter) -> Status:
        """Run so many replicas of an API; where it autoscales, this is where that starts from."""

    def rollback(self, name: str, number: int | None, reporter: Reporter) -> Revision:
        """Ask for the state of an earlier revision (None: the one before); the new revision."""

    def delete(self, name: str, api: str | None, reporter: Reporter) -> None:
        """Take a deployment, or one API of it, away with all that belongs to it."""

    def logs(self, name: str, api: str | None, *, follow: bool) -> Iterator[str]:
        """What its replicas printed, line by line; then what they print."""


class EngineOptions(Protocol):
    """What is known of an engine before it is needed: the options that it adds to the command line, and what it can do."""

    OPTIONS: tuple[Option, ...]
    CAPABILITIES: Capabilities


class EngineModule(Protocol):
    """What a module of an engine has."""

    def connect(self, place: Place, environ: Mapping[str, str]) -> Engine:
        """The engine at a place; nothing is asked of it yet.

        Raises:
            LadingError: if the packages that it needs are missing, or the place cannot be.
        """


def engine_options(name: str) -> EngineOptions:
    """What is known of an engine before it is needed.

    Raises:
        LadingError: if there is no such engine.
    """
    _require_engine(name)
    return cast("EngineOptions", importlib.import_module(f"lading.deploy.{name}_options"))


def engine_module(name: str) -> EngineModule:
    """The module of an engine.

    Raises:
        LadingError: if there is no such engine.
    """
    _require_engine(name)
    return cast("EngineModule", importlib.import_module(f"lading.deploy.{name}"))


def _require_engine(name: str) -> None:
    if name not in ENGINES:
        raise LadingError(
            Problem(
                rule="engine-unknown",
                what=f'There is no engine "{name}".',
                origin=Origin("--to"),
                instead=f"The engines are {', '.join(ENGINES)}: write, for example, --to {next(iter(ENGINES))}.",
            )
        )


def port_of(options: Mapping[str, Any], option: str, usual: int) -> int:
    """The port that an option of an engine gives, else the usual one.

    Raises:
        LadingError: if it gives none.
    """
    text = str(options.get(option.lstrip("-").replace("-", "_")) or usual)
    if not (text.isascii() and text.isdigit() and 0 < int(text) < 65536):
        what = f'"{text}" is no port from 1 to 65535.'
        raise LadingError(Problem(rule="usage", what=what, origin=Origin(option), instead=f"Write {option} {usual}."))
    return int(text)


def require(deployment: Deployment, capabilities: Capabilities, place: Place) -> None:
    """Refuse, before anything is sent, what an engine cannot do.

    Raises:
        LadingError: with one problem for each feature.
    """
    problems = [
        Problem(
            rule="engine-cannot",
            what=f"{deployment.name} needs {feature}, which {place.engine} does not do.",
            why=capabilities.remarks.get(feature),
            instead=f"Deploy to another engine ({', '.join(name for name in ENGINES if name != place.engine)}), or take that API out.",
            code=ExitCode.DEPLOY,
        )
        for feature in sorted(deployment.needs - capabilities.features)
    ]
    if problems:
        raise LadingError(*problems)


def missing_package(engine: str, package: str) -> LadingError:
    """The error to raise where the extra of an engine is not installed."""
    return LadingError(
        Problem(
            rule="engine-package-missing",
            what=f"Deploying to {engine} needs the package {package}, which is not installed beside Lading.",
            instead=f'Install it: pip install "lading[{engine}]", or uv tool install "lading[{engine}]".',
            code=ExitCode.DEPLOY,
        )
    )


def not_deployed(name: str, place: Place) -> LadingError:
    """The error to raise for a deployment that is not there."""
    return LadingError(
        Problem(
            rule="not-deployed",
            what=f"There is no deployment {name} on {place}.",
            instead="Deploy it with `lading deploy`, or name another place with --to.",
            code=ExitCode.DEPLOY,
        )
    )
