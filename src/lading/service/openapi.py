"""``/openapi.json``: what the predictor's schema says, with every route that the server has."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

from lading import __version__
from lading.model.project import Style
from lading.model.service import ServedApi, ServiceSpec

_OK = {"200": {"description": "OK"}}
_ID = {"name": "prediction_id", "in": "path", "required": True, "schema": {"type": "string", "maxLength": 256}}


def document(spec: ServiceSpec) -> dict[str, Any]:
    """The OpenAPI document of a server: the first API's own schema, completed by the routes that it does not mention."""
    given = next((api.openapi for api in spec.apis if api.openapi), None)
    base: dict[str, Any] = copy.deepcopy(dict(given)) if given else _bare(spec)
    paths = base.setdefault("paths", {})
    for path, operations in _paths(spec.apis).items():
        known = paths.setdefault(path, {})
        for method, operation in operations.items():
            known.setdefault(method, operation)
    return base


def _bare(spec: ServiceSpec) -> dict[str, Any]:
    return {"openapi": "3.0.2", "info": {"title": spec.title, "version": __version__}, "paths": {}}


def _paths(apis: Sequence[ServedApi]) -> dict[str, Mapping[str, Any]]:
    paths: dict[str, Mapping[str, Any]] = {}
    first_cog = True
    for api in apis:
        if api.worker.style == Style.CORTEX:
            paths.update(dict.fromkeys(cortex_endpoints(api, alone=len(apis) == 1), _cortex(api)))
        else:
            paths.update(_cog("" if first_cog else f"/{api.name}"))
            first_cog = False
    paths.update(_common())
    return paths


def cortex_endpoints(api: ServedApi, *, alone: bool) -> list[str]:
    """The paths at which a Cortex API answers; ``/predict`` too when it is the only one."""
    endpoint = "/" + (api.endpoint or api.name).strip("/")
    return list(dict.fromkeys([endpoint, "/predict"] if alone else [endpoint]))


def _cortex(api: ServedApi) -> dict[str, Any]:
    return {
        "post": {
            "summary": f"Predict with {api.name}",
            "operationId": f"predict_{api.name}",
            "requestBody": {
                "description": "The payload: JSON is parsed, text and forms too, anything else arrives as bytes.",
                "content": {"application/json": {"schema": {}}, "text/plain": {"schema": {}}, "application/octet-stream": {"schema": {}}},
            },
            "responses": {
                "200": {"description": "What the predictor returned."},
                "503": {"description": "Not ready, or the queue is full."},
            },
        }
    }


def _cog(prefix: str) -> dict[str, Any]:
    body = {"content": {"application/json": {"schema": {"type": "object", "properties": {"input": {"type": "object"}}}}}}
    answers = {**_OK, "422": {"description": "The input does not fit."}, "503": {"description": "Not ready, or the queue is full."}}
    one = f"{prefix}/predictions/{{prediction_id}}"
    return {
        f"{prefix}/predictions": {
            "post": {"summary": "Make a prediction", "operationId": "predict", "requestBody": body, "responses": answers},
            "get": {"summary": "List predictions, the newest first", "operationId": "list_predictions", "responses": _OK},
        },
        one: {
            "put": {
                "summary": "Make a prediction once",
                "operationId": "predict_idempotent",
                "parameters": [_ID],
                "requestBody": body,
                "responses": answers,
            },
            "get": {"summary": "Read a prediction", "operationId": "read_prediction", "parameters": [_ID], "responses": _OK},
        },
        f"{one}/cancel": {
            "post": {"summary": "Cancel a prediction", "operationId": "cancel_prediction", "parameters": [_ID], "responses": _OK}
        },
    }


def _common() -> dict[str, Any]:
    texts = {
        "/health-check": "How the model is",
        "/livez": "Whether the server lives",
        "/readyz": "Whether predictions are taken",
        "/metrics": "Metrics for Prometheus",
    }
    return {
        path: {"get": {"summary": text, "operationId": path.strip("/").replace("-", "_"), "responses": _OK}} for path, text in texts.items()
    }
