"""Predictors as people write them → signature → OpenAPI."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from lading.model.files import MemoryFiles
from lading.schema.openapi import make_cortex_openapi, make_openapi
from lading.schema.static import Signature, read_signature
from tests.schema.predictors import PREDICTORS

GOLDEN = Path(__file__).parent / "golden"


def _read(name: str) -> Signature:
    target, files = PREDICTORS[name]
    return read_signature(MemoryFiles(files), "predict.py", target)


@pytest.mark.parametrize("name", PREDICTORS)
def test_my_predictor_is_read_as_i_meant_it(name: str, *, update: bool) -> None:
    signature = _read(name).as_json()
    document = {"signature": signature, "schemas": _own_schemas(make_openapi(signature, "Cog", "0.1.0"))}
    golden = GOLDEN / f"{name}.json"
    if update:
        golden.write_text(json.dumps(document, indent=2, ensure_ascii=False) + "\n")
    assert document == json.loads(golden.read_text())


def _own_schemas(document: dict[str, Any]) -> dict[str, Any]:
    """The schemas that a predictor makes, without Cog's envelopes, which `test_the_document_is_cogs` holds."""
    fixed = {"PredictionRequest", "PredictionResponse", "Status", "HTTPValidationError", "ValidationError"}
    return {name: schema for name, schema in document["components"]["schemas"].items() if name not in fixed}


def test_texts_to_be_joined_need_not_say_that_they_are_texts() -> None:
    source = "from cog import ConcatenateIterator\n\ndef predict(n: int) -> ConcatenateIterator{}:\n    yield 'a'\n"
    bare, said = (read_signature(MemoryFiles({"predict.py": source.format(kind)}), "predict.py", "predict") for kind in ("", "[str]"))
    assert bare.as_json() == said.as_json()


def test_the_document_is_cogs(*, update: bool) -> None:
    document = make_openapi(_read("cog_runner_streams_text").as_json(), "Cog", "0.1.0")
    golden = GOLDEN / "openapi.json"
    if update:
        golden.write_text(json.dumps(document, indent=2) + "\n")
    assert document == json.loads(golden.read_text())
    assert list(document["paths"]) == [
        "/",
        "/health-check",
        "/predictions",
        "/predictions/{prediction_id}",
        "/predictions/{prediction_id}/cancel",
    ]


def test_every_reference_in_the_document_leads_somewhere() -> None:
    for name in PREDICTORS:
        document = make_openapi(_read(name).as_json(), "Cog", "0.1.0")
        references = set(_references(document))
        assert {"#/components/schemas/Input", "#/components/schemas/Output"} <= references
        assert references <= {f"#/components/schemas/{key}" for key in document["components"]["schemas"]}


def _references(part: object) -> list[str]:
    if isinstance(part, dict):
        return [value for key, value in part.items() if key == "$ref"] + [found for value in part.values() for found in _references(value)]
    return [found for value in part for found in _references(value)] if isinstance(part, list) else []


def test_an_input_named_status_does_not_take_the_place_of_cogs_status() -> None:
    source = "from typing import Literal\ndef predict(Status: Literal['a', 'b']) -> str: ...\n"
    document = make_openapi(read_signature(MemoryFiles({"p.py": source}), "p.py", "predict").as_json(), "Cog", "0.1.0")
    schemas = document["components"]["schemas"]
    assert "starting" in schemas["Status"]["enum"]
    assert schemas["Input"]["properties"]["Status"]["allOf"] == [{"$ref": "#/components/schemas/StatusChoices"}]


def test_a_secrets_default_is_not_published() -> None:
    source = "from cog import Input, Secret\ndef predict(key: Secret = Input(default='hunter2')) -> str: ...\n"
    document = make_openapi(read_signature(MemoryFiles({"p.py": source}), "p.py", "predict").as_json(), "Cog", "0.1.0")
    assert "hunter2" not in json.dumps(document)
    assert "required" not in document["components"]["schemas"]["Input"]


def test_origins_point_at_each_input() -> None:
    target, files = PREDICTORS["cog_image_to_image"]
    signature = read_signature(MemoryFiles(files), "predict.py", target)
    lines = files["predict.py"].splitlines()
    assert set(signature.origins) == {"image", "prompt", "scale", "steps", "scheduler", "seed", "upscale"}
    for name, origin in signature.origins.items():
        assert origin.line is not None
        assert lines[origin.line - 1].strip().startswith(f"{name}:")
    assert lines[(signature.origin.line or 0) - 1].strip() == "def predict("


def test_cortex_apis_are_listed_by_their_endpoints() -> None:
    document = make_cortex_openapi([("iris", "/iris"), ("text-2", "/v1/text")])
    assert set(document["paths"]) == {"/iris", "/v1/text", "/health-check"}
    assert document["paths"]["/v1/text"]["post"]["operationId"] == "predict_text_2_post"
