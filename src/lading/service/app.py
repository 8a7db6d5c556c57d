"""The ASGI application: one table of routes over the adapters."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from lading.model.project import Style
from lading.model.service import ServiceSpec
from lading.service.asgi import Budget, NoRoomError, Receive, Request, Scope, Send, TooLargeError
from lading.service.cog_http import CogRoutes, method_not_allowed, not_found
from lading.service.common_http import CommonRoutes
from lading.service.cortex_http import CortexRoutes
from lading.service.counters import Counters
from lading.service.exchange import Direct, Exchange
from lading.service.log import ServiceLog, printable
from lading.service.openapi import cortex_endpoints
from lading.service.prediction import PredictionService
from lading.service.splitter import SplitterRoutes
from lading.service.tracing import Tracing
from lading.service.v2_http import V2Routes
from lading.service.webhooks import Webhooks

if TYPE_CHECKING:
    from lading.service.jobs_http import Jobs

Handler = Callable[[Request], Awaitable[None]]
_FAILED = b'{"error":"The server failed to answer; its log says more.","status":"failed"}'


class App:
    """An ASGI application that serves every API of a `ServiceSpec`."""

    def __init__(self, max_body: int, counters: Counters, log: ServiceLog, room: Budget) -> None:
        self.max_body, self.counters, self.log, self.room = max_body, counters, log, room
        self.methods: dict[str, dict[str, Handler]] = {}
        self.whole: dict[str, Handler] = {}
        self.cog: dict[str, CogRoutes] = {}
        self.children: dict[str, Callable[[Request, str], Awaitable[None]]] = {}
        self.direct = Direct(max_body, room, counters, log, self._failed)
        self.v2: V2Routes | None = None
        self.plain_404 = False
        self.patience = 30.0
        """Seconds that a client may take for reading a stretch of what is sent to it."""
        self.http2: Callable[[asyncio.Transport, bytes], None] | None = None
        """Takes connections that speak HTTP/2, with what was read of them; None where nothing does."""

    def owner(self, path: str) -> Any:
        """The routes that answer at a path of one API; None where there are none."""
        return getattr(self.whole.get(path), "__self__", None)

    def owners(self) -> tuple[Any, ...]:
        """The routes of the APIs and splitters, each once."""
        return tuple(dict.fromkeys(map(self.owner, self.whole)))

    def hand_over(self, old: PredictionService, new: PredictionService) -> None:
        """Let another service answer the requests of an API, those included whose bodies are still on their way."""
        for owner in self.owners():
            if getattr(owner, "service", None) is old:
                owner.service = new

    def become(self, other: App) -> None:
        """Take over the routes of another application. Connections that are open go on."""
        self.methods, self.whole, self.cog, self.children = other.methods, other.whole, other.cog, other.children
        self.v2, self.plain_404 = other.v2, other.plain_404
        self.direct.handlers = other.direct.handlers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See the ASGI specification."""
        if scope["type"] != "http":
            return
        request = Request(scope, receive, send, self.counters, self.room)
        try:
            await self._dispatch(request)
        except TooLargeError as error:
            message = f"The body is larger than the limit of {error.limit} bytes."
            await request.refuse_body(413, msgspec.json.encode({"error": message, "status": "failed"}))
        except NoRoomError as error:
            message = f"The bodies of waiting predictions fill the {error.limit} bytes there are for them."
            await request.refuse_body(503, msgspec.json.encode({"error": message, "status": "failed"}), [(b"retry-after", b"1")])
        except Exception as error:  # noqa: BLE001 - one request that we cannot answer must be told, and stop no other
            self._tell_failure(request.method, request.path, request.api, error)
            if not request.status:
                await request.respond(500, _FAILED)
        finally:
            request.release()
        if self.log.wants("debug"):
            self.log.say("debug", f"{request.method} {printable(request.path)} {request.status}", api=request.api or None)

    def _failed(self, exchange: Exchange, error: Exception) -> None:
        self._tell_failure(exchange.method, exchange.url.decode("ascii", "replace"), exchange.api, error)
        exchange.respond(500, _FAILED)

    def _tell_failure(self, method: str, path: str, api: str, error: Exception) -> None:
        self.log.say("error", f"{method} {printable(path)}: an error of Lading's own: {error!r}", error=error, api=api)

    async def _dispatch(self, request: Request) -> None:
        by_method = self.methods.get(request.path)
        if by_method is not None:
            handler = by_method.get("GET" if request.method == "HEAD" else request.method)
            if handler is not None:
                await handler(request)
                return
        whole = self.whole.get(request.path)
        if whole is not None:
            await whole(request)
        elif by_method is not None:
            await method_not_allowed(request, ", ".join(sorted(by_method)).encode())
        else:
            await self._by_segments(request)

    async def _by_segments(self, request: Request) -> None:
        """Paths with an id in them: cut before decoding, so that an id may hold anything, a slash too."""
        above, _, last = request.path.rpartition("/")
        if above in self.children and last:
            await self.children[above](request, last)
            return
        segments = request.segments()
        if self.v2 is not None and len(segments) > 2 and segments[:2] == [b"v2", b"models"]:
            await self.v2.model(request, segments[2:])
            return
        for place, routes in self.cog.items():
            depth = place.count("/")
            head = "".join(f"/{segment.decode('ascii', 'replace')}" for segment in segments[:depth])
            if head == place and len(segments) > depth:
                await routes.one(request, segments[depth:])
                return
        if self.plain_404:
            await request.respond(404, b"Not Found", None)
        else:
            await not_found(request)


def create_app(
    spec: ServiceSpec,
    services: Sequence[PredictionService],
    *,
    counters: Counters | None = None,
    webhooks: Webhooks | None = None,
    log: ServiceLog | None = None,
    shutdown: Callable[[], None] | None = None,
    training: PredictionService | None = None,
    jobs: Jobs | None = None,
    tracing: Tracing | None = None,
) -> App:
    """The application for ``spec``, with one service for each of its APIs, in the same order, and one for its training if it has one.

    ``shutdown`` is called for ``POST /shutdown``; None leaves that route out.
    """
    counters = counters or Counters()
    log = log or ServiceLog()
    app = App(spec.max_body_bytes, counters, log, Budget(spec.max_held_bytes))
    app.patience = spec.patience
    hooks = webhooks or Webhooks(log)
    _add_common(app, CommonRoutes(spec, services, counters, shutdown))
    alone = len(services) + len(spec.job_apis) + len(spec.splitters) == 1
    targets: dict[str, CortexRoutes] = {}
    for service in services:
        if service.api.worker.cortex.get("kind") == "AsyncAPI":
            _add_async(app, service, jobs)
        elif service.api.worker.cortex.get("grpc"):
            _add_grpc(app, service)
        elif service.api.worker.style == Style.CORTEX:
            targets[service.api.name] = _add_cortex(app, service, alone=alone)
        else:
            _add_cog(app, service, hooks, spec, tracing=tracing)
    _add_jobs(app, spec, jobs)
    for splitter in spec.splitters:
        routes = SplitterRoutes(splitter, targets, app.max_body)
        app.whole[splitter.endpoint], app.whole[f"{splitter.endpoint}/"] = routes.endpoint, routes.redirect
    if training is not None:
        _add_cog(app, training, hooks, spec, "trainings", tracing=tracing)
    _add_v2(app, services)
    app.plain_404 = not app.cog
    return app


def _add_common(app: App, common: CommonRoutes) -> None:
    gets = {
        "/": common.root,
        "/health-check": common.health_check,
        "/livez": common.live,
        "/readyz": common.ready,
        "/metrics": common.metrics,
        "/openapi.json": common.openapi,
        "/docs": common.docs,
        "/favicon.ico": common.favicon,
    }
    app.methods.update({path: {"GET": handler} for path, handler in gets.items()})
    if common.stop_server is not None:
        app.methods["/shutdown"] = {"POST": common.shutdown}


def _add_cog(
    app: App, service: PredictionService, hooks: Webhooks, spec: ServiceSpec, noun: str = "predictions", *, tracing: Tracing | None = None
) -> None:
    place = f"/{noun}"
    if place in app.cog:
        place = f"/{service.api.name}{place}"
    routes = CogRoutes(service, app.max_body, hooks, place, max_listeners=spec.max_listeners, tracing=tracing)
    app.cog[place] = routes
    app.whole[place] = routes.collection
    if noun == "predictions":
        # Trainings start their worker late, which takes a task.
        app.direct.handlers[place.encode()] = routes


def _add_v2(app: App, services: Sequence[PredictionService]) -> None:
    routes = V2Routes(app.max_body)
    for service in services:
        routes.add(service)
    if not routes.models:
        return
    app.v2 = routes
    gets = {"/v2": routes.server, "/v2/health/live": routes.live, "/v2/health/ready": routes.ready}
    app.methods.update({path: {"GET": handler} for path, handler in gets.items()})


def _add_jobs(app: App, spec: ServiceSpec, jobs: Jobs | None) -> None:
    if jobs is None or not spec.job_apis:
        return
    from lading.service.jobs_http import JobRoutes  # noqa: PLC0415 - few servers have jobs

    for api in spec.job_apis:
        app.whole[jobs.endpoints[api.name]] = JobRoutes(jobs, api).endpoint


def _add_async(app: App, service: PredictionService, jobs: Jobs | None) -> None:
    from lading.service.jobs_http import AsyncRoutes  # noqa: PLC0415 - as above

    assert jobs is not None
    routes = AsyncRoutes(jobs, service, app.max_body)
    endpoint = "/" + (service.api.endpoint or service.api.name).strip("/")
    app.whole[endpoint], app.children[endpoint] = routes.endpoint, routes.one


def _add_grpc(app: App, service: PredictionService) -> None:
    from lading.service.grpc_calls import GrpcRoutes  # noqa: PLC0415 - an extra, which few servers need

    routes = GrpcRoutes(service, app.room, app.patience)
    for path in routes.paths:
        app.whole[path] = routes.endpoint


def _add_cortex(app: App, service: PredictionService, *, alone: bool) -> CortexRoutes:
    routes = CortexRoutes(service, app.max_body)
    for endpoint in cortex_endpoints(service.api, alone=alone):
        app.whole[endpoint] = routes.endpoint
        app.direct.handlers[endpoint.encode("utf-8")] = routes
        app.whole[f"{endpoint}/"] = routes.redirect
    return routes
