"""Debian packages that a project needs, asked of dpkg."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from lading.environments.system_packages import check

needs_dpkg = pytest.mark.skipif(shutil.which("dpkg-query") is None, reason="this machine has no dpkg")


@pytest.fixture
def dpkg(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A dpkg that knows three packages, one of them removed again."""
    lines = (
        "ii \\tlibgl1\\tamd64\\t1.6.0-1\\tlibgl1-virtual (= 1.0), libgl-x\\n"
        "ii \\tgit\\tamd64\\t1:2.39.5\\t\\n"
        "ii \\tlibc6\\tarm64\\t2.36\\t\\n"
        "rc \\tffmpeg\\tamd64\\t5.1\\t\\n"
    )
    program = tmp_path / "dpkg-query"
    program.write_text(f"#!/bin/sh\nprintf '{lines}'\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")


@pytest.mark.parametrize(
    ("package", "there"),
    [
        ("git", True),
        ("git=1:2.39.5", True),
        ("git=2", False),
        ("git/stable", True),
        ("git:amd64", True),
        ("git:arm64", False),
        ("libc6", True),
        ("libgl1-virtual", True),
        ("libgl-x", True),
        ("ffmpeg", False),
        ("nothing-like-it", False),
    ],
)
@pytest.mark.usefixtures("dpkg")
def test_installed_and_provided_packages_are_there(package: str, *, there: bool):
    assert check([package]).missing == (() if there else (package,))


@pytest.mark.usefixtures("dpkg")
def test_one_line_installs_what_is_missing():
    checked = check(["git", "ffmpeg", "sox", "ffmpeg"])
    assert checked.missing == ("ffmpeg", "sox")
    assert checked.command is not None
    assert checked.command.endswith("apt-get install -y ffmpeg sox")
    assert check(["git"]).command is None


def test_where_there_is_no_dpkg_nothing_is_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert check(["git"]).missing is None
    assert check([]).missing == ()


@needs_dpkg
def test_this_machines_own_packages():
    assert check(["dpkg", "a-package-that-nobody-has"]).missing == ("a-package-that-nobody-has",)
