"""What runs on Ray's nodes: a Serve replica that is our supervisor. The model is in a process of its own, in its own environment.

A replica fetches the bundle from the cluster's store, if its node has not got it; materialises the environment, once for each node; starts the
workers, and answers requests with the same application as ``lading serve``. Ray is imported by no worker.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import tempfile
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from lading import pipeline
from lading.deploy import ray_store
from lading.deploy.bundle import Bundle, materialise, unpack, unpacked
from lading.deploy.bundle_prune import hold_bundle, prune_bundles
from lading.deploy.node_log import write_event, write_line
from lading.deploy.ray_ingress import UNWATCHED
from lading.deploy.ray_plan import Plan, part
from lading.environments.claims import hold
from lading.model.problems import LadingError
from lading.model.service import ServedApi, ServiceSpec
from lading.service.app import create_app
from lading.service.counters import Counters
from lading.service.log import ServiceLog
from lading.service.pool import Health
from lading.service.prediction import PredictionService
from lading.service.variables import with_cog_variables
from lading.service.webhooks import Webhooks

if TYPE_CHECKING:
    from lading.service.jobs_http import Jobs

Asgi = Callable[[Any, Any, Any], Awaitable[None]]
Send = Callable[[Any], Awaitable[None]]
_PRIVATE = ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH", "RAY_REDIS_PASSWORD")
"""Variables of Ray's that are no business of a model."""
_UNUSED_SECONDS = 7 * 86400.0


class Host:
    """One replica of one API; see the module. ``plan`` is `Plan` as JSON data.

    Raises:
        RuntimeError: if the environment cannot be made, or the model's setup fails: Serve shows the message.
    """

    async def __init__(self, plan: Mapping[str, Any]) -> None:  # type: ignore[misc]
        self.plan = msgspec.convert(plan, Plan)
        self.services: list[PredictionService] = []
        self.jobs: Jobs | None = None
        self._kept = contextlib.ExitStack()
        self.log = ServiceLog(write_event)
        self.counters = Counters()
        try:
            await self._start()
        except LadingError as error:
            await self._stop()
            raise RuntimeError(" ".join(f"{one.what} {one.instead or ''}".strip() for one in error.problems)) from None
        except BaseException:
            await self._stop()
            raise

    def __serve_build_asgi_app__(self) -> Asgi:
        """The application; a function, by which uvicorn knows an ASGI 3 application."""

        async def application(scope: Any, receive: Any, send: Any) -> None:
            await self._answer(scope, receive, send)

        return application

    async def _answer(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            await self.application(below(scope, self.plan.prefix), receive, above(send, self.plan.prefix))
        elif scope["type"] == "lifespan":
            await receive()
            await send({"type": "lifespan.startup.complete"})
            await receive()
            await self._stop()
            await send({"type": "lifespan.shutdown.complete"})

    async def _start(self) -> None:
        secrets = ray_store.read_secrets(self.plan.secrets) if self.plan.secrets else {}
        environ = {**os.environ, **secrets}
        bundle, root = await asyncio.to_thread(_fetch, self.plan.digest, environ)
        self._kept.enter_context(hold_bundle(root))
        placed = await asyncio.to_thread(materialise, bundle, root, environ, write_event)
        self._kept.enter_context(hold(*placed.environments))
        spec = planned(placed.service, self.plan, secrets, environ)
        for api in spec.apis:
            service = PredictionService(
                api,
                max_queue=spec.max_queue,
                setup_timeout=spec.setup_timeout,
                predict_timeout=spec.predict_timeout,
                log=self.log,
                counters=self.counters,
            )
            self.services.append(service)
            await service.start()
        await self._start_jobs(spec, {**os.environ, **self.plan.variables, **secrets})
        for service in self.services:
            await service.pool.wait_settled()
            failure = service.pool.setup.failure
            if failure is not None and not service.pool.ever_ready:
                write_line(service.pool.setup.logs)
                raise RuntimeError(f"setup of {service.api.name} failed: {failure.error}")
        self.application = create_app(
            spec, self.services, counters=self.counters, webhooks=Webhooks(self.log), log=self.log, jobs=self.jobs
        )

    async def _start_jobs(self, spec: ServiceSpec, environ: Mapping[str, str]) -> None:
        later = [service for service in self.services if service.api.worker.cortex.get("kind") == "AsyncAPI"]
        if not later and not spec.job_apis:
            return
        from lading.service.jobs_http import Jobs  # noqa: PLC0415 -- few APIs have jobs

        folder = Path(self._kept.enter_context(tempfile.TemporaryDirectory(prefix="lading-jobs-")))
        root = Path((spec.job_apis or spec.apis)[0].worker.root)
        self.jobs = Jobs(
            spec.job_apis, later, folder, root=root, log=self.log, counters=self.counters, project=self.plan.deployment, environ=environ
        )
        await self.jobs.start()

    async def check_health(self) -> None:
        """Asked by Serve: a replica whose model ends again and again is replaced, perhaps on another node.

        Raises:
            RuntimeError: if it can answer no more.
        """
        for service in self.services:
            if service.pool.health() in (Health.DEFUNCT, Health.SETUP_FAILED):
                raise RuntimeError(service.pool.defunct or "setup failed")

    async def _stop(self) -> None:
        if self.jobs is not None:
            await self.jobs.stop()
        for service in self.services:
            await service.stop()
        self._kept.close()


def _fetch(digest: str, environ: Mapping[str, str]) -> tuple[Bundle, Path]:
    """The bundle on this node; those that were not used here for long make room."""
    found = unpacked(digest, environ)
    if found is not None:
        return found
    prune_bundles(_UNUSED_SECONDS, environ=environ)
    with tempfile.TemporaryFile() as archive:
        for piece in ray_store.read_bundle(digest):
            archive.write(piece)
        archive.seek(0)
        return unpack(archive, environ)


def planned(spec: ServiceSpec, plan: Plan, secrets: Mapping[str, str], environ: Mapping[str, str]) -> ServiceSpec:
    """A bundle's service as the plan wants it, and Cog's variables; ``environ`` are those of the replica."""
    own = pipeline.with_variables(part(spec, plan.api), {**plan.variables, **secrets})
    return with_cog_variables(_without_private(own), environ)


def _without_private(spec: ServiceSpec) -> ServiceSpec:
    def cleared(api: ServedApi) -> ServedApi:
        worker = replace(api.worker, unset=(*api.worker.unset, *_PRIVATE))
        return replace(api, worker=worker)

    return spec.each(cleared)


def above(send: Send, prefix: str) -> Send:
    """What takes an answer of the application to its client: a place that the answer names lies below the prefix there."""
    if not prefix:
        return send
    start = prefix.encode()

    async def sent(message: Any) -> None:
        if message["type"] == "http.response.start" and any(name == b"location" for name, _ in message["headers"]):
            headers = [(name, start + value if name == b"location" and value[:1] == b"/" else value) for name, value in message["headers"]]
            message = {**message, "headers": headers}
        await send(message)

    return sent


def below(scope: Any, prefix: str) -> Any:
    """The request as the application knows it: without the prefix of the deployment, which Serve leaves in its path, and without our mark."""
    path, raw = scope["path"], scope.get("raw_path") or scope["path"].encode("utf-8")
    if prefix and (path == prefix or path.startswith(f"{prefix}/")):
        path, raw = path[len(prefix) :] or "/", raw[len(prefix) :] or b"/"
    headers = [header for header in scope["headers"] if header != UNWATCHED]
    return {**scope, "path": path, "raw_path": raw, "root_path": "", "headers": headers}
