"""What is wrong with a predictor is told with file, line, reason and fix, all of it at once."""

from __future__ import annotations

import platform
from textwrap import dedent

import pytest

from lading.model.files import MemoryFiles
from lading.model.problems import LadingError, Problem
from lading.schema.static import read_signature


def _problems(source: str, target: str = "Predictor", **others: str) -> tuple[Problem, ...]:
    files = {"predict.py": dedent(source), **{f"{name}.py": dedent(text) for name, text in others.items()}}
    with pytest.raises(LadingError) as caught:
        read_signature(MemoryFiles(files), "predict.py", target)
    return caught.value.problems


def _method(signature: str, before: str = "") -> str:
    """A predictor whose method's signature stands in line 6."""
    return f"from cog import BasePredictor, ConcatenateIterator, File, Input, Path, Secret\nfrom typing import *\n{before}\nclass Predictor(BasePredictor):\n\n    def predict(self, {signature}: ...\n"


# what the user did, the source, rule, line, texts in the message (what, why, fix)
CASES: list[tuple[str, str, str, int | None, tuple[str, ...]]] = [
    ("no annotation", _method("n) -> str"), "missing-annotation", 6, ("input n of Predictor.predict has no type", "n: str")),
    ("no return type", _method("n: int)"), "missing-annotation", 6, ("does not say what it returns",)),
    ("returns None", _method("n: int) -> None"), "missing-annotation", 6, ("does not say what it returns",)),
    ("a tuple", _method("n: Tuple[int, int]) -> str"), "unsupported-type", 6, ("Tuple[int, int]", "JSON has no such type", "list[...]")),
    ("a set", _method("n: set) -> str"), "unsupported-type", 6, ("type set", "JSON has no such type")),
    ("bytes out", _method("n: int) -> bytes"), "unsupported-type", 6, ("output of Predictor.predict", "bytes")),
    (
        "a package's type",
        _method("n: int) -> np.ndarray", "import numpy as np"),
        "unsupported-type",
        6,
        ("np.ndarray", "ndarray comes from numpy"),
    ),
    ("a name from nowhere", _method("n: Img) -> str"), "unresolved-type", 6, ("Img", "defines Img")),
    ("a bad string type", _method("n: 'int |') -> str"), "unsupported-type", 6, ("not a type",)),
    ("a value for a type", _method("n: 3) -> str"), "unsupported-type", 6, ("a value is not a type",)),
    ("Path or str", _method("n: Union[Path, str]) -> str"), "unsupported-type", 6, ("cannot share an input", "two inputs")),
    ("a dataclass in", _method("n: P) -> str", "class P(NamedTuple): x: int"), "unsupported-type", 6, ("predict.py:3",)),
    ("only None", _method("n: None) -> str"), "unsupported-type", 6, ("can only be None",)),
    ("keys that are numbers", _method("n: Dict[int, str]) -> str"), "unsupported-type", 6, ("keys of a JSON object are texts",)),
    ("concatenate numbers", _method("n: int) -> ConcatenateIterator[int]"), "unsupported-type", 6, ("only texts",)),
    ("iterator of nothing", _method("n: int) -> Iterator"), "unsupported-type", 6, ("does not say what it yields", "Iterator[str]")),
    (
        "Cog before 0.1",
        "import cog\nclass Predictor(cog.Predictor):\n    @cog.input('n', type=int)\n    def predict(self, n):\n        return n\n",
        "predictor-method",
        3,
        ("declares its inputs by @cog.input", "before its version 0.1", "Input(description="),
    ),
    ("iterators inside", _method("n: int) -> List[Iterator[str]]"), "unsupported-type", 6, ("holds an iterator",)),
    ("star arguments", _method("*n: int) -> str"), "predictor-method", 6, ("takes *n", "name the inputs")),
    ("keywords", _method("**n: int) -> str"), "predictor-method", 6, ("takes **n",)),
    ("position only", _method("n: int, /) -> str"), "predictor-method", 6, ("n by position only", "remove the /")),
    (
        "default_factory",
        _method("n: list = Input(default_factory=list)) -> str"),
        "unknown-input-option",
        6,
        ("default_factory", "default="),
    ),
    ("a misspelt option", _method("n: int = Input(min=3)) -> str"), "unknown-input-option", 6, ("option min", "ge, le")),
    ("** options", _method("n: int = Input(**OPTIONS)) -> str"), "unresolved-input-option", 6, ("** arguments",)),
    (
        "a default from the environment",
        _method("n: str = Input(default=getenv('X'))) -> str"),
        "unresolved-input-option",
        6,
        ("getenv('X')",),
    ),
    (
        "choices from a package",
        _method("n: str = Input(choices=list(timm.names))) -> str", "import timm"),
        "unresolved-input-option",
        6,
        ("timm.names",),
    ),
    (
        "choices that are appended to",
        _method("n: str = Input(choices=NAMES)) -> str", "NAMES = ['a', 'b']; NAMES.append(c)"),
        "unresolved-input-option",
        6,
        ("NAMES",),
    ),
    (
        "ge on a text",
        _method("n: str = Input(ge=1)) -> str"),
        "invalid-input-option",
        6,
        ("ge in the Input of n", "ge/le are for numbers", "str"),
    ),
    ("length on a number", _method("n: int = Input(max_length=1)) -> str"), "invalid-input-option", 6, ("max_length", "texts")),
    ("regex on a path", _method("n: Path = Input(regex='a')) -> str"), "invalid-input-option", 6, ("regex", "path")),
    ("a bad regex", _method("n: str = Input(regex='(')) -> str"), "invalid-input-option", 6, ("no regular expression", "unterminated")),
    (
        "a limit that is a text",
        _method("n: int = Input(ge='1')) -> str"),
        "invalid-input-option",
        6,
        ("ge in the Input of n must be a whole number or a number", "'1'"),
    ),
    (
        "limits that exclude all",
        _method("n: int = Input(ge=5, le=1)) -> str"),
        "invalid-input-option",
        6,
        ("accepts nothing", "ge is 5, le is 1"),
    ),
    ("one choice", _method("n: str = Input(choices=['a'])) -> str"), "invalid-input-option", 6, ("at least two",)),
    (
        "choices of floats",
        _method("n: float = Input(choices=[1.0, 2.0])) -> str"),
        "invalid-input-option",
        6,
        ("choices are for str and int", "ge and le"),
    ),
    ("choices of another type", _method("n: int = Input(choices=['a', 2])) -> str"), "invalid-input-option", 6, ("['a']", "int")),
    ("choices with limits", _method("n: int = Input(choices=[1, 2], ge=1)) -> str"), "invalid-input-option", 6, ("exclude each other",)),
    (
        "a default out of range",
        _method("n: int = Input(default=9, le=5)) -> str"),
        "invalid-default",
        6,
        ("default of the input n", "9 is greater than the maximum of 5"),
    ),
    ("a default of another type", _method("n: int = Input(default='a')) -> str"), "invalid-default", 6, ('"a" is not of type "integer"',)),
    (
        "a default that is no choice",
        _method("n: str = Input(default='z', choices=['a', 'b'])) -> str"),
        "invalid-default",
        6,
        ('not one of ["a","b"]',),
    ),
    ("a plain default of another type", _method("n: int = 'a') -> str"), "invalid-default", 6, ('"a" is not of type "integer"',)),
    ("a bad default in a list", _method("n: List[int] = Input(default=[1, 9], le=5)) -> str"), "invalid-default", 6, ("9 is greater",)),
    (
        "yields a list",
        _method("n: int) -> List[str]").replace("...\n", "yield 'a'\n"),
        "missing-annotation",
        6,
        ("yields, but says", "Iterator[List[str]]"),
    ),
    ("no predict", "class Predictor:\n    def infer(self): ...\n", "predictor-method", 1, ("no method predict or run", "def predict")),
    (
        "a base from a package",
        "import lib\nclass Predictor(lib.Base): ...\n",
        "predictor-method",
        2,
        ("lib.Base may have one",),
    ),
    ("no self", "class Predictor:\n    def predict() -> str: ...\n", "predictor-method", 2, ("has no self",)),
    (
        "both",
        "class A:\n    def run(self) -> str: ...\nclass Predictor(A):\n    def predict(self) -> str: ...\n",
        "predictor-method",
        3,
        ("both run (predict.py:2) and predict (predict.py:4)",),
    ),
    (
        "setup with an argument",
        "class Predictor:\n    def setup(self, device): ...\n    def predict(self) -> str: ...\n",
        "setup-signature",
        2,
        ("argument device",),
    ),
    (
        "setup with stars",
        "class Predictor:\n    def setup(self, **kw): ...\n    def predict(self) -> str: ...\n",
        "setup-signature",
        2,
        ("*kw",),
    ),
    (
        "concurrent without async",
        "import cog\nclass Predictor:\n    @cog.concurrent(max=4)\n    def predict(self) -> str: ...\n",
        "predictor-method",
        3,
        ("@concurrent(max=4) needs an async def",),
    ),
    (
        "concurrent of the environment",
        "import cog, os\nclass Predictor:\n    @cog.concurrent(max=os.cpu_count())\n    async def predict(self) -> str: ...\n",
        "predictor-method",
        3,
        ("os.cpu_count()", "@concurrent(max=4)"),
    ),
    (
        "no such class",
        "class Predicter:\n    def predict(self) -> str: ...\n",
        "predictor-missing",
        None,
        ("defines no Predictor", "Predicter"),
    ),
    ("an empty file", "", "predictor-missing", None, ("defines no class and no function",)),
    ("a class from a package", "from lib import Predictor\n", "predictor-missing", None, ("comes from lib.Predictor",)),
    ("a made predictor", "Predictor = make()\n", "predictor-missing", None, ("neither a class nor a function",)),
    (
        "a syntax error",
        "x = 1\nclass Predictor\n",
        "syntax-error",
        2,
        ("predict.py is not Python that can be read", platform.python_version()),
    ),
    ("Python 2", "x = 1\nprint 'a'\n", "syntax-error", 2, ("written for Python 2", "port the file")),
]


@pytest.mark.parametrize(("source", "rule", "line", "texts"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_my_predictor_is_wrong_and_i_am_told_where_and_why(source: str, rule: str, line: int | None, texts: tuple[str, ...]) -> None:
    (problem,) = _problems(source)
    assert problem.rule == rule
    assert problem.origin is not None
    assert (problem.origin.path, problem.origin.line) == ("predict.py", line)
    said = f"{problem.what} | {problem.why} | {problem.instead}"
    for text in texts:
        assert text in said
    assert problem.instead or rule == "invalid-input-option"


def test_everything_that_is_wrong_is_told_at_once() -> None:
    source = """
        from cog import BasePredictor, Input
        class Predictor(BasePredictor):
            def setup(self, device): ...
            def predict(
                self,
                a,
                b: int = Input(ge=5, le=1),
                c: Strange = None,
                d: str = Input(choices=["x"], min_length=1),
            ): ...
    """
    found = [(problem.rule, problem.origin and problem.origin.line) for problem in _problems(source)]
    assert found == [
        ("setup-signature", 4),
        ("missing-annotation", 7),
        ("invalid-input-option", 8),
        ("unresolved-type", 9),
        ("invalid-input-option", 10),
        ("invalid-input-option", 10),
        ("missing-annotation", 5),
    ]


def test_a_problem_in_another_file_names_that_file() -> None:
    (problem,) = _problems(
        "from base import Base\nclass Predictor(Base): ...\n", base="class Base:\n    def predict(self, n) -> str: ...\n"
    )
    assert str(problem.origin) == "base.py:2"


def test_a_missing_file_is_named() -> None:
    with pytest.raises(LadingError) as caught:
        read_signature(MemoryFiles({"predict.py": ""}), "src/predict.py", "Predictor")
    (problem,) = caught.value.problems
    assert (problem.rule, problem.what) == ("predictor-file-missing", "src/predict.py is not in the project")


def test_a_helper_with_a_syntax_error_only_matters_where_its_names_are_needed() -> None:
    source = "import broken\nfrom broken import x\ndef predict(n: int) -> str: ...\n"
    signature = read_signature(MemoryFiles({"p.py": source, "broken.py": "def ("}), "p.py", "predict")
    assert [one["name"] for one in signature.record["inputs"]] == ["n"]


def test_files_that_import_each_other_are_read() -> None:
    files = {
        "predict.py": "from other import T\nU = int\ndef predict(n: T, m: 'U') -> str: ...\n",
        "other.py": "from predict import U\nfrom predict import V\nT = U\n",
    }
    signature = read_signature(MemoryFiles(files), "predict.py", "predict")
    assert [one["type"]["kind"] for one in signature.record["inputs"]] == ["int", "int"]


def test_a_type_that_is_itself_ends() -> None:
    (problem,) = _problems("from predict import Loop\ndef predict(n: Loop) -> str: ...\n", "predict")
    assert problem.rule == "unresolved-type"


def test_a_secret_default_that_does_not_fit_is_not_shown() -> None:
    (problem,) = _problems(_method("key: Secret = Input(default=31415926)) -> str"))
    assert problem.rule == "invalid-default"
    assert "31415926" not in f"{problem.as_json()}"
