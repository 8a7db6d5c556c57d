"""A container's home with the files that build steps left in root's."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from lading.service import home
from tests.images.support import write


@pytest.fixture
def places(tmp_path: Path) -> tuple[Path, Path]:
    """Root's home, as Hugging Face's and torch's libraries fill it, and an empty one."""
    files: dict[str, str | bytes] = {
        ".cache/huggingface/hub/models--x/blobs/sha": b"w" * 20_000,
        ".cache/huggingface/hub/models--x/refs/main": "revision\n",
        ".cache/torch/hub/checkpoints/net.pth": b"t" * 20_000,
        "nltk_data/a.txt": "a",
    }
    source = write(tmp_path / "root", files)
    snapshots = source / ".cache/huggingface/hub/models--x/snapshots/revision"
    snapshots.mkdir(parents=True)
    (snapshots / "model.bin").symlink_to("../../blobs/sha")
    (tmp_path / "home").mkdir()
    return source, tmp_path / "home"


def test_what_root_fetched_is_seen_and_can_be_added_to(places: tuple[Path, Path]) -> None:
    source, own = places
    write(own, {"nltk_data/a.txt": "my own"})
    for _ in range(2):  # a container that is started again
        home.furnish({home.VARIABLE: str(source), "HOME": str(own)})
    models = own / ".cache/huggingface/hub/models--x"
    assert (models / "snapshots/revision/model.bin").read_bytes() == b"w" * 20_000
    assert (own / ".cache/torch/hub/checkpoints/net.pth").is_symlink()  # and not a second copy in memory
    (models / "refs/main").write_text("another\n")
    (models / "blobs/new").write_text("fetched while it runs")
    assert (source / ".cache/huggingface/hub/models--x/refs/main").read_text() == "revision\n"
    assert not (source / ".cache/huggingface/hub/models--x/blobs/new").exists()
    assert (own / "nltk_data/a.txt").read_text() == "my own"


def test_small_programs_can_be_run_and_small_files_written_to(places: tuple[Path, Path]) -> None:
    source, own = places
    write(source, {".local/bin/tool": "#!/bin/sh\necho said\n"})
    (source / ".local/bin/tool").chmod(0o755)
    (source / "nltk_data/a.txt").chmod(0o444)
    home.furnish({home.VARIABLE: str(source), "HOME": str(own)})
    assert subprocess.run([own / ".local/bin/tool"], capture_output=True, text=True, check=True).stdout == "said\n"
    assert (own / "nltk_data/a.txt").stat().st_mode & 0o311 == 0o200


def test_a_folder_of_very_many_files_is_one_link(places: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    source, own = places
    monkeypatch.setattr(home, "_MANY", 2)
    write(source, {f".cargo/registry/{number}": "x" for number in range(3)})
    home.furnish({home.VARIABLE: str(source), "HOME": str(own)})
    assert (own / ".cargo").is_symlink()
    assert (own / ".cargo/registry/2").read_text() == "x"
    assert not (own / ".cache").is_symlink()  # a folder of caches that have nothing to do with each other


def test_nothing_is_done_without_a_folder_or_a_home(places: tuple[Path, Path]) -> None:
    source, own = places
    for environ in (
        {},
        {home.VARIABLE: "", "HOME": str(own)},
        {home.VARIABLE: str(source)},
        {home.VARIABLE: f"{source}/none", "HOME": str(own)},
    ):
        home.furnish(environ)
    home.furnish({home.VARIABLE: str(source), "HOME": str(source)})
    assert not list(own.iterdir())
