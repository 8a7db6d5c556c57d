"""pyproject.toml as a source of dependencies."""

from __future__ import annotations

import pytest

from lading.formats import pyproject_toml
from lading.formats._toml import Toml
from lading.model.files import MemoryFiles
from lading.model.origin import Origin
from lading.model.requirements import Declaration
from tests.formats.reading import problems

PATH = "pyproject.toml"


def read(text: str) -> Declaration:
    return pyproject_toml.parse(PATH, MemoryFiles({PATH: text, "pkg/pyproject.toml": ""}))


def settings(text: str) -> pyproject_toml.Settings:
    return pyproject_toml.lading_settings(PATH, MemoryFiles({PATH: text}))


def refusals(text: str) -> list[tuple[str, int | None]]:
    return [(problem.rule, problem.origin.line if problem.origin else None) for problem in problems(lambda: read(text))]


def test_dependencies_carry_their_lines():
    text = """
[project]
name = "x"
requires-python = ">= 3.9, <3.13"
dependencies = [
  # the framework
  "torch==2.1.0", 'numpy>=1.20',  # two on a line
  \"\"\"uvicorn[standard] ; python_version < "3.12\\"\"\"\"
  ,
  "a @ git+https://example.org/a@v1#subdirectory=x",
  "pkg @ file:./pkg",
]
"""
    found = read(text)
    assert [declared.pep508 for declared in found.requirements] == [
        "torch==2.1.0",
        "numpy>=1.20",
        'uvicorn[standard] ; python_version < "3.12"',
        "a @ git+https://example.org/a@v1#subdirectory=x",
        "./pkg",
    ]
    assert [declared.origin.line for declared in found.requirements] == [7, 7, 8, 10, 11]
    assert found.python is not None
    assert (found.python.specifier, found.python.origin) == (">=3.9,<3.13", Origin(PATH, 4))
    assert found.read == (PATH,)


def test_tables_of_pixi_are_told_to_have_no_effect():
    text = "[project]\nname = 'x'\n\n[tool.pixi.workspace]\nchannels = []\n\n[tool.pixi.dependencies]\nrdkit = '*'\n"
    (decision,) = read(text).decisions
    assert (decision.rule, decision.asked) == ("pixi-tables-not-used", "tool.pixi.dependencies")
    assert str(decision.origin) == "pyproject.toml:7"
    assert not read("[project]\nname = 'x'\n[tool.pixi.tasks]\na = 'b'\n").decisions


def test_the_group_named_lading_joins_with_what_it_includes():
    text = """
[project]
dependencies = ["numpy"]
[dependency-groups]
dev = ["pytest"]
gpu = ["torch==2.1.0"]
Lading = ["uvicorn", {include-group = "GPU"}]
"""
    assert [declared.pep508 for declared in read(text).requirements] == ["numpy", "uvicorn", "torch==2.1.0"]


def test_a_file_with_settings_of_tools_only_declares_nothing():
    found = read(
        "[tool.ruff]\nline-length = 100\n[tool.uv]\ndev-dependencies = ['x']\npackage = false\n[tool.uv.sources]\nother = {index = 'i'}\n"
    )
    assert found.requirements == ()


def test_poetry_beside_the_standard_table_is_fine_when_it_adds_nothing():
    text = "[project]\ndependencies = ['a']\n[tool.poetry]\npackages = []\n[tool.poetry.group.dev.dependencies]\npytest = '*'\n"
    assert len(read(text).requirements) == 1


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[project\n", [("toml-invalid", 1)]),
        ("a = 1\na = 2\n", [("toml-invalid", 2)]),
        ("a = " + "[" * 5000, [("toml-invalid", 1)]),
        ("project = 1\n", [("wrong-type", 1)]),
        ("[project]\ndependencies = 'numpy'\n", [("wrong-type", 2)]),
        ("[project]\ndependencies = [\n  1,\n  'flask^2',\n  '--pre',\n]\n", [("wrong-type", 3), ("requirement-invalid", 4), ("option-in-pyproject", 5)]),
        ("[project]\ndependencies = ['a==1',\n 'A==2']\n", [("pins-conflict", 3)]),
        ("[project]\nrequires-python = '3.9'\n", [("requires-python-invalid", 2)]),
        ("[project]\nrequires-python = 3.9\n", [("wrong-type", 2)]),
        ("[dependency-groups]\nlading = [{include-group = 'a'}]\na = [{include-group = 'lading'}]\n", [("group-loop", 2)]),
        ("[dependency-groups]\nlading = [{include-group = 'gone'}, {x = 1}]\n", [("group-unknown", 2), ("group-invalid", 2)]),
        ("[dependency-groups]\nlading = 1\n", [("wrong-type", 2)]),
        ("[tool.poetry.dependencies]\npython = '^3.9'\ntorch = 'two'\n", [("poetry-dependency-invalid", 3)]),
        ("[tool.poetry.dependencies]\ntorch = '<1 || >=2'\nx = {version='1', source='gone'}\ny = 3\n", [("poetry-dependency-invalid", 2), ("poetry-dependency-invalid", 3), ("wrong-type", 4)]),
        ("[tool.poetry.dependencies]\npython = '<3 || >=3.9'\n", [("requires-python-invalid", 2)]),
        ("[project]\ndependencies = ['a']\n[[tool.poetry.source]]\nname = 'x'\n", [("index-invalid", 3)]),
        ("[project]\ndependencies = ['Torch']\n[tool.uv.sources]\ntorch = {index = 'pt'}\n[[tool.uv.index]]\nname = 'pt'\n", [("index-invalid", 5), ("uv-source-invalid", 4)]),
        ("[project]\ndependencies = ['a']\n[tool.uv.sources]\na = {}\n", [("uv-source-invalid", 4)]),
        ("[project]\ndependencies = ['a']\n[tool.uv.sources]\na = {workspace = true}\n", [("uv-source-invalid", 4)]),
        ("[project]\ndependencies = ['a']\n[tool.uv.sources]\na = {path = 'gone'}\n", [("file-not-found", 4)]),
        ("[tool.uv]\noverride-dependencies = ['a b']\nresolution = 'lowest'\nno-index = 3\n", [("table-not-supported", 3), ("wrong-type", 4), ("requirement-invalid", 2)]),
        ("[tool.uv]\ndependency-metadata = [{version = '1'}, {name = 'a', requires-dist = ['b c', 3], version = 1}]\n", [("wrong-type", 2), ("requirement-invalid", 2), ("wrong-type", 2), ("wrong-type", 2)]),
        ("[tool.uv]\nexclude-newer-package = {a = '2020-01-01'}\n", [("table-not-supported", 2)]),
        ("[[tool.pdm.source]]\nname = 'x'\n", [("index-invalid", 1)]),
        ("[tool.flit.metadata]\nrequires = ['a']\n", [("table-not-supported", 1)]),
        ("[tool.lading]\npredcit = 'a.py:B'\n", [("unknown-key", 2)]),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_refused_with_its_line(text, expected):
    assert refusals(text) == expected


def test_settings_name_the_predictor_and_the_python():
    found = settings("[tool.lading]\npython = '3.11'\npredict = 'serve.py:Model'\n")
    assert (found.predict, found.origin) == ("serve.py:Model", Origin(PATH, 3))
    assert found.python is not None
    assert found.python.specifier == "==3.11.*"
    assert settings("").predict is None


def test_the_python_of_the_settings_joins_requires_python():
    found = read("[project]\nrequires-python = '>=3.9'\n[tool.lading]\npython = '3.11'\n").python
    assert found is not None
    assert found.specifier == "==3.11.*,>=3.9"


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("predict = 'serve'", "predictor-reference-invalid"),
        ("predict = 3", "wrong-type"),
        ("python = 'x'", "python-version-invalid"),
        ("nope = 1", "unknown-key"),
    ],
)
def test_wrong_settings_are_refused(text, rule):
    (problem,) = problems(lambda: settings(f"[tool.lading]\n{text}\n"))
    assert (problem.rule, problem.origin) == (rule, Origin(PATH, 2))


def test_a_credential_in_a_dependency_is_masked():
    (problem,) = problems(lambda: read("[project]\ndependencies = ['a b @ https://user:s3cr3t@example.org/a.zip']\n"))
    assert "s3cr3t" not in str(problem.as_json())


def test_lines_are_found_in_every_syntax_of_toml():
    text = """\
top = 1  # [not.a.table]
"quoted key".'and more'.bare = [1,
  [2, { inline = 'x' }],
]
date = 1979-05-27 07:32:00Z
text = '''
[fake]
key = 1'''
[a."b.c"]
x = { y.z = [
  "}]", 2 ] }
[[many]]
n = 1
[[many]]
n = 2
[many.below]
m = 3
"""
    toml = Toml(PATH, text)
    lines = {
        ("quoted key", "and more", "bare", 1, 1, "inline"): 3,
        ("date",): 5,
        ("text",): 6,
        ("a", "b.c"): 9,
        ("a", "b.c", "x", "y", "z", 0): 11,
        ("many", 0, "n"): 13,
        ("many", 1, "n"): 15,
        ("many", 1, "below", "m"): 17,
    }
    assert {key: toml.origin(*key).line for key in lines} == lines
    assert toml.origin("fake").line == 1
