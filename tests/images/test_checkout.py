"""What git says of a project: its commit, and where it came from without the password that is in its address."""

from __future__ import annotations

import subprocess
from pathlib import Path

from lading.images.checkout import Checkout
from tests.images.support import which, write


def _git(folder: Path, *words: str) -> str:
    settings = ("-c", "user.name=Ada", "-c", "user.email=ada@example.org", "-c", "commit.gpgsign=false")
    return subprocess.run([which("git"), "-C", folder, *settings, *words], check=True, capture_output=True, text=True).stdout.strip()


def test_a_checkout_knows_its_commit_and_its_remote_without_credentials(tmp_path: Path) -> None:
    folder = write(tmp_path / "repository", {"model/predict.py": "x = 1\n"})
    _git(folder, "init", "-q")
    _git(folder, "add", ".")
    _git(folder, "commit", "-q", "-m", "first")
    _git(folder, "remote", "add", "origin", "https://ada:planted-secret@example.org/model.git")
    checkout = Checkout(folder / "model")
    assert checkout.revision == _git(folder, "rev-parse", "HEAD")
    assert checkout.remote == "https://example.org/model.git"


def test_a_folder_that_is_none_says_nothing(tmp_path: Path) -> None:
    checkout = Checkout(tmp_path)
    assert (checkout.revision, checkout.remote) == (None, None)
