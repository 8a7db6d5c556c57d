"""`observability` of cog.yaml, right and wrong."""

from __future__ import annotations

import pytest

from lading.formats import cog_yaml
from lading.model.files import MemoryFiles
from tests.formats.reading import problems

FILES = {"predict.py": "", "telemetry.py": ""}


def config(text: str):
    return cog_yaml.parse_config("cog.yaml", MemoryFiles({**FILES, "cog.yaml": f"predict: predict.py:P\nobservability:\n{text}"}))


def test_it_becomes_the_variables_of_cogs_images_for_predictor_and_training():
    text = (
        "  traces:\n    enabled: true\n    sampler: parentbased_traceidratio\n    sampler_arg: '0.5'\n    trace_header: x-trace\n"
        "    trace_header_format: jaeger\n  metrics:\n    enabled: true\n  config: telemetry.py\nenvironment: [A=1]\ntrain: predict.py:train\n"
    )
    found = config(text)
    assert found.train is not None
    assert found.apis[0].env == found.train.env
    assert dict(found.apis[0].env) == {
        "A": "1",
        "COG_TRACE_CONFIGURED": "true",
        "COG_TRACE_SAMPLER": "parentbased_traceidratio",
        "COG_TRACE_SAMPLER_ARG": "0.5",
        "COG_TRACE_HEADER": "x-trace",
        "COG_TRACE_HEADER_FORMAT": "jaeger",
        "COG_METRICS_CONFIGURED": "true",
        "COG_OBSERVABILITY_CONFIG": "telemetry.py",
    }


@pytest.mark.parametrize("text", ["  traces:\n    enabled: false\n    sampler: always_on\n", "  traces: {}\n", "  metrics:\n"])
def test_what_is_not_enabled_sets_nothing(text: str):
    assert config(text).apis[0].env == ()


@pytest.mark.parametrize(
    ("text", "rule", "line"),
    [
        ("  trace: {}\n", "unknown-key", 3),
        ("  traces:\n    sampler: often\n", "observability-invalid", 4),
        ("  traces:\n    sampler: always_on\n    sampler_arg: '0.5'\n", "observability-invalid", 5),
        ("  traces:\n    sampler: traceidratio\n    sampler_arg: 2\n", "observability-invalid", 5),
        ("  traces:\n    trace_header: 'a b'\n", "observability-invalid", 4),
        ("  traces:\n    trace_header_format: b3\n", "observability-invalid", 4),
        ("  traces:\n    enabled: maybe\n", "wrong-type", 4),
        ("  config: gone.py\n", "file-not-found", 3),
    ],
)
def test_mistakes_are_named_by_their_line(text: str, rule: str, line: int):
    [problem] = problems(lambda: config(text))
    assert problem.origin is not None
    assert (problem.rule, problem.origin.line) == (rule, line)
    assert problem.instead
