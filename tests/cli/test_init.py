"""``lading init``: starters that work, and nothing overwritten."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from lading.cli.init import STYLES
from tests.cli.process import run_lading
from tests.support.command import write_files

FILES = {
    "cog": {"cog.yaml", "predict.py", "requirements.txt"},
    "cortex": {"cortex.yaml", "predictor.py", "requirements.txt"},
    "plain": {"predict.py", "requirements.txt"},
}


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


@pytest.mark.parametrize("style", STYLES)
def test_a_starter_can_be_planned_and_has_a_schema(tmp_path: Path, style: str):
    made = run_lading("init", "my-model", "--style", style, cwd=tmp_path)
    assert made.code == 0
    assert set(made.out.splitlines()) == {f"my-model/{name}" for name in FILES[style]}
    assert names(tmp_path / "my-model") == FILES[style]
    assert made.err.startswith("Next: cd my-model, then `lading predict ")
    planned = run_lading("plan", "my-model", "--json", cwd=tmp_path)
    assert (planned.code, planned.data["plans"][0]["kind"]) == (0, style)
    schema = run_lading("schema", "my-model", cwd=tmp_path).data
    assert ("/greeter" if style == "cortex" else "/predictions") in schema["paths"]


def test_the_input_of_the_starter_is_what_the_next_step_says(tmp_path: Path):
    run_lading("init", "--style", "plain", cwd=tmp_path)
    schema = run_lading("schema", cwd=tmp_path).data
    assert set(schema["components"]["schemas"]["Input"]["properties"]) == {"name", "times"}


def test_without_a_folder_it_is_written_here(tmp_path: Path):
    made = run_lading("init", cwd=tmp_path)
    assert (made.code, names(tmp_path)) == (0, FILES["cog"])
    assert made.err.startswith("Next: `lading predict -i name=World`")


def test_directories_and_json(tmp_path: Path):
    made = run_lading("init", "-C", tmp_path, "deep/er", "--style", "cortex", "--json", cwd=Path("/"))
    assert (made.code, made.err) == (0, "")
    assert made.data == {"folder": str(tmp_path / "deep/er"), "style": "cortex", "files": sorted(FILES["cortex"])}


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("existing", ["requirements.txt", "everything", "a link to nowhere", "a folder"])
def test_nothing_is_overwritten_and_nothing_added(tmp_path: Path, style: str, existing: str):
    if existing == "everything":
        run_lading("init", "--style", style, cwd=tmp_path)
    elif existing == "a link to nowhere":
        (tmp_path / "requirements.txt").symlink_to("nowhere.txt")
    elif existing == "a folder":
        (tmp_path / "requirements.txt").mkdir()
    else:
        write_files(tmp_path, {"requirements.txt": "mine==1.0\n"})
    before = {path: os.lstat(path) for path in tmp_path.iterdir()}
    refused = run_lading("init", "--style", style, "--json", cwd=tmp_path)
    assert refused.code == 2
    assert {problem["rule"] for problem in refused.data["problems"]} == {"init-exists"}
    assert len(refused.data["problems"]) == (len(FILES[style]) if existing == "everything" else 1)
    assert {path: os.lstat(path) for path in tmp_path.iterdir()} == before


def test_a_disk_that_is_full_leaves_no_half_starter(tmp_path: Path):
    def small_files_only() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (150, 150))

    command = [sys.executable, "-m", "lading", "init", "--style", "cortex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, preexec_fn=small_files_only)
    assert (done.returncode, done.stdout) == (2, "")
    assert "cannot be written: File too large" in done.stderr
    assert names(tmp_path) == set()
