"""The routes that every server has: discovery, health, readiness, metrics, documentation."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec

from lading import __version__
from lading.model.project import ProjectKind, Style
from lading.model.service import ServedApi, ServiceSpec
from lading.service.asgi import TEXT, Request
from lading.service.counters import Counters, exposition
from lading.service.openapi import cortex_endpoints, document
from lading.service.pool import Health
from lading.service.prediction import HealthReport, PredictionService
from lading.service.snapshots import iso

_WORST_FIRST = (
    Health.DEFUNCT,
    Health.SETUP_FAILED,
    Health.UNHEALTHY,
    Health.UNKNOWN,
    Health.STARTING,
    Health.BUSY,
    Health.READY,
)
COG_VERSION = "0.23.1"
"""The Cog whose API this is: clients of Cog look at it."""
_PROMETHEUS = b"text/plain; version=0.0.4; charset=utf-8"
_encode = msgspec.json.Encoder().encode


class CommonRoutes:
    """Routes about the server rather than about one prediction. ``shutdown`` ends the server; None means it cannot be asked to."""

    def __init__(
        self,
        spec: ServiceSpec,
        services: Sequence[PredictionService],
        counters: Counters,
        shutdown: Callable[[], None] | None,
    ) -> None:
        self.spec, self.services, self.counters = spec, services, counters
        self.stop_server = shutdown
        self._openapi: bytes | None = None
        self._docs: bytes | None = None

    async def root(self, request: Request) -> None:
        """``GET /``: what there is. A browser is shown the page."""
        if b"text/html" in request.headers.get(b"accept", b""):
            await request.respond(307, b"", None, [(b"location", b"/docs"), (b"vary", b"accept")])
            return
        places: dict[str, Any] = {
            "title": self.spec.title,
            "lading_version": __version__,
            "docs_url": "/docs",
            "openapi_url": "/openapi.json",
            "healthcheck_url": "/health-check",
            "metrics_url": "/metrics",
        }
        if self.stop_server is not None:
            places["shutdown_url"] = "/shutdown"
        if any(api.worker.style != Style.CORTEX for api in self.spec.apis):
            places["predictions_url"] = "/predictions"
            places["predictions_idempotent_url"] = "/predictions/{prediction_id}"
            places["predictions_cancel_url"] = "/predictions/{prediction_id}/cancel"
            places["cog_version"] = COG_VERSION
        if self.spec.training is not None:
            places["trainings_url"] = "/trainings"
            places["trainings_idempotent_url"] = "/trainings/{training_id}"
            places["trainings_cancel_url"] = "/trainings/{training_id}/cancel"
        cortex = [api for api in self.spec.apis if api.worker.style == Style.CORTEX]
        cortex += self.spec.job_apis
        if cortex or self.spec.kind == ProjectKind.CORTEX:
            places |= self._apis(cortex)
        await request.respond(200, _encode(places))

    def _apis(self, cortex: Sequence[ServedApi]) -> dict[str, Any]:
        """Each API's endpoint and kind by its name; those that are called by gRPC once more."""
        every = {api.name: (cortex_endpoints(api, alone=False)[0], str(api.worker.cortex.get("kind", "RealtimeAPI"))) for api in cortex}
        every |= {splitter.name: (splitter.endpoint, "TrafficSplitter") for splitter in self.spec.splitters}
        grpc = {api.name: every[api.name][0] for api in cortex if api.worker.cortex.get("grpc")}
        return {
            "apis": {name: endpoint for name, (endpoint, _) in every.items()},
            "kinds": {name: kind for name, (_, kind) in every.items()},
            **({"grpc": grpc} if grpc else {}),
        }

    async def health_check(self, request: Request) -> None:
        """``GET /health-check``: always 200; what counts is the body."""
        health = await self._health()
        # A server of nothing but batch and task APIs is ready: their workers come with each job.
        body: dict[str, Any] = _health_body(_worst([report for _, report in health])) if health else {"status": str(Health.READY)}
        if len(health) > 1:
            body["apis"] = {service.api.name: _health_body(report) for service, report in health}
        await request.respond(200, _encode(body))

    async def _health(self) -> list[tuple[PredictionService, HealthReport]]:
        """How each predictor is. One that was replaced or taken away while it was asked does not count."""
        asked = tuple(self.services)
        reports = await asyncio.gather(*(service.health() for service in asked))
        return [(service, report) for service, report in zip(asked, reports, strict=True) if service in self.services]

    async def live(self, request: Request) -> None:
        """``GET /livez``: the server answers, so it lives."""
        await request.respond(200, b'{"live":true}')

    async def ready(self, request: Request) -> None:
        """``GET /readyz``: 200 only while every API takes predictions."""
        health = await self._health()
        named = [(service.api.name, report) for service, report in health]
        reasons = [_reason(name, report) for name, report in named if report.status not in (Health.READY, Health.BUSY)]
        reasons += [f"{service.api.name} is shutting down" for service, _ in health if service.pool.stopping]
        body = {"ready": not reasons, "reasons": reasons, "apis": {name: str(report.status) for name, report in named}}
        await request.respond(503 if reasons else 200, _encode(body))

    async def metrics(self, request: Request) -> None:
        """``GET /metrics``."""
        # The first time, an import: in a thread, so that predictions do not wait for it.
        await asyncio.to_thread(__import__, "prometheus_client")
        await request.respond(200, exposition(self.counters, self.services), _PROMETHEUS)

    async def openapi(self, request: Request) -> None:
        """``GET /openapi.json``."""
        if self._openapi is None:
            self._openapi = _encode(document(self.spec))
        await request.respond(200, self._openapi)

    async def docs(self, request: Request) -> None:
        """``GET /docs``: a page that needs nothing from elsewhere."""
        if self._docs is None:
            self._docs = Path(__file__).with_name("docs.html").read_bytes()
        await request.respond(200, self._docs, b"text/html; charset=utf-8")

    async def shutdown(self, request: Request) -> None:
        """``POST /shutdown``."""
        if _from_elsewhere(request):
            # A page of another site can make a browser send this to a server on the same machine.
            await request.respond(403, _encode({"error": "A page of another site may not stop this server."}))
            return
        await request.respond(200, b"{}")
        if self.stop_server is not None:
            self.stop_server()

    async def favicon(self, request: Request) -> None:
        """Browsers ask for it on their own."""
        await request.respond(204, b"", TEXT)


def _from_elsewhere(request: Request) -> bool:
    origin = request.headers.get(b"origin")
    return origin is not None and origin.partition(b"://")[2] != request.headers.get(b"host")


def _worst(reports: Sequence[HealthReport]) -> HealthReport:
    return min(reports, key=lambda report: _WORST_FIRST.index(report.status))


def _reason(name: str, report: HealthReport) -> str:
    failure = report.setup.failure
    why = report.error or (failure.error if failure else None)
    return f"{name} is {report.status}" + (f": {why}" if why else "")


def _health_body(report: HealthReport) -> dict[str, Any]:
    setup = report.setup
    body: dict[str, Any] = {
        "status": str(report.status),
        "setup": {
            "started_at": iso(setup.started),
            "completed_at": iso(setup.completed),
            "status": setup.status,
            "logs": setup.logs,
        },
        "version": {"lading": __version__, "python": report.python},
    }
    if setup.failure is not None and setup.status == "failed":
        body["setup"]["error"] = setup.failure.error
    if report.status is Health.UNHEALTHY:
        body["user_healthcheck_error"] = report.error
    elif report.error is not None:
        body["error"] = report.error
    return body
