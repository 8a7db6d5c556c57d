"""What is known about files by their names."""

from __future__ import annotations

import pytest

from lading.formats import cog_yaml, cortex_yaml, known, pyproject_toml, python_version, requirements_txt


@pytest.mark.parametrize(
    "name",
    ["uv.lock", "poetry.lock", "pdm.lock", "Pipfile.lock", "pylock.toml", "pylock.gpu.toml", "conda-packages.txt", "environment.yml", "environment.yaml", "conda-lock.yml", "pixi.lock"],
)  # fmt: skip
def test_a_file_that_would_come_first_and_is_not_read_blocks(name):
    found = known.lookup(name)
    assert found is not None
    assert (found.name, found.read, found.declares, found.blocks, found.yields_to_readable) == (name, False, True, True, False)


@pytest.mark.parametrize("name", ["Pipfile", "setup.py", "setup.cfg", "requirements.in"])
def test_a_file_that_would_come_later_blocks_only_where_it_stands_alone(name):
    found = known.lookup(name)
    assert found is not None
    assert (found.read, found.blocks, found.yields_to_readable) == (False, True, True)


@pytest.mark.parametrize("name", ["conda-packages.txt", "environment.yml", "conda-lock.yml", "pixi.lock"])
def test_conda_is_named_as_such(name):
    found = known.lookup(name)
    assert found is not None
    assert found.is_conda


@pytest.mark.parametrize(
    "name", ["apt.txt", "packages.txt", "dependencies.sh", "Dockerfile", "pylock.lading.toml", "pylock.lading-cu121.toml", "runtime.txt"]
)
def test_files_that_declare_no_python_packages_never_block(name):
    found = known.lookup(name)
    assert found is not None
    assert (found.declares, found.blocks) == (False, False)


def test_what_is_read_has_a_reader_that_recognises_it():
    readers = (requirements_txt, pyproject_toml, cog_yaml, cortex_yaml, python_version)
    for name in ("requirements.txt", "pyproject.toml", "cog.yaml", "cortex.yaml", ".python-version", "runtime.txt"):
        found = known.lookup(name)
        assert found is not None
        assert found.read
        assert len([reader for reader in readers if reader.recognises(name)]) == 1


def test_further_requirements_files_are_named_and_do_not_block():
    found = known.lookup("requirements-dev.txt")
    assert found is not None
    assert (found.declares, found.read, found.blocks) == (True, False, False)


@pytest.mark.parametrize("name", ["predict.py", "README.md", "src/", "", "requirements.txt.bak", "Pipfile.old"])
def test_other_names_say_nothing(name):
    assert known.lookup(name) is None


def test_a_file_in_a_folder_is_looked_up_by_its_name():
    found = known.lookup("a/b/uv.lock")
    assert found is not None
    assert found.name == "uv.lock"
