"""What the one who runs a server may ask of it: start an API anew, stop serving one. And where its API's logs are written.

The server leaves a note in the folder of the project's jobs, readable by its user alone, with its address and a token; `lading.client`
reads it. Nobody else can ask for these routes.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from lading.model.service import ServiceSpec
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
    """See the module. ``spec`` tells what is served now, ``drop`` stops serving an API or a splitter."""

    def __init__(
        self, folder: Path, fleet: Fleet, log: ServiceLog, spec: Callable[[], ServiceSpec], drop: Callable[[str], Awaitable[None]]
    ) -> None:
        self.folder, self.fleet, self._log, self._spec, self._drop = folder, fleet, log, spec, drop
        self._token = secrets.token_urlsafe(24)
        self._logs: dict[str, JobLog] = {}

    def open(self, address: str) -> None:
        """Leave the note. A folder that cannot be written costs the note, not the service."""
        with contextlib.suppress(OSError):
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            number = os.open(self.folder / NOTE, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with os.fdopen(number, "w") as stream:
                json.dump({"url": address, "token": self._token, "pid": os.getpid()}, stream)
        for service in self.fleet.services:
            # Models print from the first moment on, before there was anybody to keep it.
            if service.pool.setup.logs:
                self.write(service.api.name, service.pool.setup.logs)
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

    def attach(self, app: App) -> None:
        """Put the routes on an application."""
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
        service = self.fleet.find(name)
        if service is None:
            self._check(name)
            raise RefusedRequestError(f"{name} has no workers that wait")
        try:
            new = await self.fleet.replace(service.api)
        except NotReadyError as error:
            raise RefusedRequestError(f"{name} is not refreshed, its old workers serve on: {_first_line(str(error))}") from error
        if not can_serve(new):
            raise RefusedRequestError(f"{name} cannot serve: {_first_line(failure_text(new.pool))}")

    async def delete(self, name: str) -> None:
        """Stop serving an API or a splitter; its jobs are stopped, too.

        Raises:
            RefusedRequestError: if there is none, or a splitter needs it.
        """
        async with self.fleet.turn:
            self._check(name)
            using = [splitter.name for splitter in self._spec().splitters if name in {share.name for share in splitter.shares}]
            if using:
                raise RefusedRequestError(f"{name} is used by the TrafficSplitter {using[0]}")
            await self._drop(name)

    def _check(self, name: str) -> None:
        if name not in self._spec().names:
            raise RefusedRequestError(f"there is no API {name}")


def _first_line(text: str) -> str:
    """What went wrong; the traceback is in the API's log."""
    return text.partition("\n")[0]
