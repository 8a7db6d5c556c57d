"""JSON by ``orjson`` where the model's environment has it: several times as fast, for long lists of numbers above all.

It is used where it says the same as the standard library's ``json``, and only there: what it refuses, and what it would read or write
in another way, ``json`` does.
"""

import sys
from json import loads

_LARGE = 64 * 1024  # bytes of a body in which long texts are looked for
_LONG = 16 * 1024  # bytes of a text that is taken out of its body
_QUOTES = 64  # texts looked at: a body of many is read as a whole
_EXACT = ("bool", "float", "str", "path", "file", "secret", "null")


class Quick:
    """``loads`` and ``dumps`` for one predictor; each is None where ``json`` is to be used."""

    def __init__(self, signature):
        module = _find()
        self.name = "json" if module is None else "orjson"
        self.loads = module.loads if module is not None and _is_exact(signature) else None
        self.dumps = None if module is None else _dumps(module)


def _find():
    try:
        import orjson

        found = orjson.loads(b'[1.5,"a"]') == [1.5, "a"] and orjson.dumps([1.5], option=_options(orjson)) == b"[1.5]"
    except Exception:  # not there, too old, or something else of that name
        return None
    return orjson if found else None


def _options(module):
    return module.OPT_PASSTHROUGH_SUBCLASS | module.OPT_PASSTHROUGH_DATACLASS | module.OPT_PASSTHROUGH_DATETIME


def _is_exact(signature):
    """Whether every input is of a type that both read alike: orjson makes floats of integers with more than 64 bits."""
    if signature is None:
        return False
    return all(_reads_alike(field["type"]) for field in signature["inputs"])


def _reads_alike(kind):
    if kind["kind"] in _EXACT:
        return True
    if kind["kind"] == "list":
        return _reads_alike(kind["items"])
    if kind["kind"] == "dict":
        return _reads_alike(kind["values"])
    return kind["kind"] == "union" and all(map(_reads_alike, kind["types"]))


def _dumps(module):
    dumps, options, error = module.dumps, _options(module), module.JSONEncodeError

    def quick(value):
        """The JSON of a value that is made of plain data alone, as bytes; None if it is not, or not to be written so."""
        coder = sys.modules.get("cog.coder")
        if coder is not None and coder.Coder._coders:  # noqa: SLF001 - the model has its own idea of how values are written
            return None
        try:
            return dumps(value, option=options)
        except (error, RecursionError):
            return None

    return quick


def read(text):
    """`json.loads` of bytes, or of a view of shared memory from its beginning; long texts, such as files in base64, are taken out first, which is ten times as fast.

    Raises:
        ValueError, RecursionError: as `json.loads`.
    """
    pieces = _take_out(text) if len(text) > _LARGE else None
    if pieces is not None:
        rest, texts = pieces
        try:
            # A constant that JSON does not know stands where a text was; they are met again in their order.
            return loads(rest.decode(), parse_constant=lambda _name: str(next(texts), "utf-8"))
        except ValueError:  # a long name, where no constant may stand; or it is no JSON at all
            pass
    return loads(str(text, "utf-8"))


def _take_out(text):
    """``(rest, texts)``: the JSON with ``NaN`` in the place of each long text, and these; None where that cannot be done."""
    rest, texts, position = [], [], 0
    source, size, view = getattr(text, "obj", text), len(text), memoryview(text)
    start = source.find(b'"', 0, size)
    for _ in range(_QUOTES):
        if start < 0:
            return _put_together(rest, texts, bytes(view[position:]))
        end = source.find(b'"', start + 1, size)
        if end < 0 or source[end - 1] == 0x5C:  # a backslash: what a text is, only a parser knows
            return None
        if end - start > _LONG:
            if source.find(b"\\", start + 1, end) >= 0:
                return None
            rest.append(bytes(view[position:start]))
            texts.append(view[start + 1 : end])
            position = end + 1
        start = source.find(b'"', end + 1, size)
    return None


def _put_together(rest, texts, end):
    known = any(b"NaN" in piece or b"Infinity" in piece for piece in [*rest, end])
    if not texts or known:
        return None
    return b"NaN".join([*rest, end]), iter(texts)
