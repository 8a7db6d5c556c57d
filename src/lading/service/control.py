"""What the one who runs a server may ask of it: start an API anew, stop serving one. And where its API's logs are written.

The server leaves a note in the folder of the project's jobs, readable by its user alone, with its address and a token; `lading.client`
reads it. Nobody else can ask for these routes.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from lading.model.cortex import Splitter
from lading.service.crews import JobLog
from lading.service.fleet import Fleet, NotReadyError, can_serve, failure_text
from lading.service.log import ServiceLog

if TYPE_CHECKING:
    from lading.service.app import App
    from lading.service.asgi import Request

NOTE = "server.json"
PLACE = "/-/apis"
_LARGEST_LOG = 16 << 20
_encode = msgspec.json.Encoder().encode


class RefusedRequestError(Exception):
    """What was asked for cannot be done; the message is for the user."""


class Control:
    """See the module."""

    def __init__(self, folder: Path, fleet: Fleet, log: ServiceLog) -> None:
        self.folder, self.fleet, self._log = folder, fleet, log
        self._token = secrets.token_urlsafe(24)
        self._app: App | None = None
        self._splits: dict[str, tuple[str, ...]] = {}
        self._logs: dict[str, JobLog] = {}

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

    def attach(self, app: App, splitters: Sequence[Splitter]) -> None:
        """Put the routes on an application."""
        self._app, self._splits = app, {one.name: tuple(share.name for share in one.shares) for one in splitters}
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
        async with self.fleet.turn:
            service = self.fleet.find(name)
            if service is None:
                raise RefusedRequestError(f"{name} has no workers that wait: those of its jobs start with each job")
            try:
                new = await self.fleet.replace(service, service.api)
            except NotReadyError as error:
                raise RefusedRequestError(f"the setup of {name} failed, so the old workers serve on: {error}") from error
            if not can_serve(new):
                raise RefusedRequestError(f"{name} cannot serve: {failure_text(new.pool)}")

    async def delete(self, name: str) -> None:
        """Stop serving an API; its jobs are stopped, too.

        Raises:
            RefusedRequestError: if there is none, or a splitter needs it.
        """
        async with self.fleet.turn:
            using = [splitter for splitter, names in self._splits.items() if name in names]
            if using:
                raise RefusedRequestError(f"{name} is used by the TrafficSplitter {using[0]}")
            service, app = self.fleet.find(name), self._app
            assert app is not None
            owners = {path: getattr(handler, "__self__", None) for path, handler in app.whole.items()}
            paths = {path: owner for path, owner in owners.items() if _name(owner) == name}
            if not paths:
                raise RefusedRequestError(f"there is no API {name}")
            for path in paths:
                del app.whole[path]
                app.children.pop(path, None)
                app.direct.handlers.pop(path.encode(), None)
            if service is not None:
                self.fleet.remove(service)
            jobs = [owner.jobs for owner in paths.values() if owner is not None and hasattr(owner, "jobs")]
            if jobs:
                await jobs[0].end(name)


def _name(routes: Any) -> str | None:
    """The API that routes belong to."""
    service = getattr(routes, "service", None)
    api = getattr(routes, "api", None) if service is None else service.api
    return getattr(api, "name", None)
