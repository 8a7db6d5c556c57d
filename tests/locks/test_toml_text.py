"""Our writer of TOML against the one it stands in for."""

from __future__ import annotations

import tomllib
from datetime import UTC, datetime
from typing import Any

import tomli_w
from hypothesis import given
from hypothesis import strategies as st

from lading.locks.toml_text import dumps

texts = st.one_of(st.text(st.characters(exclude_categories=["Cs"]), max_size=30), st.just("x" * 90), st.just("https://host/" + "y" * 120))
plain = st.one_of(texts, st.booleans(), st.integers(-(2**60), 2**60), st.just(datetime(2024, 1, 1, tzinfo=UTC)), st.just(1.5))
values = st.recursive(plain, lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(texts, inner, max_size=3)), max_leaves=12)


@given(st.dictionaries(texts, values, max_size=5))
def test_it_writes_the_same_characters(document: dict[str, Any]):
    written = dumps(document)
    assert written == tomli_w.dumps(document)
    assert tomllib.loads(written) == document
