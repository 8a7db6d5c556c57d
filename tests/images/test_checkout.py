"""What git says of a project: its commit, and where it came from without the password that is in its address."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from lading.images.checkout import Checkout, public_address
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
    assert checkout.remote == "https://example.org/model"


@pytest.mark.parametrize(
    ("written", "told"),
    [
        ("https://example.org/team/model.git", "https://example.org/team/model"),
        ("https://example.org/team/model/", "https://example.org/team/model"),
        ("https://ada:planted-secret@Example.org/team/model", "https://example.org/team/model"),
        ("git@example.org:team/model.git", "https://example.org/team/model"),
        ("example.org:team/model", "https://example.org/team/model"),
        ("ssh://git@example.org:2222/team/model.git", "https://example.org/team/model"),
        ("git+ssh://git@example.org/team/model", "https://example.org/team/model"),
        ("git://example.org/team/model.git", "https://example.org/team/model"),
        ("https://example.org:8443/team/model.git?token=planted-secret", "https://example.org:8443/team/model"),
        ("https://[::1", None),
        ("/home/ada/model", None),
        ("../model", None),
        ("file:///home/ada/model.git", None),
        ("C:/Users/ada/model", None),
        ("work:team/model.git", None),  # a name of this user's own configuration of ssh
    ],
)
def test_every_way_to_clone_is_one_address_and_a_folder_is_none(written: str, told: str | None) -> None:
    """Images of one commit are the same bytes, and say nothing of the machine that they were made on."""
    assert public_address(written) == told


def test_a_folder_that_is_none_says_nothing(tmp_path: Path) -> None:
    checkout = Checkout(tmp_path)
    assert (checkout.revision, checkout.remote) == (None, None)
