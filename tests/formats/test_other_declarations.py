"""Pipfile, setup.cfg, setup.py, script blocks and lists of system packages."""

from __future__ import annotations

import pytest

from lading.formats import pep723, pipfile, setup_cfg, setup_py, system_packages
from lading.model.files import MemoryFiles
from lading.model.requirements import Declaration
from tests.formats.reading import problems


def rules(action) -> list[tuple[str, int | None]]:
    return [(problem.rule, problem.origin.line if problem.origin else None) for problem in problems(action)]


def shown(declaration: Declaration) -> list[str]:
    return [declared.pep508 for declared in declaration.requirements]


# Pipfile


def read_pipfile(text: str, **environ: str) -> Declaration:
    return pipfile.parse("Pipfile", MemoryFiles({"Pipfile": text, "lib/setup.py": "", "a-1.0.tar.gz": ""}), environ)


def test_a_pipfile_with_every_kind_of_entry():
    text = """
[packages]
numpy = "*"
Pandas = "==2.2.2"
bare = "1.0"
uvicorn = {extras = ["standard", "x"], version = ">=0.20,<1"}
win = {version = "*", markers = "os_name == 'nt' or python_version < '3'", sys_platform = "== 'win32'"}
git-one = {git = "https://example.org/g.git", ref = "v1", subdirectory = "x"}
lib = {path = "./lib", editable = true}
file = {file = "https://example.org/f.zip"}
local = {file = "a-1.0.tar.gz"}
[dev-packages]
pytest = "*"
[pipenv]
allow_prereleases = true
[requires]
python_full_version = "3.10.4"
"""
    found = read_pipfile(text)
    assert shown(found) == [
        "numpy",
        "pandas==2.2.2",
        "bare==1.0",
        "uvicorn[standard,x]>=0.20,<1",
        'win ; (os_name == "nt" or python_version < "3") and sys_platform == "win32"',
        "git-one @ git+https://example.org/g.git@v1#subdirectory=x",
        "./lib",
        "file @ https://example.org/f.zip",
        "./a-1.0.tar.gz",
    ]
    assert found.options.pre
    assert found.python is not None
    assert found.python.specifier == "==3.10.4"
    assert found.requirements[1].origin.line == 4


def test_only_the_first_source_serves_packages_that_name_none():
    text = "[[source]]\nname='a'\nurl='https://a/'\n[[source]]\nname='b'\nurl='https://$USER:${TOKEN}@b/'\n[packages]\nx = '*'\ny = {version='*', index='b'}\nz = {version='*', index='a'}\n"
    found = read_pipfile(text, USER="bob", TOKEN="t0ken")
    assert found.options.index_url is not None
    assert (found.options.index_url.reveal(), found.options.extra_index_urls) == ("https://a/", ())
    assert [declared.index.reveal() if declared.index else None for declared in found.requirements] == [None, "https://bob:t0ken@b/", None]
    every = read_pipfile(text + "[pipenv]\ninstall_search_all_sources = true\n", USER="bob", TOKEN="t0ken")
    assert [url.reveal() for url in every.options.extra_index_urls] == ["https://bob:t0ken@b/"]
    assert rules(lambda: read_pipfile(text)) == [("variable-not-set", 4), ("variable-not-set", 4), ("index-unknown", 9)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[packages\n", [("toml-invalid", 1)]),
        ("packages = 1\n", [("wrong-type", 1)]),
        (
            "[packages]\nx = 3\n'a b' = '*'\ny = 'nonsense'\n",
            [("requirement-invalid", 2), ("requirement-invalid", 3), ("requirement-invalid", 4)],
        ),
        ("[packages]\nx = {hg = 'https://x'}\n", [("vcs-not-supported", 2)]),
        ("[[source]]\nname = 'x'\n", [("index-invalid", 1)]),
        ("[requires]\npython_version = '4'\n", [("python-version-invalid", 2)]),
        ("[packages]\na = '==1'\nA = '==2'\n", [("pins-conflict", 3)]),
    ],
)
def test_what_is_wrong_in_a_pipfile_is_told_with_its_line(text, expected):
    assert rules(lambda: read_pipfile(text)) == expected


# setup.cfg


def read_cfg(text: str) -> Declaration:
    return setup_cfg.parse("setup.cfg", MemoryFiles({"setup.cfg": text, "reqs.txt": "a==1\n# b\nc\n"}))


def test_setup_cfg_lists_requirements_on_lines_of_their_own():
    found = read_cfg(
        "[metadata]\nname = x\n[options]\npython_requires = >=3.8\ninstall_requires =\n  # one\n  numpy>=1 # two\n\n  b; os_name == 'nt'\n"
    )
    assert shown(found) == ["numpy>=1", 'b ; os_name == "nt"']
    assert [declared.origin.line for declared in found.requirements] == [7, 9]
    assert found.python is not None
    assert found.python.specifier == ">=3.8"


@pytest.mark.parametrize(
    ("value", "expected"),
    [("numpy", ["numpy"]), ("numpy; pandas>=2", ["numpy", "pandas>=2"]), ("b; os_name == 'nt'", ['b ; os_name == "nt"']), ("file: reqs.txt", ["a==1", "c"])],
)  # fmt: skip
def test_setup_cfg_takes_one_line_in_each_of_its_meanings(value, expected):
    assert shown(read_cfg(f"[options]\ninstall_requires = {value}\n")) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[options\n", [("setup-cfg-invalid", 1)]),
        ("[options]\ninstall_requires =\n  a b\n  c==\n", [("requirement-invalid", 3), ("requirement-invalid", 4)]),
        ("[options]\npython_requires = 3\n", [("requires-python-invalid", 2)]),
        ("[options]\ninstall_requires = file: gone.txt\n", [("file-not-found", 2)]),
    ],
)
def test_what_is_wrong_in_setup_cfg_is_told_with_its_line(text, expected):
    assert rules(lambda: read_cfg(text)) == expected


def test_a_setup_cfg_for_tools_declares_nothing():
    assert not setup_cfg.declares("setup.cfg", MemoryFiles({"setup.cfg": "[flake8]\nmax-line-length = 1\n"}))
    assert setup_cfg.declares("setup.cfg", MemoryFiles({"setup.cfg": "[options]\npython_requires: >=3\n"}))


# setup.py


def read_setup(text: str) -> Declaration:
    return setup_py.parse("setup.py", MemoryFiles({"setup.py": text}))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("setup(install_requires=['a', 'b>=1'])", ["a", "b>=1"]),
        ("import setuptools\nsetuptools.setup(install_requires=('a',))", ["a"]),
        ("R = ['a']\nsetup(install_requires=R + ['b'])", ["a", "b"]),
        ("V = 'a==1'\nsetup(install_requires=[V, *['b']])", ["a==1", "b"]),
        ("setup(install_requires='''\n  a\n  # no\n  b\n''')", ["a", "b"]),
        ("setup(install_requires=None)", []),
        ("setup(name='x')", []),
        ("if True:\n    setup(install_requires=['a'])", ["a"]),
    ],
)
def test_a_setup_py_of_literals_is_read_without_running_it(text, expected):
    found = read_setup(text)
    assert (shown(found), found.dynamic) == (expected, False)


@pytest.mark.parametrize(
    "text",
    [
        "setup(install_requires=open('r.txt').read().split())",
        "R = ['a']\nR.append('b')\nsetup(install_requires=R)",
        "R = ['a']\nR += ['b']\nsetup(install_requires=R)",
        "R = ['a']\nR[0] = 'b'\nsetup(install_requires=R)",
        "R = ['a']\nif x:\n    R = ['b']\nsetup(install_requires=R)",
        "for R in x:\n    pass\nsetup(install_requires=R)",
        "setup(install_requires=['a' + b])",
        "setup(**options)",
        "setup(install_requires=f())",
        "setup()\nsetup()",
        "print('no setup here')",
        "R = R\nsetup(install_requires=R)",
        "A = B\nB = A\nsetup(install_requires=A)",
        "setup(install_requires=['a'], python_requires=PY)",
    ],
)
def test_a_setup_py_that_must_be_run_is_left_to_the_build_backend_and_told(text):
    found = read_setup(text)
    assert (shown(found), found.dynamic) == ([], True)
    assert [one.rule for one in found.decisions] == ["metadata-from-backend"]


def test_lines_of_a_setup_py_are_those_of_its_texts():
    found = read_setup(
        "from setuptools import setup\nR = [\n    'a',\n    'b',\n]\nsetup(\n    install_requires=R,\n    python_requires='>=3.8',\n)\n"
    )
    assert [declared.origin.line for declared in found.requirements] == [3, 4]
    assert found.python is not None
    assert (found.python.specifier, found.python.origin.line) == (">=3.8", 8)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("def f(:\n", [("setup-py-invalid", 1)]),
        ("setup(install_requires=['a b',\n 'c=='])", [("requirement-invalid", 1), ("requirement-invalid", 2)]),
        ("setup(python_requires='3')", [("requires-python-invalid", 1)]),
        ("\0", [("not-text", 1)]),
    ],
)
def test_what_is_wrong_in_setup_py_is_told_with_its_line(text, expected):
    assert rules(lambda: read_setup(text)) == expected


# Script blocks

BLOCK = "#!/usr/bin/env python\n# /// script\n# requires-python = '>=3.10'\n# dependencies = [\n#   'numpy==2.0',\n# ]\n# ///\nx = 1\n"


def read_script(text: str) -> Declaration:
    return pep723.parse("predict.py", MemoryFiles({"predict.py": text}))


@pytest.mark.parametrize(
    "text", [BLOCK, BLOCK.replace("\n", "\r\n"), BLOCK + "# /// other\n# x\n# ///\n", BLOCK.removesuffix("x = 1\n").rstrip("\n")]
)
def test_a_script_block_is_read_with_its_lines(text):
    found = read_script(text)
    assert [(declared.pep508, declared.origin.line) for declared in found.requirements] == [("numpy==2.0", 5)]
    assert found.python is not None
    assert (found.python.specifier, found.python.origin.line) == (">=3.10", 3)
    assert pep723.declares("predict.py", MemoryFiles({"predict.py": text}))


def test_a_script_block_takes_uvs_table():
    text = "# /// script\n# dependencies = ['torch']\n# [tool.uv.sources]\n# torch = { index = 'pt' }\n# [[tool.uv.index]]\n# name = 'pt'\n# url = 'https://pt/'\n# explicit = true\n# ///\n"
    (torch,) = read_script(text).requirements
    assert str(torch.index) == "https://pt/"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("x = 1\n", [("script-block-missing", 1)]),
        ("# /// script\n# dependencies = []\n", [("script-block-missing", 1)]),
        (BLOCK + BLOCK, [("script-block-twice", 10)]),
        ("\n# /// script\n# dependencies = [\n# 3, 'a b']\n# ///\n", [("wrong-type", 4), ("requirement-invalid", 4)]),
        ("# /// script\n# a = [\n# ///\n", [("toml-invalid", 3)]),
    ],
)
def test_what_is_wrong_in_a_script_block_is_told_with_the_files_line(text, expected):
    assert rules(lambda: read_script(text)) == expected


def test_an_incomplete_block_declares_nothing():
    assert not pep723.declares("predict.py", MemoryFiles({"predict.py": "# /// script\n# dependencies = []\n"}))
    assert not pep723.declares("gone.py", MemoryFiles({}))


# System packages


def test_lists_of_system_packages_are_words_with_comments():
    text = "# graphics\nlibgl1 libglib2.0-0\n\ngit=1:2.39.2-1 # why\nlibgl1\n"
    assert system_packages.parse("apt.txt", MemoryFiles({"apt.txt": text})).system_packages == ("libgl1", "libglib2.0-0", "git=1:2.39.2-1")


def test_wrong_names_of_system_packages_are_told_with_their_line():
    text = "libtag1-dev>=1.9\n-y\n:repo:deb http://x y\n"
    found = problems(lambda: system_packages.parse("Aptfile", MemoryFiles({"Aptfile": text})))
    assert [(one.rule, one.origin and one.origin.line) for one in found] == [
        ("system-package-invalid", 1),
        ("system-package-invalid", 2),
        ("apt-repository-not-supported", 3),
    ]
    assert found[0].instead == "Write libtag1-dev."
