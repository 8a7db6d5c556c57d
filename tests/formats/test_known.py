"""What is known about files by their names."""

from __future__ import annotations

from importlib import import_module

import pytest

from lading.formats import known
from lading.formats.known import ENTRIES, Rank

SOURCES = [
    ("pylock.toml", Rank.STANDARD_LOCK, "pylock_toml"),
    ("pylock.gpu.toml", Rank.STANDARD_LOCK, "pylock_toml"),
    ("uv.lock", Rank.TOOL_LOCK, "uv_lock"),
    ("pdm.lock", Rank.TOOL_LOCK, "pdm_lock"),
    ("poetry.lock", Rank.TOOL_LOCK, "poetry_lock"),
    ("Pipfile.lock", Rank.TOOL_LOCK, "pipfile_lock"),
    ("conda-lock.yml", Rank.CONDA, "conda_lock_yml"),
    ("gpu.conda-lock.yml", Rank.CONDA, "conda_lock_yml"),
    ("pixi.lock", Rank.CONDA, "pixi_lock"),
    ("conda-packages.txt", Rank.CONDA, "conda_packages"),
    ("conda-linux-64.lock", Rank.CONDA, "conda_packages"),
    ("environment.yml", Rank.CONDA, "environment_yml"),
    ("environment.yaml", Rank.CONDA, "environment_yml"),
    ("requirements.txt", Rank.REQUIREMENTS, "requirements_txt"),
    ("requirements.in", Rank.REQUIREMENTS_INPUT, "requirements_txt"),
    ("pyproject.toml", Rank.PYPROJECT, "pyproject_toml"),
    ("Pipfile", Rank.PIPFILE, "pipfile"),
    ("conda.yaml", Rank.CONDA_PROJECT, "environment_yml"),
    ("pixi.toml", Rank.CONDA_PROJECT, "pixi_toml"),
    ("setup.cfg", Rank.SETUP_CFG, "setup_cfg"),
    ("setup.py", Rank.SETUP_PY, "setup_py"),
]


@pytest.mark.parametrize(("name", "rank", "reader"), SOURCES)
def test_a_file_that_can_be_the_source_has_a_rank_and_a_reader(name, rank, reader):
    found = known.lookup(name)
    assert found is not None
    assert (found.name, found.rank, found.reader, found.declares) == (name, rank, reader, True)
    assert found.is_lock == (rank <= Rank.TOOL_LOCK)
    assert found.is_conda == (rank in (Rank.CONDA, Rank.CONDA_PROJECT))


def test_every_file_that_can_be_the_source_is_held_here():
    assert {entry.reader for entry in ENTRIES if entry.rank is not None} == {reader for _, _, reader in SOURCES}


@pytest.mark.parametrize("entry", ENTRIES, ids=[entry.example for entry in ENTRIES])
def test_an_example_is_what_it_stands_for_and_its_reader_recognises_it(entry):
    found = known.lookup(entry.example)
    assert found is not None
    assert (found.what, found.reader, found.rank) == (entry.what, entry.reader, entry.rank)
    assert found.read == (entry.reader is not None)
    if entry.reader is not None:
        assert import_module(f"lading.formats.{entry.reader}").recognises(entry.example)


@pytest.mark.parametrize("name", ["apt.txt", "packages.txt", "Aptfile", ".python-version", "runtime.txt", "cog.yaml", "cortex.yaml"])
def test_what_is_read_for_other_things_is_no_source(name):
    found = known.lookup(name)
    assert found is not None
    assert (found.declares, found.rank, found.read) == (False, None, True)


@pytest.mark.parametrize("name", ["dependencies.sh", "Dockerfile", "pylock.lading.toml", "pylock.lading-cu121.toml", "constraints.txt"])
def test_what_is_not_read_is_no_source(name):
    found = known.lookup(name)
    assert found is not None
    assert (found.declares, found.rank, found.read) == (False, None, False)


def test_further_requirements_files_declare_and_are_no_source():
    found = known.lookup("requirements-dev.txt")
    assert found is not None
    assert (found.declares, found.rank, found.read) == (True, None, False)


@pytest.mark.parametrize("name", ["predict.py", "README.md", "src/", "", "requirements.txt.bak", "Pipfile.old"])
def test_other_names_say_nothing(name):
    assert known.lookup(name) is None


def test_a_file_in_a_folder_is_looked_up_by_its_name():
    found = known.lookup("a/b/uv.lock")
    assert found is not None
    assert found.name == "uv.lock"
