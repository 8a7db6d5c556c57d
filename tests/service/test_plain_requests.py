"""Plain requests are answered without a task: the answers are the same as on the general way, and nothing of HTTP is lost."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.service.support import Server, api, is_alive, running

GENERAL = {"prefer": "handling=lenient"}  # says nothing that we know, and so takes the general way
JSON = {"content-type": "application/json"}
VARYING = {"id", "created_at", "started_at", "completed_at", "metrics"}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    root = tmp_path_factory.mktemp("project")
    with running(root, api(root), max_body_bytes=200_000, max_held_bytes=400_000) as one:
        yield one


def connect(server: Server) -> socket.socket:
    return socket.create_connection(("127.0.0.1", server.port), timeout=10)


def request(body: bytes, *, target: bytes = b"/predictions", extra: bytes = b"", version: bytes = b"1.1") -> bytes:
    head = b"POST %b HTTP/%b\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: %d\r\n%b\r\n"
    return head % (target, version, len(body), extra) + body


def ask(value: object) -> bytes:
    return json.dumps({"input": {"do": "echo", "value": value}}).encode()


def read_answer(connection: socket.socket) -> tuple[bytes, bytes]:
    """Head and body of the next answer, which must have a length."""
    data = b""
    while b"\r\n\r\n" not in data:
        data += connection.recv(1)
    head = data[:-4].lower()
    (length,) = (int(line.partition(b":")[2]) for line in head.split(b"\r\n") if line.startswith(b"content-length:"))
    body = b""
    while len(body) < length:
        body += connection.recv(length - len(body))
    return head, body


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        (ask("x"), {}),
        (b"", {}),
        (b'{"input": {"bad": 1}}', {}),
        (b'{"input": {"do": "raise"}}', {}),
        (b'{"input": {"do": "say", "text": "x"}}', {}),
        (b'{"input": {"do": "stream", "count": 3}}', {}),
        (b'{"input": {}, "id": 7}', {}),
        (b'{"id": ""}', {}),
        (b'{"id": "' + b"x" * 257 + b'"}', {}),
        (b'{"webhook": "ftp://x"}', {}),
        (b"{", {}),
        (b"[" * 100_000, {}),
        (b"x=1", {"content-type": "text/plain"}),
        (b" " * 200_001, {}),
        (ask("x" * 150_000), {}),
    ],
)
def test_both_ways_answer_the_same(server: Server, body: bytes, headers: dict[str, str]):
    plain = server.client.post("/predictions", content=body, headers={**JSON, **headers})
    general = server.client.post("/predictions", content=body, headers={**JSON, **GENERAL, **headers})
    assert plain.status_code == general.status_code
    assert set(plain.headers) == set(general.headers)
    first, second = plain.json(), general.json()
    assert set(first) == set(second)
    assert {name: first[name] for name in first if name not in VARYING} == {name: second[name] for name in second if name not in VARYING}


def test_an_id_that_runs_is_refused_and_a_finished_one_runs_again(server: Server, tmp_path: Path):
    held = {"id": "held", "input": {"do": "until", "file": str(tmp_path / "go")}}
    assert server.client.post("/predictions", json=held, headers={"prefer": "respond-async"}).status_code == 202
    assert server.client.post("/predictions", json=held).status_code == 409
    (tmp_path / "go").touch()
    until = time.monotonic() + 60
    while server.client.get("/predictions/held").json()["status"] != "succeeded":
        assert time.monotonic() < until
        time.sleep(0.02)
    assert server.client.post("/predictions", json={"id": "held", "input": {"do": "echo", "value": 2}}).json()["output"] == 2


def test_requests_that_come_together_are_answered_in_their_order(server: Server):
    with connect(server) as connection:
        sent = [b"GET /livez HTTP/1.1\r\nhost: x\r\n\r\n" if number % 5 == 3 else request(ask(number)) for number in range(20)]
        connection.sendall(b"".join(sent))
        answers = [json.loads(read_answer(connection)[1]) for _ in sent]
    assert [answer.get("output", "live") for answer in answers] == ["live" if number % 5 == 3 else number for number in range(20)]


def test_a_request_that_comes_byte_by_byte(server: Server):
    with connect(server) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in request(ask("slow")):
            connection.sendall(bytes([byte]))
        assert json.loads(read_answer(connection)[1])["output"] == "slow"


def test_connections_end_as_their_clients_ask(server: Server):
    for sent in (request(ask(1), extra=b"connection: close\r\n"), request(ask(1), version=b"1.0")):
        answer = server.raw(sent)
        assert answer.startswith(b"HTTP/1.1 200 ")
        assert b"connection: close" in answer.lower()
    with connect(server) as connection:
        for number in range(3):
            connection.sendall(request(ask(number), extra=b"connection: keep-alive\r\n"))
            head, body = read_answer(connection)
            assert b"connection: close" not in head
            assert b"\r\ndate: " in head
            assert json.loads(body)["output"] == number


def test_expectations_get_their_answer_first(server: Server):
    head, body = request(ask(5), extra=b"expect: 100-continue\r\n").split(b"\r\n\r\n")
    with connect(server) as connection:
        connection.sendall(head + b"\r\n\r\n")
        assert connection.recv(25) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(body)
        assert json.loads(read_answer(connection)[1])["output"] == 5


def test_a_client_that_leaves_cancels_its_prediction(server: Server):
    with connect(server) as connection:
        connection.sendall(request(b'{"id": "left", "input": {"do": "sleep", "seconds": 30}}'))
        until = time.monotonic() + 60
        while server.client.get("/predictions/left").json().get("status") != "processing":
            assert time.monotonic() < until
            time.sleep(0.02)
    while server.client.get("/predictions/left").json()["status"] != "canceled":
        assert time.monotonic() < until
        time.sleep(0.02)
    assert server.predict(value=1).json()["output"] == 1


def test_a_client_that_leaves_within_its_body_leaves_no_room_taken(server: Server):
    for _ in range(10):
        with connect(server) as connection:
            connection.sendall(request(ask("x" * 150_000))[:100_000])
    until = time.monotonic() + 20  # that they have left is heard of sooner or later
    while (answer := server.predict(value="x" * 150_000)).status_code != 200:
        assert answer.status_code == 503
        assert time.monotonic() < until
        time.sleep(0.05)


def test_a_server_that_stops_answers_first(tmp_path):
    with running(tmp_path) as server, connect(server) as connection:
        (worker,) = server.workers()
        last = {"id": "last", "input": {"do": "until", "file": str(tmp_path / "go")}}
        connection.sendall(request(json.dumps(last).encode()))
        server.wait_for("BUSY")
        server.process.terminate()
        server.wait_for_talk("1 predictions may finish")
        (tmp_path / "go").touch()
        _, body = read_answer(connection)
        assert json.loads(body)["status"] == "succeeded"
        assert connection.recv(1) == b""
        assert server.process.wait(60) == 0
        assert not is_alive(worker)


def test_cortex_answers_the_same_on_both_ways(tmp_path):
    with running(tmp_path, api(tmp_path, "iris", "cortex"), kind="cortex") as server:
        server.wait_for("READY")
        plain = server.client.post("/iris", content=b"data", headers={"x-a": "1"})
        general = server.client.post("/iris?a=b", content=b"data", headers={"x-a": "1"})
        assert plain.status_code == general.status_code == 200
        assert set(plain.headers) == set(general.headers)
        first, second = plain.json(), general.json()
        assert (first["head"].pop("query"), second["head"].pop("query")) == ("", "a=b")
        assert first == second
        refused = server.client.post("/iris", content=b"crash")
        assert (refused.status_code, refused.text) == (500, "Internal Server Error")
