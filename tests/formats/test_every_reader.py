"""Whatever a file holds, each reader answers with a declaration or with problems that name a place: never with another exception."""

from __future__ import annotations

import json
from importlib import import_module
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lading.formats.known import ENTRIES
from lading.model.files import MemoryFiles
from lading.model.origin import Origin
from lading.model.problems import LadingError
from lading.model.requirements import Declaration
from lading.model.selection import Selection
from lading.model.target import Target
from lading.planner.candidates import _WITH_PARTS
from lading.planner.locked import select

PROJECTS = Path(__file__).parent.parent / "projects"
READERS = {entry.example: entry.reader for entry in ENTRIES if entry.rank is not None or entry.reader == "system_packages"}
READERS["predict.py"] = "pep723"
PARTS = Selection(extras=(("x", Origin("--extra")),), groups=(("lading", Origin("--group")), ("dev", Origin("--group"))))
TARGET = Target(python="3.11.7", platform="x86_64-manylinux_2_36")

TOML_LINES = [
    "[[package]]", "[[packages]]", "[package]", 'name = "a"', 'name = "B.c"', "name = 3", 'version = "1.0"', "version = 1", "version = 2",
    'version = "x"', 'lock-version = "1.0"', 'source = { registry = "https://pypi.org/simple" }', 'source = { virtual = "." }',
    'source = { editable = "." }', 'source = { git = "https://example.org/a?rev=v1#abc" }', 'source = { path = "x" }', "source = 3",
    'dependencies = [{ name = "a" }]', 'dependencies = [{ name = "gone", marker = "nonsense" }]', "dependencies = 3",
    'dependencies = ["a>=1; python_version > \'3\'"]', 'resolution-markers = ["python_version < \'3\'"]', 'groups = ["main", "default"]',
    'groups = ["dev"]', 'files = [\n    {file = "a-1.0.tar.gz", hash = "sha256:00"},\n]', 'files = [{file = "a"}]', "files = 1",
    'wheels = [\n    { url = "https://x/a.whl", hash = "sha256:0a", size = 3 },\n]', 'wheels = [{ name = "a.whl", hashes = { sha256 = "00" } }]',
    'sdist = { url = "x", hash = "md5:0" }', "sdist = 3", 'marker = "extra == \'x\'"', 'marker = "\'a\' in extras"', "optional = true",
    'markers = "os_name == \'nt\'"', '[package.dependencies]\na = ">=1"', '[package.dependencies]\na = [{ version = "^1", python = "<3" }]',
    '[package.extras]\nx = ["a (>=1)"]', '[package.source]\ntype = "git"\nurl = "https://x/y"', "[package.optional-dependencies]\nx = [3]",
    '[metadata]\npython-versions = "^3.9"', "[metadata]\nfiles = 3", "[manifest]\nmembers = ['a']", 'requires-python = ">=3.9"',
    "requires-python = '~'", "<<<<<<< ours", '"""', "[[source]]\nurl = 'https://x/${GONE}'", "[[source]]\nname = 3", "[packages]\na = '*'",
    "[packages]\na = { git = 'x', ref = 3 }", "[requires]\npython_version = 3", "[tool.poetry.dependencies]\na = '^1 || ~2'\npython = '*'",
    "[tool.poetry.dependencies]\na = [3, { version = '1', markers = 'x' }]", "[[tool.poetry.source]]\nname = 'x'\nurl = 'y'",
    "[tool.pdm.resolution.overrides]\na = '1'\nb = 3", "[[tool.pdm.source]]\nurl = 'x'\ninclude_packages = ['*']", "[tool.uv]\nindex = 3",
    "[tool.uv.sources]\na = [{ index = 'x', marker = 'y' }]", "[tool.uv.sources]\na = 3", "[[tool.uv.index]]\nurl = 'x'\nname = 'x'",
    "[tool.uv]\nno-build-isolation-package = [3]\nextra-build-dependencies = { a = [{ requirement = 'b' }, 3] }", "[project]",
    "dynamic = ['dependencies']", "[tool.setuptools.dynamic]\ndependencies = { file = ['x', 'gone'] }", "[dependency-groups]\nlading = ['a']",
    "[project.optional-dependencies]\nx = ['a', 'b[x]']", "[project.optional-dependencies]\nx = 3", "[project.optional-dependencies]\nx = [3]",
    "optional-dependencies = 3", "[tool.poetry.extras]\nx = ['a']", "[tool.poetry.extras]\nx = 3", "[dependency-groups]\ndev = 3",
    "[tool.pdm.dev-dependencies]\ndev = ['a']", "[tool.pdm]\ndev-dependencies = 3", "[tool.uv]\ndev-dependencies = 3", "[extras]\nx = 3",
    "[package.dev-dependencies]\ndev = [3]", "[package.dev-dependencies]\ndev = 3", "[package.optional-dependencies]\nx = 3", "extras = ['x']",
    "extras = 3", "default-groups = 3", "dependency-groups = ['dev', 3]", "[tool.lading]\nextras = 3", "[tool.poetry.dev-dependencies]\na = 3",
    "[tool.poetry.group.dev.dependencies]\na = 3", "[tool.poetry.group]\ndev = 3",
]  # fmt: skip
OTHER_LINES = [
    "[options]", "install_requires =", "    numpy>=1", "install_requires = file: x", "python_requires = >=3", "[[[", "from setuptools import setup",
    "setup(install_requires=['a', 'b>=1'], python_requires='>=3')", "setup(**x)", "R = ['a']", "R.append(3)", "setup(install_requires=R + [x])",
    "R = R", "setup(install_requires=R)", "def f(:", "# /// script", "# dependencies = ['a']", "# ///", "# /// other", "# ]", "git curl", "x>=1 # c",
    "[options.extras_require]", "x =", "x = a", "setup(extras_require={'x': ['a']})", "setup(extras_require={**y, 'x': f()})",
    "setup(extras_require=3, install_requires=[])", ":repo:deb http://x", "{", '"default": {"a": {"version": "==1"}}', "}", '{"default": {"a": 3}}', '{"_meta": {"sources": [3]}}', "[]", "null",
    '{"default": {"a": {"version": "*", "markers": "x"}}}', "dependencies:", "  - python=3.9", "  - pip:", "    - a==1", "channels: [x]",
    "@EXPLICIT", "numpy=1.2=py_0", "https://x/y.conda#abc", "version: 6", "packages: [1]", "-r x", "-e .", "a==1 --hash=sha256:00",
]  # fmt: skip
LINES = st.lists(st.sampled_from([*TOML_LINES, *OTHER_LINES]), max_size=10).map("\n".join)
KEYS = [
    "default",
    "_meta",
    "sources",
    "requires",
    "python_version",
    "a",
    "version",
    "hashes",
    "markers",
    "index",
    "git",
    "ref",
    "path",
    "file",
    "url",
]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=6) | st.sampled_from(["==1.0", "*", "sha256:00", "https://x/y", "x"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=4),
    max_leaves=12,
).map(json.dumps)
CONTENTS = st.one_of(
    st.binary(max_size=80),
    st.text(max_size=80).map(lambda text: text.encode("utf-8", "replace")),
    LINES.map(str.encode),
    JSON.map(str.encode),
)


def _read(path: str, content: bytes, *selection: Selection) -> Declaration | None:
    """The file as its reader reads it, with the parts that are asked for; None when it is refused."""
    others = {"x": "numpy\n", "setup.py": "", "src/a/__init__.py": "", "a.py": ""}
    files = MemoryFiles({**{name: text for name, text in others.items() if name != path}, path: content})
    module = import_module(f"lading.formats.{READERS[path]}")
    try:
        if hasattr(module, "declares"):
            module.declares(path, files)
        found: Declaration = (
            module.parse(path, files) if READERS[path] == "system_packages" else module.parse(path, files, {"TOKEN": "x"}, *selection)
        )
    except LadingError as error:
        _must_help(error)
        return None
    return found


def _must_help(error: LadingError) -> None:
    """Every problem names a place and a way out, and no password."""
    assert SECRET not in json.dumps([problem.as_json() for problem in error.problems])
    assert [problem for problem in error.problems if problem.origin is None or not problem.instead] == []


def _must_answer(path: str, content: bytes) -> None:
    _must_be_whole(_read(path, content))
    if READERS[path] in _WITH_PARTS:
        _must_be_whole(_read(path, content, PARTS))


def _must_be_whole(found: Declaration | None) -> None:
    if found is None:
        return
    json.dumps(found.as_json())
    assert {declared.origin.path for declared in found.requirements} <= set(found.read)
    if found.locked is not None:
        try:
            select(found, TARGET)
        except LadingError as error:
            _must_help(error)


@pytest.mark.parametrize("path", READERS)
@given(content=CONTENTS)
@settings(max_examples=80, deadline=None)
def test_no_content_makes_a_reader_crash(path: str, content: bytes):
    _must_answer(path, content)


def _samples(path: str) -> list[bytes]:
    return [found.read_bytes() for found in sorted(PROJECTS.glob(f"*/{path}"))][:6]


@pytest.mark.parametrize("path", [path for path in READERS if _samples(path)])
@given(data=st.data())
@settings(max_examples=40, deadline=None)
def test_no_damage_to_a_real_file_makes_its_reader_crash(path: str, data: st.DataObject):
    samples = _samples(path)
    content = bytearray(samples[data.draw(st.integers(0, len(samples) - 1))])
    for _ in range(data.draw(st.integers(1, 4))):
        start = data.draw(st.integers(0, len(content)))
        end = min(len(content), start + data.draw(st.integers(0, 40)))
        content[start:end] = data.draw(
            st.one_of(st.just(b""), st.binary(max_size=4), st.sampled_from([b"\n", b'"', b"[", b"{}", b" = 1\n", b"\n[[package]]\n"]))
        )
    _must_answer(path, bytes(content))


@pytest.mark.slow
@pytest.mark.parametrize("path", READERS)
@given(content=CONTENTS)
@settings(max_examples=4000, deadline=None)
def test_long_runs_make_no_reader_crash_either(path: str, content: bytes):
    _must_answer(path, content)


SECRET = "pl4nted"
URL = f"https://user:{SECRET}@corp.example/simple"
PLANTED = {
    "pylock.toml": f'lock-version = "1.0"\n[[packages]]\nname = "a"\nversion = "1"\nindex = "{URL}"\nwheels = [{{ url = "{URL}/a.whl", hashes = {{ sha256 = "0" }} }}]\n',
    "uv.lock": f'version = 1\n[manifest]\nrequirements = [{{ name = "a" }}]\n[[package]]\nname = "a"\nversion = "1"\nsource = {{ registry = "{URL}" }}\n'
    f'[[package]]\nname = "b"\nversion = "1"\nsource = {{ git = "{URL}/b?rev=main#abc" }}\n[[package]]\nname = "c"\nsource = {{ url = "{URL}/c.zip" }}\n',
    "pdm.lock": f'[[package]]\nname = "a"\nversion = "1"\ngroups = ["default"]\ngit = "{URL}/a.git"\nrevision = "abc"\n',
    "poetry.lock": f'[[package]]\nname = "a"\nversion = "1"\ngroups = ["main"]\n[package.source]\ntype = "legacy"\nurl = "{URL}"\n',
    "Pipfile.lock": f'{{"_meta": {{"sources": [{{"name": "x", "url": "{URL}"}}]}}, "default": {{"a": {{"git": "{URL}/a.git", "ref": "b"}}}}}}',
    "requirements.txt": f"-i {URL}\na @ {URL}/a.zip\ngit+{URL}/b.git\nc --index-url {URL}\n",
    "requirements.in": f"--extra-index-url {URL}\n-f {URL}/page.html\n",
    "pyproject.toml": f'[project]\ndependencies = ["a @ {URL}/a.zip", "b", "c"]\n[tool.uv]\nextra-index-url = ["{URL}"]\n[[tool.uv.index]]\nname = "x"\n'
    f'url = "{URL}"\n[tool.uv.sources]\nb = {{ index = "x" }}\nc = {{ git = "{URL}/c" }}\n[[tool.pdm.source]]\nname = "y"\nurl = "{URL}"\n'
    f'[[tool.poetry.source]]\nname = "z"\nurl = "{URL}"\n[tool.uv.extra-build-variables]\na = {{ TOKEN_URL = "{URL}" }}\n',
    "Pipfile": f'[[source]]\nname = "x"\nurl = "{URL}"\n[packages]\na = {{ git = "{URL}/a" }}\nb = {{ version = "*", index = "x" }}\n',
    "setup.cfg": f"[options]\ninstall_requires =\n  a @ {URL}/a.zip\n",
    "setup.py": f"setup(install_requires=['a @ {URL}/a.zip'])\n",
    "predict.py": f"# /// script\n# dependencies = ['a @ {URL}/a.zip']\n# ///\n",
}


@pytest.mark.parametrize("path", PLANTED)
@pytest.mark.parametrize("damage", ["", "gone @ ", "[[", "${GONE}"])
def test_a_password_in_any_file_is_in_no_record_of_it(path: str, damage: str):
    content = PLANTED[path].replace("a @ ", f"{damage}a b @ ") if damage == "gone @ " else PLANTED[path].replace(URL, URL + damage)
    found = _read(path, content.encode())
    if not damage:
        assert found is not None
    if found is not None:
        assert SECRET not in json.dumps(found.as_json())
        assert SECRET not in repr(found)
