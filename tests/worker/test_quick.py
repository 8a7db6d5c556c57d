"""JSON by orjson in the worker says what the standard library's says; lists of numbers are checked as one."""

from __future__ import annotations

import json
import mmap
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.worker.everywhere import evaluate
from tests.worker.harness import VERSIONS, python, running

pytest.importorskip("orjson", reason="orjson is not installed beside the tests")

from lading_worker.encode import encode
from lading_worker.quick import Quick, read

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


_LONG = "x" * 40_000
_TEXTS = {
    "long": _LONG,
    "accents": "é" * 30_000,
    "backslash": "a\\" + _LONG,
    "quote": '"' + _LONG,
    "line": _LONG + "\n",
    "constant": "NaN" + _LONG,
}
_NAMES = st.sampled_from([*_TEXTS, "short", "NaN", ""])
_PATTERNS = st.recursive(
    _NAMES | st.integers() | st.none(), lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_NAMES, inner, max_size=3)
)


def _lengthened(value: Any) -> Any:
    """The value with the long texts in place of their names."""
    if isinstance(value, list):
        return [_lengthened(item) for item in value]
    if isinstance(value, dict):
        return {_TEXTS.get(key, key): _lengthened(item) for key, item in value.items()}
    return _TEXTS.get(value, value) if isinstance(value, str) else value


@given(_PATTERNS)
def test_long_texts_are_read_as_json_reads_them(pattern: object):
    value = _lengthened(pattern)
    for text in (json.dumps(value), json.dumps(value, ensure_ascii=False, indent=1)):
        body = text.encode() + b" " * 70_000
        assert read(body) == value


@pytest.mark.parametrize(
    "body",
    [
        b'{"x": NaN, "y": "%b"}',
        b'{"x": -Infinity, "y": "%b"}',
        b'{"y": "%b", "x": "NaN"}',
        b'["%b", "%b", ["%b"]]',
        b'"%b"',
    ],
)
def test_constants_beside_long_texts(body: bytes):
    body = body.replace(b"%b", b"z" * 80_000)
    assert repr(read(body)) == repr(json.loads(body))


@pytest.mark.parametrize("body", [b'{"x": "%b}', b'{"x": "%b" "y"}', b'"%b', b'"\xff%b"', b'{"%b"}'])
def test_broken_json_with_long_texts_is_refused(body: bytes):
    with pytest.raises(ValueError):
        read(body.replace(b"%b", b"z" * 80_000))


@pytest.mark.parametrize(
    "value",
    [
        {"a": "x" * 80_000},
        {"a": "x" * 80_000, "b": ["y" * 20_000, "z"], "c": None},
        {"a": "\\" * 80_000},
        {"a": [0.5] * 40_000},
        {"a": "é" * 50_000},
    ],
)
def test_what_lies_in_shared_memory_is_read_as_if_it_were_a_copy(value: object):
    body = json.dumps(value, ensure_ascii=False).encode()
    with mmap.mmap(-1, len(body) + 100_000) as memory:
        memory[:] = b'"' * len(memory)  # what an earlier, longer body has left
        memory[: len(body)] = body
        view = memoryview(memory)[: len(body)]
        assert read(view) == value
        view.release()
