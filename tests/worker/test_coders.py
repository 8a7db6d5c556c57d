"""Inputs and outputs of classes that the model's own ``cog.Coder`` makes and writes."""

from __future__ import annotations

import pytest

from lading.model.files import MemoryFiles
from lading.model.problems import LadingError
from lading.schema.openapi import make_openapi
from lading.schema.static import read_signature
from tests.worker.harness import VERSIONS, running
from tests.worker.harness import python as interpreter

_CODE = """
    from typing import List, Optional
    from cog import BasePredictor, Coder

    class Point:
        def __init__(self, x, y):
            self.x, self.y = x, y

    class PointCoder(Coder):
        @staticmethod
        def factory(kind):
            return PointCoder() if kind is Point else None

        def encode(self, point):
            return {"x": point.x, "y": point.y}

        def decode(self, data):
            return Point(data["x"], data["y"])

    class Predictor(BasePredictor):
        def predict(self, start: Point, path: List[Point] = [], end: Optional[Point] = None) -> Point:
            last = ([start] + path + ([end] if end else []))[-1]
            return Point(last.x * 2, last.y * 2)
"""


@pytest.mark.parametrize("version", VERSIONS)
def test_a_coder_makes_inputs_and_writes_outputs(version, tmp_path):
    with running(tmp_path, _CODE, python=interpreter(version)) as worker:
        assert worker.predict(start={"x": 1, "y": 2}).output == {"x": 2, "y": 4}
        assert worker.predict(start={"x": 1, "y": 2}, path=[{"x": 3, "y": 4}]).output == {"x": 6, "y": 8}
        assert worker.predict(start={"x": 1, "y": 2}, end={"x": 5, "y": 6}).output == {"x": 10, "y": 12}
        assert worker.predict(start="no").head["detail"][0]["msg"] == '"no" is not of type "object"'
        assert worker.predict(start={"x": 1}).error == "'y'"


def read(**files: str):
    sources = {f"{name}.py": text.encode() for name, text in files.items()}
    return read_signature(MemoryFiles(sources), "predict.py", "predict").as_json()


_COG = "from cog import Coder\n"
_CODER = "class C(Coder):\n    pass\n"
_FUNCTION = "def predict(p: {0}) -> str:\n    return ''\n"


def test_the_schema_says_object():
    signature = read(predict=f"{_COG}class P:\n    pass\n{_CODER}{_FUNCTION.format('P')}")
    assert make_openapi(signature, "t", "1")["components"]["schemas"]["Input"]["properties"]["p"]["type"] == "object"


@pytest.mark.parametrize(
    "sources",
    [
        {"predict": f"from other.shapes import P\n{_COG}{_CODER}{_FUNCTION.format('P')}"},
        {"predict": f"import coders\nfrom other import P\n{_FUNCTION.format('P')}", "coders": f"{_COG}{_CODER}"},
        {
            "predict": f"from coders import C\nimport other\n{_FUNCTION.format('other.P')}",
            "coders": "import cog.coder\nclass C(cog.coder.Coder):\n    pass\n",
        },
    ],
)
def test_a_coder_of_the_project_speaks_for_classes_from_anywhere(sources: dict[str, str]):
    assert read(**sources)["inputs"][0]["type"]["kind"] == "dict"
    assert "coder" in read(**sources)["inputs"][0]["type"]


def test_without_a_coder_such_a_class_is_a_problem_as_before():
    with pytest.raises(LadingError) as caught:
        read(predict=f"from other.shapes import P\n{_FUNCTION.format('P')}")
    assert caught.value.problems[0].rule == "unsupported-type"


def test_a_class_that_no_coder_knows_fails_the_setup(tmp_path):
    code = _CODE.replace("kind is Point", "kind is int")
    with running(tmp_path, code, ready=False) as worker:
        assert worker.failure is not None
        assert worker.failure["error"] == "TypeError: no cog.Coder knows Point, the type of the input start"
