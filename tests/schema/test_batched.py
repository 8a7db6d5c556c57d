"""``@lading.batched`` as the source shows it: one request's types, the options, and what is refused."""

from __future__ import annotations

import pytest

from lading.model.files import MemoryFiles
from lading.model.problems import LadingError
from lading.schema.openapi import make_openapi
from lading.schema.static import read_signature


def read(code: str, name: str = "predict"):
    return read_signature(MemoryFiles({"predict.py": code}), "predict.py", name).as_json()


def problems(code: str) -> list[str]:
    with pytest.raises(LadingError) as caught:
        read(code)
    return [f"{problem.origin}: {problem.what}" for problem in caught.value.problems]


def test_inputs_and_output_are_those_of_one_request():
    record = read(
        "from typing import List\nfrom cog import Input, Path\nimport lading\n"
        "SIZE = 8\n"
        "@lading.batched(max_batch_size=SIZE * 2, max_latency=0.5)\n"
        "def predict(text: list[str], image: 'List[Path]', top: list[int] = Input(default=3, ge=1), scale: list[float] = 1.5) -> list[dict]:\n"
        "    return []\n"
    )
    assert record["batched"] == {"max_batch_size": 16, "max_latency": 0.5}
    assert [one["type"]["kind"] for one in record["inputs"]] == ["str", "path", "int", "float"]
    assert [one.get("default") for one in record["inputs"]] == [None, None, 3, 1.5]
    assert [one["required"] for one in record["inputs"]] == [True, True, False, False]
    assert not any("own_default" in one for one in record["inputs"])
    assert record["output"]["kind"] == "dict"
    schema = make_openapi(record, "test", "1")["components"]["schemas"]
    assert schema["Input"]["properties"]["text"]["type"] == "string"


def test_a_type_that_is_written_as_a_text():
    record = read("import lading\n@lading.batched\ndef predict(x: ' list[str]') -> '\\tlist[int] ': ...\n")
    assert (record["inputs"][0]["type"]["kind"], record["output"]["kind"]) == ("str", "int")


@pytest.mark.parametrize("text", ["list[str", "", "a\\0b"])
def test_a_text_that_is_no_type(text: str):
    (found, *_) = problems(f"import lading\n@lading.batched\ndef predict(\n    x: '{text}',\n) -> list[str]: ...\n")
    assert found.startswith("predict.py:4: the input x of predict is '")
    assert found.endswith("', which is no list")


@pytest.mark.parametrize("decorator", ["@batched", "@batched()", "@lading.batched", "@many(max_batch_size=32)"])
def test_ways_to_write_it(decorator: str):
    code = f"import lading\nfrom lading import batched\nfrom lading import batched as many\n{decorator}\ndef predict(x: list[str]) -> list[str]: ...\n"
    assert read(code)["batched"] == {"max_batch_size": 32, "max_latency": 0.01}


def test_a_class_and_a_list_of_lists():
    code = "import lading\nclass P:\n    @lading.batched\n    def predict(self, x: list[list[float]]) -> list[list[float]]: ...\n"
    record = read(code, "P")
    assert record["inputs"][0]["type"] == record["output"] == {"kind": "list", "items": {"kind": "float"}}


def test_nothing_is_batched_without_it():
    assert "batched" not in read("def predict(x: list[str]) -> list[str]: ...\n")


@pytest.mark.parametrize(
    ("code", "found"),
    [
        ("def predict(x: str) -> list[str]: ...", ["predict.py:3: the input x of predict is str, which is no list"]),
        ("def predict(x: list[str]) -> str: ...", ["predict.py:3: the output of predict is str, which is no list"]),
        ("async def predict(x: list[str]) -> list[str]: ...", ["predict.py:3: predict is batched and asynchronous"]),
    ],
)
def test_what_cannot_be_batched(code: str, found: list[str]):
    assert problems("import lading\n@lading.batched\n" + code + "\n") == found


@pytest.mark.parametrize(
    ("option", "wanted"),
    [
        ("max_batch_size=0", "max_batch_size of @batched must be a whole number from 1 to 1024, and 0"),
        ("max_batch_size=2000", "max_batch_size of @batched must be a whole number from 1 to 1024, and 2000"),
        ("max_batch_size=True", "max_batch_size of @batched must be a whole number from 1 to 1024, and True"),
        ("max_batch_size=N()", "max_batch_size of @batched must be a whole number from 1 to 1024, and 'N()'"),
        ("max_latency=-1", "max_latency of @batched must be a number of seconds from 0 on, and -1"),
    ],
)
def test_options_that_are_wrong(option: str, wanted: str):
    (found,) = problems(f"import lading\n@lading.batched({option})\ndef predict(x: list[str]) -> list[str]: ...\n")
    assert wanted in found
