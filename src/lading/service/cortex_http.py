"""Cortex's HTTP API: POST to an API's endpoint; the worker composes the answer, the front passes it on.

Follows the golden table of Cortex 0.32 (status, body, and no ``Content-Type`` where Cortex sent none).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

import msgspec

from lading.service.asgi import JSON, TEXT, ClientGoneError, HangUpWatch, Request
from lading.service.calls import Cause, Result, Status
from lading.service.exchange import Exchange
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

    @property
    def takes_all(self) -> bool:
        """Whether the predictor answers every method itself: a Handler of Cortex 0.34 and 0.35."""
        return self.service.api.worker.object == "Handler"

    def takes(self, headers: Mapping[bytes, bytes]) -> bool:  # noqa: ARG002 - whatever they are
        """See `lading.service.exchange.Handler`."""
        return True

    def handle(self, exchange: Exchange) -> None:
        """A POST without a task: the same as `endpoint`."""
        service = self.service  # the routes may be another's when the client hangs up
        exchange.api = service.api.name
        path = exchange.url.decode("ascii", "replace")
        call = service.new_call(exchange.body(), head=_head(path, b"", exchange.header_lines, exchange.headers))
        call.on_answer = lambda answer: exchange.respond(*_composed(answer))
        try:
            service.begin(call)
        except RefusedError as error:
            exchange.respond(*_composed(error))
        else:
            exchange.on_gone = lambda: service.pool.cancel(call)

    async def endpoint(self, request: Request) -> None:
        """The API's endpoint, every method."""
        request.api = self.service.api.name
        if request.method == "POST" or (self.takes_all and request.method != "OPTIONS"):
            await self._predict(request)
        elif request.method in ("GET", "HEAD"):
            await request.respond(200, self._summary(), headers=_CORS)
        elif request.method == "OPTIONS":
            await request.respond(204, headers=_preflight(request))
        else:
            await request.respond(405, b"Method Not Allowed", None, [(b"allow", _METHODS)])

    def _summary(self) -> bytes:
        """What ``GET`` tells, with what a client of models tells of them."""
        metadata = next((worker.ready.model_metadata for worker in self.service.pool.workers if worker.ready), None)
        return _MESSAGE if metadata is None else _MESSAGE[:-1] + b',"model_metadata":' + _encode(metadata) + b"}"

    async def redirect(self, request: Request) -> None:
        """The endpoint with a slash too many."""
        request.api = self.service.api.name
        query = b"?" + request.query if request.query else b""
        raw: bytes = request.scope.get("raw_path") or request.path.encode()
        await request.respond(307, b"", None, [(b"location", raw.partition(b"?")[0].rstrip(b"/") + query)])

    async def _predict(self, request: Request) -> None:
        try:
            body = await request.body(self.max_body)
        except ClientGoneError:
            return
        await self.answer(request, body)

    async def answer(self, request: Request, body: bytes) -> None:
        """Predict with a body that was read, and answer the request."""
        service = self.service
        request.api = service.api.name
        call = service.new_call(body, head=head_of(request))
        try:
            watch = HangUpWatch(request, lambda: service.pool.cancel(call))
            try:
                result = await service.submit(call)
            finally:
                watch.stop()
        except RefusedError as error:
            await request.respond(*_composed(error))
        else:
            await request.respond(*_composed(result))


def head_of(request: Request) -> bytes:
    """What a worker is told of a request."""
    return _head(request.path, request.query, request.scope["headers"], request.headers, method=request.method)


def _head(path: str, query: bytes, lines: Iterable[tuple[bytes, bytes]], headers: Mapping[bytes, bytes], *, method: str = "POST") -> bytes:
    content_type = headers.get(b"content-type")
    return _encode(
        {
            "method": method,
            "path": path,
            "query": query.decode("latin-1"),
            "headers": [(name.decode("latin-1"), value.decode("latin-1")) for name, value in lines],
            "content_type": None if content_type is None else content_type.decode("latin-1"),
        }
    )


def _composed(answer: Result | Exception) -> tuple[int, bytes, bytes | None, list[tuple[bytes, bytes]]]:
    """Status, body, its type and headers."""
    if isinstance(answer, RefusedError):
        retry = [] if answer.retry_after is None else [(b"retry-after", b"%d" % answer.retry_after)]
        return 503, answer.message.encode(), TEXT, [*_CORS, *retry]
    if isinstance(answer, Exception):
        raise answer
    if answer.http_status is not None:
        content_type, headers = _checked_headers(answer)
        return answer.http_status, answer.output, content_type, headers
    if answer.status is Status.INVALID:
        return 422, b'{"detail":%b}' % answer.detail, JSON, _CORS
    if answer.cause is Cause.TIMEOUT:
        return 504, (answer.error or "").encode(), TEXT, _CORS
    if answer.cause is Cause.SHUTDOWN or answer.status is Status.CANCELED:
        return 503, (answer.error or "the prediction was canceled").encode(), TEXT, _CORS
    return 500, b"Internal Server Error", TEXT, _CORS


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
