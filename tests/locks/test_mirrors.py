"""A lock that was made through a mirror of one machine says so: others must reach its files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.test_lock_options import PREDICTOR
from tests.support.command import lading, write_files
from tests.support.index import LocalIndex
from tests.support.wheels import wheel


@pytest.fixture
def folder(tmp_path: Path, index: LocalIndex) -> Path:
    for name in ("one", "two", "three", "four"):
        index.publish(wheel(name, "1.0"), to="mirror")
    return write_files(tmp_path / "model", {"predict.py": PREDICTOR, "requirements.txt": "one==1.0\ntwo==1.0\nthree==1.0\nfour==1.0\n"})


@pytest.mark.parametrize("variable", ["PIP_INDEX_URL", "UV_DEFAULT_INDEX", "UV_INDEX_URL"])
def test_the_setting_and_the_packages_are_named_and_no_credential(
    folder: Path, index: LocalIndex, monkeypatch: pytest.MonkeyPatch, variable: str
):
    index.protect("mirror", "ci", "s3cret")
    monkeypatch.setenv(variable, index.url_of("mirror", user="ci", password="s3cret"))
    ran = lading("lock", folder, "--json")
    assert ran.code == 0, ran.err
    (decision,) = [one for one in ran.data["locks"][0]["decisions"] if one["rule"] == "locked-through-mirror"]
    assert decision["asked"] == f"{index.url_of('mirror')}, which {variable} of this machine names"
    assert decision["chose"] == "the lock names files there: four, one, three and 1 more"
    assert "s3cret" not in json.dumps(ran.data) + (folder / "pylock.lading.toml").read_text()


def test_an_index_that_the_project_names_is_no_mirror(folder: Path, index: LocalIndex, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PIP_INDEX_URL", index.url_of("mirror"))
    with (folder / "requirements.txt").open("a") as stream:
        stream.write(f"--index-url {index.url_of('mirror')}\n")
    ran = lading("lock", folder, "--json")
    assert [one for one in ran.data["locks"][0]["decisions"] if one["rule"] == "locked-through-mirror"] == []


def test_it_is_said_no_more_once_the_lock_is_made_without_it(folder: Path, index: LocalIndex, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PIP_INDEX_URL", index.url_of("mirror"))
    assert "[locked-through-mirror]" in lading("lock", folder).err
    assert "[locked-through-mirror]" in lading("plan", folder).out
    monkeypatch.delenv("PIP_INDEX_URL")
    (folder / "requirements.txt").write_text(f"--index-url {index.url_of('mirror')}\none==1.0\n")
    assert "[locked-through-mirror]" not in lading("lock", folder).err
