"""Whatever somebody sends or writes: an answer or a clear complaint, never a crash."""

# ruff: noqa: PT017 - both outcomes are right here, and each is checked

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lading.model.files import MemoryFiles
from lading.model.problems import LadingError
from lading.schema.arguments import convert
from lading.schema.cortex import check_predictor
from lading.schema.discover import find_predictor
from lading.schema.openapi import make_openapi
from lading.schema.static import read_signature
from lading_worker.inputs import InvalidInput, Verbatim, bind, unknown_inputs
from tests.schema.predictors import PREDICTORS

SIGNATURES = [read_signature(MemoryFiles(files), "predict.py", target).as_json() for target, files in PREDICTORS.values()]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=12,
)
KINDS = st.recursive(
    st.sampled_from(["any", "bool", "int", "float", "str", "path", "file", "secret", "null"]).map(lambda kind: {"kind": kind})
    | st.lists(st.integers() | st.text(max_size=2), min_size=1, max_size=3).map(lambda values: {"kind": "literal", "values": values}),
    lambda inner: (
        inner.map(lambda items: {"kind": "list", "items": items})
        | inner.map(lambda values: {"kind": "dict", "values": values})
        | st.lists(inner, min_size=1, max_size=3).map(lambda types: {"kind": "union", "types": types})
        | inner.map(lambda kind: {"kind": "object", "name": "O", "fields": [{"name": "a", "type": kind, "required": True}]})
    ),
    max_leaves=5,
)


@given(st.sampled_from(SIGNATURES), JSON)
def test_any_json_is_bound_or_refused(signature: dict[str, Any], value: Any) -> None:
    names = {field["name"] for field in signature["inputs"]}
    try:
        assert set(bind(signature, value, Verbatim())) <= names
    except InvalidInput as error:
        assert error.detail
        json.dumps(error.detail).encode()
    assert names.isdisjoint(unknown_inputs(signature, value))


@given(kind=KINDS, value=JSON, nullable=st.booleans())
def test_any_json_for_any_type_is_bound_or_refused(*, kind: dict[str, Any], value: Any, nullable: bool) -> None:
    signature = {"inputs": [{"name": "x", "type": kind, "nullable": nullable, "ge": 0, "min_length": 1, "choices": ["a", 1]}]}
    try:
        bind(signature, {"x": value}, Verbatim())
    except InvalidInput as error:
        assert all(entry["loc"][2].partition("/")[0] == "x" and entry["msg"] for entry in error.detail)
        str(error).encode()


@given(KINDS, JSON)
def test_what_was_bound_once_is_bound_again_to_the_same(kind: dict[str, Any], value: Any) -> None:
    signature = {"inputs": [{"name": "x", "type": kind}]}
    try:
        bound = bind(signature, {"x": value}, Verbatim())
    except InvalidInput:
        return
    assert repr(bind(signature, bound, Verbatim())) == repr(bound)


@given(st.sampled_from(SIGNATURES), st.lists(st.text(max_size=12) | st.sampled_from(["prompt=a", "scale=2", "steps=@x"]), max_size=4))
def test_any_arguments_are_converted_or_refused(signature: dict[str, Any], pairs: list[str]) -> None:
    try:
        converted = convert(signature, pairs, lambda path: path.encode("utf-8", "surrogatepass"))
    except LadingError as error:
        assert all(problem.what for problem in error.problems)
    else:
        bind(signature, converted, Verbatim())


def _try_source(source: str | bytes) -> None:
    files = MemoryFiles({"predict.py": source})
    for candidate in find_predictor(files):
        assert candidate.file == "predict.py"
    check_predictor(files, "predict.py")
    for name in ("Predictor", "predict"):
        try:
            signature = read_signature(files, "predict.py", name).as_json()
        except LadingError as error:
            assert all(problem.origin and problem.origin.path == "predict.py" for problem in error.problems)
        else:
            json.dumps(make_openapi(signature, "t", "0"), allow_nan=False)


@given(st.text() | st.binary())
def test_any_text_as_a_predictor_is_read_or_refused(source: str | bytes) -> None:
    _try_source(source if isinstance(source, bytes) else source.encode("utf-8", "surrogatepass"))


PIECES = st.sampled_from(
    (
        "int",
        "str",
        "list[int]",
        "Optional[int]",
        "X",
        "None",
        "'int'",
        "Input()",
        "Input(default=X)",
        "Input(default=1, ge=X)",
        "Input(choices=[X, 1])",
        "Input(choices=X)",
        "Literal[1]",
        "Literal[X]",
        "Union[int, str]",
        "Path",
        "Secret",
        "dict[str, X]",
        "List[X]",
        "-X",
        "X + X",
        "X * 99999",
        "2**99999",
        "X << 10**9",
        "X.y",
        "X[0]",
        "[X]",
        "{1: X}",
        "{X}",
        "(X,)",
        "f'{X:>9}'",
        "f'{X:>999999999}'",
        "'%999999999d' % X",
        "lambda: X",
        "[x for x in X]",
        "list(X)",
        "range(9)",
        "list(range(10**12))",
        "X()",
        "Iterator[X]",
        "ConcatenateIterator[str]",
        "Annotated[X, Opaque]",
        "...",
        "1.5",
        "1e999",
        "True",
        "''",
        "b'x'",
        "1j",
        "cog.Input",
        "cog",
        "E",
        "E.A",
        "E.A.value",
        "X if X else 1",
        "sorted(E)",
        "X['a':]",
        "'a' 'b'",
        "await X",
        "(yield)",
        "*X",
    )
)


@settings(max_examples=150)
@given(st.lists(PIECES, min_size=5, max_size=5), st.sampled_from(["yield 1", "...", "return"]))
def test_any_annotations_and_defaults_are_read_or_refused(pieces: list[str], body: str) -> None:
    kind, default, output, constant, member = pieces
    _try_source(
        "import cog\nfrom cog import *\nfrom typing import *\nfrom enum import Enum\n"
        f"X = {constant}\nclass E(Enum):\n    A = {member}\n"
        f"def predict(a: {kind}, b: {kind} = {default}) -> {output}:\n    {body}\n"
        f"class Predictor(BasePredictor):\n    def predict(self, a: {kind} = {default}) -> {output}:\n        {body}\n"
    )


@pytest.mark.parametrize(
    "source",
    [
        "x = " + "(" * 3000 + ")" * 3000,
        "def predict(a: " + "list[" * 150 + "int" + "]" * 150 + ") -> str: ...",
        "def predict(a: int = " + "-" * 3000 + "1) -> str: ...",
        "X = " + "+".join(["1"] * 3000) + "\ndef predict(a: int = X) -> str: ...",
        "A = [1]\n"
        + "".join(f"{b} = [{a}, {a}]\n" for a, b in zip("ABCDEFGHIJKLMNOPQRS", "BCDEFGHIJKLMNOPQRST", strict=True))
        + "def predict(a: Any = T) -> str: ...",
        "def predict(a: " + " | ".join(["int"] * 3000) + ") -> str: ...",
        "a." * 5000 + "b",
        "def predict(a: 'int\\0') -> str: ...",
        "# coding: klingon\n",
    ],
)
def test_monstrous_sources_end_in_an_answer(source: str) -> None:
    _try_source(source)
