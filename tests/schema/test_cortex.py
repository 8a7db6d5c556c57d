"""A Cortex predictor that cannot start is told so before anything is installed, in Cortex's words."""

from __future__ import annotations

import pytest

from lading.model.files import MemoryFiles
from lading.schema.cortex import check_predictor


def _said(source: str, names: tuple[str, ...] = ("PythonPredictor",), **others: str) -> list[str]:
    files = {"predictor.py": source, **{f"{name}.py": text for name, text in others.items()}}
    return [problem.what for problem in check_predictor(MemoryFiles(files), "predictor.py", names)]


GOOD = """
class PythonPredictor:
    def __init__(self, config, python_client=None, metrics_client=None):
        pass
    def predict(self, payload, query_params, headers):
        return payload
    def post_predict(self, response, payload): ...
"""


def test_a_good_predictor_has_no_problem() -> None:
    assert _said(GOOD) == []
    assert _said("class PythonPredictor:\n    def __init__(self, config): ...\n    def predict(self, **kwargs): ...\n") == []


def test_an_argument_that_cortex_does_not_pass() -> None:
    source = GOOD.replace("payload, query_params, headers", "payload, temperature=0.5")
    (said,) = _said(source)
    written = 'invalid signature for method "predict(self, payload, temperature)": "temperature" is not a supported argument'
    assert said == f"error in predictor.py: class PythonPredictor: {written}"


def test_init_without_config() -> None:
    (said,) = _said(GOOD.replace("self, config, python_client=None", "self, python_client=None"))
    assert said.endswith('"__init__(self, python_client, metrics_client)": "config" is a required argument, but was not provided')


def test_a_missing_method() -> None:
    source = "class PythonPredictor:\n    def __init__(self, config): ...\n"
    assert _said(source) == ['error in predictor.py: class PythonPredictor: required method "predict" is not defined']
    assert _said("class PythonPredictor:\n    def predict(self): ...\n") == [
        'error in predictor.py: class PythonPredictor: required method "__init__" is not defined'
    ]


def test_a_missing_class_names_what_is_there() -> None:
    (problem,) = check_predictor(MemoryFiles({"p.py": "class Predictor: ...\n"}), "p.py")
    assert problem.what == "error in p.py: PythonPredictor class is not defined"
    assert "Predictor" in (problem.why or "")


def test_every_wrong_method_is_told_with_its_line() -> None:
    source = "class PythonPredictor:\n    def __init__(self): ...\n    async def predict(self, data): ...\n    def load_model(self): ...\n"
    problems = check_predictor(MemoryFiles({"p.py": source}), "p.py")
    assert [problem.origin and problem.origin.line for problem in problems] == [2, 3, 3, 4]


def test_a_class_imported_from_the_project_counts() -> None:
    assert _said("from base import PythonPredictor\n", base=GOOD) == []
    (said,) = _said(
        "from base import Base\nclass PythonPredictor(Base): ...\n",
        base="class Base:\n    def predict(self, x): ...\n    def __init__(self, config): ...\n",
    )
    assert '"x" is not a supported argument' in said


@pytest.mark.parametrize(
    "source",
    [
        "from package import PythonPredictor\n",
        "from package import *\n",
        "import package\nclass PythonPredictor(package.Base): ...\n",
        "PythonPredictor = make()\n",
    ],
)
def test_what_the_source_cannot_tell_is_no_problem(source: str) -> None:
    assert _said(source) == []


def test_a_static_predict_is_refused_as_cortex_does() -> None:
    (said,) = _said("class PythonPredictor:\n    def __init__(self, config): ...\n    @staticmethod\n    def predict(payload): ...\n")
    assert '"self" is a required argument' in said


def test_other_predictor_types_have_their_own_arguments() -> None:
    source = "class ONNXPredictor:\n    def __init__(self, onnx_client, config): ...\n    def predict(self, payload): ...\n"
    assert _said(source, ("ONNXPredictor",)) == []
    assert len(_said(source.replace("onnx_client, ", ""), ("ONNXPredictor",))) == 1


def test_a_missing_or_broken_file_is_told() -> None:
    assert [problem.rule for problem in check_predictor(MemoryFiles({}), "predictor.py")] == ["predictor-file-missing"]
    assert [problem.rule for problem in check_predictor(MemoryFiles({"p.py": "def ("}), "p.py")] == ["syntax-error"]
