"""Traces and error reports, sent to real receivers on loopback: one for OTLP over HTTP, one that speaks Sentry's envelopes."""

from __future__ import annotations

import contextlib
import gzip
import json
import secrets
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import msgspec
import pytest

from lading.service.error_reports import start_error_reports
from lading.service.log import ServiceLog
from lading.service.tracing import _from_jaeger, _tags, wanted
from tests.service.support import running
from tests.worker.harness import make_spec
from tests.worker.test_whole_server import serving

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "1111111111111111"
PARENT = {"traceparent": f"00-{TRACE}-{SPAN}-01"}
CODE = """
    from typing import Iterator
    from cog import BasePredictor
    from opentelemetry import trace

    tracer = trace.get_tracer("model")

    class Predictor(BasePredictor):
        def predict(self, do: str) -> str:
            with tracer.start_as_current_span("model.inference"):
                if do == "raise":
                    raise ValueError("the reason")
                return do
"""


class Receiver(ThreadingHTTPServer):
    """Keeps what is posted to it."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.got: list[tuple[str, bytes]] = []
        self.url = f"http://127.0.0.1:{self.server_address[1]}"


class _Handler(BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        coding = self.headers.get("Content-Encoding")
        self.server.got.append(
            (self.path, gzip.decompress(body) if coding == "gzip" else zlib.decompress(body) if coding == "deflate" else body)
        )
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_args: object) -> None:
        pass


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield server
        server.shutdown()


def spans(receiver: Receiver) -> list[dict[str, Any]]:
    """Every span that was received, with the names of things."""
    service = pytest.importorskip("opentelemetry.proto.collector.trace.v1.trace_service_pb2")
    found = []
    for path, body in receiver.got:
        assert path == "/v1/traces"
        for resource in service.ExportTraceServiceRequest.FromString(body).resource_spans:
            role = {one.key: one.value.string_value for one in resource.resource.attributes}["cog.process.role"]
            for span in (span for scope in resource.scope_spans for span in scope.spans):
                attributes = {one.key: one.value.string_value or one.value.int_value for one in span.attributes}
                times = (span.start_time_unix_nano, span.end_time_unix_nano)
                ids = {"trace": span.trace_id.hex(), "id": span.span_id.hex(), "parent": span.parent_span_id.hex()}
                found.append({"name": span.name, "role": role, "times": times, "status": span.status.code, **ids, "about": attributes})
    return found


@contextlib.contextmanager
def traced(tmp_path, receiver: Receiver, code: str = CODE, **variables: str) -> Iterator[Any]:
    pytest.importorskip("opentelemetry.sdk")
    pytest.importorskip("opentelemetry.exporter.otlp.proto.http")
    env = {"COG_TRACE_CONFIGURED": "true", "OTEL_EXPORTER_OTLP_ENDPOINT": receiver.url, "OTEL_BSP_SCHEDULE_DELAY": "50", **variables}
    with serving(tmp_path, code, env=env) as server:
        yield server


def wait_for(receiver: Receiver, enough: Callable[[list[dict[str, Any]]], bool]) -> list[dict[str, Any]]:
    until = time.monotonic() + 60
    while not enough(found := spans(receiver)):
        assert time.monotonic() < until, found
        time.sleep(0.05)
    return found


def test_a_prediction_continues_its_clients_trace_down_to_the_models_own_spans(tmp_path, receiver):
    with traced(tmp_path, receiver) as server:
        context = {"trace.model.name": "org/model", "secret": "not told"}
        body = {"id": "one", "input": {"do": "x"}, "context": context}
        assert server.client.post("/predictions", json=body, headers=PARENT).json()["output"] == "x"
        failed = server.client.put("/predictions/two", json={"input": {"do": "raise"}}, headers=PARENT).json()
        assert failed["status"] == "failed"
        assert server.client.post("/predictions", json={"input": {"do": "untraced"}}).json()["output"] == "untraced"
        found = wait_for(receiver, lambda found: len(found) >= 12)
    first = {span["name"]: span for span in found if span["trace"] == TRACE and span["times"][0] < min(_times(found, "two"))}
    assert set(first) == {
        "POST /predictions",
        "cog.prediction",
        "cog.prediction.execute",
        "cog.prediction.prepare_input",
        "cog.prediction.invoke",
        "model.inference",
    }
    above = {name: next((other for other in first if first[other]["id"] == span["parent"]), span["parent"]) for name, span in first.items()}
    assert above == {
        "POST /predictions": SPAN,
        "cog.prediction": "POST /predictions",
        "cog.prediction.execute": "cog.prediction",
        "cog.prediction.prepare_input": "cog.prediction.execute",
        "cog.prediction.invoke": "cog.prediction.execute",
        "model.inference": "cog.prediction.invoke",
    }
    assert first["model.inference"]["role"] == "worker"
    assert first["cog.prediction"]["about"] == {
        "cog.prediction.id": "one",
        "cog.prediction.status": "succeeded",
        "cog.prediction.response_mode": "sync",
        "caller.model.name": "org/model",
    }
    assert all(start <= end for start, end in (span["times"] for span in first.values()))
    [second] = [span for span in found if span["about"].get("cog.prediction.id") == "two" and span["name"] == "cog.prediction"]
    assert (second["status"], second["about"]["cog.prediction.status"]) == (2, "failed")
    assert len({span["trace"] for span in found}) == 1  # what nobody traces stays untraced


def test_predictions_that_share_an_event_loop_keep_their_traces_apart(tmp_path, receiver):
    code = """
        import asyncio
        import cog
        from cog import AsyncConcatenateIterator, BasePredictor
        from opentelemetry import trace

        tracer = trace.get_tracer("model")

        class Predictor(BasePredictor):
            @cog.concurrent(max=4)
            async def predict(self, do: str) -> AsyncConcatenateIterator[str]:
                for word in ("a", "b"):
                    await asyncio.sleep(0.05)
                    with tracer.start_as_current_span(f"model.{do}"):
                        await asyncio.sleep(0.05)
                    yield word
    """
    ids = {name: f"{number:032x}" for number, name in enumerate(("one", "two", "three", "four"), start=1)}
    with traced(tmp_path, receiver, code=code) as server:

        def ask(name: str) -> None:
            server.client.post("/predictions", json={"input": {"do": name}}, headers={"traceparent": f"00-{ids[name]}-{SPAN}-01"})

        asking = [threading.Thread(target=ask, args=(name,)) for name in ids]
        for thread in asking:
            thread.start()
        for thread in asking:
            thread.join()
        found = wait_for(receiver, lambda found: sum(span["name"].startswith("model.") for span in found) == 8)
        found = wait_for(receiver, lambda found: sum(span["name"] == "cog.prediction.invoke" for span in found) == 4)
    invoked = {span["id"]: span["trace"] for span in found if span["name"] == "cog.prediction.invoke"}
    assert all(
        invoked[span["parent"]] == span["trace"] == ids[span["name"].removeprefix("model.")]
        for span in found
        if span["name"].startswith("model.")
    )


def _times(found: list[dict[str, Any]], id_: str) -> list[int]:
    whole = next(span for span in found if span["about"].get("cog.prediction.id") == id_ and span["name"] == "cog.prediction")
    return [next(span["times"][0] for span in found if span["id"] == whole["parent"])]


def test_traces_of_their_own_where_the_sampler_says_so_and_a_header_of_jaegers(tmp_path, receiver):
    variables = {"COG_TRACE_SAMPLER": "always_on", "COG_TRACE_HEADER": "uber-trace-id", "COG_TRACE_HEADER_FORMAT": "jaeger"}
    with traced(tmp_path, receiver, **variables) as server:
        server.client.post("/predictions", json={"input": {"do": "own"}})
        server.client.post("/predictions", json={"input": {"do": "given"}}, headers={"uber-trace-id": f"{TRACE}:{SPAN}:0:1"})
        server.client.post("/predictions", json={"input": {"do": 5}}, headers={"traceparent": "nonsense"})
        setup = {"cog.setup", "cog.setup.predictor"}
        wait_for(receiver, lambda found: setup <= {span["name"] for span in found})
        found = wait_for(receiver, lambda found: sum(span["name"] == "POST /predictions" for span in found) == 3)
    roots = {span["trace"]: span["parent"] for span in found if span["name"] == "POST /predictions"}
    assert roots.pop(TRACE) == SPAN
    assert set(roots.values()) == {""}
    assert len(roots) == 2
    assert sorted(span["about"]["http.response.status_code"] for span in found if span["name"] == "POST /predictions") == [200, 200, 422]


def test_what_cannot_be_traced_is_said_once_and_served_all_the_same(tmp_path):
    with running(tmp_path, env={"COG_TRACE_CONFIGURED": "true", "COG_METRICS_CONFIGURED": "true"}) as server:
        assert server.predict().status_code == 200
        server.wait_for_talk("OTEL_EXPORTER_OTLP_ENDPOINT")
        assert server.talk.count("COG_METRICS_CONFIGURED asks for metrics by OpenTelemetry, which are not sent") == 1
        assert server.talk.count("OTEL_EXPORTER_OTLP_ENDPOINT does not say where to") == 1


@pytest.mark.slow
def test_a_collector_that_does_not_answer_decides_about_nothing(tmp_path, receiver):
    gone = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9", "COG_TRACE_SAMPLER": "always_on"}
    with traced(tmp_path, receiver, **gone) as server:
        assert server.client.post("/predictions", json={"input": {"do": "x"}}).json()["output"] == "x"
        began = time.monotonic()
        assert server.stop() == 0
        assert time.monotonic() - began < 12


@pytest.mark.parametrize(
    ("variables", "asked"),
    [
        ({}, False),
        ({"COG_TRACE_ENABLED": "true"}, False),
        ({"COG_TRACE_CONFIGURED": "TRUE"}, True),
        ({"COG_TRACE_CONFIGURED": "1", "COG_TRACE_ENABLED": "no"}, False),
        ({"COG_TRACE_CONFIGURED": "1", "OTEL_SDK_DISABLED": "true"}, False),
        ({"COG_TRACE_CONFIGURED": "1", "OTEL_TRACES_EXPORTER": "none"}, False),
    ],
)
def test_who_opts_in_and_out(variables: dict[str, str], *, asked: bool):
    assert wanted(variables) is asked


def test_a_callers_tags_are_few_short_and_its_own():
    assert _tags({"trace.a": "x" * 500, "a": "b", "trace.b c": "d", "trace.": "e"}) == {"caller.a": "x" * 128}
    assert len(_tags({f"trace.{number}": "x" for number in range(50)})) == 16
    assert _tags({"trace.u": "ü" * 100}) == {"caller.u": "ü" * 64}


def test_jaegers_ids_are_filled_up():
    assert _from_jaeger("abc:1:0:3") == f"00-{'abc':0>32}-{'1':0>16}-01"
    assert _from_jaeger("abc:1:0") == _from_jaeger("x:1:0:1") == ""


# Sentry


def envelopes(receiver: Receiver) -> list[dict[str, Any]]:
    return [json.loads(body.splitlines()[2]) for path, body in receiver.got if path == "/api/7/envelope/"]


def test_errors_of_the_service_are_reported_and_a_models_are_not(tmp_path, receiver):
    pytest.importorskip("sentry_sdk")
    dsn = receiver.url.replace("//", "//public@") + "/7"
    code = "import os\nclass Predictor:\n    def predict(self, do: str) -> str:\n        if do == 'raise': raise ValueError('mine')\n        os._exit(3)\n"
    with serving(tmp_path, code, env={"SENTRY_DSN": dsn, "SENTRY_ENVIRONMENT": "test"}) as server:
        server.client.post("/predictions", json={"input": {"do": "raise"}})
        for _ in range(5):
            server.client.post("/predictions", json={"input": {"do": "exit"}})
        server.wait_for("DEFUNCT")
        assert server.stop() == 0
    [event] = envelopes(receiver)
    assert event["environment"] == "test"
    assert event["level"] == "error"
    assert "is DEFUNCT" in event["message"]


def test_a_setup_that_fails_is_reported_by_its_kind_and_place_alone(tmp_path, receiver):
    pytest.importorskip("sentry_sdk")
    dsn = receiver.url.replace("//", "//public@") + "/7"
    secret = secrets.token_hex(8)
    setup = f"    def setup(self):\n        print('with {secret}')\n        raise ValueError('not {secret}')\n"
    code = f"class Predictor:\n{setup}    def predict(self) -> str: return ''\n"
    model = {"name": "model", "worker": msgspec.to_builtins(make_spec(tmp_path, code)), "processes": 1, "endpoint": None}
    with running(tmp_path, model, env={"SENTRY_DSN": dsn}, ready=False, extra={"worker_main": None}) as server:
        server.wait_for("SETUP_FAILED")
        server.wait_for_talk(f"not {secret}")
        server.stop()
    [event] = envelopes(receiver)
    assert event["message"] == "model: setup failed: ValueError (predict.py:4)"
    assert secret not in str(receiver.got)


def test_what_an_error_is_reported_with_holds_no_values_of_ours(receiver):
    pytest.importorskip("sentry_sdk")
    log = ServiceLog()
    reports = start_error_reports({"SENTRY_DSN": receiver.url.replace("//", "//public@") + "/7"}, log)
    assert reports is not None

    def answer(body: str) -> None:
        raise RuntimeError(len(body))

    secret = secrets.token_hex(8)
    try:
        answer(secret)
    except RuntimeError as error:
        log.say("error", "failed", error=error)
    reports.close()
    [event] = envelopes(receiver)
    assert event["exception"]["values"][0]["stacktrace"]["frames"][-1]["function"] == "answer"
    assert secret not in str(event)


def test_an_address_that_is_none_is_said_without_its_key(tmp_path):
    pytest.importorskip("sentry_sdk")
    with running(tmp_path, env={"SENTRY_DSN": "https://key-of-mine@/"}) as server:
        assert server.predict().status_code == 200
        server.wait_for_talk("SENTRY_DSN is not an address of Sentry's")
        assert "key-of-mine" not in server.talk
