"""Which files of a project go into its image, and what is told of the others."""

from __future__ import annotations

from pathlib import Path

from lading.images.project import find_files
from tests.images.support import write

FILES: dict[str, str | bytes] = {
    "predictor.py": "",
    "data/keep.csv": "",
    "data/raw/big.csv": "",
    "old.log": "",
    ".streamlit/config.toml": "",
    ".env": "A=1",
    ".hidden": "",
    ".git/config": "",
    ".cortexignore": "data/raw/\n*.log\n",
}


def test_a_cortex_project_has_no_dotfiles_and_what_is_left_out_is_told(tmp_path: Path) -> None:
    found = find_files(write(tmp_path, FILES), cortex=True)
    assert [one.path for one in found.files] == ["src/data/keep.csv", "src/predictor.py"]
    told = {(decision.rule, decision.subject): decision.asked for decision in found.decisions}
    assert told == {
        ("files-ignored", ".cortexignore"): "data/raw/, old.log",
        ("files-ignored", "dotfiles"): ".hidden, .streamlit/",
        ("secret-file-left-out", ".env"): ".env",
    }


def test_other_projects_keep_theirs(tmp_path: Path) -> None:
    found = find_files(write(tmp_path, FILES))
    assert [one.path for one in found.files] == ["src/.hidden", "src/.streamlit/config.toml", "src/data/keep.csv", "src/predictor.py"]
