"""What clients cannot do to the server: fill its memory, hold its connections, confuse it."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.service.support import Server, api, running

PATIENCE = 1.5  # a client that something holds up for a moment between two pieces may go on


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    root = tmp_path_factory.mktemp("project")
    with running(root, api(root), patience=PATIENCE) as one:
        yield one


def connect(server: Server) -> socket.socket:
    return socket.create_connection(("127.0.0.1", server.port), timeout=10)


def read_all(connection: socket.socket) -> bytes:
    answer = b""
    try:
        while piece := connection.recv(65536):
            answer += piece
    except ConnectionResetError:
        pass
    return answer


def rss(server: Server) -> int:
    """Bytes of memory that the front has."""
    for line in Path(f"/proc/{server.process.pid}/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) * 1024
    raise AssertionError


def test_bodies_that_wait_have_a_bound_together(tmp_path):
    body = json.dumps({"input": {"do": "sleep", "seconds": 60, "pad": "x" * 1_000_000}}).encode()
    kind = {"content-type": "application/json", "prefer": "respond-async"}
    with running(tmp_path, max_held_bytes=3_500_000) as server:
        statuses = [server.client.post("/predictions", content=body, headers=kind).status_code for _ in range(3)]
        assert statuses == [202] * 3
        refused = server.client.post("/predictions", content=body, headers=kind)
        assert refused.status_code == 503
        assert refused.headers["retry-after"] == "1"
        assert "fill the 3500000 bytes" in refused.json()["error"]
        assert server.predict(value=1, headers={"prefer": "respond-async"}).status_code == 202  # a small one has room
        for known in server.client.get("/predictions").json()["results"]:
            server.client.post(f"/predictions/{known['id']}/cancel")
        until = time.monotonic() + 60
        while (answer := server.client.post("/predictions", content=body, headers=kind)).status_code != 202:
            assert answer.status_code == 503
            assert time.monotonic() < until
            time.sleep(0.05)
        server.client.post(f"/predictions/{answer.json()['id']}/cancel")


def test_chunked_bodies_count_as_they_come(tmp_path):
    def pieces() -> Iterator[bytes]:
        for _ in range(50):
            yield b" " * 10_000

    with running(tmp_path, max_held_bytes=100_000) as server:
        refused = server.client.post("/predictions", content=pieces(), headers={"content-type": "application/json"})
        assert refused.status_code == 503
        assert server.predict(value=1).json()["output"] == 1


def test_refused_and_finished_requests_leave_no_body_behind(server: Server):
    body = json.dumps({"input": {"pad": "x" * 4_000_000, "bad": 1}}).encode()
    kind = {"content-type": "application/json"}
    for _ in range(5):
        server.client.post("/predictions", content=body, headers=kind)
    before = rss(server)
    for _ in range(40):
        assert server.client.post("/predictions", content=body, headers=kind).status_code == 422
    assert rss(server) - before < 64 * 1024 * 1024


@pytest.mark.parametrize(
    "start",
    [
        b"POST /predictions HTTP/1.1\r\nhost: x\r\ncontent-ty",
        b"GET /livez HTTP/1.1\r\nhost: x\r\n",
        b"G",
    ],
)
def test_a_head_that_never_ends_is_a_408(server: Server, start: bytes):
    with connect(server) as connection:
        connection.sendall(start)
        assert read_all(connection).startswith(b"HTTP/1.1 408 ")


def test_a_head_that_drips_is_a_408_too(server: Server):
    with connect(server) as connection:
        stop = threading.Event()

        def drip() -> None:
            while not stop.wait(0.05):
                try:
                    connection.sendall(b"x")
                except OSError:
                    return

        connection.sendall(b"GET /livez HTTP/1.1\r\nx-slow: ")
        threading.Thread(target=drip, daemon=True).start()
        assert b" 408 " in read_all(connection)[:20]
        stop.set()


def test_a_body_that_stops_ends_the_connection(server: Server):
    with connect(server) as connection:
        connection.sendall(b"POST /predictions HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{")
        began = time.monotonic()
        assert read_all(connection) == b""
        assert time.monotonic() - began < 8


def test_a_connection_on_which_nothing_comes_is_closed(server: Server):
    with connect(server) as connection:
        assert read_all(connection) == b""


def test_a_client_that_does_not_read_its_answer_is_let_go(server: Server):
    with connect(server) as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        body = json.dumps({"input": {"value": "x" * 20_000_000}}).encode()
        head = b"POST /predictions HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(body)
        connection.sendall(head + body)
        until = time.monotonic() + 60
        while connections_of(server) > 1:  # the test's own client keeps one
            assert time.monotonic() < until
            time.sleep(0.05)
    assert server.predict(value=1).json()["output"] == 1


def connections_of(server: Server) -> int:
    """Established connections of the server's process, by its open sockets that have a peer."""
    count = 0
    own = set()
    for place in Path(f"/proc/{server.process.pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # it was just closed
            own.add(str(place.readlink()))
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        words = line.split()
        count += words[3] == "01" and f"socket:[{words[9]}]" in own
    return count


def test_a_head_without_end_of_size_is_a_431(server: Server):
    with connect(server) as connection:
        connection.sendall(b"GET /livez HTTP/1.1\r\nhost: x\r\nx-long: ")
        with pytest.raises(OSError):  # noqa: PT012 - it may be closed at any of the pieces
            for _ in range(64):
                connection.sendall(b"a" * 65536)
                time.sleep(0.005)
        # What came before the reset may be lost on the way; the next client is served.
    answer = server.raw(b"GET /livez HTTP/1.1\r\nhost: x\r\nx-long: " + b"a" * 70_000)
    assert answer.startswith(b"HTTP/1.1 431 ")


@pytest.mark.parametrize(
    "request_",
    [
        b"nonsense\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"POST /predictions HTTP/1.1\r\nhost: x\r\ncontent-length: -1\r\n\r\n",
        b"POST /predictions HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\nhello",
        b"POST /predictions HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST /predictions HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\nZZ\r\n",
        b"GET / HTTP/1.1\r\nbad header\r\n\r\n",
        b"GET /\x00 HTTP/1.1\r\nhost: x\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",  # a TLS client that speaks to a plain port
        b"CONNECT x:443 HTTP/1.1\r\nhost: x\r\n\r\n",
    ],
)
def test_what_is_no_http_is_refused_and_the_connection_closed(server: Server, request_: bytes):
    answer = server.raw(request_)
    assert answer.startswith((b"HTTP/1.1 400 ", b"HTTP/1.1 404 ")) or answer == b"", answer[:60]
    assert server.predict(value=2).json()["output"] == 2


def test_many_requests_in_one_piece_are_answered_one_by_one(server: Server):
    with connect(server) as connection:
        connection.sendall(b"GET /livez HTTP/1.1\r\nhost: x\r\n\r\n" * 50 + b"GET /livez HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        assert read_all(connection).count(b'{"live":true}') == 51


def test_a_client_that_leaves_while_it_waits_cancels_its_prediction(server: Server):
    with connect(server) as connection:
        body = json.dumps({"id": "left", "input": {"do": "sleep", "seconds": 30}}).encode()
        head = b"POST /predictions HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(body)
        connection.sendall(head + body)
        wait_for(server, "left", "processing")
    wait_for(server, "left", "canceled")


def wait_for(server: Server, id_: str, status: str) -> None:
    until = time.monotonic() + 60
    while server.client.get(f"/predictions/{id_}").json().get("status") != status:
        assert time.monotonic() < until
        time.sleep(0.01)


def test_more_connections_than_there_are_files_for_are_told_503(tmp_path):
    with running(tmp_path, files=340) as server:
        held: list[socket.socket] = []
        try:
            held.extend(connect(server) for _ in range(90))
            answer = httpx.get(f"{server.url}/livez", timeout=20)  # connections are taken in their order
            assert answer.status_code == 503
        finally:
            for one in held:
                one.close()
        until = time.monotonic() + 60
        while httpx.get(f"{server.url}/livez").status_code != 200:
            assert time.monotonic() < until
            time.sleep(0.05)
        assert server.predict(value=3).json()["output"] == 3


def test_a_page_of_another_site_cannot_stop_the_server(tmp_path):
    with running(tmp_path, extra={"allow_shutdown": True}) as server:
        assert server.client.post("/shutdown", headers={"origin": "https://evil.example"}).status_code == 403
        assert server.client.get("/livez").status_code == 200
        assert (server.client.post("/shutdown").status_code, server.process.wait(60)) == (200, 0)


@pytest.mark.parametrize("do", ["exit", "hang"])
def test_input_files_of_a_worker_that_ends_go_with_its_prediction(tmp_path, do: str):
    with running(tmp_path, predict_timeout=0.5, env={"TMPDIR": str(tmp_path)}) as server:
        server.predict("litter", then=do)
        folder = next(tmp_path.glob("lading-*"))
        until = time.monotonic() + 60
        while any(folder.iterdir()):
            assert time.monotonic() < until, list(folder.rglob("*"))
            time.sleep(0.02)
