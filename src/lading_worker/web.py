"""What a Cortex predictor sees of a request: query parameters, headers and forms, with the interface of starlette's classes.

Where the environment has starlette (Cortex's own always had it), they are starlette's; else these, which need nothing. Forms are read
here in both cases, so that neither python-multipart nor an event loop is needed.
"""

import io
import re
from collections.abc import Mapping
from urllib.parse import parse_qsl, urlencode


class FormError(ValueError):
    """The body is not the form that its content type says; the message is for the client."""


def query_params(query):
    """The parameters of a query string (text, as it came)."""
    kind = _starlette("QueryParams")
    return QueryParams(query) if kind is None else kind(query)


def headers(pairs):
    """The headers of a request, given as ``(name, value)`` texts as they came."""
    kind = _starlette("Headers")
    raw = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in pairs]
    return Headers(raw) if kind is None else kind(raw=raw)


def form(content_type, body):
    """The fields of a form: texts, and `UploadFile` where a file was sent. Repeated names stay in ``multi_items()``.

    Raises:
        FormError: if it is no form.
    """
    if content_type.lower().startswith("multipart/form"):
        fields = list(_multipart(content_type, body))
    else:
        fields = parse_qsl(body.decode("latin-1"), keep_blank_values=True)
    kind = _starlette("FormData")
    return FormData(fields) if kind is None else kind(fields)


def _starlette(name):
    try:
        from starlette import datastructures
    except Exception:  # not there, or not fit for this Python
        return None
    return getattr(datastructures, name, None)


class _MultiDict(Mapping):
    """Names with one or more values: ``[name]`` gives the last, ``getlist(name)`` all of them."""

    def __init__(self, pairs):
        self._pairs = list(pairs)
        self._last = dict(self._pairs)

    def __getitem__(self, key):
        return self._last[key]

    def __iter__(self):
        return iter(self._last)

    def __len__(self):
        return len(self._last)

    def getlist(self, key):
        """All values of a name, in their order."""
        return [value for name, value in self._pairs if name == key]

    def multi_items(self):
        """All pairs, in their order."""
        return list(self._pairs)

    def __eq__(self, other):
        return sorted(self._pairs, key=str) == sorted(other._pairs, key=str) if type(other) is type(self) else NotImplemented

    __hash__ = None

    def __repr__(self):
        return f"{type(self).__name__}({self._pairs!r})"


class QueryParams(_MultiDict):
    """The parameters of a query string, as ``starlette.datastructures.QueryParams``."""

    def __init__(self, query):
        super().__init__(parse_qsl(query, keep_blank_values=True))

    def __str__(self):
        return urlencode(self._pairs)

    def __repr__(self):
        return f"QueryParams({str(self)!r})"


class FormData(_MultiDict):
    """The fields of a form, as ``starlette.datastructures.FormData``."""

    async def close(self):
        """Close the files."""
        for _, value in self._pairs:
            if isinstance(value, UploadFile):
                await value.close()


class Headers(Mapping):
    """The headers of a request, as ``starlette.datastructures.Headers``: names in any case, ``[name]`` gives the first value."""

    def __init__(self, raw):
        self.raw = list(raw)

    def _pairs(self):
        return [(name.decode("latin-1"), value.decode("latin-1")) for name, value in self.raw]

    def __getitem__(self, key):
        values = self.getlist(key)
        if not values:
            raise KeyError(key)
        return values[0]

    def getlist(self, key):
        """All values of a name, in their order."""
        return [value for name, value in self._pairs() if name == key.lower()]

    def keys(self):
        """All names in lower case, repeated ones too."""
        return [name for name, _ in self._pairs()]

    def values(self):
        """All values."""
        return [value for _, value in self._pairs()]

    def items(self):
        """All pairs, names in lower case."""
        return self._pairs()

    def __contains__(self, key):
        return isinstance(key, str) and bool(self.getlist(key))

    def __iter__(self):
        return iter(self.keys())

    def __len__(self):
        return len(self.raw)

    def __eq__(self, other):
        return sorted(self.raw) == sorted(other.raw) if isinstance(other, Headers) else NotImplemented

    __hash__ = None

    def __repr__(self):
        return f"Headers({dict(self._pairs())!r})"


class UploadFile:
    """A file of a form, as ``starlette.datastructures.UploadFile``: ``file`` is the open binary file, the methods are asynchronous."""

    def __init__(self, file, filename, content_type):
        self.file, self.filename, self.content_type = file, filename, content_type

    async def write(self, data):
        """Write to the file."""
        self.file.write(data)

    async def read(self, size=-1):
        """Read from the file."""
        return self.file.read(size)

    async def seek(self, offset):
        """Go to a place in the file."""
        self.file.seek(offset)

    async def close(self):
        """Close the file."""
        self.file.close()

    def __repr__(self):
        return f"UploadFile(filename={self.filename!r})"


def _upload(content, filename, content_type):
    file = io.BytesIO(content)
    kind = _starlette("UploadFile")
    if kind is None:
        return UploadFile(file, filename, content_type)
    try:
        # From starlette 0.24 on.
        return kind(file, filename=filename, size=len(content), headers=headers([("content-type", content_type)]))
    except TypeError:
        return kind(filename, file=file, content_type=content_type)


def _multipart(content_type, body):
    """The fields of a ``multipart/form-data`` body (RFC 7578)."""
    boundary = _parameters(content_type).get("boundary")
    if not boundary:
        raise FormError("Missing boundary in multipart.")
    charset = _parameters(content_type).get("charset", "utf-8")
    parts = (b"\r\n" + body).split(b"\r\n--" + boundary.encode("latin-1"))
    if len(parts) == 1 or not any(part.startswith(b"--") for part in parts[1:]):
        raise FormError("the multipart body ends before its last boundary")
    for part in parts[1:]:
        if part.startswith(b"--"):
            return
        head, blank, content = part.partition(b"\r\n\r\n")
        if not blank:
            raise FormError("a part of the multipart body has no blank line after its headers")
        yield _field(head, content, charset)


def _field(head, content, charset):
    fields = {}
    for line in _text(head, charset).split("\r\n"):
        name, _, value = line.partition(":")
        fields[name.strip().lower()] = value.strip()
    disposition = _parameters(fields.get("content-disposition", ""))
    if "name" not in disposition:
        raise FormError('The Content-Disposition header field "name" must be provided.')
    if "filename" in disposition:
        return disposition["name"], _upload(content, disposition["filename"], fields.get("content-type", ""))
    return disposition["name"], _text(content, charset)


def _text(data, charset):
    try:
        return data.decode(charset)
    except (UnicodeDecodeError, LookupError):
        return data.decode("latin-1")


def _parameters(value):
    """The parameters of a header: ``name`` and ``filename`` of ``form-data; name="a"; filename="b.png"``."""
    found = re.findall(r';\s*([^\s=;]+)=("(?:[^"\\]|\\.)*"|[^;]*)', value)
    return {name.lower(): _unquote(text.strip()) for name, text in found}


def _unquote(text):
    return text[1:-1].replace('\\"', '"') if len(text) > 1 and text[0] == text[-1] == '"' else text
