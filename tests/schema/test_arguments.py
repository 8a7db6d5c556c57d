"""``lading predict -i name=value``: by the declared types, all complaints at once, before anything starts."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lading.model.files import MemoryFiles
from lading.model.problems import LadingError
from lading.schema.arguments import check, convert, convert_payload
from lading.schema.static import read_signature

SOURCE = """
from enum import Enum
from typing import Any, Literal, Optional
from cog import BasePredictor, File, Input, Path, Secret

class Level(Enum):
    LOW = 1
    HIGH = 2

class Predictor(BasePredictor):
    def predict(
        self,
        text: str,
        n: int = 1, ratio: float = 0.5, flag: bool = False,
        image: Path = None, file: File = None, key: Secret = None,
        names: list[str] = [], numbers: list[int] = [], images: list[Path] = [],
        table: dict = {}, anything: Any = None, level: Level = Level.LOW, size: Literal["s", 5] = "s",
        either: int | str = 1, maybe: Optional[int] = None, choice: str = Input(default="a", choices=["a", "b"]),
        small: int = Input(default=1, le=5),
    ) -> str: ...
"""
SIGNATURE = read_signature(MemoryFiles({"predict.py": SOURCE}), "predict.py", "Predictor").as_json()


def _no_file(path: str) -> bytes:
    raise FileNotFoundError(2, "No such file or directory", path)


def _convert(*pairs: str, read_file: Callable[[str], bytes] = _no_file) -> dict[str, Any]:
    converted = convert(SIGNATURE, ["text=t", *pairs], read_file)
    assert converted.pop("text") == "t"
    assert json.loads(json.dumps(converted)) == converted
    return converted


def _said(*pairs: str, read_file: Callable[[str], bytes] = _no_file) -> list[str]:
    with pytest.raises(LadingError) as caught:
        convert(SIGNATURE, pairs, read_file)
    assert all(problem.code == 2 and str(problem.origin) == "-i" for problem in caught.value.problems)
    return [problem.what for problem in caught.value.problems]


@pytest.mark.parametrize(
    ("pair", "value"),
    [
        ("n=3", 3),
        ("n= 3 ", 3),
        ("n=3.0", 3.0),
        ("ratio=1", 1),
        ("ratio=1e-3", 0.001),
        ("flag=true", True),
        ("flag=No", False),
        ("image=https://host/a.png", "https://host/a.png"),
        ("key=a=b", "a=b"),
        ("names=one", ["one"]),
        ('names=["one","two"]', ["one", "two"]),
        ("numbers=1", [1]),
        ('table={"a": [1]}', {"a": [1]}),
        ("anything=[1, null]", [1, None]),
        ("anything=plain", "plain"),
        ("level=2", 2),
        ("level=HIGH", 2),
        ("size=s", "s"),
        ("size=5", 5),
        ("either=5", 5),
        ("either=five", "five"),
        ("maybe=null", None),
        ("choice=b", "b"),
        ("names=@@home", ["@home"]),
    ],
)
def test_a_value_becomes_what_the_model_declares(pair: str, value: object) -> None:
    (converted,) = _convert(pair).values()
    assert converted == value
    assert type(converted) is type(value)


def test_a_name_given_again_makes_a_list() -> None:
    assert _convert("names=a", "names=b", "numbers=1", "numbers=2") == {"names": ["a", "b"], "numbers": [1, 2]}
    assert _convert("anything=1", "anything=x") == {"anything": [1, "x"]}


def test_at_sends_a_file(tmp_path: Path) -> None:
    (tmp_path / "cat.png").write_bytes(b"\x89PNG")
    (tmp_path / "words.txt").write_text("some\nwords")
    (tmp_path / "t.json").write_text('{"a": 1}')

    def read(path: str) -> bytes:
        return (tmp_path / path).read_bytes()

    assert convert(SIGNATURE, ["text=@words.txt"], read) == {"text": "some\nwords"}
    assert _convert("image=@cat.png", read_file=read) == {"image": "data:image/png;base64,iVBORw=="}
    assert _convert("images=@cat.png", "images=@words.txt", read_file=read) == {
        "images": ["data:image/png;base64,iVBORw==", "data:text/plain;base64,c29tZQp3b3Jkcw=="]
    }
    assert _convert("table=@t.json", "anything=@t.json", read_file=read) == {"table": {"a": 1}, "anything": {"a": 1}}
    assert _said("text=@cat.png", read_file=read) == [
        'invalid input "text": expected string, got the file cat.png, which is not UTF-8 text'
    ]


@pytest.mark.parametrize(
    ("pair", "said"),
    [
        ("n=x", 'invalid input "n": expected integer, got string'),
        ("n=1.5", 'invalid input "n": expected integer, got number'),
        ("n=true", 'invalid input "n": expected integer, got boolean'),
        ("n=null", 'invalid input "n": expected integer, got null'),
        ("n=NaN", 'invalid input "n": expected integer, got string'),
        ("ratio=", 'invalid input "ratio": expected number, got string'),
        ("flag=maybe", 'invalid input "flag": expected boolean, got string'),
        ("table=[1]", 'invalid input "table": expected object, got array'),
        ("numbers=x", 'invalid input "numbers": expected integer, got string'),
        ('numbers=["x"]', 'invalid input "numbers/0": "x" is not of type "integer"'),
        ("level=3", 'invalid input "level": must be one of: 1, 2'),
        ("choice=c", 'invalid input "choice": must be one of: a, b'),
        ("small=9", 'invalid input "small": 9 is greater than the maximum of 5'),
        ("image=@gone.png", 'invalid input "image": gone.png cannot be read'),
        ("nn=3", 'unknown input "nn"; valid inputs are: anything, choice, either'),
        ("n", "the input 'n' is not of the form name=value"),
        ("=3", "the input '=3' has no name"),
    ],
)
def test_a_wrong_value_is_told_in_cogs_words(pair: str, said: str) -> None:
    (what,) = _said("text=t", pair)
    assert what.startswith(said)


def test_all_complaints_come_at_once() -> None:
    assert [what.partition(";")[0] for what in _said("n=x", "choice=c", "zz=1", "image=@gone")] == [
        'invalid input "n": expected integer, got string',
        'invalid input "image": gone cannot be read',
        'unknown input "zz"',
        'missing required input "text"',
        'invalid input "choice": must be one of: a, b',
    ]


def test_one_value_given_twice() -> None:
    assert _said("text=t", "n=1", "n=2") == ['invalid input "n": expected integer, got array']


def test_a_misspelt_name_comes_with_the_right_one() -> None:
    with pytest.raises(LadingError) as caught:
        convert(SIGNATURE, ["text=t", "ration=1"], _no_file)
    assert caught.value.problems[0].instead == "write ratio instead of ration"


def test_a_model_without_inputs_says_so() -> None:
    with pytest.raises(LadingError) as caught:
        convert({"inputs": []}, ["a=1"], _no_file)
    assert caught.value.problems[0].what == 'unknown input "a"; model does not accept inputs'


def test_a_secret_does_not_come_back_in_a_message() -> None:
    signature = {"inputs": [{"name": "key", "type": {"kind": "secret"}, "min_length": 20, "required": True}]}
    with pytest.raises(LadingError) as caught:
        convert(signature, ["key=hunter2"], _no_file)
    assert "hunter2" not in str([problem.as_json() for problem in caught.value.problems])


def test_json_input_is_checked_before_anything_starts() -> None:
    check(SIGNATURE, {"text": "t", "maybe": None})
    with pytest.raises(LadingError) as caught:
        check(SIGNATURE, {"n": None, "zz": 1, "small": "x"})
    assert [problem.what.partition(";")[0] for problem in caught.value.problems] == [
        'unknown input "zz"',
        'missing required input "text"',
        'invalid input "n": must not be null',
        'invalid input "small": expected integer, got string',
    ]
    with pytest.raises(LadingError, match="is not of type"):
        check(SIGNATURE, [1])


def test_a_cortex_payload_takes_json_where_it_is_json(tmp_path: Path) -> None:
    (tmp_path / "a.bin").write_bytes(b"\xff")
    pairs = ["a=1", "b=text", "c=[1]", "c=x", "d=true", "e={", "f=@a.bin", "g=NaN"]
    assert convert_payload(pairs, lambda path: (tmp_path / path).read_bytes()) == {
        "a": 1,
        "b": "text",
        "c": [[1], "x"],
        "d": True,
        "e": "{",
        "f": "data:application/octet-stream;base64,/w==",
        "g": "NaN",
    }
    with pytest.raises(LadingError, match="cannot be read"):
        convert_payload(["a=@gone"], _no_file)
