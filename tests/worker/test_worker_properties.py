"""What holds for any content: outputs come back from JSON, forms arrive as they were sent, data URLs and names are safe."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import math
from typing import Any
from urllib.parse import urlencode

import httpx
from hypothesis import given
from hypothesis import strategies as st

from lading_worker import web
from lading_worker.encode import encode
from lading_worker.files import file_name, read_data_url
from lading_worker.scope import nest

_TEXT = st.text(st.characters(exclude_categories=["Cs"]))
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | _TEXT,
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(_TEXT, inner, max_size=5),
    max_leaves=20,
)


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, list):
        return [_finite(item) for item in value]
    return {key: _finite(item) for key, item in value.items()} if isinstance(value, dict) else value


@given(_JSON)
def test_json_comes_back_as_it_was_but_for_numbers_that_it_does_not_know(value):
    assert json.loads(encode(value)) == _finite(value)


@given(_JSON)
def test_a_value_inside_a_tuple_or_generator_is_written_like_in_a_list(value):
    written = b"[" + encode(value) + b"]"
    assert encode((value,)) == encode(iter_of(value)) == written


def iter_of(value):
    yield value


# What browsers and httpx escape in names: quotes and line breaks.
_NAME = (
    st.text(st.characters(exclude_categories=["Cs", "Cc"], exclude_characters='"\\;%'), min_size=1, max_size=20).map(str.strip).filter(bool)
)
_CONTENT = st.binary(max_size=200) | st.sampled_from([b"", b"\r\n", b"--", b"\r\n--x", b"--boundary--\r\n\r\n"])


@given(st.lists(st.tuples(_NAME, _NAME, _CONTENT), min_size=1, max_size=4), st.dictionaries(_NAME, _TEXT, max_size=3))
def test_a_form_arrives_as_it_was_sent(files, texts):
    sent = httpx.Request("POST", "http://h/", files=[(name, (file, content, "a/b")) for name, file, content in files], data=texts)
    form = web.form(sent.headers["content-type"], sent.read())
    seen = form.multi_items()
    assert [(name, value.filename, value.file.read()) for name, value in seen if not isinstance(value, str)] == files
    assert {name: value for name, value in seen if isinstance(value, str)} == texts


@given(st.lists(st.tuples(_TEXT, _TEXT), max_size=5))
def test_an_urlencoded_form_arrives_as_it_was_sent(pairs):
    body = urlencode(pairs).encode()
    assert web.form("application/x-www-form-urlencoded", body).multi_items() == pairs
    params = web.QueryParams(body.decode())
    assert params.multi_items() == pairs
    assert {name: params[name] for name in params} == dict(pairs)


@given(st.binary(max_size=300), st.text(max_size=30))
def test_any_bytes_are_a_form_or_a_clear_refusal(body, boundary):
    content_type = "multipart/form-data; boundary=" + boundary
    try:
        names = [name for name, _ in web.form(content_type, body).multi_items()]
    except ValueError as error:
        names = [str(error)]
    assert all(isinstance(name, str) for name in names)


@given(st.binary(max_size=300))
def test_data_urls_carry_any_bytes(content):
    assert read_data_url("data:a/b;base64," + base64.b64encode(content).decode())[1] == content


@given(st.text(max_size=60))
def test_no_url_names_a_file_outside_its_folder(text):
    for url in ("http://host/" + text, "data:" + text + ",x"):
        name = file_name(url)
        assert name not in ("", ".", "..")
        assert "/" not in name
        assert "\0" not in name
        assert len(name.encode()) <= 255


@given(
    st.dictionaries(
        st.from_regex(r"[a-c](\.[a-c]){0,3}", fullmatch=True), st.integers() | st.dictionaries(st.sampled_from("abc"), st.integers())
    )
)
def test_nesting_keeps_what_it_is_given(metrics):
    before = json.dumps(metrics)
    nested = nest(metrics)
    assert json.dumps(metrics) == before
    for name, value in metrics.items():
        if not any(other != name and (other.startswith(name + ".") or name.startswith(other + ".")) for other in metrics):
            place: Any = nested
            for segment in name.split("."):
                place = place[segment]
            assert place == value


def test_a_file_of_a_form_without_starlette():
    file = web.UploadFile(io.BytesIO(b"content"), "a.txt", "text/plain")
    form = web.FormData([("a", "1"), ("f", file), ("a", "2")])

    async def use():
        first = await file.read(3)
        await file.seek(0)
        await file.write(b"C")
        await file.seek(0)
        whole = await file.read()
        await form.close()
        return first, whole

    assert asyncio.run(use()) == (b"con", b"Content")
    assert file.file.closed
    assert (form["a"], form.getlist("a"), list(form), len(form), form.get("x")) == ("2", ["1", "2"], ["a", "f"], 2, None)
    assert repr(file) == "UploadFile(filename='a.txt')"


def test_headers_and_query_without_starlette():
    headers = web.Headers([(b"a", b"1"), (b"b", "é".encode("latin-1")), (b"a", b"2")])
    assert (headers["A"], headers.getlist("a"), headers.get("c"), "B" in headers, 3 in headers) == ("1", ["1", "2"], None, True, False)
    assert headers.items() == [("a", "1"), ("b", "é"), ("a", "2")]
    assert (headers.values(), list(headers), len(headers)) == (["1", "é", "2"], ["a", "b", "a"], 3)
    assert headers == web.Headers([(b"b", b"\xe9"), (b"a", b"2"), (b"a", b"1")])
    query = web.QueryParams("a=1&b=&a=2")
    assert (query == web.QueryParams("b=&a=2&a=1"), query == web.FormData([]), repr(query)) == (True, False, "QueryParams('a=1&b=&a=2')")
