"""``docs/reference/http-api.md`` lists the routes that a server has, neither more nor fewer."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

from lading.model.project import ProjectKind
from lading.model.service import ServedApi, ServiceSpec, WorkerSpec
from lading.service.app import App, create_app
from lading.service.counters import Counters
from lading.service.jobs_http import Jobs
from lading.service.log import ServiceLog
from lading.service.openapi import document
from lading.service.prediction import PredictionService

_DOCUMENT = Path(__file__).parents[2] / "docs" / "reference" / "http-api.md"
_TENSORS = {"inputs": [], "output": {"kind": "int"}, "generator": False, "streaming": False}


def served(name: str, style: str = "cog", kind: str = "RealtimeAPI") -> ServedApi:
    signature, cortex = (_TENSORS, {}) if style == "cog" else (None, {"kind": kind})
    worker = WorkerSpec(python="python", root="/", style=style, file="predict.py", object="P", signature=signature, cortex=cortex)
    return ServedApi(name=name, worker=worker)


async def application(folder: Path) -> App:
    apis = (served("api"), served("other", "cortex"), served("async", "cortex", "AsyncAPI"))
    later = (served("batch", "cortex", "BatchAPI"), served("task", "cortex", "TaskAPI"))
    spec = ServiceSpec(kind=ProjectKind.COG, title="t", apis=apis, job_apis=later, training=served("train"))
    services = [PredictionService(api) for api in spec.apis]
    assert spec.training is not None
    jobs = Jobs(later, services[2:], folder, root=folder, log=ServiceLog(), counters=Counters())
    app = create_app(spec, services, shutdown=lambda: None, training=PredictionService(spec.training), jobs=jobs)
    jobs.store.close()
    return app


def documented() -> set[str]:
    rows = [line for line in _DOCUMENT.read_text().splitlines() if line.startswith("| `")]
    return {route for row in rows for route in re.findall(r"`((?:GET|POST|PUT|DELETE|OPTIONS) /[^`]*)`", row.split(" | ")[0])}


def has(app: App, route: str) -> bool:
    """Whether the application knows a documented route."""
    method, path = route.split(" ")
    path = path.replace("{api}", "api" if path.startswith("/v2") else "other").partition("?")[0]
    path = path.replace("{batch}", "batch").replace("{task}", "task").replace("{async}", "async")
    if path in app.methods:
        return method in app.methods[path]
    if path in app.whole:
        return True
    place = "/" + path.split("/")[1]
    if place in app.children and path.endswith("/{id}"):
        return True
    return (path.startswith("/v2/models/") and app.v2 is not None) or (place in app.cog and "{id}" in path)


def test_every_documented_route_is_there_and_every_route_is_documented(tmp_path):
    app = asyncio.run(application(tmp_path))
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
