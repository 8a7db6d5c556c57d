"""Install scripts and system packages, from plan to install."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import pytest

from tests.cli.test_lock_options import PREDICTOR
from tests.support.command import lading, write_files
from tests.support.index import LocalIndex


@pytest.fixture
def folder(tmp_path: Path, index: LocalIndex) -> Path:
    index.add("demo", "1.0")
    files = {
        "predict.py": PREDICTOR,
        "requirements.txt": f"--index-url {index.url}\ndemo\n",
        "postBuild": "#!/bin/bash\necho in $PWD\npython -c 'import demo, sys; print(sys.prefix)'\necho done >> ran\n",
        "apt.txt": "a-package-that-nobody-has\n",
    }
    return write_files(tmp_path / "model", files)


def test_a_plan_shows_the_script_and_what_is_missing(folder: Path):
    shown = lading("plan", folder)
    assert "Install scripts\n  postBuild: not run unasked" in shown.out
    assert "      echo done >> ran" in shown.out
    record = lading("plan", folder, "--json").data["plans"][0]
    assert record["scripts"][0]["path"] == "postBuild"
    assert record["missing_system_packages"] in (["a-package-that-nobody-has"], None)


def test_a_script_runs_only_when_that_is_allowed_and_once(folder: Path):
    first = lading("install", folder)
    assert first.code == 0, first.err
    assert "postBuild was not run. `lading install --allow-scripts` runs it" in first.err
    assert not (folder / "ran").exists()
    second = lading("install", folder, "--allow-scripts")
    assert second.code == 0, second.err
    assert f"in {folder}" in second.err
    assert second.out.strip() in second.err  # the environment's own Python ran in it
    assert (folder / "ran").read_text() == "done\n"
    lading("install", folder, "--allow-scripts")
    assert (folder / "ran").read_text() == "done\n"
    (folder / "postBuild").write_text("echo changed >> ran\n")
    assert "postBuild was not run" in lading("install", folder).err
    lading("install", folder, "--allow-scripts")
    assert (folder / "ran").read_text() == "done\nchanged\n"


def test_a_script_that_fails_stops_the_installation(folder: Path):
    (folder / "postBuild").write_text("echo about to fail\nexit 3\n")
    failed = lading("install", folder, "--allow-scripts", "--json")
    assert (failed.code, failed.problem["rule"]) == (6, "script-failed")
    assert failed.problem["detail"] == "about to fail"
    assert "It ended with status 3." in failed.problem["why"]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(("answer", "runs"), [("y\n", True), ("n\n", False), ("\n", False)])
def test_on_a_terminal_it_is_asked_once_and_the_answer_remembered(
    folder: Path, monkeypatch: pytest.MonkeyPatch, answer: str, *, runs: bool
):
    from lading.cli.install import prepare
    from lading.cli.output import Output
    from lading.cli.scripts import Scripts
    from lading.pipeline import Options

    for _ in range(2):
        monkeypatch.setattr(sys, "stdin", Terminal(answer))
        terminal = Terminal()
        monkeypatch.setattr(sys, "stderr", terminal)
        prepare(Options(directory=folder), Output(no_color=True), scripts=Scripts.ASK)
        assert (folder / "ran").exists() is runs
        (folder / "requirements.txt").write_text((folder / "requirements.txt").read_text() + "# changed\n")
    assert "Run postBuild on this machine?" not in terminal.getvalue()


def test_other_verbs_only_tell(folder: Path):
    ran = lading("exec", "-C", folder, "true")
    assert "postBuild was not run" in ran.err
    assert not (folder / "ran").exists()
