"""Which Python counts, and how it is told."""

from __future__ import annotations

import pytest

from lading.model.problems import ExitCode
from tests.planner.planning import Files, decision, files_of, plan, problems
from tests.planner.test_sources import cog

PYPROJECT = '[project]\nname = "x"\nversion = "1"\nrequires-python = "{}"\ndependencies = []\n'


@pytest.mark.parametrize(
    ("files", "python", "locked", "chosen", "because"),
    [
        ({}, None, None, "3.11.7", "nothing in the project asks for one; the version that Lading runs on is preferred, then the newest"),
        ({".python-version": "3.10\n"}, None, None, "3.10.13", ".python-version:1 asks for it"),
        ({"runtime.txt": "python-3.9.18\n"}, None, None, "3.9.18", "runtime.txt:1 asks for it"),
        ({".python-version": "3.10\n", "runtime.txt": "python-3.9.18\n"}, None, None, "3.10.13", ".python-version:1 asks for it"),
        ({".python-version": "3.10\n"}, "3.12", None, "3.12.1", "--python asks for it"),
        ({".python-version": "3.10\n"}, None, "3.12.1", "3.10.13", ".python-version:1 asks for it"),
        ({}, None, "3.12.1", "3.12.1", "pylock.lading.toml was made for it"),
        ({"runtime.txt": "python-3.9.18\n"}, None, "3.12.1", "3.12.1", "pylock.lading.toml was made for it"),
        ({"pyproject.toml": PYPROJECT.format(">=3.12")}, None, None, "3.13.0", "pyproject.toml:4 asks for it"),
        ({"pyproject.toml": PYPROJECT.format(">=3.12")}, None, "3.12.1", "3.12.1", "pylock.lading.toml was made for it"),
        ({"pyproject.toml": PYPROJECT.format(">=3.12")}, None, "3.11.7", "3.13.0", "pyproject.toml:4 asks for it"),
        ({"pyproject.toml": PYPROJECT.format(">=3.9")}, "3.10", None, "3.10.13", "--python asks for it"),
        (
            {"cog.yaml": cog(), "predict.py": "def predict(a: int) -> int: ...\n", ".python-version": "3.10\n"},
            None,
            None,
            "3.11.7",
            "cog.yaml:2 asks for it",
        ),
    ],
)
def test_the_strongest_request_counts(files: Files, python: str | None, locked: str | None, chosen: str, because: str):
    made = plan(files, python=python, locked=locked)
    told = decision(made, "python-chosen")
    assert (made.target.python, told.chose, told.because) == (chosen, f"Python {chosen}", because)


def test_files_that_do_not_count_are_listed_with_the_one_that_does():
    made = plan({".python-version": "3.10\n", "runtime.txt": "python-3.9.18\n"})
    assert files_of(made)[".python-version"] == "used: it names the Python"
    assert files_of(made)["runtime.txt"] == "ignored: .python-version:1 names the Python, and comes first"
    made = plan({".python-version": "3.10\n"}, python="3.12")
    assert files_of(made)[".python-version"] == "ignored: --python names the Python, and comes first"


@pytest.mark.parametrize(
    ("asked", "allowed"),
    [
        ("3.10", "3.10.13"),
        ("3.10.13", "3.10.13"),
        ("python3.10", "3.10.13"),
        ("cpython-3.10", "3.10.13"),
        ("3", "3.11.7"),
        (">=3.9,<3.11", "3.10.13"),
        ("==3.12.*", "3.12.1"),
    ],
)
def test_a_version_may_be_written_as_tools_write_it(asked: str, allowed: str):
    assert plan({}, python=asked).target.python == allowed


@pytest.mark.parametrize("asked", ["3.11.x", ">=abc", "3..1", "3.*", "pypy", "cog", "-3", "3.11, 3.12", "^3.10"])
def test_what_is_no_version_is_refused_with_the_ways_to_write_one(asked: str):
    (problem,) = problems(lambda: plan({}, python=asked))
    assert (problem.rule, str(problem.origin)) == ("python-version-invalid", "--python")
    assert asked in problem.what


def test_a_pre_release_is_asked_for_by_its_whole_name():
    with pytest.raises(ValueError, match="empty"):  # no machine of the tests has it, and no other version is taken in its place
        plan({}, python="3.14rc1")


def test_an_interpreters_path_is_in_no_record():
    made = plan({}, python="/opt/secret place/bin/python3")
    told = decision(made, "python-chosen")
    assert told.asked == "the interpreter that --python names"
    assert "/opt" not in str(made.as_json())


@pytest.mark.parametrize(("python", "files"), [("3.9", {}), (None, {".python-version": "3.9\n"})])
def test_two_requests_that_no_version_fits_are_both_named(python: str | None, files: Files):
    (problem,) = problems(lambda: plan({"pyproject.toml": PYPROJECT.format(">=3.12"), **files}, python=python))
    assert (problem.rule, problem.code) == ("python-requests-disagree", ExitCode.RESOLUTION)
    assert "pyproject.toml:4" in problem.what
    assert "3.9" in problem.what


def test_the_patch_version_does_not_make_a_lock_stale():
    first, second = (plan({"requirements.txt": "numpy==2.0.0"}, python=version) for version in ("3.11.7", "3.11"))
    other = plan({"requirements.txt": "numpy==2.0.0"}, python="3.12")
    assert first.fingerprint == second.fingerprint != other.fingerprint


@pytest.mark.parametrize(
    ("files", "python", "origin"),
    [
        ({"pyproject.toml": '[project]\nname = "x"\nversion = "1"\nrequires-python = "<3.10"\n'}, "3.9.18", "pyproject.toml:4"),
        ({"Pipfile": '[requires]\npython_version = "3.8"\n'}, "3.8.18", "Pipfile:2"),
        ({"Pipfile": '[requires]\npython_version = "3.8"\n', "runtime.txt": "python-3.12"}, "3.8.18", "Pipfile:2"),
        ({"pyproject.toml": "[project\n", "Pipfile": "[requires\n"}, "3.11.7", "None"),
        ({"Pipfile": '[requires]\npython_version = "3.8"\n', ".python-version": "3.12"}, "3.12.1", ".python-version:1"),
    ],
)
def test_a_file_that_is_not_the_source_may_ask_for_a_python(files: Files, python: str, origin: str):
    made = plan({"requirements.txt": "numpy==2.0.0", **files})
    assert made.target.python == python
    assert str(decision(made, "python-chosen").origin) == origin
