"""`--python auto`, and what is said where a pin is for another Python: with the Pythons of this machine and a real index."""

from __future__ import annotations

import os
import tomllib
from pathlib import Path

import pytest

from lading.environments.interpreters import find_interpreters
from tests.support.command import lading, write_files
from tests.support.index import LocalIndex
from tests.support.wheels import wheel

PREDICTOR = "def predict(x: int) -> int:\n    return x\n"


@pytest.fixture(scope="module")
def minors() -> list[str]:
    """The minors of the machine's Pythons, the newest first."""
    found = list(dict.fromkeys(one.minor for one in find_interpreters(os.environ)))
    if len(found) < 2:
        pytest.skip(f"needs two Pythons of different minor versions, and found {', '.join(found)}")
    return found


@pytest.fixture
def folder(tmp_path: Path, index: LocalIndex, minors: list[str]) -> Path:
    """A project with a pin that has wheels for all Pythons but the newest."""
    for minor in minors[1:]:
        tag = "cp" + minor.replace(".", "")
        index.publish(wheel("built", "1.0", tag=f"{tag}-{tag}-manylinux_2_5_x86_64.manylinux_2_17_aarch64.macosx_11_0_arm64"))
    index.add("pure", "1.0")
    text = f"--index-url {index.url}\npure==1.0\nbuilt==1.0\n"
    return write_files(tmp_path / "model", {"predict.py": PREDICTOR, "requirements.txt": text})


def test_the_newest_python_with_files_of_every_pin_is_chosen_and_said(folder: Path, minors: list[str]):
    shown = lading("plan", folder, "--python", "auto", "--json")
    assert shown.code == 0
    (plan,) = shown.data["plans"]
    assert plan["target"]["python"].rpartition(".")[0] == minors[1]
    (told,) = [one for one in plan["decisions"] if one["rule"] == "python-chosen"]
    assert told["because"] == (
        f"it is the newest Python here that has wheels of all 2 pinned packages; built==1.0 (requirements.txt:3) rules out {minors[0]}"
    )
    assert told["origin"] == "requirements.txt:3"


def test_the_lock_keeps_the_python_that_was_chosen(folder: Path, minors: list[str], index: LocalIndex):
    assert lading("lock", folder, "--python", "auto").code == 0
    lock = tomllib.loads((folder / "pylock.lading.toml").read_text())
    assert lock["requires-python"] == f"=={minors[1]}.*"
    tag = "cp" + minors[0].replace(".", "")
    index.publish(wheel("built", "1.0", tag=f"{tag}-{tag}-manylinux_2_5_x86_64"))
    assert lading("lock", folder, "--check").code == 0


def test_a_pin_that_is_for_another_python_is_named_with_one_that_would_do(folder: Path, minors: list[str]):
    failed = lading("lock", folder, "--python", minors[0], "--json")
    assert (failed.code, failed.problem["rule"]) == (3, "no-wheel-for-python")
    assert f"--python {minors[1]}" in failed.problem["instead"]
    assert failed.problem["detail"].startswith("requirements.txt:3: built==1.0 has wheels for Python ")


def test_pins_that_no_python_can_have_together_are_told(folder: Path, minors: list[str], index: LocalIndex):
    tag = "cp" + minors[0].replace(".", "")
    index.publish(wheel("newer", "1.0", tag=f"{tag}-{tag}-manylinux_2_5_x86_64"))
    with (folder / "requirements.txt").open("a") as stream:
        stream.write("newer==1.0\n")
    failed = lading("plan", folder, "--python", "auto", "--json")
    assert (failed.code, failed.problem["rule"]) == (3, "no-python-fits")
    assert "requirements.txt:4" in failed.problem["detail"]
