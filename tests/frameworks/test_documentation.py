"""Every rule about builds is explained, under an anchor of its own."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "explanation" / "builds.md"
SOURCES = [*(ROOT / "src" / "lading" / "frameworks").glob("*.py"), ROOT / "src" / "lading" / "planner" / "torch_index.py"]
ELSEWHERE = {"conda-build-chosen", "conda-pip-builds-mixed"}
"""Rules about conda's builds, which are explained with conda."""


def rules() -> set[str]:
    found = set()
    for path in SOURCES:
        text = path.read_text("utf-8")
        found |= set(re.findall(r'rule="([a-z-]+)"', text))
        found |= set(re.findall(r'^(?:CHOSEN|KEPT|FROM_INDEX) = "([a-z-]+)"', text, re.MULTILINE))
    return found - ELSEWHERE


def test_every_rule_has_an_anchor_and_every_anchor_a_rule():
    text = PAGE.read_text("utf-8")
    anchors = re.findall(r'<a id="([a-z-]+)"></a>\n\*\*([a-z-]+)\*\*', text)
    assert all(anchor == name for anchor, name in anchors)
    assert {anchor for anchor, _ in anchors} == rules()
    assert len(anchors) == text.count("<a id=")
