"""Server-sent events."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.service.support import Server, api, running

EVENTS = {"accept": "text/event-stream"}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    root = tmp_path_factory.mktemp("project")
    with running(root, api(root)) as one:
        yield one


def read_events(lines: Iterator[str]) -> Iterator[tuple[str, Any]]:
    name = ""
    for line in lines:
        if line.startswith("event: "):
            name = line[7:]
        elif line.startswith("data: "):
            yield name, json.loads(line[6:])


def test_events_come_in_the_order_in_which_they_happen(server: Server):
    body = {"id": "streamed", "input": {"do": "stream", "count": 3}}
    with server.client.stream("POST", "/predictions", json=body, headers=EVENTS) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        events = list(read_events(answer.iter_lines()))
    assert [name for name, _ in events] == ["start", "log", "output", "log", "output", "log", "output", "metric", "completed"]
    assert events[0][1] == {"id": "streamed", "status": "processing"}
    assert [data for name, data in events if name == "output"] == [{"chunk": f"piece {index}", "index": index} for index in range(3)]
    assert events[1][1] == {"source": "stdout", "data": "step 0\n"}
    assert events[-2][1] == {"name": "tokens", "value": 3, "mode": "replace"}
    assert events[-1][1]["status"] == "succeeded"
    assert events[-1][1]["output"] == ["piece 0", "piece 1", "piece 2"]


def test_pieces_arrive_while_the_model_still_works(server: Server):
    body = {"id": "live", "input": {"do": "stream", "count": 50, "seconds": 0.1}}
    with server.client.stream("POST", "/predictions", json=body, headers=EVENTS) as answer:
        for name, _data in read_events(answer.iter_lines()):
            if name == "output":
                assert server_status(server, "live") == "processing"
                break
        else:
            pytest.fail("no output came")


def test_a_crash_ends_the_stream_with_completed(server: Server):
    with server.client.stream("POST", "/predictions", json={"input": {"do": "exit"}}, headers=EVENTS) as answer:
        events = list(read_events(answer.iter_lines()))
    assert [name for name, _ in events] == ["start", "completed"]
    assert events[-1][1]["status"] == "failed"
    assert "exit code 3" in events[-1][1]["error"]


def test_a_second_client_joins_by_put_and_sees_what_it_missed(server: Server):
    body = {"input": {"do": "stream", "count": 4, "seconds": 0.1}}
    server.client.put("/predictions/joined", json=body, headers={"prefer": "respond-async"})
    time.sleep(0.25)
    with server.client.stream("PUT", "/predictions/joined", json=body, headers=EVENTS) as answer:
        events = list(read_events(answer.iter_lines()))
    assert events[0][0] == "start"
    assert [data["index"] for name, data in events if name == "output"] == [0, 1, 2, 3]
    assert events[-1][0] == "completed"


def test_the_last_listener_to_leave_cancels(server: Server):
    body = {"id": "abandoned", "input": {"do": "stream", "count": 100, "seconds": 0.1}}
    with httpx.Client(base_url=server.url) as client, client.stream("POST", "/predictions", json=body, headers=EVENTS) as answer:
        next(read_events(answer.iter_lines()))
    until = time.monotonic() + 60
    while server_status(server, "abandoned") != "canceled":
        assert time.monotonic() < until
        time.sleep(0.02)


def test_a_finished_prediction_streams_its_end(server: Server):
    server.client.put("/predictions/over", json={"input": {"value": 1}})
    with server.client.stream("GET", "/predictions/over", headers=EVENTS) as answer:
        events = list(read_events(answer.iter_lines()))
    assert [name for name, _ in events] == ["start", "completed"]


def test_a_model_without_pieces_says_406_and_json_is_taken_when_accepted(tmp_path):
    whole = {"generator": False, "streaming": False, "concurrent": 1}
    with running(tmp_path, api(tmp_path, signature=whole)) as server:
        assert server.predict(headers=EVENTS).status_code == 406
        assert server.predict(headers={"accept": "text/event-stream, application/json"}).status_code == 200


def test_a_late_listener_gets_every_event_in_its_order_metrics_too(server: Server):
    server.client.put("/predictions/replayed", json={"input": {"do": "stream", "count": 2}})
    with server.client.stream("GET", "/predictions/replayed", headers=EVENTS) as answer:
        names = [name for name, _ in read_events(answer.iter_lines())]
    assert names == ["start", "log", "output", "log", "output", "metric", "completed"]


def test_the_history_is_bounded_and_says_what_is_missing(tmp_path):
    with running(tmp_path, env={"COG_STREAM_HISTORY_CAPACITY": "3"}) as server:
        server.client.put("/predictions/long", json={"input": {"do": "stream", "count": 5}})
        with server.client.stream("GET", "/predictions/long", headers=EVENTS) as answer:
            events = list(read_events(answer.iter_lines()))
    assert [name for name, _ in events] == ["error", "start", "log", "output", "metric", "completed"]
    assert events[0][1] == {"error": "this listener came too late for all events", "skipped": 8}
    assert events[-1][1]["output"] == [f"piece {index}" for index in range(5)]


def test_more_listeners_than_allowed_are_told_429(tmp_path):
    body = {"id": "popular", "input": {"do": "stream", "count": 100, "seconds": 0.1}}
    with (
        running(tmp_path, max_listeners=1) as server,
        httpx.Client(base_url=server.url) as client,
        client.stream("POST", "/predictions", json=body, headers=EVENTS) as first,
    ):
        following = read_events(first.iter_lines())
        assert next(following)[0] == "start"
        refused = server.client.get("/predictions/popular", headers=EVENTS)
        assert (refused.status_code, refused.json()["status"]) == (429, "failed")
        assert "1 listeners follow" in refused.json()["error"]


def server_status(server: Server, id_: str) -> str:
    with httpx.Client(base_url=server.url) as client:
        return str(client.get(f"/predictions/{id_}").json().get("status"))


def test_without_a_history_nothing_is_replayed_and_what_is_live_still_comes(tmp_path):
    with running(tmp_path, env={"COG_STREAM_HISTORY_CAPACITY": "0"}) as server:
        body = {"id": "live", "input": {"do": "stream", "count": 2}}
        with server.client.stream("POST", "/predictions", json=body, headers=EVENTS) as answer:
            live = [name for name, _ in read_events(answer.iter_lines())]
        with server.client.stream("GET", "/predictions/live", headers=EVENTS) as answer:
            late = [name for name, _ in read_events(answer.iter_lines())]
    assert live == ["start", "log", "output", "log", "output", "metric", "completed"]
    assert late == ["error", "start", "completed"]
