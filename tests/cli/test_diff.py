"""`lading diff OLD NEW` as a user runs it."""

from __future__ import annotations

from pathlib import Path

from lading.locks.lockfile import write
from tests.locks.test_story import lock_of, one
from tests.support.command import lading, write_files


def test_two_files_and_a_folder(tmp_path: Path):
    before = write(lock_of(one("demo", "1.0"), lines=("requirements.txt:1: demo",)))
    after = write(lock_of(one("demo", "2.0"), lines=("requirements.txt:1: demo>=2",)))
    write_files(tmp_path, {"old.toml": before, "pylock.lading.toml": after, "copy/pylock.lading.toml": before})
    for words in (("old.toml", "pylock.lading.toml"), ("old.toml",), ("copy",)):
        ran = lading("diff", "-C", tmp_path, *words)
        assert ran.code == 0
        assert "demo 1.0 -> 2.0: requirements.txt:1 asks for demo>=2; before: demo" in ran.out
    told = lading("diff", "-C", tmp_path, "--json", "old.toml").data
    assert told["packages"] == [
        {
            "name": "demo",
            "what": "upgraded",
            "before": "1.0",
            "after": "2.0",
            "because": "requirements.txt:1 asks for demo>=2; before: demo",
        }
    ]


def test_a_file_that_is_not_there_or_is_no_lock(tmp_path: Path):
    write_files(tmp_path, {"broken.toml": "lock-version = 'x", "pylock.lading.toml": write(lock_of())})
    assert lading("diff", "-C", tmp_path, "--json", "nowhere.toml").problem["rule"] == "file-not-found"
    assert lading("diff", "-C", tmp_path, "--json", "broken.toml").problem["rule"] == "lock-damaged"
