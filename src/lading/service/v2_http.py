"""The Open Inference Protocol (v2), for predictors whose signature has tensors: ``/v2/models/NAME/infer`` and what belongs to it.

https://github.com/open-inference/open-inference-protocol, the REST part without the binary extension. A model has one version, "1".
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import msgspec

from lading import __version__
from lading.service.asgi import ClientGoneError, HangUpWatch, Request
from lading.service.calls import Call, Result, Status
from lading.service.pool import Health, RefusedError
from lading.service.prediction import PredictionService
from lading.service.tensors import Tensor, TensorError, tensors_of, to_tensor, value_of

PLATFORM = "lading_python"
_LARGE = 256 * 1024  # bytes: more is turned around in a thread, not in the event loop
_VERSION = "1"
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode


class _Model:
    """One predictor with its tensors."""

    def __init__(self, service: PredictionService, inputs: tuple[Tensor, ...], outputs: tuple[Tensor, ...]) -> None:
        self.service, self.inputs, self.outputs = service, inputs, outputs
        self.piecewise = (service.api.worker.signature or {})["output"]["kind"] == "object"

    def input(self, body: bytes) -> tuple[bytes, str | None, tuple[Tensor, ...]]:
        """A request's ``input`` as JSON, its id, and the outputs that it asks for.

        Raises:
            TensorError: if the request does not fit.
        """
        try:
            asked = _decode(body)
        except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
            raise TensorError(f"the body is not JSON: {error}") from error
        given = asked.get("inputs") if isinstance(asked, dict) else None
        if not isinstance(given, list) or not all(isinstance(one, dict) for one in given):
            raise TensorError("the body has no list of inputs")
        known = {tensor.name: tensor for tensor in self.inputs}
        value: dict[str, Any] = {}
        for one in given:
            tensor = known.get(one.get("name"))
            if tensor is None:
                raise TensorError(f"there is no input {one.get('name')!r}; there are {', '.join(known) or 'none'}")
            value[tensor.name] = value_of(tensor, one)
        id_ = asked.get("id")
        return _encode(value), id_ if isinstance(id_, str) else None, self._asked(asked.get("outputs"))

    def _asked(self, outputs: Any) -> tuple[Tensor, ...]:
        if not outputs:
            return self.outputs
        names: list[Any] = [one.get("name") if isinstance(one, dict) else None for one in outputs] if isinstance(outputs, list) else [None]
        known = {tensor.name: tensor for tensor in self.outputs}
        for name in names:
            if name not in known:
                raise TensorError(f"there is no output {name!r}; there are {', '.join(known)}")
        return tuple(known[name] for name in names)

    def answer(self, output: bytes, id_: str | None, wanted: tuple[Tensor, ...]) -> bytes:
        """The answer to a request.

        Raises:
            TensorError: if the model gave no tensors.
        """
        value = _decode(output) if output else None
        parts: Mapping[str, Any] = value if self.piecewise and isinstance(value, dict) else {"output": value}
        outputs = [to_tensor(tensor, parts[tensor.name]) for tensor in wanted if parts.get(tensor.name) is not None]
        record = {"model_name": self.service.api.name, "model_version": _VERSION, "outputs": outputs}
        return _encode({"id": id_, **record} if id_ is not None else record)


class V2Routes:
    """The routes of every predictor of a server that has tensors. ``max_body`` is in bytes."""

    def __init__(self, max_body: int) -> None:
        self.max_body = max_body
        self.models: dict[str, _Model] = {}
        self.services: list[PredictionService] = []

    def add(self, service: PredictionService) -> None:
        """Take a predictor in, if its signature has tensors."""
        signature = service.api.worker.signature
        found = tensors_of(signature) if signature and "inputs" in signature and signature.get("output") else None
        if found is not None:
            self.models[service.api.name] = _Model(service, *found)
            self.services.append(service)

    async def server(self, request: Request) -> None:
        """``GET /v2``: the server's metadata."""
        await request.respond(200, _encode({"name": "lading", "version": __version__, "extensions": []}))

    async def live(self, request: Request) -> None:
        """``GET /v2/health/live``."""
        await request.respond(200, b'{"live":true}')

    async def ready(self, request: Request) -> None:
        """``GET /v2/health/ready``: whether every model takes requests."""
        ready = all(_is_ready(service) for service in self.services)
        await request.respond(200 if ready else 503, _encode({"ready": ready}))

    async def model(self, request: Request, segments: list[bytes]) -> None:
        """``/v2/models/NAME[/versions/1][/ready|/infer]``."""
        name, *rest = (segment.decode("ascii", "replace") for segment in segments)
        if rest[:1] == ["versions"] and len(rest) > 1:
            name, rest = (name if rest[1] == _VERSION else ""), rest[2:]
        model = self.models.get(name)
        what = rest[0] if len(rest) == 1 else "" if not rest else None
        method = "POST" if what == "infer" else "GET"
        if model is None or what not in ("", "ready", "infer"):
            await _refuse(request, 404, f"There is nothing at {request.path}; the models are {', '.join(self.models)}, of version 1.")
            return
        request.api = name
        if request.method != method:
            await request.respond(405, _encode({"error": f"{request.method} is not possible here."}), headers=[(b"allow", method.encode())])
        elif what == "infer":
            await self._infer(request, model)
        else:
            await self._tell(request, model, what)

    async def _tell(self, request: Request, model: _Model, what: str) -> None:
        name = model.service.api.name
        if what == "ready":
            ready = _is_ready(model.service)
            await request.respond(200 if ready else 503, _encode({"name": name, "ready": ready}))
            return
        tensors = {"inputs": [one.describe() for one in model.inputs], "outputs": [one.describe() for one in model.outputs]}
        await request.respond(200, _encode({"name": name, "versions": [_VERSION], "platform": PLATFORM, **tensors}))

    async def _infer(self, request: Request, model: _Model) -> None:
        try:
            body = await request.body(self.max_body)
            given, id_, wanted = await _turned(len(body), model.input, body)
            call = model.service.new_call(given, input_=given)
            result = await _result(request, model.service, call)
            await self._answer(request, model, result, id_, wanted)
        except TensorError as error:
            await _refuse(request, 400, str(error))
        except RefusedError as error:
            headers = [] if error.retry_after is None else [(b"retry-after", b"%d" % error.retry_after)]
            await request.respond(503, _encode({"error": error.message}), headers=headers)
        except ClientGoneError:
            return

    async def _answer(self, request: Request, model: _Model, result: Result, id_: str | None, wanted: tuple[Tensor, ...]) -> None:
        if result.status is Status.INVALID:
            await _refuse(request, 400, "; ".join(f"{one['loc'][-1]}: {one['msg']}" for one in _decode(result.detail)))
        elif result.status is not Status.SUCCEEDED:
            await _refuse(request, 500, result.error or "the prediction was canceled")
        else:
            try:
                answer = await _turned(len(result.output), model.answer, result.output, id_, wanted)
            except TensorError as error:
                await _refuse(request, 500, str(error))
            else:
                await request.respond(200, answer)


def _is_ready(service: PredictionService) -> bool:
    return not service.draining and service.pool.health() in (Health.READY, Health.BUSY)


async def _turned(size: int, turn: Any, *arguments: Any) -> Any:
    return turn(*arguments) if size < _LARGE else await asyncio.to_thread(turn, *arguments)


async def _result(request: Request, service: PredictionService, call: Call) -> Result:
    watch = HangUpWatch(request, lambda: service.pool.cancel(call))
    try:
        return await service.submit(call)
    finally:
        watch.stop()


async def _refuse(request: Request, status: int, message: str) -> None:
    await request.respond(status, _encode({"error": message}))
