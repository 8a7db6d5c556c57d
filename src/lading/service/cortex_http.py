"""Cortex's HTTP API: POST to an API's endpoint; the worker composes the answer, the front passes it on.

Follows the golden table of Cortex 0.32 (status, body, and no ``Content-Type`` where Cortex sent none).
"""

from __future__ import annotations

import re

import msgspec

from lading.service.asgi import TEXT, ClientGoneError, HangUpWatch, Request
from lading.service.calls import Cause, Result, Status
from lading.service.pool import RefusedError
from lading.service.prediction import PredictionService

_MESSAGE = b'{"message":"make a prediction by sending a post request to this endpoint with a json payload"}'
_METHODS = b"GET, POST, OPTIONS"
_ORIGIN = b"access-control-allow-origin"
_CORS = [(_ORIGIN, b"*")]
# The server frames the answer itself.
_OWN = frozenset({"connection", "content-length", "keep-alive", "transfer-encoding", "upgrade", "date", "server"})
_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VALUE = re.compile(r"[^\x00-\x08\x0a-\x1f\x7f]*")
_encode = msgspec.json.Encoder().encode


class CortexRoutes:
    """The routes of one Cortex-style API. ``max_body`` is in bytes."""

    def __init__(self, service: PredictionService, max_body: int) -> None:
        self.service, self.max_body = service, max_body

    async def endpoint(self, request: Request) -> None:
        """The API's endpoint, every method."""
        request.api = self.service.api.name
        if request.method == "POST":
            await self._predict(request)
        elif request.method == "GET":
            await request.respond(200, _MESSAGE, headers=_CORS)
        elif request.method == "OPTIONS":
            await request.respond(204, headers=_preflight(request))
        else:
            await request.respond(405, b"Method Not Allowed", None, [(b"allow", _METHODS)])

    async def redirect(self, request: Request) -> None:
        """The endpoint with a slash too many."""
        request.api = self.service.api.name
        query = b"?" + request.query if request.query else b""
        raw: bytes = request.scope.get("raw_path") or request.path.encode()
        await request.respond(307, b"", None, [(b"location", raw.partition(b"?")[0].rstrip(b"/") + query)])

    async def _predict(self, request: Request) -> None:
        try:
            body = await request.body(self.max_body)
            call = self.service.new_call(body, head=_head(request))
            watch = HangUpWatch(request, lambda: self.service.pool.cancel(call))
            try:
                result = await self.service.submit(call)
            finally:
                watch.stop()
        except RefusedError as error:
            retry = [] if error.retry_after is None else [(b"retry-after", b"%d" % error.retry_after)]
            await request.respond(503, error.message.encode(), TEXT, [*_CORS, *retry])
        except ClientGoneError:
            return
        else:
            await _answer(request, result)


def _head(request: Request) -> bytes:
    headers = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in request.scope["headers"]]
    content_type = request.headers.get(b"content-type")
    return _encode(
        {
            "method": request.method,
            "path": request.path,
            "query": request.query.decode("latin-1"),
            "headers": headers,
            "content_type": None if content_type is None else content_type.decode("latin-1"),
        }
    )


async def _answer(request: Request, result: Result) -> None:
    if result.http_status is not None:
        content_type, headers = _checked_headers(result)
        await request.respond(result.http_status, result.output, content_type, headers)
    elif result.status is Status.INVALID:
        await request.respond(422, b'{"detail":%b}' % result.detail, headers=_CORS)
    elif result.cause is Cause.TIMEOUT:
        await request.respond(504, (result.error or "").encode(), TEXT, _CORS)
    elif result.cause is Cause.SHUTDOWN or result.status is Status.CANCELED:
        await request.respond(503, (result.error or "the prediction was canceled").encode(), TEXT, _CORS)
    else:
        await request.respond(500, b"Internal Server Error", TEXT, _CORS)


def _checked_headers(result: Result) -> tuple[bytes | None, list[tuple[bytes, bytes]]]:
    """The model's headers, without those that only the server may set, and without what is no header at all."""
    content_type, headers, cors = None, [], _CORS
    for name, value in result.headers:
        if name.lower() in _OWN or not _NAME.fullmatch(name) or not _VALUE.fullmatch(value):
            continue
        encoded = (name.encode("ascii"), value.encode("latin-1", "replace"))
        if name.lower() == "content-type":
            content_type = encoded[1]
            continue
        cors = [] if name.lower().encode() == _ORIGIN else cors
        headers.append(encoded)
    return content_type, [*headers, *cors]


def _preflight(request: Request) -> list[tuple[bytes, bytes]]:
    asked = request.headers.get(b"access-control-request-headers", b"*")
    return [
        *_CORS,
        (b"access-control-allow-methods", _METHODS),
        (b"access-control-allow-headers", asked),
        (b"access-control-max-age", b"86400"),
        (b"allow", _METHODS),
    ]
