"""From environments to what is served: workers, signatures, schemas."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lading.model.project import ProjectKind
from lading.model.records import replace
from lading.stages.values import Options, Project, Ready

if TYPE_CHECKING:
    from lading.model.cluster import ClusterSettings
    from lading.model.environment import Environment
    from lading.model.files import ProjectFiles
    from lading.model.project import Api, ProjectConfig
    from lading.model.secrets import Secret
    from lading.model.service import ServedApi, ServiceSpec

_OPENAPI_VERSION = "0.1.0"
"""The version of a predictor's own API that documents state, as Cog's do."""


def describe_service(ready: Ready, *, host: str = "127.0.0.1", port: int = 5000, **limits: object) -> ServiceSpec:
    """What to serve: each API with the environment it runs in, its signature and its schema, read without importing the model.

    ``limits`` are fields of `ServiceSpec` (``setup_timeout``, ``predict_timeout``, in seconds, ...); None leaves the usual value.
    """
    from lading.model.service import ServiceSpec

    later = ("BatchAPI", "TaskAPI")
    served = tuple(_served_api(ready, api, ready.environments[api.name]) for api in ready.config.apis)
    spec = ServiceSpec(
        kind=ready.config.kind,
        title=ready.root.name,
        apis=tuple(api for api in served if api.worker.cortex.get("kind") not in later),
        job_apis=tuple(api for api in served if api.worker.cortex.get("kind") in later),
        splitters=ready.config.splitters,
        jobs_folder=str(jobs_folder(ready.root, os.environ)),
        training=describe_training(ready),
        host=host,
        port=port,
    )
    return replace(spec, **{name: value for name, value in limits.items() if value is not None})  # type: ignore[arg-type] # by contract


def used_files(ready: Ready) -> dict[str, frozenset[str]]:
    """The files of the project that each predictor uses, the training's too, as far as its sources tell; absolute paths by name."""
    from lading.planner.preinstalled import files_of

    found: dict[str, frozenset[str]] = {}
    for api in (*ready.config.apis, *((ready.config.train,) if ready.config.train else ())):
        paths = frozenset(str(ready.root / path) for path in files_of(api, ready.files))
        found[api.name] = found.get(api.name, frozenset()) | paths
    return found


def deciding_files(ready: Ready, options: Options) -> frozenset[str]:
    """The files that decide about the configuration, the signatures and the environments, and the folders they were looked for in.

    Files that would decide if they were there are among them.
    """
    from lading.environments.sources import source_files
    from lading.environments.stamp import inputs_of
    from lading.stages.installing import identity

    inputs = inputs_of(str(ready.root), identity(options))
    trees = {path for kind, folder in inputs if kind == "tree" for path, _ in source_files(folder)}
    return frozenset(path for kind, path in inputs if kind in ("file", "folder")) | trees


def jobs_folder(root: Path, environ: Mapping[str, str]) -> Path:
    """Where the jobs of a project are kept: ``LADING_JOBS``, else a folder of the store with a name made of the project's.

    If ``LADING_JOBS`` is a database, that folder has the logs of the jobs alone.
    """
    from lading.environments.home import home
    from lading.jobs.opening import is_database
    from lading.model.files import content_hash

    named = environ.get("LADING_JOBS")
    return Path(named) if named and not is_database(named) else Path(home(environ)) / "jobs" / content_hash(str(root).encode())[:16]


def describe_training(ready: Ready) -> ServedApi | None:
    """What ``train`` of the configuration names, with the environment that it runs in; None if it names nothing."""
    train = ready.config.train
    return None if train is None else _served_api(ready, train, ready.variants[0].environment, training=True)


def _served_api(ready: Ready, api: Api, environment: Environment, *, training: bool = False) -> ServedApi:
    from lading.environments.activation import activation
    from lading.model.project import Style
    from lading.model.service import ServedApi, WorkerSpec

    activated = activation(environment.path, os.environ)
    signature = openapi = None
    if api.style is Style.COG:
        from lading.schema.openapi import make_openapi
        from lading.schema.static import PREDICT, TRAIN, read_signature

        methods = TRAIN if training else PREDICT
        signature = read_signature(ready.files, api.file, api.object, python_path=api.python_path, methods=methods).as_json()
        openapi = make_openapi(signature, ready.root.name, _OPENAPI_VERSION)
    worker = WorkerSpec(
        python=environment.python,
        root=str(ready.root),
        style=str(api.style),
        file=api.file,
        object=api.object,
        config=api.config,
        env={**activated.variables, **dict(api.env)},
        unset=activated.removed,
        python_path=api.python_path,
        signature=signature,
        log_level=api.log_level,
        threads=api.threads,
        cortex=_cortex(ready, api) if api.style is Style.CORTEX else {},
        limits=api.cluster.compute.limits(api.processes),
    )
    return ServedApi(
        name=api.name, worker=worker, endpoint=api.endpoint, processes=api.processes, openapi=openapi, cluster=_cluster(ready, api)
    )


def _cortex(ready: Ready, api: Api) -> dict[str, Any]:
    """What a Cortex predictor is told, with what ``protoc`` makes of its ``.proto`` file.

    Raises:
        LadingError: if that file is not right, or gRPC is not installed beside Lading.
    """
    told = api.cortex.as_json()
    if api.cortex.grpc is not None:
        from base64 import b64encode

        from lading.service.protoc import compile_proto

        told["grpc"]["descriptors"] = b64encode(compile_proto(ready.root, api.cortex.grpc.path)).decode("ascii")
    return told


def _cluster(ready: Ready, api: Api) -> ClusterSettings:
    """What a cluster gives the API; Cog's ``gpu: true`` is one GPU."""
    if ready.config.kind is ProjectKind.CORTEX or not ready.config.gpu:
        return api.cluster
    return replace(api.cluster, compute=replace(api.cluster.compute, gpu=1))


def with_variables(spec: ServiceSpec, variables: Mapping[str, str]) -> ServiceSpec:
    """The service with variables added to every worker's environment; they win over the configuration's."""
    return spec.each(lambda api: with_worker_variables(api, variables))


def with_worker_variables(api: ServedApi, variables: Mapping[str, str]) -> ServedApi:
    """One API with variables added to its workers' environment."""
    return replace(api, worker=replace(api.worker, env={**api.worker.env, **variables}))


def without_secrets(spec: ServiceSpec, config: ProjectConfig, files: ProjectFiles) -> tuple[ServiceSpec, dict[str, Secret]]:
    """The service without the variables that ``.env`` sets, and these: a file of this name holds credentials by convention.

    ``spec.wanted`` names them then.
    """
    from lading.formats._dotenv import read_dotenv
    from lading.model.problems import ProblemCollector
    from lading.model.secrets import Secret

    path = (config.path or "").rpartition("/")[0]
    found = read_dotenv(f"{path}/.env".lstrip("/"), files, ProblemCollector()) if config.kind is ProjectKind.CORTEX else {}

    def cleared(api: ServedApi) -> ServedApi:
        return replace(api, worker=replace(api.worker, env={name: text for name, text in api.worker.env.items() if name not in found}))

    return replace(spec.each(cleared), wanted=tuple(sorted(found))), {name: Secret(value) for name, value in found.items()}


def openapi(project: Project) -> Mapping[str, object]:
    """The project's OpenAPI document, without an environment and without importing the model.

    Raises:
        LadingError: if a signature cannot be read.
    """
    from lading.model.project import Style
    from lading.schema.openapi import make_cortex_openapi, make_openapi
    from lading.schema.static import read_signature

    apis = project.config.apis
    if not apis or apis[0].style is Style.CORTEX:
        made = make_cortex_openapi([(api.name, api.endpoint or f"/{api.name}") for api in apis])
    else:
        signature = read_signature(project.files, apis[0].file, apis[0].object, python_path=apis[0].python_path)
        made = make_openapi(signature.as_json(), project.root.name, _OPENAPI_VERSION)
    train = project.config.train
    if train is None:
        return made
    from lading.schema.static import TRAIN
    from lading.schema.training import add_training

    return add_training(made, read_signature(project.files, train.file, train.object, methods=TRAIN).as_json())
