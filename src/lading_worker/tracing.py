"""The model's own spans (OpenTelemetry), joined to those that the front makes of its predictions.

As in Cog (``cog._trace``, 0.23): where the project opted in and the model's environment has OpenTelemetry's SDK, a provider is installed
before the model is imported, and each call runs in the context of its ``cog.prediction.invoke``. Nothing of it may fail a prediction.
"""

import atexit
import os
import sys

_TRUE, _FALSE = ("1", "true", "yes"), ("0", "false", "no")
_LAST_SECONDS = 1.0


def start(root, report):
    """Install a provider. Returns `attach`'s object, or None; ``report(error)`` is told what went wrong, if the project is not to blame.

    Raises:
        Exception: what the project's own module (``COG_OBSERVABILITY_CONFIG``) raises.
    """
    if not _wanted():
        return None
    config = os.environ.get("COG_OBSERVABILITY_CONFIG")
    try:
        from opentelemetry import trace
    except ImportError:
        return None  # then the model makes no spans
    if config:
        module = _load(os.path.join(root, config))
        provider = module.create_tracer_provider()
    else:
        module = None
        try:
            provider = _provider()
        except Exception as error:
            report(error)
            return None
        if provider is None:
            return None
    trace.set_tracer_provider(provider)
    if getattr(module, "configure_instrumentation", None) is not None:
        module.configure_instrumentation()
    atexit.register(_end, provider)
    return Tracing()


def _end(provider):
    """Send what is left, but not for long: a collector that does not answer holds nobody."""
    from threading import Thread

    sending = Thread(target=provider.shutdown, name="lading-tracing", daemon=True)
    sending.start()
    sending.join(_LAST_SECONDS)


def _wanted():
    return (
        os.environ.get("COG_TRACE_CONFIGURED", "").lower() in _TRUE
        and os.environ.get("COG_TRACE_ENABLED", "true").lower() not in _FALSE
        and os.environ.get("OTEL_SDK_DISABLED", "false").lower() not in _TRUE
    )


def _load(path):
    from importlib.util import module_from_spec, spec_from_file_location

    spec = spec_from_file_location("_cog_telemetry", path)
    module = module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def _provider():
    endpoint = os.environ.get("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT") or os.environ.get("OTEL_EXPORTER_OTLP_ENDPOINT")
    if not endpoint or os.environ.get("OTEL_TRACES_EXPORTER", "otlp") == "none":
        return None
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    protocol = os.environ.get("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL") or os.environ.get("OTEL_EXPORTER_OTLP_PROTOCOL")
    if protocol == "grpc":
        from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
    else:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    names = {"service.name": os.environ.get("OTEL_SERVICE_NAME", "cog"), "cog.process.role": "worker"}
    provider = TracerProvider(resource=Resource.create(names), sampler=_sampler(), shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return provider


def _sampler():
    from opentelemetry.sdk.trace import sampling

    # The front has decided for each prediction; what is made outside of any follows the project's own choice.
    name = os.environ.get("OTEL_TRACES_SAMPLER") or os.environ.get("COG_TRACE_SAMPLER") or "parentbased_always_off"
    if name in ("always_on", "parentbased_always_on"):
        return sampling.DEFAULT_ON
    if name.endswith("traceidratio"):
        ratio = os.environ.get("OTEL_TRACES_SAMPLER_ARG") or os.environ.get("COG_TRACE_SAMPLER_ARG") or "1"
        return sampling.ParentBasedTraceIdRatio(float(ratio))
    return sampling.DEFAULT_OFF


class Tracing:
    """Puts calls into the context of their spans."""

    def __init__(self):
        from opentelemetry import context
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        self._context, self._extract = context, TraceContextTextMapPropagator().extract

    def attach(self, head):
        """Begin; returns what `detach` wants. In a task it need not be ended: its context ends with it."""
        carried = head.get("span")
        return None if carried is None else self._context.attach(self._extract(carried))

    def detach(self, token):
        """End it, in the thread where it began."""
        if token is not None:
            self._context.detach(token)
