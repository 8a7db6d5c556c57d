"""Lock files are written whole or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from lading.locks.writing import write_lock_file


def test_a_lock_takes_the_place_of_the_one_before(tmp_path: Path) -> None:
    path = tmp_path / "weights.lock"
    for content in (b"a longer one\r\n", b"\xff\n"):
        write_lock_file(path, content)
        assert path.read_bytes() == content
    assert [one.name for one in tmp_path.iterdir()] == ["weights.lock"]


def test_what_cannot_be_written_leaves_nothing(tmp_path: Path) -> None:
    path = tmp_path / "pylock.lading.toml"
    path.mkdir()
    with pytest.raises(IsADirectoryError):
        write_lock_file(path, b"x")
    assert [one.name for one in tmp_path.rglob("*")] == ["pylock.lading.toml"]
    (tmp_path / "file").write_text("")
    with pytest.raises(NotADirectoryError):
        write_lock_file(tmp_path / "file" / "weights.lock", b"x")
