"""Cortex's HTTP API as its clients know it."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from tests.service.support import Server, api, running


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    root = tmp_path_factory.mktemp("project")
    with running(root, api(root, "iris", "cortex"), kind="cortex", max_body_bytes=10_000) as one:
        yield one


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    root = tmp_path_factory.mktemp("project")
    apis = (api(root, "iris", "cortex"), api(root, "text", "cortex", endpoint="/text/generator", setup="raises"))
    with running(root, *apis, kind="cortex", ready=False) as one:
        yield one


def test_body_query_and_headers_reach_the_worker_as_they_are(server: Server):
    answer = server.client.post("/iris?a=1&a=%20", content=b"\x00\xffraw", headers={"Content-Type": "text/csv", "X-Mine": "yes"})
    seen = answer.json()
    assert seen["body"] == "\x00\xffraw"
    assert seen["head"]["content_type"] == "text/csv"
    assert seen["head"]["query"] == "a=1&a=%20"
    assert (seen["head"]["method"], seen["head"]["path"]) == ("POST", "/iris")
    assert ["x-mine", "yes"] in seen["head"]["headers"]


def test_a_body_without_content_type_has_none_for_the_worker(server: Server):
    assert server.client.post("/iris", content=b"x").json()["head"]["content_type"] is None


def test_one_api_answers_at_predict_too(server: Server):
    assert server.client.post("/predict", json={}).status_code == 200


def test_the_models_headers_are_passed_on_and_broken_ones_are_not(server: Server):
    answer = server.client.post("/iris", json={})
    assert answer.headers["x-model"] == "iris"
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["access-control-allow-origin"] == "*"
    assert "x-split" not in answer.headers
    assert int(answer.headers["content-length"]) == len(answer.content)


def test_an_exception_is_a_500_without_content_type(server: Server):
    answer = server.client.post("/iris", content=b"no-type")
    assert (answer.status_code, answer.text) == (500, "internal server error")
    assert "content-type" not in answer.headers


def test_get_says_how_to_predict(server: Server):
    answer = server.client.get("/iris")
    assert answer.status_code == 200
    assert answer.json() == {"message": "make a prediction by sending a post request to this endpoint with a json payload"}


def test_options_is_answered_for_browsers(server: Server):
    answer = server.client.options("/iris", headers={"access-control-request-headers": "x-mine"})
    assert (answer.status_code, answer.content) == (204, b"")
    assert answer.headers["access-control-allow-origin"] == "*"
    assert answer.headers["access-control-allow-methods"] == "GET, POST, OPTIONS"
    assert answer.headers["access-control-allow-headers"] == "x-mine"


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH"])
def test_other_methods_are_a_405_without_content_type(server: Server, method: str):
    answer = server.client.request(method, "/iris")
    assert answer.status_code == 405
    assert "content-type" not in answer.headers


def test_other_paths_are_a_404(server: Server):
    answer = server.client.post("/other", json={})
    assert (answer.status_code, answer.text) == (404, "Not Found")
    assert "content-type" not in answer.headers


def test_a_slash_too_many_is_redirected(server: Server):
    answer = server.client.post("/predict/?a=1", json={}, follow_redirects=False)
    assert (answer.status_code, answer.headers["location"]) == (307, "/predict?a=1")
    assert server.client.post("/predict/?a=1", json={}, follow_redirects=True).json()["head"]["query"] == "a=1"


def test_a_body_over_the_limit_is_a_413(server: Server):
    assert server.client.post("/iris", content=b"x" * 20_000).status_code == 413


def test_a_crash_is_a_500_and_the_process_is_replaced(server: Server):
    before = server.workers()
    answer = server.client.post("/iris", content=b"crash")
    assert (answer.status_code, answer.text) == (500, "Internal Server Error")
    assert answer.headers["content-type"].startswith("text/plain")
    assert server.client.post("/iris", json={}).status_code == 200
    assert server.workers() != before


def test_several_apis_each_at_their_endpoint_and_not_at_predict(two: Server):
    two.wait_for("SETUP_FAILED")
    until_ready(two, "iris")
    assert two.client.post("/iris", json={}).status_code == 200
    assert two.client.post("/predict", json={}).status_code == 404
    failed = two.client.post("/text/generator", json={})
    assert failed.status_code == 503
    assert "no weights" in failed.text


def test_health_is_the_worst_of_the_apis_and_lists_each(two: Server):
    two.wait_for("SETUP_FAILED")
    until_ready(two, "iris")
    health = two.health()
    assert health["status"] == "SETUP_FAILED"
    assert {name: one["status"] for name, one in health["apis"].items()} == {"iris": "READY", "text": "SETUP_FAILED"}
    ready = two.client.get("/readyz")
    assert ready.status_code == 503
    assert ready.json()["reasons"] == ["text is SETUP_FAILED: RuntimeError: no weights"]


def until_ready(server: Server, name: str) -> None:
    until = time.monotonic() + 60
    while server.health()["apis"][name]["status"] != "READY":
        assert time.monotonic() < until, server.talk
        time.sleep(0.01)
