"""The gateway, in front of servers that refuse, hang, break off and come back: real sockets, a real process."""

from __future__ import annotations

import contextlib
import http.server
import itertools
import json
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

Behaviour = Callable[[http.server.BaseHTTPRequestHandler], None]


class Backend:
    """A server that does with each request what ``behaviour`` says, and keeps what it was asked."""

    def __init__(self, behaviour: Behaviour, bound: socket.socket | None = None) -> None:
        self.asked: list[tuple[str, str, bytes]] = []
        backend = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_one_request(self) -> None:
                with contextlib.suppress(ConnectionError):
                    super().handle_one_request()

            def answer(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length", 0)))
                backend.asked.append((self.command, self.path, body))
                behaviour(self)

            do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = do_OPTIONS = answer  # noqa: N815 -- the names that the handler looks for

            def log_message(self, *_: object) -> None:
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler, bind_and_activate=bound is None)
        if bound is not None:
            self.server.socket.close()
            self.server.socket = bound
            self.server.server_address = bound.getsockname()
            self.server.server_activate()
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


def respond(handler: http.server.BaseHTTPRequestHandler, status: int = 200, body: bytes = b"fine", *, own: bool = False) -> None:
    handler.send_response(status)
    if own:
        handler.send_header("lading-error", "own")
    handler.send_header("content-length", str(len(body)))
    handler.send_header("x-own", "yes")
    handler.end_headers()
    if handler.command != "HEAD":
        handler.wfile.write(body)


def hang(handler: http.server.BaseHTTPRequestHandler) -> None:
    time.sleep(20)
    handler.close_connection = True


def break_off(handler: http.server.BaseHTTPRequestHandler) -> None:
    handler.send_response(200)
    handler.send_header("content-length", "100")
    handler.end_headers()
    handler.wfile.write(b"half")
    handler.close_connection = True


def fail(handler: http.server.BaseHTTPRequestHandler) -> None:
    respond(handler, 503, b"not now")


def reach_nobody(handler: http.server.BaseHTTPRequestHandler) -> None:
    """As Ray's ingress, whatever became of the replicas."""
    respond(handler, 500, b"Internal Server Error")


def know_no_route(handler: http.server.BaseHTTPRequestHandler) -> None:
    respond(handler, 404, b"Path '%b' not found. Ping http://.../-/routes for available routes." % handler.path.encode())


@pytest.fixture
def backends() -> Iterator[Callable[[Behaviour], Backend]]:
    made: list[Backend] = []

    def make(behaviour: Behaviour) -> Backend:
        made.append(Backend(behaviour))
        return made[-1]

    yield make
    for one in made:
        one.close()


@contextlib.contextmanager
def gateway(*urls: str, options: tuple[str, ...] = ()) -> Iterator[httpx.Client]:
    command = [sys.executable, "-m", "lading", "gateway", *urls, "-p", "0", *options]
    with subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True) as process:
        assert process.stderr is not None
        line = process.stderr.readline()
        found = re.search(r"http://\S+", line)
        assert found, line + process.stderr.read()
        try:
            with httpx.Client(base_url=found[0], timeout=30) as client:
                yield client
        finally:
            process.terminate()
        assert process.wait(60) == 0


@pytest.fixture(scope="module")
def dead() -> Iterator[str]:
    """The address of a server that nobody reaches."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))  # it refuses, and nobody else can listen there
        yield f"http://127.0.0.1:{bound.getsockname()[1]}"


def test_a_request_goes_through_as_it_is(backends):
    one = backends(respond)
    with gateway(f"{one.url}/below/") as client:
        answer = client.put("/predictions/a%2Fb?x=1", content=b"x" * 300_000, headers={"x-mine": "1"})
        assert (answer.status_code, answer.content, answer.headers["x-own"]) == (200, b"fine", "yes")
        assert client.head("/").status_code == 200
        assert client.get("/again").text == "fine"
    assert one.asked[0] == ("PUT", "/below/predictions/a%2Fb?x=1", b"x" * 300_000)


@pytest.mark.parametrize("behaviour", [fail, reach_nobody, break_off, hang])
def test_what_may_be_repeated_comes_through(backends, dead, behaviour):
    bad, good = backends(behaviour), backends(respond)
    with gateway(bad.url, good.url, dead, options=("--patience", "0.3")) as client:
        began = time.monotonic()
        for number in range(6):
            assert client.put(f"/predictions/{number}", content=b"{}").text == "fine"
        assert time.monotonic() - began < 18  # the one that hangs does so for 20 s
    assert len(good.asked) >= 6


KEY = {"idempotency-key": "k"}


def jobs(submit: Behaviour) -> Behaviour:
    """A server of jobs, which says that it honors keys."""

    def behaviour(handler: http.server.BaseHTTPRequestHandler) -> None:
        if handler.command != "OPTIONS":
            submit(handler)
            return
        handler.send_response(204)
        handler.send_header("lading-idempotency-key", "honored")
        handler.end_headers()

    return behaviour


def drop(handler: http.server.BaseHTTPRequestHandler) -> None:
    handler.close_connection = True


def test_what_has_a_key_is_repeated_where_the_server_honors_keys(backends, dead):
    def drop_two(handler: http.server.BaseHTTPRequestHandler) -> None:
        (drop if submissions() < 3 else respond)(handler)

    def submissions() -> int:
        return sum(method == "POST" for method, _, _ in one.asked)

    one = backends(jobs(drop_two))
    with gateway(one.url, dead) as client:
        assert (client.post("/batch", content=b"{}", headers=KEY).text, submissions()) == ("fine", 3)
        assert client.post("/batch", content=b"{}").text == "fine"
    assert {path for _, path, _ in one.asked} == {"/batch"}


def test_what_has_a_key_is_not_run_twice_where_the_server_does_not_know_keys(backends):
    one = backends(lambda handler: (respond if handler.command == "OPTIONS" else drop)(handler))
    with gateway(one.url) as client:
        assert client.post("/predictions", content=b"{}", headers=KEY).status_code == 502
        assert client.post("/predictions", content=b"{}").status_code == 502
    assert [method for method, _, _ in one.asked] == ["POST", "OPTIONS", "POST"]


@pytest.mark.parametrize("behaviour", [fail, break_off])
def test_what_has_a_key_is_not_repeated_once_something_of_an_answer_is_there(backends, behaviour):
    one = backends(jobs(behaviour))
    with gateway(one.url) as client, contextlib.suppress(httpx.HTTPError):
        assert client.post("/batch", content=b"{}", headers=KEY).status_code in (200, 503)
    assert [method for method, _, _ in one.asked] == ["POST"]


def test_what_has_a_key_is_not_repeated_for_mere_patience(backends):
    def slow(handler: http.server.BaseHTTPRequestHandler) -> None:
        time.sleep(1.5)
        respond(handler)

    one = backends(jobs(slow))
    with gateway(one.url, options=("--patience", "0.2")) as client:
        assert client.post("/batch", content=b"{}", headers=KEY).text == "fine"
    assert [method for method, _, _ in one.asked] == ["POST"]


def test_what_has_a_key_waits_for_a_server_that_nobody_reaches_yet():
    bound = socket.socket()
    bound.bind(("127.0.0.1", 0))  # it refuses until somebody listens
    late: list[Backend] = []
    beginning = threading.Timer(1.5, lambda: late.append(Backend(respond, bound)))
    with gateway(f"http://127.0.0.1:{bound.getsockname()[1]}") as client:
        beginning.start()
        try:
            assert client.post("/predictions", content=b"{}", headers=KEY).text == "fine"
        finally:
            beginning.join()
            late[0].close()


def test_a_node_that_knows_no_routes_yet_is_not_believed(backends):
    new, good = backends(know_no_route), backends(respond)
    with gateway(new.url, good.url) as client:
        assert [client.put(f"/predictions/{number}", content=b"{}").text for number in range(4)] == ["fine"] * 4
    with gateway(new.url, new.url) as client:
        nowhere = client.put("/nowhere", content=b"{}")
        assert (nowhere.status_code, nowhere.text[:23]) == (404, "Path '/nowhere' not fou")
    own = backends(lambda handler: respond(handler, 404, b'{"detail":"Not Found"}'))
    with gateway(own.url) as client:
        assert client.put("/nowhere", content=b"{}").status_code == 404
    assert len(own.asked) == 1


@pytest.mark.parametrize("method", ["PUT", "POST"])
def test_bodies_that_find_no_room_are_refused_at_once(backends, method):
    begun, go_on = threading.Event(), threading.Event()

    def wait(handler: http.server.BaseHTTPRequestHandler) -> None:
        begun.set()
        go_on.wait(60)
        respond(handler)

    one = backends(wait)
    with gateway(one.url, options=("--max-body", "1M", "--max-held", "1M", "--patience", "60")) as client, ThreadPoolExecutor() as pool:
        first = pool.submit(client.request, method, "/predictions/a", content=b"x" * 700_000)
        assert begun.wait(60)
        try:
            for content in (b"x" * 700_000, iter([b"x" * 700_000])):
                refused = client.request(method, "/predictions/b", content=content)
                assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
                assert "1048576 bytes" in refused.json()["error"]
        finally:
            go_on.set()
        assert first.result().text == "fine"
        until = time.monotonic() + 60  # the room is free a moment after the answer is there
        while (third := client.request(method, "/predictions/c", content=b"x" * 700_000)).status_code == 503:
            assert time.monotonic() < until
            time.sleep(0.05)
        assert third.text == "fine"
        assert client.request(method, "/predictions/d", content=b"x" * 1_100_000).status_code == 413


def test_an_answer_that_finds_no_room_comes_all_the_same(backends):
    one = backends(lambda handler: respond(handler, 200, b"x" * 2_000_000))
    with gateway(one.url, options=("--max-body", "1M", "--max-held", "1M")) as client:
        assert [len(client.put("/predictions/a", content=b"{}").content) for _ in range(3)] == [2_000_000] * 3


def test_what_may_not_be_repeated_is_sent_to_one_server_alone(backends, dead):
    broken = backends(break_off)
    good = backends(respond)
    with gateway(dead, good.url) as client:
        assert [client.post("/predictions", content=b"{}").text for _ in range(4)] == ["fine"] * 4
    with gateway(broken.url) as client, contextlib.suppress(httpx.HTTPError):
        assert client.post("/predictions", content=b"{}").status_code in (200, 502)
    assert len(broken.asked) == 1


def test_an_answer_that_no_server_has_is_told_in_time(dead):
    with gateway(dead, options=("--deadline", "1")) as client:
        began = time.monotonic()
        assert client.put("/predictions/a", content=b"{}").status_code == 504
        assert time.monotonic() - began < 20
        assert client.post("/predictions", content=b"{}").status_code == 502


@pytest.mark.parametrize("refuse", [fail, reach_nobody])
def test_a_service_that_is_away_for_a_while_is_waited_for(backends, dead, refuse):
    def away(handler: http.server.BaseHTTPRequestHandler) -> None:
        behaviour = refuse if len(one.asked) < 7 else respond
        behaviour(handler)

    one = backends(away)
    with gateway(one.url, dead) as client:
        assert client.put("/predictions/a", content=b"{}").text == "fine"
    assert len(one.asked) == 7


def test_what_a_server_says_itself_is_believed_after_a_few_times(backends):
    """A predictor that fails, one that takes too long, and a probe that asks whether the server is ready."""
    for method, status in (("PUT", 500), ("PUT", 504), ("GET", 503)):
        one = backends(lambda handler, status=status: respond(handler, status, b"mine", own=True))
        with gateway(one.url) as client:
            answer = client.request(method, "/predictions/a")
            assert (answer.status_code, answer.text, len(one.asked)) == (status, "mine", 4)


def test_a_full_queue_is_believed_after_a_few_times_and_asked_no_more_often_than_it_says(backends):
    times: list[float] = []

    def full(handler: http.server.BaseHTTPRequestHandler) -> None:
        times.append(time.monotonic())
        handler.send_response(503)
        for name, value in (("lading-error", "own"), ("retry-after", "1"), ("content-length", "4")):
            handler.send_header(name, value)
        handler.end_headers()
        handler.wfile.write(b"full")

    one = backends(full)
    with gateway(one.url) as client:
        answer = client.put("/predictions/a", content=b"{}")
    assert (answer.status_code, answer.text, answer.headers["retry-after"], len(one.asked)) == (503, "full", "1", 4)
    assert min(after - before for before, after in itertools.pairwise(times)) > 0.9


@pytest.mark.parametrize(("refuse", "status", "text"), [(fail, 503, "not now"), (reach_nobody, 500, "Internal Server Error")])
def test_the_last_answer_is_passed_on_at_the_deadline(backends, dead, refuse, status, text):
    one = backends(refuse)
    with gateway(one.url, dead, options=("--deadline", "2")) as client:
        for method in ("GET", "PUT"):
            answer = client.request(method, "/predictions/a")
            assert (answer.status_code, answer.text, answer.headers["x-own"]) == (status, text, "yes")
    assert len(one.asked) > 2  # each time more than once


def test_a_202_is_the_answer_to_all_but_a_put(backends):
    def drop_the_first(handler: http.server.BaseHTTPRequestHandler) -> None:
        if len(one.asked) == 1:
            handler.close_connection = True
        else:
            respond(handler, 202, b"stopping")

    one = backends(drop_the_first)
    with gateway(one.url) as client:
        answer = client.delete("/jobs/a")
    assert (answer.status_code, answer.text, len(one.asked)) == (202, "stopping", 2)


def test_a_prediction_that_runs_already_is_waited_for(backends):
    begun: dict[str, float] = {}

    def once(handler: http.server.BaseHTTPRequestHandler) -> None:
        running = handler.path in begun
        begin = begun.setdefault(handler.path, time.monotonic())
        if running and time.monotonic() < begin + 2:
            respond(handler, 202, b"processing")
            return
        time.sleep(max(0, begin + 2 - time.monotonic()))
        respond(handler)

    one = backends(once)
    with gateway(one.url, options=("--patience", "0.3")) as client:
        assert (client.put("/predictions/a", content=b"{}").status_code, 1 < len(one.asked) < 15) == (200, True)
        begun["/predictions/b"] = time.monotonic() + 60  # it runs on
        assert client.put("/predictions/b", content=b"{}", headers={"prefer": "respond-async"}).status_code == 202


def test_events_come_as_they_are_sent(backends):
    arrived, heard = threading.Event(), list[bool]()

    def stream(handler: http.server.BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("content-type", "text/event-stream")
        handler.send_header("transfer-encoding", "chunked")
        handler.end_headers()
        for text in (b"data: 1\n\n", b"data: 2\n\n"):
            handler.wfile.write(b"%x\r\n%b\r\n" % (len(text), text))
            handler.wfile.flush()
            heard.append(arrived.wait(20))
        handler.wfile.write(b"0\r\n\r\n")

    one = backends(stream)
    with gateway(one.url) as client, client.stream("POST", "/predictions", content=b"{}") as answer:
        pieces = answer.iter_raw()
        first = next(pieces)
        arrived.set()
        assert (first, b"".join(pieces)) == (b"data: 1\n\n", b"data: 2\n\n")
    assert heard == [True, True]


def test_a_long_prediction_is_waited_for(backends):
    def slow(handler: http.server.BaseHTTPRequestHandler) -> None:
        time.sleep(2)
        respond(handler)

    one = backends(slow)
    with gateway(one.url, options=("--patience", "0.1")) as client:
        assert client.put("/predictions/a", content=b"{}").text == "fine"
    assert len(one.asked) <= 10  # 6, or some more where something is slow; with one and the same patience it would be 20


def half(handler: http.server.BaseHTTPRequestHandler) -> None:
    """The beginning of an answer, and then nothing."""
    handler.send_response(200)
    handler.send_header("transfer-encoding", "chunked")
    handler.end_headers()
    handler.wfile.write(b"4\r\nhalf\r\n")
    handler.wfile.flush()
    time.sleep(15)
    handler.close_connection = True


def test_an_answer_that_stops_in_the_middle_is_asked_for_again_or_broken_off(backends):
    stuck, good = backends(half), backends(respond)
    with gateway(stuck.url, good.url, options=("--patience", "0.3")) as client:
        assert [client.put(f"/predictions/{number}", content=b"{}").text for number in range(4)] == ["fine"] * 4
    with gateway(stuck.url, options=("--deadline", "1")) as client:
        began = time.monotonic()
        with pytest.raises(httpx.RemoteProtocolError):
            client.post("/predictions", content=b"{}")
        assert time.monotonic() - began < 12  # the server would go on for 15 s


def test_a_chunked_answer_that_is_cut_off_is_not_taken_for_a_whole_one(backends):
    def cut(handler: http.server.BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("transfer-encoding", "Chunked")
        handler.send_header("connection", "close")
        handler.end_headers()
        handler.wfile.write(b"4\r\nhalf\r\n")
        handler.close_connection = True

    def until_the_end(handler: http.server.BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("connection", "close")
        handler.end_headers()
        handler.wfile.write(b"whole")
        handler.close_connection = True

    with gateway(backends(cut).url) as client, pytest.raises(httpx.RemoteProtocolError):
        client.post("/predictions", content=b"{}")
    with gateway(backends(cut).url, backends(until_the_end).url) as client:
        assert [client.put(f"/predictions/{number}", content=b"{}").text for number in range(4)] == ["whole"] * 4


@pytest.mark.parametrize("url", ["https://x", "http://[::1", "http://x:99999", "ftp://x", "http://u@x"])
def test_what_is_no_address_is_a_problem(url):
    ran = subprocess.run([sys.executable, "-m", "lading", "gateway", url, "--json"], capture_output=True, text=True, check=False)
    assert ran.returncode == 2
    (problem,) = json.loads(ran.stdout or ran.stderr)["problems"]
    assert problem["rule"] == "usage"
