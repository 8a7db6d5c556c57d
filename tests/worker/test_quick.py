"""JSON by orjson in the worker says what the standard library's says; lists of numbers are checked as one."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.worker.everywhere import evaluate
from tests.worker.harness import VERSIONS, python, running

pytest.importorskip("orjson", reason="orjson is not installed beside the tests")

from lading_worker.encode import encode
from lading_worker.quick import Quick

FLOATS = {"inputs": [{"name": "x", "type": {"kind": "list", "items": {"kind": "float"}}, "line": 1, "required": True}]}
QUICK: Any = Quick(FLOATS)
plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner) | st.tuples(inner),
)


@given(plain)
def test_outputs_mean_the_same(value: object):
    quick = QUICK.dumps(value)
    if quick is not None:
        assert json.loads(quick) == json.loads(encode(value))


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False) | st.booleans() | st.text(st.characters(exclude_categories=["Cs"]))))
def test_inputs_mean_the_same(value: list[object]):
    body = json.dumps(value).encode()
    read = QUICK.loads(body)
    assert read == json.loads(body)
    assert list(map(type, read)) == list(map(type, json.loads(body)))


@pytest.mark.parametrize(
    ("kind", "used"),
    [
        ({"kind": "str"}, True),
        ({"kind": "list", "items": {"kind": "list", "items": {"kind": "float"}}}, True),
        ({"kind": "dict", "values": {"kind": "bool"}}, True),
        ({"kind": "union", "types": [{"kind": "float"}, {"kind": "null"}]}, True),
        ({"kind": "int"}, False),
        ({"kind": "any"}, False),
        ({"kind": "list", "items": {"kind": "int"}}, False),
        ({"kind": "union", "types": [{"kind": "float"}, {"kind": "int"}]}, False),
    ],
)
def test_it_reads_only_what_both_read_alike(kind: dict[str, object], used):
    assert (Quick({"inputs": [{"name": "x", "type": kind}]}).loads is not None) is used


CODE = """
from dataclasses import dataclass
from enum import Enum
from typing import Any

class Size(Enum):
    SMALL = "s"

@dataclass
class Point:
    x: int

VALUES = {
    "nan": [float("nan"), 1.5],
    "wide": 2 ** 70,
    "enum": Size.SMALL,
    "record": Point(1),
    "keys": {1: "a"},
    "surrogate": "a\\ud800b",
    "text": "é",
    "empty": "",
    "nothing": None,
}

def predict(x: list[float], which: str = "") -> Any:
    return VALUES[which] if which else [sum(x), len(x)]
"""


@pytest.fixture(scope="module")
def worker(tmp_path_factory: pytest.TempPathFactory):
    with running(tmp_path_factory.mktemp("project"), CODE, object="predict") as one:
        assert one.ready is not None
        assert one.ready["encoder"] == "orjson"
        yield one


@pytest.mark.parametrize(
    ("which", "output"),
    [
        ("nan", [None, 1.5]),
        ("wide", 2**70),
        ("enum", "s"),
        ("record", {"x": 1}),
        ("keys", {"1": "a"}),
        ("surrogate", "a?b"),
        ("text", "é"),
        ("empty", ""),
        ("nothing", None),
    ],
)
def test_what_orjson_cannot_write_is_written(worker, which: str, output: object):
    assert worker.predict(x=[], which=which).output == output


@pytest.mark.parametrize(
    ("body", "output"),
    [
        (b'{"x": [1.5, 2]}', [3.5, 2]),
        (b'{"x": [1, 2]}', [3.0, 2]),
        (b'{"x": []}', [0, 0]),
        (b'{"x": [1e400]}', None),
        (b'{"x": [NaN]}', None),
        (b'{"x": [true]}', None),
        (b'{"x": ["1"]}', None),
        (b'{"x": [1.0, null]}', None),
        (b'{"x": [1.0', None),
    ],
)
def test_lists_of_numbers(worker, body: bytes, output: object):
    answer = worker.predict(body=body)
    if output is None:
        assert answer.head["detail"][0]["loc"][:2] == ["body", "input"]
    else:
        assert answer.output == output


@pytest.mark.parametrize("version", VERSIONS)
def test_lists_on_every_python(version: str):
    setup = """
        from lading_worker import inputs
        def bind(kind, values):
            field = {"name": "x", "type": {"kind": "list", "items": {"kind": kind}}, "line": 1, "required": True}
            try:
                found = inputs.bind({"inputs": [field]}, {"x": values}, inputs.Verbatim())["x"]
                return [type(one).__name__ for one in found]
            except inputs.InvalidInput as error:
                return error.detail[0]["loc"]
        inf = float("inf")
    """
    expected = {
        "bind('float', [1.5, 2.5])": ["float", "float"],
        "bind('float', [1, 2.5])": ["float", "float"],
        "bind('float', [1.5, inf])": ["body", "input", "x/1"],
        "bind('float', [inf, -inf])": ["body", "input", "x/0"],
        "bind('float', [1e308, 1e308, 1e308])": ["float"] * 3,
        "bind('float', [1.5, True])": ["body", "input", "x/1"],
        "bind('int', [1, 2])": ["int", "int"],
        "bind('int', [1, 2.0])": ["int", "int"],
        "bind('int', [True])": ["body", "input", "x/0"],
        "bind('str', ['a', 1])": ["body", "input", "x/1"],
        "bind('bool', [True, False])": ["bool", "bool"],
        "bind('bool', [])": [],
    }
    assert evaluate(python(version), setup, expected) == expected
