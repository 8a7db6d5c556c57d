"""Which files of a folder that is installed as a package count: what its build may put into the package, and nothing else."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from lading.environments import sources
from lading.environments.sources import content_digest, source_files, status_digest
from tests.support.command import write_files

PACKAGE = {
    "pyproject.toml": "",
    "README.md": "",
    "weights.bin": "w",
    "src/mine/__init__.py": "",
    "src/mine/labels.json": "[]",
    "src/mine/templates/deep/page.html": "<p>",
    "src/mine/build/data.txt": "",
    "src/mine/__pycache__/mine.pyc": "",
    "src/mine/.cache/x": "",
    "native/fast.c": "",
    "native/notes.txt": "",
    "outputs/1.png": "",
    "build/lib/mine/__init__.py": "",
    "mine.egg-info/SOURCES.txt": "",
}
COUNTS = {
    "pyproject.toml",
    "src/mine/__init__.py",
    "src/mine/labels.json",
    "src/mine/templates/deep/page.html",
    "src/mine/build/data.txt",
    "native/fast.c",
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_files(tmp_path / "package", PACKAGE)


def test_data_of_the_package_counts_and_what_lies_beside_it_does_not(folder: Path):
    assert {os.path.relpath(path, folder) for path, _ in source_files(str(folder))} == COUNTS


@pytest.mark.parametrize("path", sorted(PACKAGE))
def test_a_change_of_what_counts_is_seen(folder: Path, path: str):
    before = content_digest(str(folder)), status_digest(str(folder))
    (folder / path).write_text("changed to something longer")
    after = content_digest(str(folder)), status_digest(str(folder))
    assert [one != other for one, other in zip(before, after, strict=True)] == [path in COUNTS] * 2


def test_a_file_whose_reading_would_take_long_counts_by_size_and_time(folder: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sources, "_LARGE", 10)
    place = folder / "src/mine/labels.json"
    place.write_text("x" * 20)
    os.utime(place, (1, 1))
    before = content_digest(str(folder))
    place.write_text("y" * 20)
    os.utime(place, (1, 1))
    assert content_digest(str(folder)) == before
    os.utime(place, (2, 2))
    assert content_digest(str(folder)) != before
