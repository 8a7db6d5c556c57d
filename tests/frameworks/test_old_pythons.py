"""Old projects: a Python that has wheels is chosen, and if none is there, it is said which, and what would work instead."""

from __future__ import annotations

import pytest

from lading.frameworks.suited import suited_pythons, without_python
from lading.model.problems import ExitCode
from lading.model.requirements import Declared
from tests.planner.planning import decision, plan, rules
from tests.support.plans import declared


def lines(*texts: str) -> tuple[Declared, ...]:
    return tuple(declared(text, number) for number, text in enumerate(texts, start=1))


@pytest.mark.parametrize(
    ("texts", "pythons"),
    [
        (["torch==1.4.0"], ("3.6", "3.7", "3.8")),
        (["torch==1.7.1+cu110", "numpy"], ("3.6", "3.7", "3.8", "3.9")),
        (["torch<1.9"], ("3.6", "3.7", "3.8", "3.9")),
        (["torch~=1.13.0", "torchvision==0.14.0"], ("3.7", "3.8", "3.9", "3.10")),
        (["tensorflow==1.15.5"], ("3.6", "3.7")),
        (["tensorflow-gpu==2.4.0", "torch==1.10.0"], ("3.6", "3.7", "3.8")),
        (["torchvision==0.12.0"], ("3.7", "3.8", "3.9", "3.10")),
    ],
)
def test_the_pythons_that_old_pins_leave(texts: list[str], pythons: tuple[str, ...]):
    suited = suited_pythons(lines(*texts))
    assert suited is not None
    assert suited.pythons == pythons


@pytest.mark.parametrize(
    "texts",
    [
        ["numpy==1.0"],
        ["torch"],
        ["torch>=1.4"],
        ["torch==9.9.9"],
        ["torch==2.15.0 ; python_version < '3.8'"],
        ["torch @ https://example.org/t.whl"],
        ["torch==1.4.0", "tensorflow==2.21.0"],  # no Python has both: the contradiction is told elsewhere
    ],
)
def test_what_leaves_every_python_or_none(texts: list[str]):
    assert suited_pythons(lines(*texts)) is None


def test_a_python_with_wheels_is_chosen_and_said():
    made = plan({"requirements.txt": "torch==1.10.0\n"})
    assert made.target.python == "3.9.18"
    told = decision(made, "python-chosen")
    assert told.because == "torch==1.10.0 has wheels for Python 3.6 to 3.9 alone"
    assert str(told.origin) == "requirements.txt:1"


def test_a_request_for_a_python_is_not_overruled_and_the_contradiction_is_told():
    assert rules(lambda: plan({"requirements.txt": "torch==1.10.0\n", ".python-version": "3.11\n"})) == ["torch-python-unfit"]


def test_requires_python_and_wheels_count_together():
    project = '[project]\nname = "x"\nversion = "1"\nrequires-python = ">=3.8,<3.10"\ndependencies = ["torch==1.11.0"]\n'
    assert plan({"pyproject.toml": project}).target.python == "3.9.18"


def test_a_lock_for_a_python_without_wheels_is_out_of_date():
    assert plan({"requirements.txt": "torch==1.10.0\n"}, locked="3.11.7").target.python == "3.9.18"
    assert plan({"requirements.txt": "torch==1.10.0\n"}, locked="3.8.18").target.python == "3.8.18"


@pytest.mark.parametrize(
    ("text", "near"), [("torch==1.7.1", "torch==2.0.0+cpu torchvision==0.15.1"), ("tensorflow==2.4.0", "tensorflow==2.12.0")]
)
def test_where_no_such_python_is_there_the_nearest_release_is_named(text: str, near: str):
    requirements = lines(text)
    suited = suited_pythons(requirements)
    assert suited is not None
    problem = without_python(suited, requirements, ["3.11.7", "3.11.2"], "cpu")
    assert (problem.rule, problem.code, str(problem.origin)) == ("python-with-wheels-missing", ExitCode.RESOLUTION, "requirements.txt:1")
    assert problem.instead is not None
    assert f"Install Python {suited.pythons[-1]}" in problem.instead
    assert near in problem.instead
