"""Files that name a Python version."""

from __future__ import annotations

import pytest

from lading.formats import python_version
from lading.model.files import MemoryFiles
from lading.model.origin import Origin
from lading.model.requirements import Declaration
from tests.formats.reading import problems


def read(text: str | bytes, path: str = ".python-version") -> Declaration:
    return python_version.parse(path, MemoryFiles({path: text}))


@pytest.mark.parametrize(
    ("text", "specifier", "line"),
    [
        ("3.11\n", "==3.11.*", 1),
        ("3.11.7", "==3.11.7", 1),
        ("# comment\n\n3.11.7  # why\n", "==3.11.7", 3),
        ("python-3.8.12\r\n", "==3.8.12", 1),
        ("python 3.8", "==3.8.*", 1),
        ("cpython@3.12", "==3.12.*", 1),
        ("3", "==3.*", 1),
        (b"\xef\xbb\xbf3.10", "==3.10.*", 1),
        ("3.6.15", "==3.6.15", 1),
    ],
)
@pytest.mark.parametrize("path", [".python-version", "runtime.txt"])
def test_every_usual_spelling_is_read(text, specifier, line, path):
    request = read(text, path).python
    assert request is not None
    assert (request.specifier, request.origin) == (specifier, Origin(path, line))


def test_of_several_versions_the_first_counts_and_the_user_is_told():
    found = read("3.11.7\n3.10.13\n")
    assert found.python is not None
    assert found.python.text == "3.11.7"
    assert [(decision.rule, decision.asked) for decision in found.decisions] == [("python-version-first", "3.11.7, 3.10.13")]


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("", "python-version-file-empty"),
        ("# nothing", "python-version-file-empty"),
        ("pyton-3.8", "python-version-invalid"),
        ("3.8.x", "python-version-invalid"),
        (">=3.8", "python-version-invalid"),
        ("my-env", "python-version-invalid"),
        ("system", "python-version-invalid"),
        ("2.7.18", "python-version-invalid"),
        ("3.5", "python-version-invalid"),
        ("4.0", "python-version-invalid"),
        ("pypy3.9-7.3.9", "python-version-invalid"),
        ("miniconda3-4.7.12", "python-version-invalid"),
        (b"3.\xff", "encoding-wrong"),
    ],
)
def test_what_is_no_version_is_refused_with_its_line(text, rule):
    (problem,) = problems(lambda: read(text))
    assert (problem.rule, problem.origin) == (rule, Origin(".python-version", 1))
    assert problem.instead


def test_version_files_are_recognised_by_name():
    assert [python_version.recognises(path) for path in (".python-version", "a/runtime.txt", "python-version")] == [True, True, False]
