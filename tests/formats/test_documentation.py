"""The page on dependency files tells of every file that is read, in the order in which they count."""

from __future__ import annotations

import re
from pathlib import Path

from lading.formats.known import ENTRIES, Rank
from lading.formats.pyproject_toml import _SETTINGS

PAGE = (Path(__file__).parent.parent.parent / "docs" / "reference" / "formats.md").read_text("utf-8")
ROW = re.compile(r"^\| `(?P<file>[^`]+)` \| (?P<what>[^|]+) \| (?P<read>[^|]+) \|$", re.MULTILINE)


def _rows(title: str) -> list[tuple[str, str]]:
    """File and meaning, row by row, of the first table in a section."""
    section = PAGE[PAGE.index(f"## {title}\n") :].split("\n## ")[0]
    return [(found["file"], found["what"]) for found in ROW.finditer(section)]


def test_every_file_that_can_be_the_source_is_listed_in_its_order():
    ranked = [(entry.example, entry.what, entry.rank or Rank.SETUP_PY) for entry in ENTRIES if entry.rank is not None]
    assert _rows("Files that can be the source") == [(example, what) for example, what, _ in sorted(ranked, key=lambda row: row[2])]


def test_every_other_file_that_is_read_is_listed():
    assert _rows("Other files that are read") == [(entry.example, entry.what) for entry in ENTRIES if entry.reader and entry.rank is None]


def test_the_settings_of_our_own_table_are_listed():
    (row,) = [line for line in PAGE.splitlines() if line.startswith("| `[tool.lading]`")]
    assert set(re.findall(r"`([a-z-]+)`", row.partition("|")[2].partition("|")[2])) == set(_SETTINGS)
