"""``observability`` of cog.yaml: whether predictions are traced, and how. It becomes the variables that Cog sets in its images.

Source: Cog's ``docs/observability.md`` (0.23): ``traces`` and ``metrics`` are opted into here, where they go is told by ``OTEL_*``
variables when the server is started.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from lading.formats._checks import Checker
from lading.formats._yaml import Entry, Map

SAMPLERS = (
    "parentbased_always_off",
    "parentbased_always_on",
    "parentbased_traceidratio",
    "always_on",
    "always_off",
    "traceidratio",
)
_HEADER = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_TRACES = ("enabled", "sampler", "sampler_arg", "trace_header", "trace_header_format")


def read_observability(check: Checker, entry: Entry | None) -> tuple[tuple[str, str], ...]:
    """The variables that say the same; problems are kept."""
    section = check.section(entry, "observability")
    if section is None:
        return ()
    check.known_keys(section, ("traces", "metrics", "config"), "observability")
    traces = check.section(section.get("traces"), "observability.traces") or Map((), section.line)
    metrics = check.section(section.get("metrics"), "observability.metrics") or Map((), section.line)
    check.known_keys(traces, _TRACES, "observability.traces")
    check.known_keys(metrics, ("enabled",), "observability.metrics")
    found = list(_traces(check, traces))
    if check.flag(metrics.get("enabled"), "observability.metrics.enabled"):
        found.append(("COG_METRICS_CONFIGURED", "true"))
    config = section.get("config")
    written = check.text(config, "observability.config")
    if config is not None and written is not None and (place := check.file(written, config.line, "module of observability.config")):
        found.append(("COG_OBSERVABILITY_CONFIG", place))
    return tuple(found)


def _traces(check: Checker, traces: Map) -> Iterator[tuple[str, str]]:
    enabled = check.flag(traces.get("enabled"), "observability.traces.enabled")
    sampler = _sampler(check, traces.get("sampler"))
    ratio = _ratio(check, traces.get("sampler_arg"), sampler)
    header = check.text(traces.get("trace_header"), "observability.traces.trace_header")
    if header is not None and not _HEADER.fullmatch(header):
        _wrong(
            check, traces.get("trace_header"), f'trace_header is "{header}", which is no name of a header.', "Write, for example, x-trace."
        )
    form = check.text(traces.get("trace_header_format"), "observability.traces.trace_header_format")
    if form not in (None, "w3c", "jaeger"):
        _wrong(check, traces.get("trace_header_format"), f'trace_header_format is "{form}".', "Write w3c or jaeger.")
    if enabled:
        yield "COG_TRACE_CONFIGURED", "true"
        named = {"SAMPLER": sampler, "SAMPLER_ARG": ratio, "HEADER": header, "HEADER_FORMAT": form}
        yield from ((f"COG_TRACE_{name}", value) for name, value in named.items() if value is not None)


def _sampler(check: Checker, entry: Entry | None) -> str | None:
    sampler = check.text(entry, "observability.traces.sampler")
    if sampler is not None and sampler not in SAMPLERS:
        _wrong(check, entry, f'sampler is "{sampler}", which is no sampler.', f"Write one of {', '.join(SAMPLERS)}.")
    return sampler


def _ratio(check: Checker, entry: Entry | None, sampler: str | None) -> str | None:
    ratio = check.text(entry, "observability.traces.sampler_arg", any_scalar=True)
    if ratio is None:
        return None
    if not (sampler or "").endswith("ratio"):
        _wrong(check, entry, "sampler_arg is for samplers by ratio alone.", "Write sampler: parentbased_traceidratio, or leave it out.")
    elif not re.fullmatch(r"0(\.\d+)?|1(\.0+)?|\.\d+", ratio):
        _wrong(check, entry, f"sampler_arg is {ratio}, and a ratio is a number from 0 to 1.", 'Write, for example, sampler_arg: "0.1".')
    return ratio


def _wrong(check: Checker, entry: Entry | None, what: str, instead: str) -> None:
    if entry is not None:
        check.problem("observability-invalid", entry.line, what, instead=instead)
