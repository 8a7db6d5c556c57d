"""Webhooks, received by a real HTTP server."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from tests.service.support import Server, api, running


class Receiver:
    """Keeps what it gets; answers with ``statuses`` first, then 200."""

    def __init__(self) -> None:
        self.got: list[tuple[dict[str, str], dict[str, Any]]] = []
        self.statuses: list[int] = []
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                status = receiver.statuses.pop(0) if receiver.statuses else 200
                receiver.got.append(({name.lower(): value for name, value in self.headers.items()}, body))
                self.send_response(status)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_args: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/hook?x=1"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def wait_for(self, count: int) -> list[dict[str, Any]]:
        until = time.monotonic() + 60
        while len(self.got) < count:
            assert time.monotonic() < until, self.got
            time.sleep(0.01)
        return [body for _headers, body in self.got]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    root = tmp_path_factory.mktemp("project")
    with running(root, api(root), env={"WEBHOOK_AUTH_TOKEN": "sesame", "COG_THROTTLE_RESPONSE_INTERVAL": "0.2"}) as one:
        yield one


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    one = Receiver()
    yield one
    one.server.shutdown()
    one.server.server_close()


def ask(server: Server, receiver: Receiver, do: str, *, only: list[str] | None = None, **given: object) -> None:
    body: dict[str, Any] = {"input": {"do": do, **given}, "webhook": receiver.url}
    if only is not None:
        body["webhook_events_filter"] = only
    headers = {"prefer": "respond-async", "traceparent": "00-abc-def-01"}
    assert server.client.post("/predictions", json=body, headers=headers).status_code == 202


def test_a_receiver_that_fails_gets_completed_again(server: Server, receiver: Receiver):
    receiver.statuses = [503, 500]
    ask(server, receiver, "echo", only=["completed"], value=3)
    bodies = receiver.wait_for(3)
    assert [body["status"] for body in bodies] == ["succeeded"] * 3
    assert bodies[-1]["output"] == 3
    assert bodies[-1]["input"]["do"] == "echo"


def test_events_arrive_in_order_with_token_and_trace(server: Server, receiver: Receiver):
    ask(server, receiver, "stream", count=3, seconds=0.25)
    until = time.monotonic() + 60
    while not receiver.got or receiver.got[-1][1]["status"] != "succeeded":
        assert time.monotonic() < until, receiver.got
        time.sleep(0.01)
    bodies = [body for _headers, body in receiver.got]
    assert bodies[0]["status"] == "processing"
    assert "output" not in bodies[0] or bodies[0]["output"] is None
    sizes = [len(body["output"] or []) for body in bodies]
    assert sizes == sorted(sizes)
    assert sizes[-1] == 3
    headers = receiver.got[0][0]
    assert headers["authorization"] == "Bearer sesame"
    assert headers["traceparent"] == "00-abc-def-01"
    assert headers["user-agent"].startswith("lading/")


def test_output_is_throttled(server: Server, receiver: Receiver):
    ask(server, receiver, "stream", only=["output", "completed"], count=60, seconds=0.005)
    until = time.monotonic() + 60
    while not receiver.got or receiver.got[-1][1]["status"] != "succeeded":
        assert time.monotonic() < until
        time.sleep(0.01)
    assert len(receiver.got) < 40  # of 60


def test_only_what_was_asked_for_is_sent(server: Server, receiver: Receiver):
    ask(server, receiver, "stream", only=["start"], count=2)
    receiver.wait_for(1)
    server.predict()
    time.sleep(0.3)
    assert [body["status"] for _headers, body in receiver.got] == ["processing"]


def test_the_token_is_in_no_log(server: Server, receiver: Receiver):
    receiver.statuses = [400]
    ask(server, receiver, "echo", only=["completed"])
    receiver.wait_for(1)
    server.wait_for_talk("answered 400")
    assert "sesame" not in server.talk
