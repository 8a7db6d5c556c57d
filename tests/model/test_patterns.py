"""Patterns that are compiled late find what those find that are compiled at once."""

from __future__ import annotations

import re

import pytest

from lading.model.patterns import pattern

TEXT = "Alpha=1, beta=22\nGAMMA = 3"


@pytest.mark.parametrize(("text", "flags"), [(r"(\w+)\s*=\s*(\d+)", 0), (r"^g\w+", re.IGNORECASE | re.MULTILINE)])
def test_they_find_the_same(text: str, flags: int):
    late, at_once = pattern(text, flags), re.compile(text, flags)
    for _ in range(2):
        assert late.findall(TEXT) == at_once.findall(TEXT)
        assert late.sub("x", TEXT) == at_once.sub("x", TEXT)
        assert [found.span() for found in late.finditer(TEXT)] == [found.span() for found in at_once.finditer(TEXT)]
        assert bool(late.match(TEXT)) == bool(at_once.match(TEXT))
        assert bool(late.fullmatch(TEXT)) == bool(at_once.fullmatch(TEXT))
    assert late.pattern == text


def test_a_mistake_shows_at_the_first_use():
    broken = pattern("(")
    with pytest.raises(re.error):
        broken.search("x")
