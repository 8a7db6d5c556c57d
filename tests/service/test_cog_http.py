"""Cog's HTTP API as a client sees it."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from tests.service.support import Server, api, running


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    root = tmp_path_factory.mktemp("project")
    with running(root, api(root), max_body_bytes=10_000) as one:
        yield one


def test_a_prediction_answers_with_cogs_fields(server: Server):
    answer = server.predict(value={"deep": [1, 2.5, None, "é"]})
    body = answer.json()
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    assert body["status"] == "succeeded"
    assert body["output"] == {"deep": [1, 2.5, None, "é"]}
    assert body["logs"] == ""
    assert body["metrics"]["predict_time"] >= 0
    assert body["id"]
    assert "error" not in body
    assert "input" not in body


def test_logs_of_a_failed_prediction_are_not_lost(server: Server):
    answer = server.predict("raise")
    assert answer.status_code == 200
    assert answer.json()["status"] == "failed"
    assert answer.json()["error"] == "the reason"
    assert answer.json()["logs"] == "Traceback: the reason\n"


def test_what_native_code_prints_is_in_the_logs_of_its_prediction(server: Server):
    assert server.predict("say-raw", text="from C\n").json()["logs"] == "from C\n"
    assert server.predict("echo").json()["logs"] == ""


@pytest.mark.parametrize("body", [b"{}", b'{"input": null}', b'{"input": {}}', b""])
def test_no_input_is_an_empty_input(server: Server, body: bytes):
    answer = server.client.post("/predictions", content=body, headers={"content-type": "application/json"})
    assert (answer.status_code, answer.json()["output"]) == (200, None)


def test_no_body_and_no_content_type_is_an_empty_input_too(server: Server):
    assert server.client.post("/predictions").status_code == 200


def test_input_that_does_not_fit_is_a_422_with_the_workers_detail(server: Server):
    answer = server.predict(bad=1)
    assert answer.status_code == 422
    assert answer.json() == {"detail": [{"loc": ["body", "input", "bad"], "msg": "unexpected", "type": "value_error"}]}


@pytest.mark.parametrize("body", [b"{", b"nonsense", b'{"input": {"a": }}', b"\xff\xfe", b'{"input": NaN}'])
def test_malformed_json_is_a_400_that_says_so(server: Server, body: bytes):
    answer = server.client.post("/predictions", content=body, headers={"content-type": "application/json"})
    assert answer.status_code == 400
    assert answer.json()["detail"].startswith("The body is not JSON: ")


def test_json_nested_without_end_is_a_400_too(server: Server):
    body = b'{"input": ' + b"[" * 4500 + b"]" * 4500 + b"}"
    answer = server.client.post("/predictions", content=body, headers={"content-type": "application/json"})
    assert (answer.status_code, answer.json()["detail"]) == (400, "The body is nested too deeply.")


@pytest.mark.parametrize(
    ("body", "place"),
    [
        ({"id": 5}, ["body", "id"]),
        ({"context": {"a": 1}}, ["body", "context"]),
        ({"webhook_events_filter": ["start", "nonsense"]}, ["body", "webhook_events_filter", 1]),
        ({"webhook": "ftp://x/y"}, ["body", "webhook"]),
        ({"webhook": "nonsense"}, ["body", "webhook"]),
        ({"webhook": "http://[::1"}, ["body", "webhook"]),
        ({"webhook": "http://x:99999/"}, ["body", "webhook"]),
        ({"webhook": "http://x:abc/"}, ["body", "webhook"]),
        ([1], ["body"]),
    ],
)
def test_a_field_of_the_wrong_kind_is_named_in_a_422(server: Server, body: object, place: list[str | int]):
    answer = server.client.post("/predictions", json=body)
    assert answer.status_code == 422
    assert answer.json()["detail"][0]["loc"] == place
    assert answer.json()["detail"][0]["msg"]


@pytest.mark.parametrize("kind", ["text/plain", "multipart/form-data; boundary=x", ""])
def test_a_body_of_another_content_type_is_a_415(server: Server, kind: str):
    answer = server.client.post("/predictions", content=b'{"input": {}}', headers={"content-type": kind} if kind else {})
    assert answer.status_code == 415
    assert "application/json" in answer.json()["detail"]


def test_content_type_may_have_parameters_and_any_case(server: Server):
    answer = server.client.post("/predictions", content=b"{}", headers={"content-type": "Application/JSON; charset=utf-8"})
    assert answer.status_code == 200


def test_a_client_that_announces_too_much_is_told_before_it_sends_it(server: Server):
    head = b"POST /predictions HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 50000000000\r\nexpect: 100-continue\r\n\r\n"
    answer = server.raw(head)
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b"100 Continue" not in answer
    assert b"limit of 10000 bytes" in answer


def test_a_client_that_sends_too_much_anyway_gets_to_read_the_413(server: Server):
    answer = server.client.post("/predictions", content=b"x" * 3_000_000, headers={"content-type": "application/json"})
    assert answer.status_code == 413
    assert server.predict(value=1).json()["output"] == 1


def test_a_chunked_body_is_cut_at_the_limit(server: Server):
    def pieces() -> Iterator[bytes]:
        for _ in range(100):
            yield b"x" * 1000

    answer = server.client.post("/predictions", content=pieces(), headers={"content-type": "application/json"})
    assert answer.status_code == 413


def test_a_chunked_body_within_the_limit_is_read(server: Server):
    answer = server.client.post(
        "/predictions", content=iter([b'{"input": {"va', b'lue": 7}}']), headers={"content-type": "application/json"}
    )
    assert answer.json()["output"] == 7


def test_two_hundred_requests_on_one_connection_meet_no_refusal(server: Server):
    statuses = [server.predict(value=number).status_code for number in range(200)]
    assert statuses == [200] * 200


def test_requests_wait_for_each_other_instead_of_being_refused(server: Server):
    with httpx.Client(base_url=server.url, timeout=30) as client:
        answers: list[int] = []

        def ask() -> None:
            answers.append(client.post("/predictions", json={"input": {"do": "sleep", "seconds": 0.02}}).status_code)

        threads = [threading.Thread(target=ask) for _ in range(20)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert answers == [200] * 20


def test_health_is_not_held_up_by_a_running_prediction(server: Server):
    server.client.put("/predictions/long", json={"input": {"do": "sleep", "seconds": 60}}, headers={"prefer": "respond-async"})
    assert server.health()["status"] == "BUSY"
    assert server.client.get("/readyz").status_code == 200
    server.client.post("/predictions/long/cancel")
    wait_until_done(server, "long")
    assert server.health()["status"] == "READY"


def test_the_clients_id_is_used_and_read_back(server: Server):
    answer = server.client.post("/predictions", json={"id": "mine-1", "input": {"value": 5}})
    assert answer.json()["id"] == "mine-1"
    again = server.client.get("/predictions/mine-1").json()
    assert (again["status"], again["output"], again["input"]) == ("succeeded", 5, {"value": 5})


@pytest.mark.parametrize("id_", ["../../etc/passwd", "a/b", "x y", "..", "é%00\n", "a" * 256])
def test_an_id_is_data_and_never_a_path(server: Server, id_: str):
    quoted = "".join(f"%{byte:02X}" for byte in id_.encode())
    made = server.client.put(f"/predictions/{quoted}", json={"input": {"do": "head"}})
    assert (made.status_code, made.json()["id"]) == (200, id_)
    assert made.json()["output"]["scratch"].rpartition("/")[2].isdigit()
    assert server.client.get(f"/predictions/{quoted}").json()["id"] == id_
    assert server.client.post("/predictions", json={"id": id_, "input": {}}).json()["id"] == id_


@pytest.mark.parametrize("id_", ["", "a" * 257])
def test_an_id_that_is_empty_or_too_long_is_a_422(server: Server, id_: str):
    answer = server.client.post("/predictions", json={"id": id_})
    assert (answer.status_code, answer.json()["detail"][0]["loc"]) == (422, ["body", "id"])


def test_put_again_answers_again_and_does_not_run_again(server: Server):
    first = server.client.put("/predictions/once-only", json={"input": {"do": "head"}})
    again = server.client.put("/predictions/once-only", json={"input": {"do": "head"}})
    assert first.json()["output"] == again.json()["output"]
    assert first.content == again.content


def test_put_while_it_runs_gives_its_state(server: Server, tmp_path: Path):
    body = {"input": {"do": "until", "file": str(tmp_path / "go")}}
    started = server.client.put("/predictions/slow", json=body, headers={"prefer": "respond-async"})
    assert (started.status_code, started.json()) == (202, {"id": "slow", "status": "starting"})
    again = server.client.put("/predictions/slow", json=body)
    assert again.status_code == 202
    assert again.json()["status"] in ("starting", "processing")
    assert again.json()["input"] == body["input"]
    (tmp_path / "go").touch()
    wait_until_done(server, "slow")
    assert server.client.put("/predictions/slow", json=body).json()["output"] == "slept"


def test_post_of_an_id_that_runs_is_a_409(server: Server):
    body = {"id": "twice", "input": {"do": "sleep", "seconds": 60}}
    server.client.post("/predictions", json=body, headers={"prefer": "respond-async"})
    assert server.client.post("/predictions", json=body).status_code == 409
    server.client.post("/predictions/twice/cancel")
    wait_until_done(server, "twice")


def test_put_with_another_id_in_the_body_is_a_422(server: Server):
    answer = server.client.put("/predictions/one", json={"id": "two", "input": {}})
    assert (answer.status_code, answer.json()["detail"][0]["loc"]) == (422, ["body", "id"])


@pytest.mark.parametrize("prefer", ["respond-async", "handling=lenient, respond-async", "return=minimal; x=1 , Respond-Async"])
def test_respond_async_counts_beside_other_preferences(server: Server, prefer: str):
    answer = server.predict(value="later", headers={"prefer": prefer})
    assert answer.status_code == 202
    assert answer.headers["preference-applied"] == "respond-async"
    assert answer.headers["location"] == f"/predictions/{answer.json()['id']}"
    assert wait_until_done(server, answer.json()["id"])["output"] == "later"


def test_preferences_on_lines_of_their_own_count_too(server: Server):
    lines = [("prefer", "handling=lenient"), ("prefer", "respond-async"), ("content-type", "application/json")]
    assert server.client.post("/predictions", content=b"{}", headers=lines).status_code == 202


def test_respond_async_with_a_wait_answers_what_is_done_within_it(server: Server, tmp_path: Path):
    done = server.predict(value="quick", headers={"prefer": "respond-async, wait=20"})
    assert (done.status_code, done.json()["output"]) == (200, "quick")
    began = time.monotonic()
    go = tmp_path / "go"
    running = server.predict("until", file=str(go), headers={"prefer": "wait=1; x=1, respond-async"})
    assert (running.status_code, running.headers["preference-applied"]) == (202, "respond-async, wait=1")
    assert time.monotonic() - began > 0.9
    go.touch()
    assert wait_until_done(server, running.json()["id"])["output"] == "slept"


def test_another_preference_alone_is_no_respond_async(server: Server):
    assert server.predict(headers={"prefer": "wait=5"}).status_code == 200


def test_cancel_stops_a_running_prediction(server: Server):
    server.client.put("/predictions/stop-me", json={"input": {"do": "sleep", "seconds": 20}}, headers={"prefer": "respond-async"})
    wait_until(server, "stop-me", "processing")
    assert server.client.post("/predictions/stop-me/cancel").json() == {}
    assert wait_until_done(server, "stop-me")["status"] == "canceled"
    assert server.predict(value=1).json()["output"] == 1


def test_cancel_takes_a_waiting_prediction_out_of_the_queue(server: Server):
    for name in ("first", "second"):
        server.client.put(f"/predictions/{name}", json={"input": {"do": "sleep", "seconds": 60}}, headers={"prefer": "respond-async"})
    assert server.client.post("/predictions/second/cancel").status_code == 200
    second = server.client.get("/predictions/second").json()
    assert (second["status"], "started_at" in second) == ("canceled", False)
    assert server.client.get("/predictions/first").json()["status"] == "processing"
    server.client.post("/predictions/first/cancel")
    assert wait_until_done(server, "first")["status"] == "canceled"
    assert server.predict(value=1).json()["output"] == 1


def test_cancel_of_what_is_not_there_is_a_404(server: Server):
    answer = server.client.post("/predictions/nobody/cancel")
    assert (answer.status_code, answer.json()) == (404, {})


def test_a_client_that_hangs_up_cancels_its_prediction(server: Server):
    body = json.dumps({"input": {"do": "sleep", "seconds": 20}}).encode()
    head = b"PUT /predictions/left HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(body)
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as connection:
        connection.sendall(head + body)
        wait_until(server, "left", "processing")
    assert wait_until_done(server, "left")["status"] == "canceled"
    again = server.client.put("/predictions/left", json={"input": {"text": "again"}}).json()
    assert again["status"] == "succeeded", "nobody has seen a result of it, and somebody wants one"
    assert server.client.get("/predictions/left").json()["status"] == "succeeded"


def test_what_was_canceled_by_its_id_stays_so(server: Server):
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(server.client.put, "/predictions/unwanted", json={"input": {"do": "sleep", "seconds": 20}})
        until = time.monotonic() + 60
        while server.client.post("/predictions/unwanted/cancel").status_code != 200:
            assert time.monotonic() < until
            time.sleep(0.05)
        assert running.result().json()["status"] == "canceled"
    assert server.client.put("/predictions/unwanted", json={"input": {"text": "again"}}).json()["status"] == "canceled"


def test_predictions_are_listed_in_pages(server: Server):
    for number in range(5):
        server.client.put(f"/predictions/page-{number}", json={"input": {}})
    first = server.client.get("/predictions?limit=2").json()
    assert [one["id"] for one in first["results"]] == ["page-4", "page-3"]
    second = server.client.get(first["next"]).json()
    assert [one["id"] for one in second["results"]] == ["page-2", "page-1"]


@pytest.mark.parametrize("query", ["limit=0", "limit=-1", "limit=x", "limit=%C2%B2", "cursor=x", "limit=99999999999999999999999"])
def test_nonsense_in_the_paging_is_harmless(server: Server, query: str):
    assert server.client.get(f"/predictions?{query}").status_code == 200


def test_context_reaches_the_worker_and_the_scratch_folder_is_named_by_us(server: Server):
    answer = server.client.post("/predictions", json={"input": {"do": "head"}, "context": {"user": "ä"}})
    assert answer.json()["output"]["context"] == {"user": "ä"}
    assert "scratch" in answer.json()["output"]


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/nothing", 404),
        ("GET", "/predictions/nobody", 404),
        ("GET", "/predictions/a/b/c", 404),
        ("DELETE", "/predictions", 405),
        ("DELETE", "/predictions/x", 405),
        ("GET", "/predictions/x/cancel", 405),
        ("POST", "/health-check", 405),
        ("GET", "/shutdown", 405),
        ("GET", "/predictions/../../etc/passwd", 404),
    ],
)
def test_wrong_paths_and_methods_say_what_is_there(server: Server, method: str, path: str, status: int):
    answer = server.raw(f"{method} {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 0\r\n\r\n".encode())
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 %d " % status)
    assert json.loads(body)["error"]
    assert (b"\r\nallow: " in head) == (status == 405)


def test_malformed_http_is_refused_and_the_server_goes_on(server: Server):
    assert server.raw(b"NONSENSE\r\n\r\n").startswith(b"HTTP/1.1 400")
    assert server.predict(value=1).status_code == 200


def test_discovery_names_the_routes_and_they_answer(server: Server):
    places = server.client.get("/").json()
    assert places["predictions_url"] == "/predictions"
    assert places["shutdown_url"] == "/shutdown"
    for name in ("docs_url", "openapi_url", "healthcheck_url", "metrics_url"):
        assert server.client.get(places[name]).status_code == 200


def test_the_documentation_needs_nothing_from_elsewhere(server: Server):
    page = server.client.get("/docs")
    assert page.headers["content-type"].startswith("text/html")
    assert "http://" not in page.text
    assert "https://" not in page.text


def test_openapi_lists_every_route(server: Server):
    document = server.client.get("/openapi.json").json()
    assert set(document["paths"]["/predictions"]) == {"get", "post"}
    assert set(document["paths"]["/predictions/{prediction_id}"]) == {"get", "put"}
    assert "/readyz" in document["paths"]


def test_metrics_count_requests_predictions_and_durations(server: Server):
    server.predict(value=1)
    server.predict(bad=1)
    text = server.client.get("/metrics").text
    assert 'lading_requests_total{api="model",method="POST",status="422"}' in text
    assert 'lading_predictions_total{api="model",status="succeeded"}' in text
    assert 'lading_prediction_duration_seconds_bucket{api="model",le="+Inf"}' in text
    assert 'lading_worker_restarts_total{api="model"} 0.0' in text
    assert 'lading_queue_length{api="model"} 0.0' in text


def wait_until(server: Server, id_: str, *statuses: str) -> dict[str, object]:
    until = time.monotonic() + 60
    while True:
        record: dict[str, object] = server.client.get(f"/predictions/{id_}").json()
        if record.get("status") in statuses:
            return record
        assert time.monotonic() < until, record
        time.sleep(0.01)


def wait_until_done(server: Server, id_: str) -> dict[str, object]:
    return wait_until(server, id_, "succeeded", "failed", "canceled")
