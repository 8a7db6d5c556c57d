"""What the one who runs a server may ask of it: start an API anew, stop serving one. And where its API's logs are written.

The server leaves a note in the folder of the project's jobs, readable by its user alone, with its address and a token; `lading.client`
reads it. Nobody else can ask for these routes.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import secrets
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from lading.model.service import ServedApi
from lading.service.crews import JobLog
from lading.service.log import ServiceLog
from lading.service.pool import Health
from lading.service.prediction import PredictionService

if TYPE_CHECKING:
    from lading.service.app import App
    from lading.service.asgi import Request
    from lading.service.jobs_http import Jobs

NOTE = "server.json"
PLACE = "/-/apis"
_LARGEST_LOG = 16 << 20
_POLL_SECONDS = 0.05
_encode = msgspec.json.Encoder().encode


class RefusedRequestError(Exception):
    """What was asked for cannot be done; the message is for the user."""


class Control:
    """See the module. ``make`` makes a service of an API; ``services`` is the server's own list, which is changed in place."""

    def __init__(
        self,
        folder: Path,
        services: list[PredictionService],
        make: Callable[[ServedApi], PredictionService],
        log: ServiceLog,
        *,
        drain_seconds: float = 30.0,
    ) -> None:
        self.folder, self.services, self._make, self._log = folder, services, make, log
        self._drain_seconds = drain_seconds
        self._token = secrets.token_urlsafe(24)
        self._app: App | None = None
        self._jobs: Jobs | None = None
        self._splits: dict[str, tuple[str, ...]] = {}
        self._logs: dict[str, JobLog] = {}
        self._draining: set[asyncio.Task[None]] = set()
        self._turn = asyncio.Lock()

    def open(self, address: str) -> None:
        """Leave the note. A folder that cannot be written costs the note, not the service."""
        with contextlib.suppress(OSError):
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            number = os.open(self.folder / NOTE, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with os.fdopen(number, "w") as stream:
                json.dump({"url": address, "token": self._token, "pid": os.getpid()}, stream)
        self._log.tee = self.write

    async def close(self) -> None:
        """Take the note away, if it is ours."""
        self._log.tee = None
        for task in self._draining:
            task.cancel()
        with contextlib.suppress(OSError, ValueError):
            if json.loads((self.folder / NOTE).read_text())["token"] == self._token:
                (self.folder / NOTE).unlink()
        for log in self._logs.values():
            log.close()

    def write(self, api: str, text: str) -> None:
        """Keep what a model printed, in one file for each API that begins anew when it is large."""
        log = self._logs.setdefault(api, JobLog(self.folder / "logs" / api / "api.log"))
        with contextlib.suppress(OSError):
            if log.path.exists() and log.path.stat().st_size > _LARGEST_LOG:
                log.close()
                log.path.replace(log.path.with_suffix(".log.1"))
        log.write(text)

    def attach(self, app: App, jobs: Jobs | None, splits: dict[str, tuple[str, ...]]) -> None:
        """Put the routes on an application. ``splits`` names the APIs that each splitter shares requests out to."""
        self._app, self._jobs, self._splits = app, jobs, splits
        app.children[PLACE] = self.one

    # Routes

    async def one(self, request: Request, name: str) -> None:
        """``POST /-/apis/NAME`` starts an API anew, ``DELETE`` stops serving it."""
        given = request.headers.get(b"authorization", b"")
        if not secrets.compare_digest(given, f"Bearer {self._token}".encode()):
            await request.respond(401, b'{"error":"This is for who runs the server."}')
            return
        actions: dict[str, Callable[[str], Awaitable[None]]] = {"POST": self.refresh, "DELETE": self.delete}
        action = actions.get(request.method)
        if action is None:
            await request.respond(405, b'{"error":"POST or DELETE"}')
            return
        try:
            await action(name)
        except RefusedRequestError as error:
            await request.respond(400, _encode({"error": str(error)}))
        else:
            await request.respond(200, _encode({"message": f"{'refreshed' if request.method == 'POST' else 'deleted'} {name}"}))

    async def refresh(self, name: str) -> None:
        """Start an API's workers anew, without a gap.

        Raises:
            RefusedRequestError: if there is no such API, or the new workers' setup fails; the old ones serve on then.
        """
        service = self._service(name)
        if service is None:
            raise RefusedRequestError(f"{name} has no workers that wait: those of its jobs start with each job")
        await self.replace(name, service.api)

    async def replace(self, name: str, api: ServedApi) -> None:
        """Serve an API by new workers of another spec; the old ones finish what they have begun.

        Raises:
            RefusedRequestError: as `refresh`.
        """
        async with self._turn:
            old = self._service(name)
            if old is None:
                raise RefusedRequestError(f"there is no API {name}")
            new = self._make(api)
            await new.start()
            await new.pool.wait_settled()
            if new.pool.health() is Health.SETUP_FAILED:
                failure = new.pool.setup.failure
                await new.stop()
                raise RefusedRequestError(f"the setup of {name} failed, so the old workers serve on: {failure.error if failure else ''}")
            self.services[self.services.index(old)] = new
            for routes in self._routes(old):
                routes.service = new
            if self._jobs is not None:
                self._jobs.hand_over(name, new)
            self._later(self._retire(old))

    async def delete(self, name: str) -> None:
        """Stop serving an API.

        Raises:
            RefusedRequestError: if there is none, or a splitter needs it.
        """
        async with self._turn:
            using = [splitter for splitter, names in self._splits.items() if name in names]
            if using:
                raise RefusedRequestError(f"{name} is used by the TrafficSplitter {using[0]}")
            service, app = self._service(name), self._app
            assert app is not None
            paths = [path for path, handler in app.whole.items() if _name(getattr(handler, "__self__", None)) == name]
            if not paths:
                raise RefusedRequestError(f"there is no API {name}")
            for path in paths:
                del app.whole[path]
                app.children.pop(path, None)
            if service is not None:
                self.services.remove(service)
                self._later(self._retire(service))

    def _service(self, name: str) -> PredictionService | None:
        return next((service for service in self.services if service.api.name == name), None)

    def _routes(self, service: PredictionService) -> list[Any]:
        app = self._app
        assert app is not None
        owners = [getattr(handler, "__self__", None) for handler in app.whole.values()]
        return [owner for owner in dict.fromkeys(owners) if getattr(owner, "service", None) is service]

    def _later(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._draining.add(task)
        task.add_done_callback(self._draining.discard)

    async def _retire(self, service: PredictionService) -> None:
        """Let a service finish what it has, and end it."""
        service.draining = True
        loop = asyncio.get_running_loop()
        until = loop.time() + self._drain_seconds
        try:
            while service.in_flight and loop.time() < until:  # noqa: ASYNC110 - only while it ends
                await asyncio.sleep(_POLL_SECONDS)
        finally:
            await asyncio.shield(asyncio.ensure_future(service.stop()))


def _name(routes: Any) -> str | None:
    """The API that routes belong to."""
    service = getattr(routes, "service", None)
    api = getattr(routes, "api", None) if service is None else service.api
    return getattr(api, "name", None)
