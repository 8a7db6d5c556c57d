"""Finding the predictor of a folder that names none."""

from __future__ import annotations

from lading.model.files import MemoryFiles
from lading.schema.discover import find_predictor


def _found(**files: str) -> list[str]:
    return [str(candidate) for candidate in find_predictor(MemoryFiles({f"{name}.py": text for name, text in files.items()}))]


CLASS = "class {}:\n    def setup(self): ...\n    def predict(self, x: int) -> int: ...\n"
FUNCTION = "def predict(text: str) -> str: ...\n"


def test_a_function_named_predict_is_found() -> None:
    assert _found(app="import x\n" + FUNCTION) == ["app.py:predict"]


def test_a_function_without_type_hints_is_not_a_predictor() -> None:
    assert _found(predict="def predict(x): ...\n") == []


def test_a_class_with_setup_and_predict_is_found_whatever_its_name() -> None:
    assert _found(iris=CLASS.format("Iris")) == ["iris.py:Iris"]


def test_a_class_of_cogs_is_found_by_its_base_even_through_another_file() -> None:
    base = "import cog\nclass Base(cog.BasePredictor):\n    def predict(self) -> str: ...\n"
    assert _found(model="from lib import Base\nclass Mine(Base): ...\n", lib=base) == ["model.py:Mine", "lib.py:Base"]


def test_a_class_that_another_one_builds_on_is_not_meant() -> None:
    source = "from cog import BaseRunner\nclass Base(BaseRunner):\n    def run(self) -> str: ...\nclass Mine(Base): ...\n"
    assert _found(main=source) == ["main.py:Mine"]


def test_the_usual_files_come_first_and_several_answers_are_all_given() -> None:
    found = _found(zeta=FUNCTION, model=FUNCTION, predict=CLASS.format("Predictor"), app=CLASS.format("Runner"), alpha=FUNCTION)
    assert found == ["predict.py:Predictor", "app.py:Runner", "model.py:predict", "alpha.py:predict", "zeta.py:predict"]


def test_helpers_tests_and_broken_files_are_passed_over() -> None:
    files: dict[str, str | bytes] = {
        "helper.py": "class Trainer:\n    def fit(self): ...\n",
        "test_predict.py": FUNCTION,
        "setup.py": FUNCTION,
        "broken.py": "def predict(",
        "latin.py": b"# \xff\n",
        "sub/predict.py": FUNCTION,
        "notes.txt": "def predict(x: int): ...",
    }
    assert find_predictor(MemoryFiles(files)) == []


def test_a_candidate_knows_its_line() -> None:
    (candidate,) = find_predictor(MemoryFiles({"p.py": "\n\n" + FUNCTION}))
    assert candidate.line == 3


def test_one_file_can_be_asked_about_wherever_it_is() -> None:
    files = MemoryFiles({"predict.py": FUNCTION, "src/mine.py": CLASS.format("Mine")})
    assert [str(candidate) for candidate in find_predictor(files, only="src/mine.py")] == ["src/mine.py:Mine"]
    assert find_predictor(files, only="gone.py") == []
