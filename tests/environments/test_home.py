"""Where the store is, and what is said when it cannot be used."""

from __future__ import annotations

import errno
import sys
from pathlib import Path

import pytest

from lading.environments.home import home, require_writable, unusable
from lading.model.origin import Origin
from lading.model.problems import ExitCode, LadingError


def test_a_named_place_wins():
    assert home({"LADING_HOME": "/store", "HOME": "/home/me", "XDG_CACHE_HOME": "/cache"}) == "/store"


def test_a_named_place_is_made_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/me")
    assert home({"LADING_HOME": "store"}) == str(tmp_path / "store")
    assert home({"LADING_HOME": "~/store"}) == "/home/me/store"


@pytest.mark.skipif(sys.platform == "darwin", reason="macOS has a cache folder of its own")
@pytest.mark.parametrize(
    ("environ", "place"),
    [
        ({"HOME": "/home/me"}, "/home/me/.cache/lading"),
        ({"HOME": "/home/me", "LADING_HOME": ""}, "/home/me/.cache/lading"),
        ({"HOME": "/home/me", "XDG_CACHE_HOME": "/cache"}, "/cache/lading"),
        ({"HOME": "/home/me", "XDG_CACHE_HOME": "cache"}, "/home/me/.cache/lading"),  # the specification: ignore relative ones
    ],
)
def test_else_the_platforms_cache_folder(environ: dict[str, str], place: str):
    assert home(environ) == place


def test_it_is_made_and_left_empty(tmp_path: Path):
    place = tmp_path / "a" / "b"
    assert require_writable({"LADING_HOME": str(place)}) == str(place)
    assert list(place.iterdir()) == []


def test_a_file_in_its_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("LADING_HOME", str(tmp_path / "file" / "store"))
    with pytest.raises(LadingError) as caught:
        require_writable()
    (problem,) = caught.value.problems
    assert (problem.rule, problem.origin, problem.code) == ("store-not-writable", Origin("LADING_HOME"), ExitCode.USAGE)
    assert str(tmp_path / "file" / "store") in problem.what


def test_without_a_named_place_the_problem_names_no_variable(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("LADING_HOME")
    (problem,) = unusable("/store", OSError(errno.EACCES, "Permission denied")).problems
    assert (problem.rule, problem.origin) == ("store-not-writable", None)
    assert problem.what == "Lading's store, /store, cannot be written: Permission denied."


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_a_problem_of_building(number: int):
    (problem,) = unusable("/store", OSError(number, "full")).problems
    assert (problem.rule, problem.code) == ("disk-full", ExitCode.BUILD)
    assert "lading env prune" in (problem.instead or "")
