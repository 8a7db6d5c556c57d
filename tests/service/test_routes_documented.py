"""``docs/reference/http-api.md`` lists the routes that a server has, neither more nor fewer."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

from lading.model.project import ProjectKind
from lading.model.service import ServedApi, ServiceSpec, WorkerSpec
from lading.service.app import App, create_app
from lading.service.openapi import document
from lading.service.prediction import PredictionService

_DOCUMENT = Path(__file__).parents[2] / "docs" / "reference" / "http-api.md"
_TENSORS = {"inputs": [], "output": {"kind": "int"}, "generator": False, "streaming": False}


def served(name: str, style: str = "cog") -> ServedApi:
    worker = WorkerSpec(
        python="python", root="/", style=style, file="predict.py", object="P", signature=_TENSORS if style == "cog" else None
    )
    return ServedApi(name=name, worker=worker)


async def application() -> App:
    spec = ServiceSpec(kind=ProjectKind.COG, title="t", apis=(served("api"), served("other", "cortex")), training=served("train"))
    services = [PredictionService(api) for api in spec.apis]
    assert spec.training is not None
    return create_app(spec, services, shutdown=lambda: None, training=PredictionService(spec.training))


def documented() -> set[str]:
    rows = [line for line in _DOCUMENT.read_text().splitlines() if line.startswith("| `")]
    return {route for row in rows for route in re.findall(r"`((?:GET|POST|PUT|OPTIONS) /[^`]*)`", row.split(" | ")[0])}


def has(app: App, route: str) -> bool:
    """Whether the application knows a documented route."""
    method, path = route.split(" ")
    path = path.replace("{api}", "api" if path.startswith("/v2") else "other")
    if path in app.methods:
        return method in app.methods[path]
    if path in app.whole:
        return True
    place = "/" + path.split("/")[1]
    return (path.startswith("/v2/models/") and app.v2 is not None) or (place in app.cog and "{id}" in path)


def test_every_documented_route_is_there_and_every_route_is_documented():
    app = asyncio.run(application())
    routes = documented()
    assert len(routes) > 25
    assert {route for route in routes if not has(app, route)} == set()
    known = {f"{method} {path}" for path, methods in app.methods.items() for method in methods}
    assert known - routes == set()
    for place in app.cog:
        assert {f"POST {place}", f"GET {place}", f"PUT {place}/{{id}}", f"GET {place}/{{id}}", f"POST {place}/{{id}}/cancel"} <= routes


def test_the_openapi_document_has_every_route_of_predictions_and_trainings():
    spec = ServiceSpec(kind=ProjectKind.COG, title="t", apis=(served("api"),), training=served("train"))
    paths = document(spec)["paths"]
    for noun in ("prediction", "training"):
        assert {"post", "get"} <= set(paths[f"/{noun}s"])
        assert {"put", "get"} <= set(paths[f"/{noun}s/{{{noun}_id}}"])
        assert set(paths[f"/{noun}s/{{{noun}_id}}/cancel"]) == {"post"}
