"""Cortex's golden HTTP table, row by row, through the real front and a real worker whose environment has starlette."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from tests.service.support import Server, running
from tests.worker.golden import ANSWERS, PREDICTOR, REQUESTS

pytest.importorskip("starlette", reason="the table's rows about starlette's classes need starlette")


def _api(root: Path, code: str = PREDICTOR, **worker) -> dict[str, Any]:
    (root / "predictor.py").write_text(code)
    spec = {
        "python": sys.executable,
        "root": str(root),
        "style": "cortex",
        "file": "predictor.py",
        "object": "PythonPredictor",
        "config": {},
    }
    return {"name": "iris", "worker": {**spec, **worker}}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    root = tmp_path_factory.mktemp("project")
    with running(root, _api(root), kind="cortex", extra={"worker_main": None}) as one:
        yield one


def _post(server: Server, query: str = "", body: bytes = b"", content_type: str | None = None) -> httpx.Response:
    headers = {} if content_type is None else {"Content-Type": content_type}
    return server.client.post(f"/iris?{query}", content=body, headers=headers)


def _run(server: Server, code: str, body: bytes = b"") -> httpx.Response:
    return _post(server, "do=runs&code=" + quote(code), body)


@pytest.mark.parametrize("name", REQUESTS)
def test_payloads(server: Server, name: str):
    row = REQUESTS[name]
    answer = _post(server, body=row.body, content_type=row.content_type)
    assert (answer.status_code, answer.headers.get("content-type")) == (row.status, row.answered)
    if isinstance(row.answer, str):
        assert answer.text.startswith(row.answer)
    else:
        assert answer.json() == row.answer


@pytest.mark.parametrize("code", ANSWERS)
def test_answers(server: Server, code: str):
    answer = _post(server, "do=returns&code=" + quote(code))
    assert (answer.status_code, answer.headers.get("content-type"), answer.content) == ANSWERS[code]


@pytest.mark.parametrize("code", ["numpy.float32(1.5)", "numpy.array([1])", "[numpy.int64(1)]"])
def test_numpy_is_no_answer(server: Server, code: str):
    answer = _post(server, "do=returns&code=" + quote(f"(lambda numpy: {code})(__import__('numpy'))"))
    assert (answer.status_code, answer.headers.get("content-type"), answer.text) == (500, None, "internal server error")


def test_query_and_headers_and_forms_are_starlettes_own(server: Server):
    code = """
from starlette.datastructures import FormData, Headers, QueryParams, UploadFile
class PythonPredictor:
    def __init__(self, config): pass
    def predict(self, payload, query_params, headers):
        kinds = [isinstance(payload, FormData), isinstance(query_params, QueryParams), isinstance(headers, Headers)]
        file = payload["file"]
        return [*kinds, isinstance(file, UploadFile), file.filename, file.content_type, file.file.read().decode(), headers["X-MINE"], headers.raw[0][0] == b"host"]
"""
    root = Path(server._log.parent) / "datastructures"
    root.mkdir()
    with running(root, _api(root, code), kind="cortex", extra={"worker_main": None}) as one:
        answer = one.client.post("/iris?a=1", files={"file": ("é.png", b"content", "image/png")}, headers={"x-mine": "yes"})
        assert answer.json() == [True, True, True, True, "é.png", "image/png", "content", "yes", True]


RESPONSES = """
from starlette.background import BackgroundTask
from starlette.responses import FileResponse, HTMLResponse, JSONResponse, RedirectResponse, Response, StreamingResponse
def parts():
    yield b"one"
    yield "two"
async def more():
    import asyncio
    for part in ("three", "four"):
        await asyncio.sleep(0.001)
        yield part
"""


@pytest.mark.parametrize(
    ("made", "status", "content_type", "body"),
    [
        ("JSONResponse({'error': 'x'}, 400)", 400, "application/json", '{"error":"x"}'),
        ("HTMLResponse('<b>')", 200, "text/html; charset=utf-8", "<b>"),
        ("Response(b'x', 201, media_type='image/png')", 201, "image/png", "x"),
        ("Response('x')", 200, None, "x"),
        ("StreamingResponse(parts(), media_type='text/csv')", 200, "text/csv; charset=utf-8", "onetwo"),
        ("StreamingResponse(more(), 202)", 202, None, "threefour"),
        ("FileResponse(__file__, media_type='text/x-python')", 200, "text/x-python; charset=utf-8", "\nimport json"),
        ("RedirectResponse('/elsewhere')", 307, None, ""),
    ],
)
def test_any_response_of_starlette_is_passed_through(server: Server, made: str, status: int, content_type: str | None, body: str):
    answer = _run(server, f"{RESPONSES}\nmade = lambda payload: {made}")
    assert (answer.status_code, answer.headers.get("content-type")) == (status, content_type)
    assert answer.text == body or (body.startswith("\n") and answer.text.startswith(body))


def test_a_responses_own_headers_are_passed_through(server: Server):
    answer = _run(
        server, f"{RESPONSES}\nmade = lambda payload: Response('x', headers={{'X-Mine': 'a', 'Access-Control-Allow-Origin': 'b'}})"
    )
    assert (answer.headers["x-mine"], answer.headers.get_list("access-control-allow-origin")) == ("a", ["b"])


def test_a_streaming_response_that_fails_is_an_error(server: Server):
    answer = _run(server, f"{RESPONSES}\ndef broken():\n    yield 'x'\n    1 / 0\nmade = lambda payload: StreamingResponse(broken())")
    assert (answer.status_code, answer.text) == (500, "internal server error")
    server.wait_for_talk("ZeroDivisionError")


def test_a_responses_background_task_runs_after_the_answer(server: Server):
    root = server._log.parent
    task = f"BackgroundTask(lambda: open({str(root / 'done')!r}, 'w').close())"
    answer = _run(server, f"{RESPONSES}\nmade = lambda payload: Response('x', background={task})")
    assert answer.text == "x"
    until = time.monotonic() + 60
    while not (root / "done").exists():
        assert time.monotonic() < until
        time.sleep(0.01)


def test_an_exception_is_told_in_the_log_alone(server: Server):
    answer = _post(server, "do=raises&code=" + quote("KeyError('the-reason')"))
    assert (answer.status_code, answer.headers.get("content-type"), answer.text) == (500, None, "internal server error")
    server.wait_for_talk("KeyError: 'the-reason'")


def test_an_http_exception_is_an_answer(server: Server):
    code = "__import__('starlette.exceptions').exceptions.HTTPException"
    for arguments, status, text in (("422, 'bad field'", 422, "bad field"), ("418, {'a': 1}", 418, "{'a': 1}")):
        answer = _post(server, "do=raises&code=" + quote(f"{code}({arguments})"))
        assert (answer.status_code, answer.headers.get("content-type"), answer.text) == (status, None, text)


def test_sys_exit_ends_the_process_and_the_next_request_has_a_new_one(server: Server):
    answer = _post(server, "do=raises&code=" + quote("SystemExit(3)"))
    assert (answer.status_code, answer.text) == (500, "Internal Server Error")
    assert answer.headers["content-type"].startswith("text/plain")
    server.wait_for("READY")
    assert _post(server).status_code == 200


def test_methods_and_paths(server: Server):
    told = server.client.get("/predict")
    message = "make a prediction by sending a post request to this endpoint with a json payload"
    assert (told.status_code, told.headers["content-type"], told.json()) == (200, "application/json", {"message": message})
    assert server.client.put("/predict").status_code == 405
    missing = server.client.post("/elsewhere")
    assert (missing.status_code, missing.headers.get("content-type"), missing.text) == (404, None, "Not Found")
    assert server.client.post("/predict/").status_code == 307
    assert server.client.post("/predict", json={}).json() == {"kind": "dict", "value": {}}
    asked = server.client.options("/predict")
    assert (asked.status_code, asked.headers["access-control-allow-origin"]) == (204, "*")


def test_a_post_predict_that_fails_is_told_and_harms_nobody(tmp_path):
    code = """
class PythonPredictor:
    def __init__(self, config): pass
    def predict(self, payload): return payload
    def post_predict(self, response): raise RuntimeError("after " + response)
"""
    with running(tmp_path, _api(tmp_path, code), kind="cortex", extra={"worker_main": None}) as server:
        for text in ("one", "two"):
            assert server.client.post("/iris", json=text).text == text
            server.wait_for_talk(f"RuntimeError: after {text}")


def test_threads_share_one_predictor(tmp_path):
    code = """
import threading
class PythonPredictor:
    def __init__(self, config):
        self.barrier = threading.Barrier(4)
    def predict(self, payload):
        return self.barrier.wait(20)
"""
    with running(tmp_path, _api(tmp_path, code, threads=4), kind="cortex", extra={"worker_main": None}) as server:
        from concurrent.futures import ThreadPoolExecutor

        with ThreadPoolExecutor(4) as pool:
            answers = list(pool.map(lambda _: httpx.post(server.url + "/iris", json={}, timeout=30), range(4)))
        assert sorted(json.loads(answer.content) for answer in answers) == [0, 1, 2, 3]
