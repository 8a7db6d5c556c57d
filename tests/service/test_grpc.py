"""APIs that are called by gRPC: a real server, real workers, grpcio's own client, reflection."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import os
import signal
import socket
import struct
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest
from google.protobuf import message_factory
from google.protobuf.descriptor_pool import DescriptorPool
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

from lading.client import Client as OurClient
from lading.grpc_client import call
from lading.model.problems import LadingError
from lading.service import grpc_calls
from lading.service.protoc import compile_proto
from tests.jobs.support import running
from tests.service.support import Server
from tests.service.test_descendants import wait_until

SOURCES = Path(__file__).parents[2] / "src"
PROTO = """
    syntax = "proto3";
    package {package};

    import "google/protobuf/duration.proto";
    import "common/shapes.proto";

    service Texts {{
      rpc Predict (Ask) returns (Answer);
      rpc Spell (Ask) returns (stream Answer);
      rpc Join (stream Ask) returns (Answer);
      rpc Chat (stream Ask) returns (stream Answer) {{ }}
    }}

    message Ask {{
      string text = 1;
      google.protobuf.Duration pause = 2;
      shapes.Box box = 3;
    }}

    message Answer {{
      string text = 1;
      Mood mood = 2;
      repeated Part parts = 3;
      enum Mood {{ CALM = 0; WILD = 1; }}
      message Part {{ bytes data = 1; }}
    }}
"""
SHAPES = 'syntax = "proto3"; package shapes; message Box { int32 width = 1; }\n'

HANDLER = """
    import os, time
    import texts_pb2
    from texts_pb2 import Answer

    class Handler:
        def __init__(self, config, module_proto_pb2):
            assert module_proto_pb2 is texts_pb2
            self.messages = module_proto_pb2
            self.closed = 0

        def Predict(self, payload, context):
            print("asked for", payload.text)
            if payload.text == "raise":
                raise ValueError("a secret")
            if payload.text == "abort":
                try:
                    context.abort(5, "not there")
                except Exception:
                    raise KeyError("in passing")
            if payload.text == "dict":
                return {"text": "no message"}
            if payload.text == "exit":
                os._exit(3)
            if payload.text == "sleep":
                time.sleep(20)
            if payload.text == "box":
                return Answer(text=str(payload.box.width), parts=[Answer.Part(data=b"\\x00")], mood=Answer.WILD)
            if payload.text == "metadata":
                context.send_initial_metadata([("early", "one"), ("Not-A-Key", "x")])
                context.set_trailing_metadata([("late", "two"), ("late-bin", b"\\x00\\xff")])
                told = dict(context.invocation_metadata())
                return Answer(text=" ".join([told["mine"], told["mine-bin"].hex(), str(10 < context.time_remaining() < 30)]))
            return self.messages.Answer(text=payload.text.upper())

        def Spell(self, payload):
            try:
                for letter in payload.text:
                    if letter == "!":
                        raise ValueError("too loud")
                    time.sleep(payload.pause.ToTimedelta().total_seconds())
                    yield Answer(text=letter)
            finally:
                self.closed += 1
                print("spelt", payload.text)

        def Join(self, payload):
            texts = [one.text for one in payload]
            if "left" in texts:
                print("the end of a stream that was broken off")
            return Answer(text="+".join(texts) + str(self.closed))

        def Chat(self, payload, context):
            for one in payload:
                if one.text == "end":
                    context.set_code(3)
                    context.set_details("as asked")
                    return
                if one.text == "large":
                    for _ in range(300):
                        yield Answer(text="x" * 100_000)
                if one.text == "small":
                    for _ in range(3000):
                        yield Answer(text="x" * 10_000)
                if one.text == "huge":
                    for _ in range(30):
                        yield Answer(text="x" * 900_000)
                yield Answer(text=one.text * 2)
"""

PREDICTOR = """
    class PythonPredictor:
        def __init__(self, config, proto_module_pb2):
            self.answer = proto_module_pb2.Answer

        def predict(self, payload):
            return self.answer(text="predictor " + payload.text)
"""


def _methods(**streams: tuple[bool, bool]) -> dict[str, Any]:
    return {name: {"takes_stream": takes, "gives_stream": gives} for name, (takes, gives) in streams.items()}


ALL = _methods(Predict=(False, False), Spell=(False, True), Join=(True, False), Chat=(True, True))


def _project(root: Path) -> None:
    (root / "common").mkdir(parents=True)
    (root / "common" / "shapes.proto").write_text(SHAPES)
    (root / "texts.proto").write_text(textwrap.dedent(PROTO.format(package="my_texts")))
    (root / "other.proto").write_text('syntax = "proto3"; package other; message Answer { string text = 1; }\n'
        "service Other { rpc Predict (Answer) returns (Answer); }\n")  # fmt: skip
    (root / "handler.py").write_text(textwrap.dedent(HANDLER))
    (root / "predictor.py").write_text(textwrap.dedent(PREDICTOR))


def _api(
    root: Path, name: str, file: str, object_: str, proto: str, service: str, methods: dict[str, Any], **worker: Any
) -> dict[str, Any]:
    told = {"path": proto, "service": service, "methods": methods, "descriptors": base64.b64encode(compile_proto(root, proto)).decode()}
    cortex = {"kind": "RealtimeAPI", "type": "python", "grpc": told}
    spec = {"python": sys.executable, "root": str(root), "style": "cortex", "file": file, "object": object_, "cortex": cortex, **worker}
    return {"name": name, "endpoint": f"/{service}/Predict", "worker": spec}


def _texts(root: Path, **worker: Any) -> dict[str, Any]:
    return _api(root, "my-texts", "handler.py", "Handler", "texts.proto", "my_texts.Texts", ALL, **worker)


class Client:
    """grpcio's client, which knows the messages by reflection alone. ``options`` are those of a channel."""

    def __init__(self, port: int, *options: tuple[str, int]) -> None:
        self.channel = grpc.insecure_channel(f"127.0.0.1:{port}", options=[("grpc.max_receive_message_length", -1), *options])
        self.database = ProtoReflectionDescriptorDatabase(self.channel)
        self.pool = DescriptorPool(self.database)

    def message(self, name: str) -> Any:
        return message_factory.GetMessageClass(self.pool.FindMessageTypeByName(name))

    def call(self, method: str, kind: str = "unary_unary", service: str = "my_texts.Texts", **types: str) -> Any:
        asked, told = self.message(types.get("ask", "my_texts.Ask")), self.message(types.get("answer", "my_texts.Answer"))
        make = getattr(self.channel, kind)
        return make(f"/{service}/{method}", request_serializer=asked.SerializeToString, response_deserializer=told.FromString)

    def ask(self, text: str = "", **fields: Any) -> Any:
        return self.message("my_texts.Ask")(text=text, **fields)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    root = tmp_path_factory.mktemp("grpc")
    _project(root)
    plain = "class PythonPredictor:\n    def __init__(self, config): pass\n    def predict(self, payload): return payload\n"
    (root / "plain.py").write_text(plain)
    other = _methods(Predict=(False, False))
    apis = [
        _texts(root),
        _api(root, "other", "predictor.py", "PythonPredictor", "other.proto", "other.Other", other),
        {
            "name": "plain",
            "worker": {
                "python": sys.executable,
                "root": str(root),
                "style": "cortex",
                "file": "plain.py",
                "object": "PythonPredictor",
                "cortex": {"kind": "RealtimeAPI"},
            },
        },
    ]
    with running(root, apis=apis, max_body_bytes=1_000_000) as started:
        started.wait_for("READY")
        yield started


@pytest.fixture(scope="module")
def client(server: Server) -> Iterator[Client]:
    client = Client(server.port)
    yield client
    client.channel.close()


def test_one_port_serves_http_and_several_services_with_reflection(server, client):
    assert set(client.database.get_services()) >= {"my_texts.Texts", "other.Other", "grpc.reflection.v1alpha.ServerReflection"}
    assert client.call("Predict")(client.ask("hello")).text == "HELLO"
    mine = client.call("Predict", service="other.Other", ask="other.Answer", answer="other.Answer")
    assert mine(client.message("other.Answer")(text="too")).text == "predictor too"
    assert server.client.post("/plain", json=[1]).json() == [1]
    refused = server.client.post("/my_texts.Texts/Predict", json={})
    assert (refused.status_code, "called by gRPC" in refused.text) == (415, True)
    assert server.client.get("/").json()["apis"]["my-texts"] == "/my_texts.Texts/Predict"
    assert server.client.get("/my_texts.Texts/Predict").json()["methods"][0] == "/my_texts.Texts/Predict"
    answer = client.call("Predict")(client.ask("box", box={"width": 7}))
    assert (answer.text, answer.mood, answer.parts[0].data) == ("7", 1, b"\0")


def test_the_command_lines_client_asks_with_json(server):
    ours = OurClient(server.url)
    assert ours.predict("my-texts", {"text": "hello"}) == {"text": "HELLO"}
    assert ours.predict("my-texts", {"text": "box", "box": {"width": 7}}) == {"text": "7", "mood": "WILD", "parts": [{"data": "AA=="}]}
    assert "called by gRPC" in str(server.client.get("/my_texts.Texts/Predict").json()["message"])
    assert call(server.url, "/my_texts.Texts/Chat", [{"text": "a"}, {"text": "b"}]) == [{"text": "aa"}, {"text": "bb"}]
    for payload, rule, said in (
        ({"txet": "a"}, "input-invalid", "txet"),
        ([1], "input-invalid", "The payload is no message for /my_texts.Texts/Predict"),
        ({"text": "abort"}, "server-refused", "NOT_FOUND: not there"),
    ):
        with pytest.raises(LadingError) as raised:
            ours.predict("my-texts", payload)
        (problem,) = raised.value.problems
        assert problem.rule == rule
        assert said in problem.what


def test_reflection_finds_files_by_what_is_in_them_and_says_what_it_does_not_know(client):
    for symbol in ("my_texts.Texts", "my_texts.Texts.Chat", "my_texts.Answer.Part", "my_texts.Answer.Mood", "shapes.Box"):
        assert client.database.FindFileContainingSymbol(symbol).name in ("texts.proto", "common/shapes.proto")
    assert client.database.FindFileByName("google/protobuf/duration.proto").package == "google.protobuf"
    with pytest.raises(KeyError):
        client.database.FindFileContainingSymbol("my_texts.Nothing")
    newer = client.channel.stream_stream("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo")
    assert b"my_texts.Texts" in next(newer(iter([b"\x3a\x00"])))


@pytest.mark.parametrize(
    ("text", "code", "details"),
    [
        ("raise", grpc.StatusCode.INTERNAL, "internal server error"),
        ("abort", grpc.StatusCode.NOT_FOUND, "not there"),
        ("dict", grpc.StatusCode.INTERNAL, "Failed to serialize response!"),
        ("exit", grpc.StatusCode.INTERNAL, "internal server error"),
    ],
)
def test_a_call_that_fails_says_so_by_its_status(server, client, text, code, details):
    with pytest.raises(grpc.RpcError) as raised:
        client.call("Predict")(client.ask(text), wait_for_ready=True, timeout=10)
    assert (raised.value.code(), raised.value.details()) == (code, details)
    if text == "dict":
        server.wait_for_talk("Predict returns my_texts.Answer, and the predictor returned the dict")
    if text == "exit":
        server.wait_for("READY")


def test_what_is_no_message_or_no_method_or_too_large_is_refused(client):
    raw = client.channel.unary_unary("/my_texts.Texts/Predict")
    for body, code, details in (
        (b"\xff\xff", grpc.StatusCode.INTERNAL, "Exception deserializing request!"),
        (b"x" * 1_000_001, grpc.StatusCode.RESOURCE_EXHAUSTED, "larger than max"),
    ):
        with pytest.raises(grpc.RpcError) as raised:
            raw(body)
        assert raised.value.code() == code
        assert details in raised.value.details()
    for path in ("/my_texts.Texts/Nothing", "/plain", "/none.None/Predict"):
        with pytest.raises(grpc.RpcError) as raised:
            client.channel.unary_unary(path)(b"")
        assert raised.value.code() == grpc.StatusCode.UNIMPLEMENTED


def test_metadata_goes_both_ways(client):
    mine = [("mine", "a"), ("mine-bin", b"\x01\xff")]
    answer, call = client.call("Predict").with_call(client.ask("metadata"), metadata=mine, timeout=20)
    assert answer.text == "a 01ff True"
    assert dict(call.initial_metadata()) == {"early": "one"}
    assert dict(call.trailing_metadata()) == {"late": "two", "late-bin": b"\x00\xff"}


def test_a_deadline_ends_the_call_and_stops_the_model(server, client):
    began = time.monotonic()
    with pytest.raises(grpc.RpcError) as raised:
        client.call("Predict")(client.ask("sleep"), timeout=0.4)
    assert raised.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED
    assert client.call("Predict")(client.ask("next"), timeout=10).text == "NEXT"
    assert time.monotonic() - began < 5


def test_answers_come_as_a_stream_while_the_model_makes_them(client):
    endless = client.call("Spell", "unary_stream")(client.ask("ab" * 1000, pause={"nanos": 100_000_000}), timeout=60)
    assert [next(endless).text, next(endless).text] == ["a", "b"]
    endless.cancel()
    assert [one.text for one in client.call("Spell", "unary_stream")(client.ask("abc"))] == ["a", "b", "c"]
    with pytest.raises(grpc.RpcError) as raised:
        list(client.call("Spell", "unary_stream")(client.ask("ab!c")))
    assert (raised.value.code(), raised.value.details()) == (grpc.StatusCode.INTERNAL, "internal server error")


def test_a_client_that_leaves_a_stream_ends_it(client):
    before = int(client.call("Join", "stream_unary")(iter([])).text)
    stream = client.call("Spell", "unary_stream")(client.ask("x" * 1000, pause={"nanos": 10_000_000}))
    next(stream)
    stream.cancel()
    assert client.call("Join", "stream_unary")(iter([]), timeout=10).text == str(before + 1)


def test_a_client_that_reads_nothing_and_leaves_costs_no_worker(server, client):
    before = server.workers()
    stream = client.call("Chat", "stream_stream")(iter([client.ask("huge")]), timeout=60)
    next(stream)
    time.sleep(0.5)
    stream.cancel()
    began = time.monotonic()
    assert client.call("Predict")(client.ask("next"), timeout=10).text == "NEXT"
    assert time.monotonic() - began < 4
    assert server.workers() == before


def test_a_stream_that_its_client_breaks_off_does_not_end_for_the_model(server, client):
    for _ in range(20):
        stay = threading.Event()

        def asks(stay: threading.Event = stay) -> Iterator[Any]:
            yield client.ask("left")
            stay.wait(60)

        stream = client.call("Join", "stream_unary").future(asks())
        time.sleep(0.03)
        stream.cancel()
        stay.set()
    assert client.call("Predict")(client.ask("after them"), timeout=10).text == "AFTER THEM"
    server.wait_for_talk("asked for after them")
    assert "the end of a stream" not in server.talk
    assert client.call("Join", "stream_unary")(iter([client.ask("left")]), timeout=10).text[:4] == "left"
    server.wait_for_talk("the end of a stream")


def test_a_stream_that_is_broken_off_while_the_server_is_held_up_does_not_end_for_the_model():
    """A loop that is held up finds gRPC's two words of a client that left, the end of its messages and that it left, at once with timers that are due."""
    ends: list[str] = []
    begun, left = asyncio.Event(), asyncio.Event()

    async def taking(messages: Any, _context: Any) -> bytes:
        async def feed() -> None:
            async for _ in messages:
                pass
            asyncio.get_running_loop().call_soon(time.sleep, 0.05)  # meanwhile gRPC's second word comes, and the pause is over
            await grpc_calls._cancelation_would_be_known()
            ends.append("whole")

        feeding = asyncio.create_task(feed())
        begun.set()
        try:
            await asyncio.sleep(60)
        finally:
            feeding.cancel()
            left.set()
        return b""

    class Handler(grpc.GenericRpcHandler):  # type: ignore[misc]
        def service(self, _details: Any) -> Any:
            return grpc.stream_unary_rpc_method_handler(taking)

    async def one_call(port: int) -> None:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            call = channel.stream_unary("/a/b")()
            await call.write(b"x")
            await asyncio.wait_for(begun.wait(), 60)
            call.cancel()
            await asyncio.wait_for(left.wait(), 60)
            begun.clear()
            left.clear()

    async def run() -> None:
        server = grpc.aio.server()
        server.add_generic_rpc_handlers([Handler()])
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        for _ in range(50):
            await one_call(port)
        await server.stop(0)

    asyncio.run(run())
    assert ends == []


def test_a_stream_whose_client_leaves_before_it_runs_holds_nobody_up(server, client):
    before, stay = server.workers(), threading.Event()

    def asks() -> Iterator[Any]:
        yield client.ask("waiting")
        stay.wait(60)

    first = client.call("Spell", "unary_stream")(client.ask("ab", pause={"nanos": 400_000_000}))
    second = client.call("Join", "stream_unary").future(asks())
    assert next(first).text == "a"
    second.cancel()
    stay.set()
    assert [one.text for one in first] == ["b"]
    began = time.monotonic()
    assert client.call("Predict")(client.ask("next"), timeout=10).text == "NEXT"
    assert time.monotonic() - began < 4
    assert server.workers() == before


def test_requests_come_as_a_stream(client):
    texts = ["a", "b", "c"]
    assert client.call("Join", "stream_unary")(client.ask(text) for text in texts).text[:5] == "a+b+c"
    many = client.call("Join", "stream_unary")((client.ask("y" * 10_000) for _ in range(500)), timeout=60)
    assert many.text.count("y") == 5_000_000


def test_a_call_that_comes_while_a_stream_is_open_waits_for_it_and_loses_nothing(server, client):
    go_on = threading.Event()

    def asks() -> Iterator[Any]:
        yield client.ask("a")
        go_on.wait(60)
        yield client.ask("b")

    stream = client.call("Join", "stream_unary").future(asks(), timeout=20)
    _wait_for_streams(server, running=1, waiting=0)
    others = [client.call("Predict").future(client.ask(f"n{number}"), timeout=20) for number in range(20)]
    time.sleep(0.2)
    assert not any(one.done() for one in others)
    go_on.set()
    assert stream.result().text[:3] == "a+b"
    assert [one.result().text for one in others] == [f"N{number}" for number in range(20)]


def test_threads_take_streams_side_by_side(tmp_path):
    _project(tmp_path)
    with running(tmp_path, apis=[_texts(tmp_path, threads=4)]) as server:
        server.wait_for("READY")
        client = Client(server.port)
        meeting = threading.Barrier(4, timeout=10)

        def asks(name: str) -> Iterator[Any]:
            for number in range(50):
                if number == 25:
                    meeting.wait()
                yield client.ask(f"{name}{number}")

        streams = [client.call("Chat", "stream_stream")(asks(name), timeout=20) for name in "abcd"]
        for name, stream in zip("abcd", streams, strict=True):
            assert [one.text for one in stream] == [f"{name}{number}" * 2 for number in range(50)]
        client.channel.close()


def test_messages_that_there_is_no_room_for_are_refused(tmp_path):
    _project(tmp_path)
    with running(tmp_path, apis=[_texts(tmp_path)], max_held_bytes=10_000, max_queue=2) as server:
        server.wait_for("READY")
        client = Client(server.port)
        for method, kind in (("Predict", "unary_unary"), ("Spell", "unary_stream")):
            with pytest.raises(grpc.RpcError) as raised:
                list(client.call(method, kind)(client.ask("x" * 20_000), timeout=10))
            assert raised.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
            assert "10000 bytes" in raised.value.details()
        go_on = threading.Event()

        def asks(text: str) -> Iterator[Any]:
            yield client.ask(text)
            go_on.wait(60)

        open_ones = [client.call("Join", "stream_unary").future(asks(text)) for text in "abc"]
        _wait_for_streams(server, running=1, waiting=2)
        with pytest.raises(grpc.RpcError) as raised:
            client.call("Predict")(client.ask("one too many"), timeout=10)
        assert raised.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
        assert "the queue is full" in raised.value.details()
        go_on.set()
        assert [one.result(60).text for one in open_ones] == ["a0", "b0", "c0"]
        client.channel.close()


def _wait_for_streams(server: Server, running: int, waiting: int) -> None:
    """Until so many predictions run, and so many wait."""
    wanted = {f'lading_predictions_running{{api="my-texts"}} {running}.0', f'lading_queue_length{{api="my-texts"}} {waiting}.0'}
    wait_until(lambda: wanted <= set(server.client.get("/metrics").text.splitlines()), wanted)


def test_a_prediction_that_takes_too_long_is_told_so(tmp_path):
    _project(tmp_path)
    with running(tmp_path, apis=[_texts(tmp_path)], predict_timeout=0.5) as server:
        server.wait_for("READY")
        client = Client(server.port)
        with pytest.raises(grpc.RpcError) as raised:
            client.call("Predict")(client.ask("sleep"), timeout=10)
        assert (raised.value.code(), raised.value.details()) == (grpc.StatusCode.DEADLINE_EXCEEDED, "prediction timed out after 0.5 s")
        client.channel.close()


def test_both_sides_talk_in_turns(client):
    ready, heard = threading.Semaphore(1), []

    def asks() -> Iterator[Any]:
        for text in ("one", "two", "end", "never"):
            ready.acquire(timeout=10)
            yield client.ask(text)

    stream = client.call("Chat", "stream_stream")(asks(), timeout=20)

    def listen() -> None:
        for answer in stream:
            heard.append(answer.text)
            ready.release()

    with pytest.raises(grpc.RpcError) as raised:
        listen()
    assert heard == ["oneone", "twotwo"]
    assert (raised.value.code(), raised.value.details()) == (grpc.StatusCode.INVALID_ARGUMENT, "as asked")
    # The messages that nobody has taken stay behind, and the next call is answered as ever.
    assert client.call("Predict")(client.ask("next"), timeout=10).text == "NEXT"


def test_a_client_that_reads_slowly_costs_no_memory(server, client):
    def peak() -> int:
        return int(Path(f"/proc/{server.process.pid}/status").read_text().split("VmHWM:")[1].split()[0])

    before = peak()
    stream = client.call("Chat", "stream_stream")(iter([client.ask("large")]), timeout=60)
    next(stream)
    time.sleep(0.5)
    assert sum(len(answer.text) for answer in stream) == 299 * 100_000 + len("largelarge")
    assert peak() - before < 20 * 1024


def test_a_client_that_reads_nothing_gets_its_answers_no_longer_than_it_may(tmp_path):
    _project(tmp_path)
    with running(tmp_path, apis=[_texts(tmp_path)], patience=0.6) as server:
        server.wait_for("READY")
        # Without the probe a client takes 64 KiB ahead, however busy the machine is.
        client, other = Client(server.port, ("grpc.http2.bdp_probe", 0)), Client(server.port)
        before = server.workers()
        slow = client.call("Chat", "stream_stream")(iter([client.ask("small")]), timeout=60)
        next(slow)
        assert other.call("Predict")(other.ask("next"), timeout=10).text == "NEXT"
        with pytest.raises(grpc.RpcError) as raised:
            list(slow)
        assert (raised.value.code(), raised.value.details()) == (grpc.StatusCode.CANCELLED, "the client did not take its answers in time")
        with socket.create_connection(("127.0.0.1", server.port), timeout=10) as deaf:
            deaf.sendall(_open_windows() + _raw_call("/my_texts.Texts/Chat", b"\x0a\x04huge"))
            time.sleep(0.5)
            assert other.call("Predict")(other.ask("next"), timeout=10).text == "NEXT"
            count = _until_it_ends(deaf)
            assert 900_000 < count < 30 * 900_000
        assert server.workers() == before
        client.channel.close()
        other.channel.close()


def _open_windows() -> bytes:
    """HTTP/2's preface of a client that lets the other side send 2 GiB at once."""
    settings = struct.pack("!HI", 4, (1 << 31) - 1)
    return b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + _frame(4, 0, 0, settings) + _frame(8, 0, 0, struct.pack("!I", (1 << 31) - 65536))


def _raw_call(path: str, message: bytes) -> bytes:
    pairs = {":method": "POST", ":scheme": "http", ":path": path, ":authority": "a", "te": "trailers", "content-type": "application/grpc"}
    head = b"".join(b"\0%c%b%c%b" % (len(name), name.encode(), len(value), value.encode()) for name, value in pairs.items())
    return _frame(1, 4, 1, head) + _frame(0, 1, 1, struct.pack("!BI", 0, len(message)) + message)


def _frame(kind: int, flags: int, stream: int, body: bytes) -> bytes:
    return len(body).to_bytes(3, "big") + struct.pack("!BBI", kind, flags, stream) + body


def _until_it_ends(connection: socket.socket) -> int:
    """How many bytes come until the server ends a connection."""
    count = 0
    with contextlib.suppress(ConnectionResetError):
        while piece := connection.recv(1 << 20):
            count += len(piece)
    return count


def test_calls_that_run_may_finish_when_the_server_stops(tmp_path):
    _project(tmp_path)
    with running(tmp_path, apis=[_texts(tmp_path)]) as server:
        server.wait_for("READY")
        client = Client(server.port)
        stream = client.call("Spell", "unary_stream")(client.ask("abc", pause={"nanos": 300_000_000}))
        assert next(stream).text == "a"
        server.process.send_signal(signal.SIGTERM)
        assert [one.text for one in stream] == ["b", "c"]
        assert server.process.wait(60) == 0
        client.channel.close()


def test_calls_that_take_too_long_when_the_server_stops_may_be_tried_elsewhere(tmp_path):
    _project(tmp_path)
    with running(tmp_path, apis=[_texts(tmp_path)], drain_seconds=0.3) as server:
        server.wait_for("READY")
        client = Client(server.port)
        call = client.call("Predict").future(client.ask("sleep"))
        server.wait_for_talk("asked for sleep")
        server.process.send_signal(signal.SIGTERM)
        assert call.exception(10).code() == grpc.StatusCode.UNAVAILABLE
        assert "the server was stopped" in call.details()
        client.channel.close()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_no_folder_stays(tmp_path, number):
    _project(tmp_path)
    folder = tmp_path / "t"
    folder.mkdir()
    with running(tmp_path, apis=[_texts(tmp_path)], environ={"TMPDIR": str(folder)}) as server:
        server.wait_for("READY")
        assert list(folder.glob("lading-*/grpc"))
        server.stop(number)
        wait_until(lambda: not list(folder.glob("lading-*")), list(folder.glob("lading-*")))


def test_a_client_that_leaves_ends_the_stream_of_workers_that_others_have_taken_the_place_of(tmp_path):
    _project(tmp_path)
    with running(tmp_path, apis=[_texts(tmp_path)]) as server:
        server.wait_for("READY")
        token = json.loads((tmp_path / "jobs" / "server.json").read_text())["token"]
        client = Client(server.port)
        stream = client.call("Spell", "unary_stream")(client.ask("long" * 10, pause={"nanos": 200_000_000}))
        assert next(stream).text == "l"
        assert OurClient(server.url, token=token).refresh("my-texts")["message"] == "refreshed my-texts"
        stream.cancel()
        server.wait_for_talk("spelt long", seconds=4)
        client.channel.close()


def test_an_api_is_started_anew_and_taken_away_while_a_client_is_connected(tmp_path):
    _project(tmp_path)
    with running(tmp_path, apis=[_texts(tmp_path)]) as server:
        server.wait_for("READY")
        client, ours = (
            Client(server.port),
            OurClient(server.url, token=json.loads((tmp_path / "jobs" / "server.json").read_text())["token"]),
        )
        stream = client.call("Spell", "unary_stream")(client.ask("abc", pause={"nanos": 300_000_000}))
        assert next(stream).text == "a"
        handler = (tmp_path / "handler.py").read_text()
        (tmp_path / "handler.py").write_text(handler.replace("payload.text.upper()", "payload.text.title()"))
        assert ours.refresh("my-texts")["message"] == "refreshed my-texts"
        assert client.call("Predict")(client.ask("new")).text == "New"
        assert [one.text for one in stream] == ["b", "c"]
        assert ours.delete_api("my-texts")["message"] == "deleted my-texts"
        with pytest.raises(grpc.RpcError) as raised:
            client.call("Predict")(client.ask("gone"))
        assert raised.value.code() == grpc.StatusCode.UNIMPLEMENTED
        assert "my_texts.Texts" not in client.database.get_services()
        client.channel.close()


def test_a_call_that_comes_before_setup_is_done_is_told_to_try_again(tmp_path):
    _project(tmp_path)
    waits = "import os, time\nwhile not os.path.exists('go'):\n    time.sleep(0.01)\n"
    (tmp_path / "handler.py").write_text(waits + textwrap.dedent(HANDLER))
    with running(tmp_path, apis=[_texts(tmp_path)]) as server:
        channel = grpc.insecure_channel(f"127.0.0.1:{server.port}")
        with pytest.raises(grpc.RpcError) as raised:
            channel.unary_unary("/my_texts.Texts/Predict")(b"")
        assert raised.value.code() == grpc.StatusCode.UNAVAILABLE
        channel.close()
        (tmp_path / "go").touch()
        server.wait_for("READY")


def test_more_connections_than_there_is_room_for_are_closed_and_the_others_go_on(tmp_path):
    _project(tmp_path)
    with running(tmp_path, apis=[_texts(tmp_path)], files=330) as server:
        server.wait_for("READY")
        client = Client(server.port)
        assert client.call("Predict")(client.ask("first")).text == "FIRST"
        others = [socket.create_connection(("127.0.0.1", server.port), timeout=5) for _ in range(40)]
        for one in others:
            one.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0")
        assert sum(_is_served(one) for one in others) == 18 - 1
        assert client.call("Predict")(client.ask("still")).text == "STILL"
        for one in others:
            one.close()
        until = time.monotonic() + 60
        while not _opens(server.port):
            assert time.monotonic() < until
        client.channel.close()


def _is_served(connection: socket.socket) -> bool:
    try:
        return bool(connection.recv(9))
    except ConnectionResetError:
        return False


def _opens(port: int) -> bool:
    with socket.create_connection(("127.0.0.1", port), timeout=5) as one:
        one.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0")
        return _is_served(one)


def test_http_2_is_refused_where_no_api_is_called_by_grpc(tmp_path):
    (tmp_path / "p.py").write_text("class PythonPredictor:\n    def __init__(self, config): pass\n    def predict(self): return 1\n")
    spec = {"python": sys.executable, "root": str(tmp_path), "style": "cortex", "file": "p.py", "object": "PythonPredictor"}
    with running(tmp_path, apis=[{"name": "p", "worker": spec}]) as server:
        answer = server.raw(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 400 ")
        with httpx.Client(base_url=server.url) as client:
            assert client.get("/livez").status_code == 200


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ('syntax = "proto3";\npackage a;\nmessage M { strnig x = 1; }\n', 3, '"strnig" is not defined.'),
        ('syntax = "proto3";\nimport "gone.proto";\n', 2, 'Import "gone.proto" was not found or had errors.'),
    ],
)
def test_a_file_that_protoc_refuses_is_told_with_its_line(tmp_path, text, line, message):
    (tmp_path / "a.proto").write_text(text)
    with pytest.raises(LadingError) as raised:
        compile_proto(tmp_path, "a.proto")
    (problem,) = raised.value.problems
    assert (problem.rule, str(problem.origin)) == ("proto-invalid", f"a.proto:{line}")
    assert str(tmp_path) not in str(problem.as_json())
    assert message in problem.what


def test_a_compiler_that_does_not_end_is_told(tmp_path):
    (tmp_path / "a.proto").write_text('syntax = "proto3";\n')
    with pytest.raises(LadingError) as told:
        compile_proto(tmp_path, "a.proto", seconds=0.001)
    (problem,) = told.value.problems
    assert (problem.rule, problem.what) == ("proto-timeout", "a.proto was not compiled within 0.001 s.")


def test_what_has_to_be_installed_is_named(tmp_path):
    (tmp_path / "a.proto").write_text('syntax = "proto3";')
    code = (
        "import sys; sys.path[:0] = sys.argv[2:]\nfrom lading.service.protoc import compile_proto\nfrom pathlib import Path\n"
        "try: compile_proto(Path(sys.argv[1]), 'a.proto')\n"
        "except Exception as error: print(error.problems[0].rule, error.problems[0].instead)\n"
    )
    # Without the packages that are installed here.
    told = subprocess.run([sys.executable, "-S", "-c", code, tmp_path, SOURCES], capture_output=True, text=True, check=True)
    assert told.stdout.startswith("grpc-not-installed Install lading[grpc]")


def test_old_protobufs_make_the_same_messages(tmp_path):
    """Set TEST_PROTOBUF_PYTHONS to interpreters that have protobuf (3.6 with 3.19, say), separated by colons."""
    pythons = [path for path in os.environ.get("TEST_PROTOBUF_PYTHONS", "").split(os.pathsep) if path]
    if not pythons:
        pytest.skip("TEST_PROTOBUF_PYTHONS names no interpreters that have protobuf")
    for number, python in enumerate(pythons):
        root = tmp_path / str(number)
        _project(root)
        with running(root, apis=[_texts(root, python=python)]) as server:
            server.wait_for("READY")
            client = Client(server.port)
            assert client.call("Predict")(client.ask("box", box={"width": 7}), timeout=10).parts[0].data == b"\0"
            assert [one.text for one in client.call("Spell", "unary_stream")(client.ask("abc"))] == ["a", "b", "c"]
            assert client.call("Join", "stream_unary")(iter([client.ask("a"), client.ask("b")])).text == "a+b1"
            client.channel.close()
