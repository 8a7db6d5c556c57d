"""What a request may carry, and what predict then gets: on this Python and on every older one that the machine has."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from enum import Enum, IntEnum
from pathlib import Path
from typing import Any, TypeAlias

import pytest

from lading_worker import inputs
from tests.schema import bind_cases

Type: TypeAlias = dict[str, Any]
INT, FLOAT, STR, BOOL, ANY = ({"kind": kind} for kind in ("int", "float", "str", "bool", "any"))
PATH, SECRET = {"kind": "path"}, {"kind": "secret"}
LITERAL = {"kind": "literal", "values": [1, "a", True]}
ENUM = {"kind": "enum", "name": "Size", "module": "m", "members": {"S": "s", "M": "m"}}
POINT = {
    "kind": "object",
    "name": "Point",
    "fields": [{"name": "x", "type": FLOAT, "required": True}, {"name": "label", "type": STR, "required": False}],
}


def _list(items: Type) -> Type:
    return {"kind": "list", "items": items}


def _union(*types: Type) -> Type:
    return {"kind": "union", "types": list(types)}


# name, the one input `x` (without its name), the value of the request's `x` (ABSENT: left out), what predict gets
ABSENT = object()
ACCEPTED: list[tuple[str, dict[str, Any], Any, Any]] = [
    ("an int", {"type": INT}, 5, 5),
    ("a whole float for an int", {"type": INT}, 5.0, 5),
    ("an int for a float", {"type": FLOAT}, 5, 5.0),
    ("a text", {"type": STR}, "ä", "ä"),
    ("a bool", {"type": BOOL}, False, False),
    ("a path", {"type": PATH}, "https://host/cat.png", "path:https://host/cat.png"),
    ("a list of paths", {"type": _list(PATH)}, ["a", "b"], ["path:a", "path:b"]),
    ("a secret", {"type": SECRET}, "hunter2", "secret:hunter2"),
    ("anything", {"type": ANY}, {"a": [1, None]}, {"a": [1, None]}),
    ("null for anything", {"type": ANY}, None, None),
    ("null where Optional says so, unlike Cog", {"type": INT, "nullable": True}, None, None),
    ("nothing where Optional says so", {"type": INT, "nullable": True}, ABSENT, None),
    ("a default", {"type": FLOAT, "default": 2}, ABSENT, 2.0),
    ("a path's default", {"type": PATH, "default": "cat.png"}, ABSENT, "default:cat.png"),
    ("a default None", {"type": INT, "default": None, "nullable": True}, ABSENT, None),
    ("the function's own default", {"type": INT, "own_default": True, "default": 3}, ABSENT, ABSENT),
    ("a choice", {"type": STR, "choices": ["a", "b"]}, "b", "b"),
    ("limits, inclusive", {"type": INT, "ge": 1, "le": 5}, 5, 5),
    ("a regex that is searched", {"type": STR, "regex": "b"}, "abc", "abc"),
    ("limits on each item", {"type": _list(INT), "ge": 1}, [1, 2], [1, 2]),
    ("the union member that fits exactly", {"type": _union(INT, FLOAT)}, 1.0, 1.0),
    ("a union member by conversion", {"type": _union(BOOL, FLOAT)}, 1, 1.0),
    ("a union of lists", {"type": _union(_list(INT), STR)}, [1], [1]),
    ("a TypedDict, other keys kept", {"type": POINT}, {"x": 1, "z": 0}, {"x": 1.0, "z": 0}),
    ("a dict of lists", {"type": {"kind": "dict", "values": _list(FLOAT)}}, {"a": [1]}, {"a": [1.0]}),
    ("a literal", {"type": LITERAL}, "a", "a"),
    ("an enum's value", {"type": ENUM}, "s", "s"),
]
REFUSED: list[tuple[str, dict[str, Any], Any, list[tuple[str, str]]]] = [
    ("a missing input", {"type": INT}, ABSENT, [("x", "Field required")]),
    ("a text for an int", {"type": INT}, "5", [("x", '"5" is not of type "integer"')]),
    ("a bool for an int", {"type": INT}, True, [("x", 'true is not of type "integer"')]),
    ("a fraction for an int", {"type": INT}, 1.5, [("x", '1.5 is not of type "integer"')]),
    ("null", {"type": INT}, None, [("x", 'null is not of type "integer"')]),
    ("an int for a bool", {"type": BOOL}, 1, [("x", '1 is not of type "boolean"')]),
    ("a bool for a float", {"type": FLOAT}, True, [("x", 'true is not of type "number"')]),
    ("an int that no float holds", {"type": FLOAT}, 10**309, [("x", "is too large for a number")]),
    ("a number that JSON does not know", {"type": FLOAT}, float("nan"), [("x", 'NaN is not of type "number"')]),
    ("infinity for an int", {"type": INT}, float("inf"), [("x", 'Infinity is not of type "integer"')]),
    ("a number for a path", {"type": PATH}, 1, [("x", '1 is not of type "string"')]),
    ("a file that cannot be had", {"type": PATH}, "gone", [("x", "the file is gone")]),
    ("too much", {"type": INT, "le": 5.0}, 9, [("x", "9 is greater than the maximum of 5")]),
    ("too little", {"type": FLOAT, "ge": 0.5}, 0.25, [("x", "0.25 is less than the minimum of 0.5")]),
    ("too short", {"type": STR, "min_length": 2}, "a", [("x", '"a" is shorter than 2 characters')]),
    ("too long", {"type": STR, "max_length": 1}, "ab", [("x", '"ab" is longer than 1 character')]),
    (
        "two limits at once",
        {"type": STR, "min_length": 2, "regex": "^a"},
        "x",
        [("x", '"x" is shorter than 2 characters'), ("x", '"x" does not match "^a"')],
    ),
    (
        "no choice, and no text",
        {"type": STR, "choices": ["a", "b"]},
        {"a": [1, 2]},
        [("x", '{"a":[1,2]} is not one of ["a","b"]'), ("x", '{"a":[1,2]} is not of type "string"')],
    ),
    ("no choice", {"type": STR, "choices": ["a", "b"]}, "z", [("x", '"z" is not one of ["a","b"]')]),
    ("true for the choice 1", {"type": _union(INT, BOOL), "choices": [1, 2]}, True, [("x", "true is not one of [1,2]")]),
    ("one bad item", {"type": _list(FLOAT)}, [1, "a"], [("x/1", '"a" is not of type "number"')]),
    ("a limit on one item", {"type": _list(INT), "le": 1}, [1, 2, 3], [("x/1", "2 is greater"), ("x/2", "3 is greater")]),
    ("one value for a list", {"type": _list(STR)}, "a", [("x", '"a" is not of type "array"')]),
    ("no member of a union", {"type": _union(INT, STR)}, [], [("x", "[] is not valid under any of the schemas")]),
    ("a TypedDict without its key", {"type": POINT}, {}, [("x/x", "Field required")]),
    ("a TypedDict with a bad key", {"type": POINT}, {"x": 1, "label": 2}, [("x/label", '2 is not of type "string"')]),
    ("a key with a slash", {"type": {"kind": "dict", "values": INT}}, {"a/b": "c"}, [("x/a~1b", '"c" is not of type')]),
    ("a literal of another type", {"type": LITERAL}, 2, [("x", '2 is not one of [1,"a",true]')]),
    ("no member of an enum", {"type": ENUM}, "S", [("x", '"S" is not one of ["s","m"]')]),
    ("a secret of another type", {"type": SECRET}, 12345, [("x", '"**********" is not of type "string"')]),
    ("a secret that is too short", {"type": SECRET, "min_length": 9}, "hunter2", [("x", '"**********" is shorter than 9 characters')]),
]


def _case(field: Type, value: object) -> dict[str, Any]:
    return {"inputs": [{"name": "x", **field}], "value": {} if value is ABSENT else {"x": value}}


CASES = [_case(field, value) for _, field, value, _ in (*ACCEPTED, *REFUSED)]


def _check(outcomes: list[Type]) -> None:
    for (name, _, _, wanted), outcome in zip(ACCEPTED, outcomes, strict=False):
        assert outcome == {"arguments": {} if wanted is ABSENT else {"x": wanted}}, name
        assert wanted is ABSENT or type(outcome["arguments"]["x"]) is type(wanted), name
    for (name, _, _, complaints), outcome in zip(REFUSED, outcomes[len(ACCEPTED) :], strict=True):
        entries = outcome["detail"]
        assert [entry["loc"] for entry in entries] == [["body", "input", place] for place, _ in complaints], name
        for entry, (_, message) in zip(entries, complaints, strict=True):
            assert message in entry["msg"], name
            assert entry["type"] == ("value_error.missing" if message == "Field required" else "value_error"), name


def test_a_request_is_bound_or_refused_as_coglet_does() -> None:
    _check([bind_cases.outcome(case) for case in CASES])


def _older_pythons() -> Iterator[Any]:
    """Every other CPython that can be found without downloading: under pyenv's root and on PATH."""
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv") / "versions"
    for minor in range(6, 15):
        version = f"3.{minor}"
        installed = sorted(pyenv.glob(f"{version}.*/bin/python"))
        found = str(installed[-1]) if installed else shutil.which(f"python{version}")
        works = found and subprocess.run([found, "-c", "pass"], capture_output=True, check=False).returncode == 0
        missing = pytest.mark.skip(reason=f"this machine has no CPython {version}")
        yield pytest.param(found, id=version, marks=() if works else missing)


@pytest.mark.parametrize("python", list(_older_pythons()))
def test_my_model_runs_on_an_old_python_and_inputs_mean_the_same(python: str) -> None:
    root = Path(bind_cases.__file__).parents[2]
    done = subprocess.run(
        [
            python,
            "-I",
            "-c",
            f"import sys, runpy; sys.path.insert(0, {str(root / 'src')!r}); runpy.run_path({bind_cases.__file__!r}, run_name='__main__')",
        ],
        input=json.dumps(CASES),
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    _check(json.loads(done.stdout))


def test_no_input_at_all_means_an_empty_one() -> None:
    assert inputs.bind({"inputs": []}, None, inputs.Verbatim()) == {}


@pytest.mark.parametrize("value", [[1], "x", 1, True])
def test_an_input_that_is_no_object_is_refused(value: object) -> None:
    with pytest.raises(inputs.InvalidInput) as caught:
        inputs.bind({"inputs": []}, value, inputs.Verbatim())
    assert caught.value.detail[0]["loc"] == ["body", "input", "__root__"]
    assert str(caught.value).endswith('is not of type "object"')


def test_every_bad_input_is_named_at_once() -> None:
    signature = {"inputs": [{"name": "a", "type": INT}, {"name": "b", "type": INT}, {"name": "c", "type": INT}]}
    with pytest.raises(inputs.InvalidInput) as caught:
        inputs.bind(signature, {"a": "1", "c": 1.5}, inputs.Verbatim())
    assert [entry["loc"][2] for entry in caught.value.detail] == ["a", "b", "c"]


def test_unknown_inputs_are_left_out_and_can_be_named() -> None:
    signature = {"inputs": [{"name": "a", "type": INT}]}
    value = {"a": 1, "zz": 2}
    assert inputs.bind(signature, value, inputs.Verbatim()) == {"a": 1}
    assert inputs.unknown_inputs(signature, value) == ["zz"]
    assert value == {"a": 1, "zz": 2}


def test_a_prediction_that_changes_its_default_does_not_change_the_next_ones() -> None:
    signature = {"inputs": [{"name": "a", "type": ANY, "default": {"seen": []}}]}
    inputs.bind(signature, {}, inputs.Verbatim())["a"]["seen"].append(1)
    assert inputs.bind(signature, {}, inputs.Verbatim()) == {"a": {"seen": []}}


def test_an_older_python_that_does_not_know_the_regex_says_so() -> None:
    signature = {"inputs": [{"name": "a", "type": STR, "regex": "(?<unknown>)"}]}
    with pytest.raises(inputs.InvalidInput, match="no regular expression for this Python"):
        inputs.bind(signature, {"a": "x"}, inputs.Verbatim())


class Size(str, Enum):  # noqa: UP042 - as models write it that also run before Python 3.11
    S = "s"
    M = "m"


class Level(IntEnum):
    LOW = 1


def test_an_enum_input_arrives_as_its_member() -> None:
    def predict(size: Size, levels: list[Level]) -> str:
        return f"{size}{levels}"

    level = {"kind": "enum", "name": "Level", "module": __name__, "members": {"LOW": 1}}
    signature = {
        "inputs": [
            {"name": "size", "type": {**ENUM, "module": "elsewhere"}},
            {"name": "levels", "type": _list(level), "default": [1]},
        ]
    }
    enums = inputs.enum_classes(signature, predict)
    assert enums == {"size": Size, "levels": Level}
    bound = inputs.bind(signature, {"size": "m"}, inputs.Verbatim(), enums)
    assert bound["size"] is Size.M
    assert bound["levels"] == [Level.LOW]
    assert bound["levels"][0] is Level.LOW


def test_the_module_is_python_3_6(tmp_path: Path) -> None:
    import ast

    source = Path(inputs.__file__).read_text()
    ast.parse(source, feature_version=(3, 6))
    imported = {alias.name for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Import) for alias in node.names}
    assert imported <= set(sys.stdlib_module_names)
