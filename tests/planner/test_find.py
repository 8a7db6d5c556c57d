"""Which project a folder holds, and what is served."""

from __future__ import annotations

import pytest

from lading.model.files import MemoryFiles
from lading.model.project import ProjectConfig, ProjectKind
from lading.planner.find import find_config
from tests.planner.planning import PREDICT, Files, problems

COG = 'build:\n  python_version: "3.11"\npredict: predict.py:Predictor\n'
CORTEX = "- name: iris\n  kind: RealtimeAPI\n  predictor:\n    type: python\n    path: predictor.py\n"
PREDICTOR = (
    "class PythonPredictor:\n    def __init__(self, config):\n        pass\n\n    def predict(self, payload):\n        return payload\n"
)
BOTH = {"cog.yaml": COG, "cortex.yaml": CORTEX, "predict.py": PREDICT, "predictor.py": PREDICTOR}


def find(files: Files, named: str | None = None) -> ProjectConfig:
    return find_config(MemoryFiles(files), named, {})


def served(config: ProjectConfig) -> list[str]:
    return [f"{api.name} {api.file}:{api.object}" for api in config.apis]


@pytest.mark.parametrize(
    ("files", "kind", "path", "apis"),
    [
        ({"cog.yaml": COG, "predict.py": PREDICT}, ProjectKind.COG, "cog.yaml", ["predict predict.py:Predictor"]),
        ({"cortex.yaml": CORTEX, "predictor.py": PREDICTOR}, ProjectKind.CORTEX, "cortex.yaml", ["iris predictor.py:PythonPredictor"]),
        ({"my_model.py": PREDICT}, ProjectKind.PLAIN, None, ["my-model my_model.py:predict"]),
        ({"predict.py": PREDICT, "setup.py": "", "util.py": "x = 1\n"}, ProjectKind.PLAIN, None, ["predict predict.py:predict"]),
    ],
)
def test_the_kind_of_a_project_follows_from_its_files(files: Files, kind: ProjectKind, path: str | None, apis: list[str]):
    config = find(files)
    assert (config.kind, config.path, served(config)) == (kind, path, apis)


def test_a_predictor_that_was_found_is_told_with_the_way_to_name_another():
    (decision,) = find({"predict.py": PREDICT}).decisions
    assert (decision.rule, decision.chose, str(decision.origin)) == ("predictor-found", "predict.py:predict", "predict.py:1")
    assert decision.instead is not None
    assert "-f FILE.py:NAME" in decision.instead


def test_two_configurations_are_not_chosen_between():
    (problem,) = problems(lambda: find(BOTH))
    assert problem.rule == "two-configurations"
    assert problem.instead is not None
    assert "-f cog.yaml" in problem.instead


@pytest.mark.parametrize(
    ("named", "kind"),
    [
        ("cog.yaml", ProjectKind.COG),
        ("./cog.yaml", ProjectKind.COG),
        ("cortex.yaml", ProjectKind.CORTEX),
        ("predict.py", ProjectKind.PLAIN),
        ("predict.py:predict", ProjectKind.PLAIN),
    ],
)
def test_what_is_named_counts(named: str, kind: ProjectKind):
    assert find(BOTH, named).kind is kind


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        (CORTEX, ProjectKind.CORTEX),
        (f"# a comment\n\n---\n{CORTEX}", ProjectKind.CORTEX),
        (f"\ufeff{CORTEX}", ProjectKind.CORTEX),
        (COG, ProjectKind.COG),
    ],
)
def test_a_configuration_of_another_name_is_told_by_its_content(text: str, kind: ProjectKind):
    files = {"gpu.yaml": text, "predict.py": PREDICT, "predictor.py": PREDICTOR}
    assert find(files, "gpu.yaml").kind is kind


def test_pyproject_may_name_the_predictor():
    files = {"a.py": PREDICT, "b.py": PREDICT, "pyproject.toml": '[tool.lading]\npredict = "b.py:predict"\n'}
    config = find(files)
    assert served(config) == ["b b.py:predict"]
    assert str(config.apis[0].origin) == "pyproject.toml:2"
    assert config.decisions == ()


def test_the_command_line_wins_over_pyproject():
    files = {"a.py": PREDICT, "b.py": PREDICT, "pyproject.toml": '[tool.lading]\npredict = "b.py:predict"\n'}
    assert served(find(files, "a.py:predict")) == ["a a.py:predict"]


@pytest.mark.parametrize(
    ("files", "named", "rule", "origin"),
    [
        ({}, None, "no-predictor", None),
        ({"main.py": "print(1)\n"}, None, "no-predictor", "main.py"),
        ({"main.py": "print(1)\n"}, "main.py", "no-predictor", "main.py"),
        ({"a.py": PREDICT}, "b.py", "predictor-file-not-found", "the command line"),
        ({"a.py": PREDICT}, "b.py:predict", "predictor-file-not-found", "the command line"),
        ({"a.py": PREDICT}, "cog.yaml", "file-not-found", "-f"),
        ({"a.py": PREDICT}, "", "file-not-found", "-f"),
        ({"a.py": PREDICT, "b.py": PREDICT}, None, "several-predictors", "a.py:1"),
        ({"pyproject.toml": '[tool.lading]\npredict = "gone.py:f"\n'}, None, "predictor-file-not-found", "pyproject.toml:2"),
    ],
)
def test_what_cannot_be_served_is_said_with_its_place(files: Files, named: str | None, rule: str, origin: str | None):
    (problem,) = problems(lambda: find(files, named))
    assert (problem.rule, str(problem.origin) if problem.origin else None) == (rule, origin)
    assert problem.instead


def test_several_predictors_are_listed_with_the_words_that_choose():
    (problem,) = problems(lambda: find({"a.py": PREDICT, "b.py": PREDICT}))
    assert "a.py:predict (line 1), b.py:predict (line 1)" in problem.what
    assert problem.instead is not None
    assert "-f a.py:predict" in problem.instead
