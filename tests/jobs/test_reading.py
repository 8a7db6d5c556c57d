"""Submissions piece by piece, batches, and globs."""

from __future__ import annotations

import json
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lading.jobs.batches import fits, in_batches
from lading.jobs.json_items import JsonError, read_fields, read_items

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=150, deadline=None)
@given(
    items=st.lists(VALUES, max_size=8),
    others=st.dictionaries(st.text(max_size=6), VALUES, max_size=3),
    indent=st.sampled_from([None, 1]),
    ascii_=st.booleans(),
)
def test_what_is_read_is_what_was_written(items, others, indent, ascii_, tmp_path_factory):
    path = tmp_path_factory.mktemp("body") / "body"
    others.pop("item_list", None)
    body = {**others, "item_list": {"items": items, "batch_size": 2}, "workers": 1}
    path.write_text(
        json.dumps(body, indent=indent, ensure_ascii=ascii_), encoding="utf-8", errors="surrogatepass"
    ) if ascii_ else path.write_bytes(json.dumps(body, indent=indent).encode())
    assert read_fields(path) == {**body, "item_list": {"items": len(items), "batch_size": 2}}
    assert [json.loads(text) for text in read_items(path)] == items


def test_values_that_end_where_a_piece_ends_are_read_whole(tmp_path, monkeypatch):
    monkeypatch.setattr("lading.jobs.json_items._PIECE", 3)
    path = tmp_path / "body"
    items = [123456, -1.5e10, "a long text", {"k": [True, None]}]
    path.write_text(json.dumps({"workers": 12345, "item_list": {"items": items, "batch_size": 1}}))
    assert read_fields(path)["workers"] == 12345
    assert [json.loads(text) for text in read_items(path)] == items


@pytest.mark.parametrize(
    "text",
    ["", "[]", "1", "{", '{"a"', '{"a":', '{"a":1', '{"a":1,}', "{1:2}", '{"a":1} x', '{"item_list":{"items":[1,]}}', '{"a":' + "[" * 5000],
)
def test_what_is_no_json_object_is_refused(text, tmp_path):
    (tmp_path / "body").write_text(text)
    with pytest.raises(JsonError):
        read_fields(tmp_path / "body")


def test_a_long_list_takes_no_memory(tmp_path):
    path = tmp_path / "body"
    with path.open("w") as stream:
        stream.write('{"item_list": {"items": [0')
        stream.writelines(f', "{number:060d}"' for number in range(60_000))
        stream.write('], "batch_size": 1}, "workers": 1}')
    tracemalloc.start()
    assert read_fields(path)["item_list"]["items"] == 60_001
    assert sum(1 for _ in in_batches(read_items(path), 10)) == 6_001
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert path.stat().st_size > 3_500_000
    assert peak < 8_000_000


def test_batches_are_lists_of_their_size():
    assert [(item.number, item.payload) for item in in_batches(["1", '"a"', "{}"], 2)] == [(0, b'[1,"a"]'), (1, b"[{}]")]


@pytest.mark.parametrize(
    ("pattern", "path", "expected"),
    [
        ("**.json", "s3://b/a/c.json", True),
        ("*.json", "s3://b/c.json", False),
        ("s3://b/*.json", "s3://b/c.json", True),
        ("s3://b/?.json", "s3://b/c.json", True),
        ("**/{a,b}/*", "x/b/c", True),
        ("**/{a,b}/*", "x/c/c", False),
        ("**[ab].txt", "x/b.txt", True),
        ("**[!ab].txt", "x/b.txt", False),
        ("**.(", "a.(", True),
    ],
)
def test_globs(pattern, path, expected):
    assert fits(pattern, path) == expected


def test_files_are_read_as_utf_8_whatever_the_locale(tmp_path: Path):
    (tmp_path / "body").write_bytes('{"item_list": {"items": ["ö"], "batch_size": 1}}'.encode())
    assert list(read_items(tmp_path / "body")) == ['"ö"']
