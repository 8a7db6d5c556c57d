"""``/openapi.json``: what the predictor's schema says, with every route that the server has."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

from lading import __version__
from lading.model.project import Style
from lading.model.service import ServedApi, ServiceSpec
from lading.schema.training import add_training

_OK = {"200": {"description": "OK"}}
_ID = {"name": "prediction_id", "in": "path", "required": True, "schema": {"type": "string", "maxLength": 256}}


def document(spec: ServiceSpec) -> dict[str, Any]:
    """The OpenAPI document of a server: the first API's own schema, completed by the routes that it does not mention."""
    given = next((api.openapi for api in spec.apis if api.openapi), None)
    base: dict[str, Any] = copy.deepcopy(dict(given)) if given else _bare(spec)
    paths = base.setdefault("paths", {})
    paths_of_all = _paths(spec.apis)
    if spec.training is not None:
        base = add_training(base, spec.training.worker.signature or {"inputs": [], "output": {"kind": "any"}})
        paths = base["paths"]
        paths_of_all.update(_cog("", "training"))
    for path, operations in paths_of_all.items():
        known = paths.setdefault(path, {})
        for method, operation in operations.items():
            known.setdefault(method, operation)
    return base


def _bare(spec: ServiceSpec) -> dict[str, Any]:
    return {"openapi": "3.0.2", "info": {"title": spec.title, "version": __version__}, "paths": {}, "components": {"schemas": {}}}


def _paths(apis: Sequence[ServedApi]) -> dict[str, Mapping[str, Any]]:
    paths: dict[str, Mapping[str, Any]] = {}
    first_cog = True
    for api in apis:
        if api.worker.cortex.get("grpc"):
            continue  # its methods are told by reflection
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


def _cog(prefix: str, noun: str = "prediction") -> dict[str, Any]:
    body = {"content": {"application/json": {"schema": {"type": "object", "properties": {"input": {"type": "object"}}}}}}
    answers = {**_OK, "422": {"description": "The input does not fit."}, "503": {"description": "Not ready, or the queue is full."}}
    place, verb = f"{prefix}/{noun}s", "predict" if noun == "prediction" else "train"
    id_ = [{**_ID, "name": f"{noun}_id"}]
    return {
        place: {
            "post": {"summary": f"Make a {noun}", "operationId": verb, "requestBody": body, "responses": answers},
            "get": {"summary": f"List {noun}s, the newest first", "operationId": f"list_{noun}s", "responses": _OK},
        },
        f"{place}/{{{noun}_id}}": {
            "put": {
                "summary": f"Make a {noun} once",
                "operationId": f"{verb}_idempotent",
                "parameters": id_,
                "requestBody": body,
                "responses": answers,
            },
            "get": {"summary": f"Read a {noun}", "operationId": f"read_{noun}", "parameters": id_, "responses": _OK},
        },
        f"{place}/{{{noun}_id}}/cancel": {
            "post": {"summary": f"Cancel a {noun}", "operationId": f"cancel_{noun}", "parameters": id_, "responses": _OK}
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
