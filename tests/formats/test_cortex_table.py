"""The table of cortex.yaml's fields against the reader: they know the same keys, and the published pages are made from it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from lading.formats import cortex_yaml
from lading.formats._cortex_table import ALLOWED, SECTIONS, json_schema
from lading.model.files import MemoryFiles
from tests.formats.reading import problems

ROOT = Path(__file__).parent.parent.parent
FILES = {"predictor.py": "", "m": ""}
_PREDICTOR = "  predictor:\n    type: {type}\n    path: predictor.py\n"


def _refused(text: str) -> list[str]:
    try:
        cortex_yaml.parse_config("cortex.yaml", MemoryFiles({**FILES, "cortex.yaml": text}))
    except Exception:  # noqa: BLE001 - the problems are read below
        return [
            problem.what
            for problem in problems(lambda: cortex_yaml.parse_config("cortex.yaml", MemoryFiles({**FILES, "cortex.yaml": text})))
        ]
    return []


def _unknown(text: str) -> list[str]:
    return [what for what in _refused(text) if "is not supported" in what and 'key "' in what]


@pytest.mark.parametrize("kind", ALLOWED)
def test_the_keys_of_a_kind_are_those_of_the_table(kind):
    for field in SECTIONS[""]:
        text = f"- name: a\n  kind: {kind}\n" + (f"  {field.key}: {{}}\n" if field.key not in ("name", "kind") else "")
        fits = field.key in ALLOWED[kind] or (field.key == "handler" and "predictor" in ALLOWED[kind])
        assert (_unknown(text) == []) == fits, (kind, field.key)


@pytest.mark.parametrize("field", SECTIONS["predictor"], ids=lambda field: field.key)
def test_the_reader_knows_every_key_of_the_predictor(field):
    text = "- name: a\n  kind: RealtimeAPI\n" + _PREDICTOR.format(type="python")
    given = text if field.key in ("type", "path") else text + f"    {field.key}: x\n"
    assert _unknown(given) == []
    assert len(_unknown(text + "    no_such_key: x\n")) == 1


@pytest.mark.parametrize("section", ["networking", "compute", "autoscaling", "update_strategy"])
def test_the_reader_knows_every_key_of_a_section(section):
    text = "- name: a\n  kind: RealtimeAPI\n" + _PREDICTOR.format(type="python") + f"  {section}:\n"
    for field in SECTIONS[section]:
        assert _unknown(text + f"    {field.key}: x\n") == []
    assert len(_unknown(text + "    no_such_key: x\n")) == 1


def test_the_schema_names_every_field_with_its_default_and_refuses_what_is_unknown():
    schema = json_schema()["items"]
    assert schema["additionalProperties"] is False
    predictor = schema["properties"]["predictor"]
    assert set(predictor["properties"]) == {field.key for field in SECTIONS["predictor"]}
    assert (predictor["additionalProperties"], predictor["required"]) == (False, ["type", "path"])
    assert "Default: 1024" in schema["properties"]["autoscaling"]["properties"]["max_replica_concurrency"]["description"]
    by_kind = {rule["if"]["properties"]["kind"]["const"]: rule["then"] for rule in schema["allOf"]}
    assert by_kind["TrafficSplitter"] == {
        "required": ["apis"],
        "properties": dict.fromkeys(["predictor", "handler", "definition", "compute", "autoscaling", "update_strategy"], False),
    }


def test_the_published_page_and_schema_are_made_from_the_table():
    program = (
        "import cortex_reference, make_reference, pathlib; folder = pathlib.Path('docs/reference');"
        "assert (folder / 'cortex-yaml.md').read_text() == cortex_reference.page(make_reference.NOTICE);"
        "assert (folder / 'cortex.schema.json').read_text() == cortex_reference.schema()"
    )
    made = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, env={"PYTHONPATH": "scripts:src"}, capture_output=True, text=True, check=False
    )
    assert made.returncode == 0, made.stderr
