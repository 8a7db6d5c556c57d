"""What is served: predictors with the environments they run in."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from lading.model.cluster import ClusterSettings, Limits
from lading.model.cortex import Splitter
from lading.model.project import ProjectKind


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerSpec:
    """How to start one worker process.

    ``python`` is the interpreter of the model's environment, ``root`` the project's absolute path (the worker's working directory).
    ``signature`` is the static signature as JSON data (see ``lading.schema``), None for Cortex predictors, whose payload is untyped.
    ``env`` are variables added to the process's environment, ``unset`` those taken from it. ``cortex`` is what a Cortex predictor is told
    beside its ``config`` (`CortexSettings.as_json`, and ``job_spec`` for a job's). ``watched``: the worker tells which files it loaded.
    ``limits`` are what the process may use, where the system can be told.
    """

    python: str
    root: str
    style: str
    file: str
    object: str
    config: Mapping[str, Any] = field(default_factory=dict)
    env: Mapping[str, str] = field(default_factory=dict)
    unset: tuple[str, ...] = ()
    python_path: str | None = None
    signature: Mapping[str, Any] | None = None
    log_level: str = "info"
    threads: int = 1
    upload_url: str | None = None
    cortex: Mapping[str, Any] = field(default_factory=dict)
    watched: bool = False
    limits: Limits = field(default_factory=Limits)


@dataclass(frozen=True, slots=True, kw_only=True)
class ServedApi:
    """One predictor behind routes. ``processes`` workers run it. ``openapi`` is the schema of its predictor (Cog style).

    ``cluster`` is what a cluster gives it.
    """

    name: str
    worker: WorkerSpec
    endpoint: str | None = None
    processes: int = 1
    openapi: Mapping[str, Any] | None = None
    cluster: ClusterSettings = field(default_factory=ClusterSettings)


_Named = TypeVar("_Named", ServedApi, Splitter)


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceSpec:
    """Everything that one server serves on one port.

    ``job_apis`` are Cortex's batch and task APIs, whose workers are started with each job; ``jobs_folder`` keeps the jobs. ``splitters``
    share requests out among ``apis``.

    ``job_workers`` is how many workers all jobs may have here at a time where several servers share them, ``job_lease_seconds`` after how
    long the others take over from one that says nothing any more.

    A body may have ``max_body_bytes``; the bodies of all requests that wait or run together ``max_held_bytes``. ``patience`` is how many
    seconds a client may take for its request's head, for each stretch of its body, and for reading a stretch of the answer.
    ``wanted`` names variables that the models need and that are no part of this record, being secret.
    ``playground_port`` is one more port, where Cog has its page to try a model on; ``ignore_sigterm``: only ``POST /shutdown`` and SIGINT end the server. ``training`` is what ``/trainings`` runs: its worker is started when the first training is asked for.
    """

    kind: ProjectKind
    title: str
    apis: tuple[ServedApi, ...]
    job_apis: tuple[ServedApi, ...] = ()
    splitters: tuple[Splitter, ...] = ()
    jobs_folder: str = ""
    host: str = "127.0.0.1"
    port: int = 5000
    playground_port: int | None = None
    max_body_bytes: int = 100 * 1024 * 1024
    max_held_bytes: int = 512 * 1024 * 1024
    max_queue: int = 256
    max_listeners: int = 64
    patience: float = 30.0
    ignore_sigterm: bool = False
    training: ServedApi | None = None
    setup_timeout: float | None = None
    predict_timeout: float | None = None
    drain_seconds: float = 30.0
    job_workers: int | None = None
    job_lease_seconds: float = 30.0
    wanted: tuple[str, ...] = ()

    def each(self, change: Callable[[ServedApi], ServedApi], *, training: bool = True) -> ServiceSpec:
        """The service with every API changed, those of jobs too, and what ``training`` runs unless that is to stay."""
        trained = change(self.training) if training and self.training else self.training
        return replace(self, apis=tuple(map(change, self.apis)), job_apis=tuple(map(change, self.job_apis)), training=trained)

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the APIs, those of jobs too, and of the splitters."""
        return (*(api.name for api in (*self.apis, *self.job_apis)), *(splitter.name for splitter in self.splitters))

    def only(self, keep: Callable[[str], bool]) -> ServiceSpec:
        """The service with those of its `names` alone that are to be kept; what ``training`` runs stays."""

        def kept(named: tuple[_Named, ...]) -> tuple[_Named, ...]:
            return tuple(one for one in named if keep(one.name))

        return replace(self, apis=kept(self.apis), job_apis=kept(self.job_apis), splitters=kept(self.splitters))
