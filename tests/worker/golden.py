"""Cortex's golden HTTP table (0.32, observed) as data: what a request's payload is, and what an answer becomes."""

from __future__ import annotations

import textwrap
from typing import Any, NamedTuple

PREDICTOR = textwrap.dedent(
    """
    import json
    import sys

    class PythonPredictor:
        def __init__(self, config):
            self.config = config
            self.seen = []

        def predict(self, payload, query_params, headers, batch_id):
            assert batch_id is None
            return getattr(self, query_params.get("do", "see"))(payload, query_params, headers)

        def post_predict(self, response, payload, query_params):
            if query_params.get("do") == "nothing":
                self.seen.append([response, type(payload).__name__])

        def see(self, payload, query_params, headers):
            kind = type(payload).__name__
            if kind == "FormData":
                pairs = [[name, self.field(value)] for name, value in payload.multi_items()]
                return {"kind": kind, "value": pairs, "last": {name: self.field(payload[name]) for name in payload}}
            return {"kind": kind, "value": payload.decode("latin-1") if isinstance(payload, bytes) else payload}

        def field(self, value):
            if isinstance(value, str):
                return value
            return [type(value).__name__, value.filename, value.content_type, value.file.read().decode(), value.file.seek(0)]

        def query(self, payload, query_params, headers):
            kinds = [type(query_params).__name__, type(headers).__name__]
            return [kinds, query_params.getlist("a"), query_params["a"], str(query_params), headers["X-MINE"], headers.get("x-none"),
                    "x-Mine" in headers, headers.getlist("x-twice"), dict(query_params)]

        def returns(self, payload, query_params, headers):
            return eval(query_params["code"], dict(globals(), payload=payload))

        def raises(self, payload, query_params, headers):
            raise eval(query_params["code"])

        def runs(self, payload, query_params, headers):
            exec(query_params["code"], globals())
            return made(payload)

        def nothing(self, payload, query_params, headers):
            return {"seen": list(self.seen)}
    """
)


class Row(NamedTuple):
    """A request, as ``content_type`` (None: no such header) and ``body``, and its answer."""

    content_type: str | None
    body: bytes
    status: int
    answered: str | None
    answer: Any


_MULTIPART = (
    b'--xYz\r\nContent-Disposition: form-data; name="a"\r\n\r\none\r\n'
    b'--xYz\r\nContent-Disposition: form-data; name="a"\r\n\r\nzw\xc3\xb6lf\r\n'
    b'--xYz\r\nContent-Disposition: form-data; name="file"; filename="b c.txt"\r\nContent-Type: text/csv\r\n\r\nline\r\n\r\n--x\r\n'
    b"--xYz--\r\n"
)
_FILE = ["UploadFile", "b c.txt", "text/csv", "line\r\n\r\n--x", 0]
_JSON, _TEXT = "application/json", "text/plain; charset=utf-8"


def _seen(kind: str, value: Any) -> dict[str, Any]:
    return {"kind": kind, "value": value}


REQUESTS = {
    "json object": Row("application/json", b'{"a": [1, null]}', 200, _JSON, _seen("dict", {"a": [1, None]})),
    "json in any case": Row("Application/JSON", b"[1]", 200, _JSON, _seen("list", [1])),
    "json with a suffix": Row("application/json; charset=utf-8", b'"x"', 200, _JSON, _seen("str", "x")),
    "json number": Row("application/json", b"3.5", 200, _JSON, _seen("float", 3.5)),
    "json null": Row("application/json", b"null", 200, _JSON, _seen("NoneType", None)),
    "json broken": Row("application/json", b"{", 400, _JSON, '{"error":"Expecting property name enclosed in double quotes'),
    "json empty": Row("application/json", b"", 400, _JSON, '{"error":"Expecting value: line 1 column 1 (char 0)"}'),
    "json not utf-8": Row("application/json", b'"\xff"', 500, None, "internal server error"),
    "other json": Row("application/vnd.x+json", b"{}", 200, _JSON, _seen("bytes", "{}")),
    "csv": Row("text/csv", b"a,b\xff", 200, _JSON, _seen("bytes", "a,b\xff")),
    "octets": Row("application/octet-stream", b"\x00\xff", 200, _JSON, _seen("bytes", "\x00\xff")),
    "no content type": Row(None, b"raw", 200, _JSON, _seen("bytes", "raw")),
    "nothing at all": Row(None, b"", 200, _JSON, _seen("bytes", "")),
    "text": Row("text/plain", "zwölf".encode(), 200, _JSON, _seen("str", "zwölf")),
    "text with charset": Row("text/plain; charset=ISO-8859-1", "zwölf".encode("latin-1"), 200, _JSON, _seen("str", "zwölf")),
    "text undecodable": Row("text/plain", b"\xff", 400, _TEXT, "'utf-8' codec can't decode byte 0xff in position 0: invalid start byte"),
    "text of unknown charset": Row("text/plain; charset=klingon", b"x", 400, _TEXT, "unknown encoding: klingon"),
    "form": Row(
        "application/x-www-form-urlencoded",
        b"a=1&a=%C3%B6+x&b=",
        200,
        _JSON,
        {**_seen("FormData", [["a", "1"], ["a", "ö x"], ["b", ""]]), "last": {"a": "ö x", "b": ""}},
    ),
    "multipart": Row(
        "multipart/form-data; boundary=xYz",
        _MULTIPART,
        200,
        _JSON,
        {**_seen("FormData", [["a", "one"], ["a", "zwölf"], ["file", _FILE]]), "last": {"a": "zwölf", "file": _FILE}},
    ),
    # Cortex said what Python said inside it (`can't concat NoneType to bytes`); newer versions of its parser say this.
    "multipart without boundary": Row("multipart/form-data", _MULTIPART, 400, _TEXT, "Missing boundary in multipart."),
}
"""Requests to ``see``. A text as answer is what the body begins with; anything else is the body's JSON."""

ANSWERS = {
    "{'a': (1, None, True)}": (200, _JSON, b'{"a": [1, null, true]}'),
    "[1, 2]": (200, _JSON, b"[1, 2]"),
    "(1, 2)": (200, _JSON, b"[1, 2]"),
    "3": (200, _JSON, b"3"),
    "True": (200, _JSON, b"true"),
    "None": (200, _JSON, b"null"),
    "{'x': '\\u00e9'}": (200, _JSON, b'{"x": "\\u00e9"}'),
    "float('nan')": (200, _JSON, b"NaN"),
    "'zw\\u00f6lf'": (200, _TEXT, "zwölf".encode()),
    "b'\\x00\\xff'": (200, "application/octet-stream", b"\x00\xff"),
    "bytearray(b'x')": (500, None, b"internal server error"),
    "(i for i in range(3))": (500, None, b"internal server error"),
    "__import__('asyncio').wait_for(None, 1)": (500, None, b"internal server error"),
    "{1, 2}": (500, None, b"internal server error"),
    "object()": (500, None, b"internal server error"),
    "{}['missing']": (500, None, b"internal server error"),
}
"""What ``predict`` returns, as code: status, content type and body of the answer."""
