"""Predictions as spans of a distributed trace (OpenTelemetry), as Cog's server has them.

A project opts in by ``observability`` of cog.yaml (``COG_TRACE_CONFIGURED``); ``OTEL_*`` variables say where spans go. For each prediction::

    POST /predictions
    └── cog.prediction
        └── cog.prediction.execute
            ├── cog.prediction.prepare_input
            └── cog.prediction.invoke       the model's own spans are below this one

The spans are made when a prediction is over: until then there are three numbers and a list of times, and nothing to lose.
"""

from __future__ import annotations

import os
import re
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from lading import __version__
from lading.service.calls import Call, CallEvent, EventKind, Result, Status
from lading.service.log import ServiceLog
from lading.service.pool import Setup

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.sampling import Sampler

_TRUE, _FALSE = ("1", "true", "yes"), ("0", "false", "no")
_TAGS, _TAG_NAME, _TAG_VALUE, _TAGS_SIZE = 16, 64, 128, 4096
_LAST_SECONDS = 1.0


def wanted(variables: Mapping[str, str], signal: str = "TRACE") -> bool:
    """Whether the project opted in to traces (or to ``METRICS``), and nobody opted out when it was started."""
    return (
        variables.get(f"COG_{signal}_CONFIGURED", "").lower() in _TRUE
        and variables.get(f"COG_{signal}_ENABLED", "true").lower() not in _FALSE
        and variables.get("OTEL_SDK_DISABLED", "false").lower() not in _TRUE
        and variables.get(f"OTEL_{signal.rstrip('S')}S_EXPORTER", "otlp") != "none"
    )


def start_tracing(variables: Mapping[str, str], log: ServiceLog) -> Tracing | None:
    """What makes the spans, where traces are wanted and can be sent; else None, with one warning if they were wanted."""
    if wanted(variables, "METRICS"):
        log.say("warning", "COG_METRICS_CONFIGURED asks for metrics by OpenTelemetry, which are not sent: /metrics has them for Prometheus")
    if not wanted(variables):
        return None
    if not (variables.get("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT") or variables.get("OTEL_EXPORTER_OTLP_ENDPOINT")):
        log.say("warning", "COG_TRACE_CONFIGURED asks for traces, and OTEL_EXPORTER_OTLP_ENDPOINT does not say where to: there are none")
        return None
    try:
        return Tracing(_provider(variables), variables)
    except ImportError as error:
        missing = "opentelemetry-exporter-otlp-proto-grpc" if "grpc" in str(error.name) else "'lading[tracing]'"
        log.say("warning", f"COG_TRACE_CONFIGURED asks for traces, and {error.name} is not beside Lading: pip install {missing}")
    except ValueError as error:
        log.say("warning", f"COG_TRACE_CONFIGURED asks for traces, and they cannot be made: {error}")
    return None


def _provider(variables: Mapping[str, str]) -> TracerProvider:
    from opentelemetry.sdk.resources import Resource  # noqa: PLC0415 - 200 ms, for those alone who asked for it
    from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
    from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415

    # OpenTelemetry reads its many variables itself; some may stand in cog.yaml or come by `-e`.
    os.environ.update({name: value for name, value in variables.items() if name.startswith("OTEL_")})
    names = {"service.name": variables.get("OTEL_SERVICE_NAME", "cog"), "service.version": __version__, "cog.process.role": "parent"}
    provider = TracerProvider(resource=Resource.create(names), sampler=_sampler(variables), id_generator=_ids(), shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(_exporter(variables)))
    return provider


def _exporter(variables: Mapping[str, str]) -> Any:
    protocol = variables.get("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL") or variables.get("OTEL_EXPORTER_OTLP_PROTOCOL") or "http/protobuf"
    if protocol == "grpc":
        from opentelemetry.exporter.otlp.proto.grpc import trace_exporter as by_grpc  # type: ignore[import-not-found,unused-ignore]  # noqa: PLC0415

        return by_grpc.OTLPSpanExporter()
    if protocol not in ("http", "http/protobuf"):
        raise ValueError(f"OTEL_EXPORTER_OTLP_PROTOCOL is {protocol}; write http/protobuf or grpc")
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415

    return OTLPSpanExporter()


def _sampler(variables: Mapping[str, str]) -> Sampler:
    from opentelemetry.sdk.trace import sampling  # noqa: PLC0415 - see above

    name = variables.get("OTEL_TRACES_SAMPLER") or variables.get("COG_TRACE_SAMPLER") or "parentbased_always_off"
    simple = {
        "always_on": sampling.ALWAYS_ON,
        "always_off": sampling.ALWAYS_OFF,
        "parentbased_always_on": sampling.DEFAULT_ON,
        "parentbased_always_off": sampling.DEFAULT_OFF,
    }
    if name in simple:
        return simple[name]
    ratio = float(variables.get("OTEL_TRACES_SAMPLER_ARG") or variables.get("COG_TRACE_SAMPLER_ARG") or "1")
    by_ratio = {"traceidratio": sampling.TraceIdRatioBased, "parentbased_traceidratio": sampling.ParentBasedTraceIdRatio}
    if name not in by_ratio:
        raise ValueError(f"there is no sampler {name}")
    return by_ratio[name](ratio)


def _ids() -> Any:
    """Makes ids of traces and spans; `planned` ones come first, in the thread that planned them."""
    from opentelemetry.sdk.trace.id_generator import RandomIdGenerator  # noqa: PLC0415 - see above

    class Ids(RandomIdGenerator):
        planned = threading.local()

        def generate_span_id(self) -> int:
            return self.planned.__dict__.pop("span", None) or super().generate_span_id()

        def generate_trace_id(self) -> int:
            return self.planned.__dict__.pop("trace", None) or super().generate_trace_id()

    return Ids()


@dataclass(slots=True)
class _Trace:
    """What is known of one prediction's trace before it is over. Times are in nanoseconds since the epoch."""

    parent: Context
    trace_id: int
    invoke_id: int
    method: str
    route: str
    mode: str
    tags: dict[str, str]
    began: int = field(default_factory=time.time_ns)


class Tracing:
    """Makes the spans of a server's predictions."""

    def __init__(self, provider: TracerProvider, variables: Mapping[str, str]) -> None:
        self._provider = provider
        self._tracer = provider.get_tracer("lading", __version__)
        self._header = variables.get("COG_TRACE_HEADER", "").lower().encode()
        self._jaeger = variables.get("COG_TRACE_HEADER_FORMAT") == "jaeger"

    def begin(
        self, headers: Mapping[bytes, bytes], context: Mapping[str, str], *, method: str, route: str, mode: str
    ) -> tuple[_Trace, dict[str, str]]:
        """A prediction was asked for: its trace, for `follow`, and the headers by which the worker's spans join it.

        ``mode`` is how the client waits: ``sync``, ``async`` or ``stream``. Entries of ``context`` that begin with ``trace.`` are tags.
        """
        from opentelemetry import trace  # noqa: PLC0415 - see above
        from opentelemetry.sdk.trace.sampling import Decision  # noqa: PLC0415

        parent = self._parent(headers)
        above = trace.get_current_span(parent).get_span_context()
        ids = self._provider.id_generator
        trace_id = above.trace_id if above.is_valid else ids.generate_trace_id()
        invoke_id = ids.generate_span_id()
        sampled = self._provider.sampler.should_sample(parent, trace_id, f"{method} {route}").decision is not Decision.DROP
        carried = {"traceparent": f"00-{trace_id:032x}-{invoke_id:016x}-{int(sampled):02x}"}
        if above.is_valid and above.trace_state:
            carried["tracestate"] = above.trace_state.to_header()
        return _Trace(parent, trace_id, invoke_id, method, route, mode, _tags(context)), carried

    def _parent(self, headers: Mapping[bytes, bytes]) -> Context:
        from opentelemetry import trace  # noqa: PLC0415 - see above
        from opentelemetry.context import Context  # noqa: PLC0415
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator  # noqa: PLC0415

        carrier = {name: headers[name.encode()].decode("latin-1") for name in ("traceparent", "tracestate") if name.encode() in headers}
        found = TraceContextTextMapPropagator().extract(carrier, Context())
        if trace.get_current_span(found).get_span_context().is_valid or self._header not in headers:
            return found
        text = headers[self._header].decode("latin-1")
        return TraceContextTextMapPropagator().extract({"traceparent": _from_jaeger(text) if self._jaeger else text}, Context())

    def follow(self, call: Call, trace: _Trace) -> None:
        """Make the spans of a call when it is over."""

        def watch(event: CallEvent) -> None:
            if event.kind is EventKind.COMPLETED and call.result is not None:
                self._make(call, call.result, trace)

        call.watchers.append(watch)

    def _make(self, call: Call, result: Result, known: _Trace) -> None:
        from opentelemetry.trace import SpanKind, set_span_in_context  # noqa: PLC0415 - see above

        word = "cog.train" if known.route.startswith("/trainings") else "cog.prediction"
        end = _ns(call.finished)
        planned = self._provider.id_generator.planned.__dict__  # type: ignore[attr-defined] # `_ids`
        planned["trace"] = known.trace_id
        request = self._tracer.start_span(
            f"{known.method} {known.route}",
            known.parent,
            SpanKind.SERVER,
            {"http.request.method": known.method, "http.route": known.route},
            start_time=known.began,
        )
        planned.clear()  # a trace that goes on has its id already
        status = 202 if known.mode == "async" else 422 if result.status is Status.INVALID else 200
        request.set_attribute("http.response.status_code", status)
        about = {f"{word}.id": call.id, f"{word}.status": str(result.status), f"{word}.response_mode": known.mode, **known.tags}
        whole = self._tracer.start_span(word, set_span_in_context(request), attributes=about, start_time=_ns(call.created))
        if result.error is not None or result.status is Status.INVALID:
            _fail(whole, result)
        if call.started is not None:
            began = _ns(call.started)
            execute = self._tracer.start_span(
                f"{word}.execute", set_span_in_context(whole), attributes={f"{word}.id": call.id}, start_time=began
            )
            inside = set_span_in_context(execute)
            invoked = end if result.predict_time is None else max(began, end - round(result.predict_time * 1e9))
            self._tracer.start_span(f"{word}.prepare_input", inside, start_time=began).end(invoked)
            if result.predict_time is not None:
                planned["span"] = known.invoke_id
                self._tracer.start_span(f"{word}.invoke", inside, start_time=invoked).end(end)
            execute.end(end)
        whole.end(end)
        request.end(end)

    def set_up(self, setup: Setup) -> None:
        """The model's setup is over: a trace of its own."""
        from opentelemetry.context import Context  # noqa: PLC0415 - see above
        from opentelemetry.trace import set_span_in_context  # noqa: PLC0415

        began, end = _ns(setup.started), _ns(setup.completed)
        whole = self._tracer.start_span("cog.setup", Context(), attributes={"cog.setup.status": setup.status}, start_time=began)
        invoked = began if setup.seconds is None else max(began, end - round(setup.seconds * 1e9))
        self._tracer.start_span("cog.setup.predictor", set_span_in_context(whole), start_time=invoked).end(end)
        whole.end(end)

    def close(self) -> None:
        """Send what is left, for a few seconds at most: a collector that does not answer holds nobody."""
        sending = threading.Thread(target=self._provider.shutdown, name="tracing", daemon=True)
        sending.start()
        sending.join(_LAST_SECONDS)


def _fail(span: Any, result: Result) -> None:
    from opentelemetry.trace import StatusCode  # noqa: PLC0415 - see above

    span.set_status(StatusCode.ERROR, result.error or "the input does not fit")
    span.set_attribute("error.type", str(result.cause or result.status))


def _ns(seconds: float | None) -> int:
    return time.time_ns() if seconds is None else round(seconds * 1e9)


def _from_jaeger(text: str) -> str:
    """``uber-trace-id`` (trace, span, parent and flags in hexadecimal, with colons) as a W3C ``traceparent``."""
    parts = text.split(":")
    if len(parts) < 4 or not all(re.fullmatch(r"[0-9a-fA-F]{1,32}", part) for part in (parts[0], parts[1], parts[3])):
        return ""
    return f"00-{parts[0].lower():0>32}-{parts[1].lower():0>16}-{int(parts[3], 16) & 1:02x}"


def _tags(context: Mapping[str, str]) -> dict[str, str]:
    """What the caller wants on the span, within Cog's bounds: sixteen short texts, whose names cannot be mistaken for ours."""
    tags: dict[str, str] = {}
    size = 0
    for name, value in context.items():
        suffix = name.removeprefix("trace.")
        if suffix == name or not re.fullmatch(rf"[A-Za-z0-9._-]{{1,{_TAG_NAME}}}", suffix) or len(tags) == _TAGS:
            continue
        kept = value.encode("utf-8", "replace")[:_TAG_VALUE].decode("utf-8", "ignore")
        size += len(suffix) + len(kept.encode())
        if size > _TAGS_SIZE:
            break
        tags[f"caller.{suffix}"] = kept
    return tags
