"""Cog's HTTP API: ``/predictions`` and what belongs to it; ``/trainings`` is the same again.

The bodies and statuses are Cog's, with its defects left out: a failed prediction keeps its logs, requests queue, a finished id answers
again, predictions can be read and listed. Answers are composed around the model's output, which is never decoded here.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, Literal
from urllib.parse import parse_qs, quote, unquote, urlsplit

import msgspec

from lading.service.asgi import JSON, ClientGoneError, HangUpWatch, Request
from lading.service.calls import Call, Result, Status
from lading.service.event_stream import accepts_events, send_events
from lading.service.exchange import Exchange
from lading.service.pool import Refusal, RefusedError
from lading.service.prediction import LONGEST_ID, PredictionService
from lading.service.preferences import Preferences, preferences
from lading.service.snapshots import snapshot
from lading.service.tracing import Tracing
from lading.service.webhooks import WebhookEvent, Webhooks
from lading_worker import inputs

holds_secret: Callable[[Mapping[str, Any]], bool] = inputs.holds_secret
_PAGE, _LONGEST_PAGE = 100, 1000
_NOTHING = (b"", b"null")


class PredictionRequest(msgspec.Struct):
    """The body of ``POST /predictions``. ``input`` stays undecoded; unknown keys are ignored, as in Cog."""

    id: str | None = None
    input: msgspec.Raw = msgspec.Raw(b"")
    context: dict[str, str] | None = None
    webhook: str | None = None
    webhook_events_filter: list[Literal["start", "output", "logs", "completed"]] | None = None


_HIDDEN, _NULL = msgspec.Raw(b'"**********"'), msgspec.Raw(b"null")
_decode = msgspec.json.Decoder(PredictionRequest).decode
_fields = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_encode = msgspec.json.Encoder().encode


class InvalidRequestError(Exception):
    """A request that is answered without asking the model: a status and a body."""

    def __init__(self, status: int, body: Any) -> None:
        super().__init__(body)
        self.status, self.body = status, body

    def encoded(self) -> bytes:
        """The body as bytes."""
        return self.body if isinstance(self.body, bytes) else _encode(self.body)


class CogRoutes:
    """The routes of one Cog-style API at a ``place`` (``/predictions``). ``max_body`` is in bytes, ``max_listeners`` of one prediction."""

    def __init__(
        self,
        service: PredictionService,
        max_body: int,
        webhooks: Webhooks,
        place: str = "/predictions",
        *,
        max_listeners: int = 64,
        tracing: Tracing | None = None,
    ) -> None:
        self.service, self.max_body, self.webhooks, self.place = service, max_body, webhooks, place
        self.max_listeners, self.tracing = max_listeners, tracing
        signature = service.api.worker.signature
        self._streams = signature is None or bool(signature.get("streaming") or signature.get("generator"))
        self._secrets = frozenset(one["name"] for one in (signature or {}).get("inputs", ()) if holds_secret(one["type"]))

    def takes(self, headers: Mapping[bytes, bytes]) -> bool:
        """See `lading.service.exchange.Handler`."""
        return b"prefer" not in headers and b"event-stream" not in headers.get(b"accept", b"").lower()

    def handle(self, exchange: Exchange) -> None:
        """``POST /predictions`` without a task: the same as `collection` for a client that waits for the whole answer."""
        service = self.service  # the routes may be another's when the client hangs up
        exchange.api = service.api.name
        try:
            asked = self._parse(exchange, exchange.body())
            id_ = _checked_id(asked.id)
            if id_ is not None:
                self._refuse_running(id_)
            call = self._call(exchange, asked, id_)
            call.on_answer = lambda answer: self._finish(exchange, call, answer)
            service.begin(call)
        except InvalidRequestError as error:
            exchange.respond(error.status, error.encoded())
        except RefusedError as error:
            exchange.respond(*_refusal(error))
        else:
            exchange.on_gone = lambda: service.pool.cancel(call)

    @staticmethod
    def _finish(exchange: Exchange, call: Call, answer: Result | Exception) -> None:
        if isinstance(answer, RefusedError):
            exchange.respond(*_refusal(answer))
        elif isinstance(answer, Exception):
            raise answer
        else:
            exchange.respond(*_answered(call, answer))

    async def collection(self, request: Request) -> None:
        """``/predictions``: POST makes one, GET lists them."""
        request.api = self.service.api.name
        if request.method == "POST":
            await self._guarded(request, None)
        elif request.method == "GET":
            await request.respond(200, self._page(request))
        else:
            await method_not_allowed(request, b"GET, POST")

    async def one(self, request: Request, segments: list[bytes]) -> None:
        """``/predictions/{id}`` and ``/predictions/{id}/cancel``."""
        request.api = self.service.api.name
        id_ = unquote(segments[0].decode("ascii", "replace"))
        if len(segments) == 2 and segments[1] == b"cancel":
            if request.method != "POST":
                await method_not_allowed(request, b"POST")
                return
            await request.respond(200 if self.service.cancel(id_) else 404, b"{}")
        elif len(segments) > 1:
            await not_found(request)
        elif request.method == "PUT":
            await self._guarded(request, id_)
        elif request.method == "GET":
            await self._read(request, id_)
        else:
            await method_not_allowed(request, b"GET, PUT")

    async def _read(self, request: Request, id_: str) -> None:
        call = self.service.find(id_)
        if call is None:
            await request.respond(404, _encode({"error": "There is no prediction of this id, or it was finished too long ago."}))
        elif self._streams and accepts_events(request) == "only":
            await self._guard(request, self._stream(request, call, owned=False))
        else:
            await request.respond(200, snapshot(call))

    def _page(self, request: Request) -> bytes:
        wanted = parse_qs(request.query.decode("latin-1"))
        limit = _number(wanted, "limit", _PAGE, _LONGEST_PAGE)
        before = _number(wanted, "cursor", 0, 2**63)
        calls = [call for call in self.service.listing() if not before or call.number < before]
        page, more = calls[:limit], len(calls) > limit
        following = f"{self.place}?limit={limit}&cursor={page[-1].number}" if more else None
        results = b",".join(map(snapshot, page))
        return b'{"next":%b,"previous":null,"results":[%b]}' % (_encode(following), results)

    async def _guarded(self, request: Request, id_: str | None) -> None:
        await self._guard(request, self._predict(request, id_))

    async def _guard(self, request: Request, answering: Coroutine[Any, Any, None]) -> None:
        try:
            await answering
        except InvalidRequestError as error:
            await request.respond(error.status, error.encoded())
        except RefusedError as error:
            await refused(request, error)
        except ClientGoneError:
            return

    async def _predict(self, request: Request, id_: str | None) -> None:
        asked = self._parse(request, await request.body(self.max_body))
        if id_ is not None and asked.id not in (None, id_):
            raise InvalidRequestError(422, detail(("body", "id"), "the id in the body is not the one in the URL"))
        id_ = _checked_id(asked.id if id_ is None else id_)
        events = self._wants_events(request)
        if id_ is not None and await self._known(request, id_, events=events):
            return
        if not self.service.started:
            await self.service.start_late()
        preferred = preferences(request)
        call = self._call(request, asked, id_, "stream" if events else "async" if preferred.respond_async else "sync")
        if events:
            self._begin(request, call)
            await self._stream(request, call, owned=True)
        elif preferred.respond_async:
            self._begin(request, call)
            await self._respond_async(request, call, preferred)
        else:
            await self._wait(request, call)

    def _begin(self, request: Request, call: Call) -> None:
        """Put a call on its way that may outlive its request."""
        self.service.begin(call)
        if call.result is None:
            call.release = request.hand_over()

    async def _respond_async(self, request: Request, call: Call, preferred: Preferences) -> None:
        if preferred.wait:
            await asyncio.wait([call.answer], timeout=preferred.wait)
        if call.answer.done():
            await self._answer(request, call, call.answer.result())
            return
        headers = [(b"location", self._place_of(call)), (b"preference-applied", preferred.applied)]
        await request.respond(202, _encode({"id": call.id, "status": "starting"}), headers=headers)

    def _place_of(self, call: Call) -> bytes:
        return f"{self.place}/{quote(call.id, safe='')}".encode()

    async def _known(self, request: Request, id_: str, *, events: bool) -> bool:
        """Answer for an id that is in flight, or (PUT) finished. True if that is done.

        A prediction that ended with its client's connection is begun again: a gateway asks for it once more where a link or a proxy broke.
        """
        if request.method == "POST":
            self._refuse_running(id_)
            return False
        call = self.service.find(id_)
        if call is None or call.abandoned:
            return False
        if events:
            await self._stream(request, call, owned=False)
        elif call.result is None:
            await request.respond(202, snapshot(call))
        else:
            await self._answer(request, call, call.result)
        return True

    def _refuse_running(self, id_: str) -> None:
        call = self.service.find(id_)
        if call is not None and call.result is None:
            raise InvalidRequestError(409, {"error": "A prediction of this id is running. PUT joins it.", "status": "failed"})

    def _parse(self, request: Request | Exchange, body: bytes) -> PredictionRequest:
        kind = request.headers.get(b"content-type", b"").partition(b";")[0].strip().lower()
        if not body and kind in (b"", b"application/json"):
            return PredictionRequest()
        if kind != b"application/json":
            raise InvalidRequestError(415, {"detail": "The body must be JSON: send it with `Content-Type: application/json`."})
        try:
            return _decode(body)
        except msgspec.ValidationError as error:
            message, _, place = str(error).partition(" - at `$")
            raise InvalidRequestError(422, detail(("body", *_path(place)), message, "type_error")) from error
        except (msgspec.DecodeError, UnicodeError) as error:
            raise InvalidRequestError(400, {"detail": f"The body is not JSON: {error}."}) from error
        except RecursionError as error:
            raise InvalidRequestError(400, {"detail": "The body is nested too deeply."}) from error

    def _call(self, request: Request | Exchange, asked: PredictionRequest, id_: str | None, mode: str = "sync") -> Call:
        given = bytes(asked.input)
        asked.input = msgspec.Raw(b"")  # it holds the whole request
        body = b"{}" if given in _NOTHING else given
        context = _encode(asked.context) if asked.context is not None else b""
        trace = _trace(request)
        if self.tracing is None:
            call = self.service.new_call(body, id_=id_, context=context, input_=self._shown(body), trace=trace)
        else:
            route = self.place if request.method == "POST" else f"{self.place}/{{id}}"
            known, span = self.tracing.begin(request.headers, asked.context or {}, method=request.method, route=route, mode=mode)
            call = self.service.new_call(body, id_=id_, context=context, input_=self._shown(body), trace=trace, span=span)
            self.tracing.follow(call, known)
        if asked.webhook is not None:
            self._add_webhook(asked, call, trace)
        return call

    def _shown(self, given: bytes) -> bytes:
        """An input as snapshots show it: whoever reads a prediction, or gets its webhooks, does not learn its secrets."""
        if not self._secrets:
            return given
        try:
            fields = _fields(given)
        except (msgspec.DecodeError, RecursionError):
            return b""  # no object: the worker will refuse it
        return _encode({name: _HIDDEN if name in self._secrets and value != _NULL else value for name, value in fields.items()})

    def _add_webhook(self, asked: PredictionRequest, call: Call, trace: dict[str, str]) -> None:
        url = asked.webhook or ""
        if not _is_web(url):
            raise InvalidRequestError(422, detail(("body", "webhook"), "a webhook is an http:// or https:// URL"))
        events = {WebhookEvent(name) for name in asked.webhook_events_filter or ("start", "output", "logs", "completed")}
        self.webhooks.follow(call, url, frozenset(events), trace=trace, snapshot=snapshot)

    async def _wait(self, request: Request, call: Call) -> None:
        service = self.service
        watch = HangUpWatch(request, lambda: service.pool.cancel(call))
        try:
            result = await service.submit(call)
        finally:
            watch.stop()
        await self._answer(request, call, result)

    async def _answer(self, request: Request, call: Call, result: Result) -> None:
        await request.respond(*_answered(call, result))

    # Event streams

    def _wants_events(self, request: Request) -> bool:
        wanted = accepts_events(request)
        if wanted == "only" and not self._streams:
            message = "This model's output does not come in pieces: ask for application/json, or make its predict yield."
            raise InvalidRequestError(406, {"error": message, "status": "failed"})
        return bool(wanted) and self._streams

    async def _stream(self, request: Request, call: Call, *, owned: bool) -> None:
        """Send what happens to a call. When the last listener leaves, a call that was made for a stream is canceled."""
        service = self.service
        if len(call.listeners) >= self.max_listeners:
            raise InvalidRequestError(429, {"error": f"{self.max_listeners} listeners follow this prediction already.", "status": "failed"})
        try:
            await send_events(request, call, service.follow(call), lambda one: snapshot(one, with_input=False))
        finally:
            if owned and call.result is None and not call.listeners and not call.watchers:
                service.pool.cancel(call)


def _is_web(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # half an IPv6 address, a port that is none
        return False


def _checked_id(id_: str | None) -> str | None:
    if id_ is not None and not 0 < len(id_) <= LONGEST_ID:
        raise InvalidRequestError(422, detail(("body", "id"), f"an id has 1 to {LONGEST_ID} characters"))
    return id_


def _answered(call: Call, result: Result) -> tuple[int, bytes]:
    """Status and body for a prediction that is over."""
    if result.status is Status.INVALID:
        return 422, b'{"detail":%b}' % result.detail
    return 200, snapshot(call, with_input=False)


def _trace(request: Request | Exchange) -> dict[str, str]:
    """The headers by which a request can be followed from one service to the next (W3C Trace Context)."""
    return {name.decode(): request.headers[name].decode("latin-1") for name in (b"traceparent", b"tracestate") if name in request.headers}


def _number(wanted: dict[str, list[str]], name: str, default: int, largest: int) -> int:
    text = wanted.get(name, [""])[0]
    return min(max(int(text), 1), largest) if text.isascii() and text.isdigit() and len(text) < 20 else default


def _path(place: str) -> list[str | int]:
    """Turn msgspec's ``.input[0].x`` as a location."""
    parts = place.rstrip("`").replace("[", ".").replace("]", "").split(".")
    return [int(part) if part.isdigit() else part for part in parts if part and part != "..."]


def detail(place: tuple[str | int, ...], message: str, kind: str = "value_error") -> dict[str, Any]:
    """The body of Cog's 422."""
    return {"detail": [{"loc": list(place), "msg": message, "type": kind}]}


def _refusal(error: RefusedError) -> tuple[int, bytes, bytes, list[tuple[bytes, bytes]]]:
    """A prediction was not taken: status, Cog's body, its type, and when to try again."""
    headers = [] if error.retry_after is None else [(b"retry-after", b"%d" % error.retry_after)]
    message = "Setup has not finished yet. Try again later." if error.refusal is Refusal.STARTING else error.message
    return 503, _encode({"error": message, "status": "failed"}), JSON, headers


async def refused(request: Request, error: RefusedError) -> None:
    """A prediction was not taken."""
    await request.respond(*_refusal(error))


async def not_found(request: Request) -> None:
    """There is nothing there."""
    await request.respond(404, _encode({"error": f"There is nothing at {request.path}. GET / lists what there is."}))


async def method_not_allowed(request: Request, allowed: bytes) -> None:
    """The path is right and the method is not."""
    message = f"{request.method} is not possible here; possible: {allowed.decode()}."
    await request.respond(405, _encode({"error": message}), headers=[(b"allow", allowed)])
