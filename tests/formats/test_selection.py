"""Extras and dependency groups that are asked for: read by every format that has them, and refused by name where they are not there."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

import pytest

from lading.formats.known import lookup
from lading.model.files import MemoryFiles
from lading.model.origin import Origin
from lading.model.problems import LadingError
from lading.model.requirements import Declaration
from lading.model.selection import Selection
from lading.model.target import Target
from lading.planner.locked import select
from tests.cli.test_lock_options import PREDICTOR
from tests.support.command import lading, write_files
from tests.support.index import LocalIndex

TARGET = Target(python="3.11.7", platform="x86_64-manylinux_2_36")
ASKED = Origin("--extra")

PEP_621 = """[project]
name = "Own.Model"
version = "1"
dependencies = ["flask==1"]
[project.optional-dependencies]
gpu = ["numpy==1"]
Web = ["click==1", "own-model[gpu]"]
[dependency-groups]
lading = ["requests==1"]
test = ["pytest==1", { include-group = "more" }]
more = ["rich==1"]
[tool.pdm.dev-dependencies]
docs = ["sphinx==1"]
[tool.uv]
dev-dependencies = ["ruff==1"]
"""
POETRY = """[tool.poetry.dependencies]
python = "^3.9"
flask = "1"
numpy = { version = "1", optional = true }
click = { version = "1", optional = true }
[tool.poetry.extras]
gpu = ["numpy"]
[tool.poetry.group.test.dependencies]
pytest = "1"
[tool.poetry.dev-dependencies]
ruff = "1"
"""
SETUP_CFG = "[options]\ninstall_requires =\n  flask==1\n[options.extras_require]\ngpu =\n  numpy==1\n  scipy==1\nweb = click==1\n"
SETUP_PY = "from setuptools import setup\nGPU = ['numpy==1']\nsetup(install_requires=['flask==1'], extras_require={'gpu': GPU + ['scipy==1'], 'web': 'click==1'})\n"
SETUP_CFG_OF_ITSELF = "[metadata]\nname = Mine\n" + SETUP_CFG + "all =\n  mine[gpu, web]\n"
SETUP_PY_OF_ITSELF = SETUP_PY.replace("setup(", "setup(name='Mine', ").replace(
    "extras_require={", "extras_require={'all': ['mine[gpu,all]', 'mine[web]'], "
)
HASHES = '{ url = "https://files.example/{name}-1-py3-none-any.whl", hashes = { sha256 = "00" } }'


def _pylock(*packages: tuple[str, str]) -> str:
    parts = ['lock-version = "1.0"\ncreated-by = "test"\nextras = ["gpu"]\ndependency-groups = ["test"]\ndefault-groups = ["default"]\n']
    for name, marker in packages:
        parts.append(f'[[packages]]\nname = "{name}"\nversion = "1"\nindex = "https://pypi.org/simple"\nmarker = "{marker}"\n')
        parts.append(f"wheels = [{HASHES.replace('{name}', name)}]\n")
    return "".join(parts)


PYLOCK = _pylock(("flask", "'default' in dependency_groups"), ("numpy", "'gpu' in extras"), ("pytest", "'test' in dependency_groups"))
UV_LOCK = """version = 1
[[package]]
name = "mine"
version = "1"
source = { virtual = "." }
dependencies = [{ name = "flask" }]
[package.optional-dependencies]
gpu = [{ name = "numpy" }]
[package.dev-dependencies]
test = [{ name = "pytest" }]
""" + "".join(
    f'[[package]]\nname = "{name}"\nversion = "1"\nsource = {{ registry = "https://pypi.org/simple" }}\n'
    for name in ("flask", "numpy", "pytest")
)
POETRY_LOCK = (
    "".join(
        f'[[package]]\nname = "{name}"\nversion = "1"\noptional = false\npython-versions = "*"\ngroups = ["{group}"]\n{marker}files = []\n'
        for name, group, marker in (
            ("flask", "main", ""),
            ("numpy", "main", "markers = \"extra == 'gpu'\"\n"),
            ("pytest", "test", ""),
        )
    )
    + '[extras]\ngpu = ["numpy"]\n[metadata]\nlock-version = "2.1"\npython-versions = ">=3.9"\n'
)
PDM_LOCK = '[metadata]\nlock_version = "4.5.0"\n' + "".join(
    f'[[package]]\nname = "{name}"\nversion = "1"\ngroups = ["{group}"]\nfiles = []\n'
    for name, group in (("flask", "default"), ("numpy", "gpu"), ("pytest", "test"))
)


def read(path: str, text: str, *, extras: tuple[str, ...] = (), groups: tuple[str, ...] = ()) -> Declaration:
    files = MemoryFiles({path: text})
    entry = lookup(path)
    assert entry is not None
    selection = Selection(extras=tuple((one, ASKED) for one in extras), groups=tuple((one, ASKED) for one in groups))
    found: Declaration = import_module(f"lading.formats.{entry.reader}").parse(path, files, {}, selection)
    return found


def names(declaration: Declaration) -> list[str]:
    chosen = select(declaration, TARGET) if declaration.locked else declaration.requirements
    return sorted(str(one.name) for one in chosen)


@pytest.mark.parametrize(
    ("path", "text", "extras", "groups", "expected"),
    [
        ("pyproject.toml", PEP_621, (), (), ["flask", "requests"]),
        ("pyproject.toml", PEP_621, ("gpu",), (), ["flask", "numpy", "requests"]),
        ("pyproject.toml", PEP_621, ("web",), (), ["click", "flask", "numpy", "requests"]),
        ("pyproject.toml", PEP_621, (), ("test",), ["flask", "pytest", "requests", "rich"]),
        ("pyproject.toml", PEP_621, (), ("docs", "dev"), ["flask", "requests", "ruff", "sphinx"]),
        ("pyproject.toml", POETRY, (), (), ["flask"]),
        ("pyproject.toml", POETRY, ("gpu",), ("test", "dev"), ["flask", "numpy", "pytest", "ruff"]),
        ("setup.cfg", SETUP_CFG, ("gpu", "web"), (), ["click", "flask", "numpy", "scipy"]),
        ("setup.py", SETUP_PY, ("gpu",), (), ["flask", "numpy", "scipy"]),
        ("setup.py", SETUP_PY, ("web",), (), ["click", "flask"]),
        ("setup.cfg", SETUP_CFG_OF_ITSELF, ("all",), (), ["click", "flask", "numpy", "scipy"]),
        ("setup.py", SETUP_PY_OF_ITSELF, ("all",), (), ["click", "flask", "numpy", "scipy"]),
        *(
            (path, text, extras, groups, expected)
            for path, text in (("pylock.toml", PYLOCK), ("uv.lock", UV_LOCK), ("poetry.lock", POETRY_LOCK), ("pdm.lock", PDM_LOCK))
            for extras, groups, expected in (
                ((), (), ["flask"]),
                (("gpu",), (), ["flask", "numpy"]),
                ((), ("test",), ["flask", "pytest"]),
                (("gpu",), ("test",), ["flask", "numpy", "pytest"]),
            )
        ),
    ],
)
def test_what_is_asked_for_is_read_as_well(path: str, text: str, extras: tuple[str, ...], groups: tuple[str, ...], expected: list[str]):
    assert names(read(path, text, extras=extras, groups=groups)) == expected


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("pyproject.toml", PEP_621),
        ("pyproject.toml", POETRY),
        ("setup.cfg", SETUP_CFG),
        ("setup.py", SETUP_PY),
        ("pylock.toml", PYLOCK),
        ("uv.lock", UV_LOCK),
        ("poetry.lock", POETRY_LOCK),
        ("pdm.lock", PDM_LOCK),
        ("setup.py", "setup(**hidden)\n"),
        ("pyproject.toml", "[project]\nname = 'x'\ndynamic = ['dependencies']\n"),
    ],
)
@pytest.mark.parametrize("kind", ["extra", "group"])
def test_a_name_that_is_not_there_is_refused_at_the_place_that_asks_for_it(path: str, text: str, kind: str):
    with pytest.raises(LadingError) as caught:
        read(path, text, **{f"{kind}s": ("gqu",)})
    problem = caught.value.problems[0]
    assert (problem.rule, problem.origin) == (f"{kind}-unknown", ASKED)
    assert problem.instead


@pytest.mark.parametrize(("path", "text"), [("poetry.lock", POETRY_LOCK), ("pdm.lock", PDM_LOCK)])
def test_a_group_is_found_however_the_lock_spells_it(path: str, text: str):
    assert names(read(path, text.replace('"test"', '"Ml_Ops"'), groups=("ml-ops",))) == ["flask", "pytest"]


def test_an_extra_of_the_project_itself_keeps_its_marker_and_must_be_there():
    text = PEP_621.replace('"own-model[gpu]"', "\"own-model[gpu] ; python_version < '3.9'\"")
    (numpy,) = [one for one in read("pyproject.toml", text, extras=("web",)).requirements if one.name == "numpy"]
    assert numpy.marker == 'python_version < "3.9"'
    with pytest.raises(LadingError) as caught:
        read("pyproject.toml", PEP_621.replace("own-model[gpu]", "own-model[gqu]"), extras=("web",))
    (problem,) = caught.value.problems
    assert (problem.rule, str(problem.origin), problem.instead) == ("extra-unknown", "pyproject.toml:7", "Did you mean gpu?")


def test_a_source_for_an_extra_counts_where_the_extra_is_wanted():
    text = PEP_621.replace("[tool.uv]\n", '[tool.uv]\nindex = [{ name = "corp", url = "https://corp.example/simple", explicit = true }]\n')
    text += '[tool.uv.sources]\nnumpy = [{ index = "corp", extra = "gpu" }]\n'
    (numpy,) = [one for one in read("pyproject.toml", text, extras=("gpu",)).requirements if one.name == "numpy"]
    assert str(numpy.index) == "https://corp.example/simple"


@pytest.fixture
def folder(tmp_path: Path, index: LocalIndex) -> Path:
    for name in ("flask", "numpy", "requests", "pytest", "rich"):
        index.add(name, "1")
    text = PEP_621.replace("[tool.uv]\n", f'[tool.uv]\nindex-url = "{index.url}"\n')
    return write_files(tmp_path / "model", {"predict.py": PREDICTOR, "pyproject.toml": text})


def _locked(ran: object) -> tuple[str, list[str]]:
    (lock,) = ran.data["locks"]  # type: ignore[attr-defined]
    return lock["path"], [package["name"] for package in lock["packages"]]


def test_the_command_line_makes_a_lock_of_its_own_name_beside_the_usual_one(folder: Path):
    assert _locked(lading("lock", folder, "--json")) == ("pylock.lading.toml", ["flask", "requests"])
    with_parts = lading("lock", folder, "--extra", "GPU", "--group", "test", "--json")
    assert _locked(with_parts) == ("pylock.lading-gpu-test.toml", ["flask", "numpy", "pytest", "requests", "rich"])
    assert lading("lock", folder, "--check").code == 0
    assert lading("lock", folder, "--check", "--extra", "gpu", "--group", "test").code == 0
    assert lading("lock", folder, "--check", "--extra", "gpu").code == 4


def test_the_project_may_ask_for_them_always(folder: Path):
    with (folder / "pyproject.toml").open("a") as stream:
        stream.write('[tool.lading]\nextras = ["gpu"]\n')
    assert _locked(lading("lock", folder, "--json")) == ("pylock.lading.toml", ["flask", "numpy", "requests"])
    text = (folder / "pyproject.toml").read_text()
    (folder / "pyproject.toml").write_text(text.replace('extras = ["gpu"]', 'extras = "gpu"'))
    assert lading("lock", folder, "--json").problem["rule"] == "wrong-type"
    (folder / "pyproject.toml").write_text(text.replace('extras = ["gpu"]', 'groups = ["gqu"]'))
    wrong = lading("lock", folder, "--json")
    assert (wrong.code, wrong.problem["rule"]) == (2, "group-unknown")
    assert wrong.problem["origin"] == f"pyproject.toml:{len(text.splitlines())}"


def test_a_file_without_parts_says_so(tmp_path: Path):
    folder = write_files(tmp_path / "model", {"predict.py": PREDICTOR, "requirements.txt": "flask==1\n"})
    ran = lading("lock", folder, "--extra", "gpu", "--group", "test", "--json")
    assert ran.code == 2
    assert [problem["rule"] for problem in ran.data["problems"]] == ["extra-unknown", "group-unknown"]
    assert "--source" in ran.data["problems"][0]["instead"]
