"""`lading migrate` as a user runs it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.command import lading, write_files
from tests.support.index import LocalIndex

PREDICTOR = "class Predictor:\n    def predict(self, x: int) -> int:\n        return x\n"
COG = """build:
  python_packages:
    - demo==1.0  # the model's
  run:
    - pip install other
    - pip install third>=1
predict: predict.py:Predictor
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_files(tmp_path / "model", {"cog.yaml": COG, "predict.py": PREDICTOR})


def test_the_diff_is_shown_first_and_the_rest_is_told(folder: Path):
    shown = lading("migrate", folder, "--dry-run")
    assert shown.code == 0
    assert "+  python_requirements: requirements.txt\n" in shown.out
    assert "+demo==1.0  # the model's\n+other\n" in shown.out
    assert "cog.yaml:6: stays: pip install third>=1\n    because `third>=1` is not quoted" in shown.err
    assert (folder / "cog.yaml").read_text() == COG
    assert not (folder / "requirements.txt").exists()
    assert lading("migrate", folder).code == 2


def test_after_it_the_project_locks_as_before_and_the_command_says_what_it_did(
    folder: Path, index: LocalIndex, monkeypatch: pytest.MonkeyPatch
):
    for name in ("demo", "other"):
        index.add(name, "1.0")
    monkeypatch.setenv("PIP_INDEX_URL", index.url)
    assert lading("lock", folder).code == 0
    told = lading("migrate", folder, "--yes", "--json").data
    assert (told["written"], told["files"]) == (True, ["cog.yaml", "requirements.txt"])
    assert [left["origin"] for left in told["left"]] == ["cog.yaml:6"]
    assert (folder / "requirements.txt").read_text() == "demo==1.0  # the model's\nother\n"
    locked = lading("lock", folder, "--json").data["locks"][0]
    assert [package["name"] for package in locked["packages"]] == ["demo", "other"]
    again = lading("migrate", folder, "--yes")
    assert again.code == 0
    assert again.out == ""


def test_a_project_that_has_nothing_of_cogs_has_nothing_to_migrate(tmp_path: Path):
    folder = write_files(tmp_path / "plain", {"predict.py": "def predict(x: int) -> int:\n    return x\n", "requirements.txt": "six\n"})
    ran = lading("migrate", folder, "--yes")
    assert (ran.code, ran.out) == (0, "")
    assert "There is nothing to migrate." in ran.err


def test_a_command_with_an_unquoted_requirement_is_reported_in_the_plan(folder: Path):
    (folder / "cog.yaml").write_text("build:\n  run:\n    - pip install third>=1\npredict: predict.py:Predictor\n")
    plan = lading("plan", folder, "--json").data["plans"][0]
    (decision,) = [one for one in plan["decisions"] if one["rule"] == "unquoted-requirement"]
    assert (decision["origin"], decision["kind"]) == ("cog.yaml:3", "advice")
    assert decision["chose"] == "the shell installs third of any version and writes what pip prints to a file named =1"
