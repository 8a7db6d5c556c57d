"""A prediction's output as JSON, as Cog writes it (coglet 0.23.1, observed): files become ``data:`` URLs, records become objects.

Beyond Cog, which fails on them: non-finite numbers become ``null``, dates, times, UUIDs and decimals are written, numpy's booleans too,
and what cannot be written is named with its place in the output. A file that is not there is an error; Cog answers ``null`` for it.
"""

import base64
import json
import os
import sys
from collections import deque
from collections.abc import ItemsView, KeysView, Mapping, ValuesView
from enum import Enum
from types import GeneratorType

_OCTETS = "application/octet-stream"
# What coglet says of common endings; * is octets. Python's own tables differ from one version and machine to the next.
_KINDS = """
.3gp video/3gpp|.7z application/x-7z-compressed|.aac audio/aac|.aiff audio/aiff|.apng image/apng|.avi video/x-msvideo|.avif image/avif
.bin *|.bmp image/bmp|.bz2 application/x-bzip2|.ckpt *|.css text/css|.csv text/csv|.epub application/epub+zip|.exr *|.flac audio/flac
.gif image/gif|.glb model/gltf-binary|.gltf model/gltf+json|.gz application/gzip|.h5 *|.hdr image/vnd.radiance|.heic image/heic
.htm text/html|.html text/html|.ico image/x-icon|.ini text/plain|.jfif image/jpeg|.jpeg image/jpeg|.jpg image/jpeg|.js text/javascript
.json application/json|.jsonl *|.log text/plain|.m4a audio/m4a|.m4v video/x-m4v|.md text/markdown|.mid audio/mid|.midi audio/mid
.mjs application/javascript|.mkv video/x-matroska|.mov video/quicktime|.mp3 audio/mpeg|.mp4 video/mp4|.mpeg video/mpeg|.mpg video/mpeg
.npy *|.npz *|.obj application/x-tgif|.oga audio/ogg|.ogg audio/ogg|.onnx *|.opus audio/ogg|.parquet application/vnd.apache.parquet
.pdf application/pdf|.pkl *|.ply *|.png image/png|.pt *|.pth *|.py text/plain|.safetensors *|.srt application/x-subrip
.stl application/vnd.ms-pki.stl|.svg image/svg+xml|.tar application/x-tar|.tgz application/x-compressed|.tif image/tiff|.tiff image/tiff
.toml text/x-toml|.ts video/vnd.dlna.mpeg-tts|.tsv text/tab-separated-values|.ttf font/ttf|.txt text/plain|.vtt text/vtt
.wasm application/wasm|.wav audio/wav|.webm video/webm|.webp image/webp|.woff2 font/woff2|.xml text/xml|.xz application/x-xz
.yaml text/x-yaml|.yml text/x-yaml|.zip application/zip
"""
_TYPES = dict(pair.split() for pair in _KINDS.replace("\n", "|").split("|") if pair)
_LISTS = (set, frozenset, GeneratorType, range, map, filter, zip, deque, KeysView, ValuesView, ItemsView)


class EncodeError(TypeError):
    """A value in an output cannot be written; the message says which, where, and what to return instead."""


def encode(value, name="output", uploads=None):
    """The JSON of an output, or of one yielded piece, as UTF-8. ``name`` is what messages call it.

    ``uploads`` (`lading_worker.uploads.Uploads`) takes its files; without one they become ``data:`` URLs.

    Raises:
        EncodeError: for a value that has no form in JSON, a file that cannot be read, a structure that contains itself.
    """
    simplify = _Simplifier(uploads)
    try:
        text = json.dumps(value, default=simplify, allow_nan=False, ensure_ascii=False, separators=(",", ":"))
    except (TypeError, ValueError, RecursionError):
        # Something is odd in it: walk it step by step, to mend what can be mended and to name the place of what cannot.
        try:
            mended = _walk(value, (name,), simplify)
            text = json.dumps(mended, allow_nan=False, ensure_ascii=False, separators=(",", ":"))
        except RecursionError:
            raise EncodeError(f"{name} is nested too deeply, or contains itself") from None
        except ValueError as error:
            raise EncodeError(f"{name} cannot be written as JSON: {error}") from None
    # A lone surrogate is a text in Python, but nothing that UTF-8 could carry.
    return text.encode("utf-8", "replace")


class _Simplifier:
    """Turns a value that JSON does not know into one that is nearer to it, once: files and generators are read but once."""

    def __init__(self, uploads):
        self._known = {}
        self._uploads = uploads

    def __call__(self, value):
        known = self._known.get(id(value))
        if known is None:
            try:
                simple, error = _simplify(value, self._uploads), None
            except EncodeError as failure:  # kept, too: nothing is uploaded a second time to be named
                simple, error = None, failure
            # The value is kept, so that its id stays its own.
            known = self._known[id(value)] = (value, simple, error)
        if known[2] is not None:
            raise known[2]
        return known[1]


def _simplify(value, uploads):
    if isinstance(value, type):
        raise EncodeError(f"the class {value.__name__} itself cannot be written as JSON; return an instance of it")
    coder = _coder(value)
    if coder is not None:
        return coder.encode(value)
    for convert in (_from_record, _from_plain):
        simple = convert(value)
        if simple is not value:
            return simple
    simple = _from_file(value, uploads)
    if simple is value:
        simple = _from_numpy(value)
    if simple is not value:
        return simple
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, _LISTS):
        return list(value)
    raise EncodeError(f"{_type_name(value)} cannot be written as JSON; {_advice(value)}")


def _coder(value):
    module = sys.modules.get("cog.coder")
    coders = getattr(module, "Coder", None)
    return None if coders is None or not getattr(coders, "_coders", None) else coders.lookup(type(value))


def _from_record(value):
    """Secrets, pydantic's models (1 and 2), Cog's models, dataclasses."""
    kind = type(value)
    if hasattr(kind, "get_secret_value"):
        return str(value)
    if hasattr(kind, "model_dump"):
        return _dump(value)
    if hasattr(kind, "__fields__") and hasattr(kind, "dict"):
        return value.dict()
    fields = getattr(kind, "__dataclass_fields__", None)
    if fields is not None:
        import dataclasses

        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    return value


def _dump(model):
    dumped = model.model_dump()
    if not isinstance(dumped, dict):
        return dumped
    # pydantic takes open files and generators for iterators, and hands out what cannot be read as a file.
    lost = [name for name, value in dumped.items() if type(value).__name__ == "SerializationIterator" and hasattr(model, name)]
    return dict(dumped, **{name: getattr(model, name) for name in lost})


def _from_plain(value):
    if isinstance(value, Enum):
        return value.value
    name = f"{type(value).__module__}.{type(value).__name__}"
    if name in ("datetime.datetime", "datetime.date", "datetime.time") or hasattr(type(value), "isoformat"):
        return value.isoformat()
    if name == "uuid.UUID":
        return str(value)
    return float(value) if name == "decimal.Decimal" else value


def _from_numpy(value):
    # By name: numpy is neither imported for this nor needed.
    ours = any(base.__module__.partition(".")[0] == "numpy" for base in type(value).__mro__)
    if not ours or not hasattr(value, "tolist"):
        return value
    plain = value.tolist()
    return value if type(plain) is type(value) else plain


def _from_file(value, uploads):
    if hasattr(type(value), "__fspath__"):
        return _url_of_path(os.fspath(value), uploads)
    if hasattr(value, "read") and hasattr(value, "close"):
        return _url_of_handle(value, uploads)
    return value


def _url_of_path(path, uploads):
    if os.path.isdir(path):
        raise EncodeError(f"{path} is a folder; return a file, a zip of the folder for example")
    try:
        if uploads is not None:
            return uploads.path(path, media_type(path))
        with open(path, "rb") as file:
            content = file.read()
    except OSError as error:
        what = "is not there" if isinstance(error, FileNotFoundError) else f"cannot be read: {error.strerror or error}"
        raise EncodeError(f"the file {path} {what}") from None
    except ValueError as error:
        raise EncodeError(str(error)) from None
    return data_url(content, path)


def _url_of_handle(handle, uploads):
    try:
        if handle.seekable():
            handle.seek(0)
        content = handle.read()
    except (OSError, ValueError, AttributeError) as error:
        raise EncodeError(f"the file {getattr(handle, 'name', type(handle).__name__)!s} cannot be read: {error}") from None
    if isinstance(content, str):
        content = content.encode("utf-8")
    name = getattr(handle, "name", None)
    name = name if isinstance(name, (str, bytes)) else ""
    if uploads is None:
        return data_url(content, name)
    try:
        return uploads.content(content, name, media_type(name))
    except ValueError as error:
        raise EncodeError(str(error)) from None


def data_url(content, name):
    """Bytes as a ``data:`` URL; the name's ending tells the type (coglet's table, on every Python the same)."""
    return f"data:{media_type(name)};base64,{base64.b64encode(content).decode('ascii')}"


def media_type(name):
    """The media type of a file's name; ``application/octet-stream`` when the ending says nothing."""
    ending = os.path.splitext(os.fsdecode(name))[1].lower()
    if ending in _TYPES:
        return _TYPES[ending].replace("*", _OCTETS)
    import mimetypes

    kind, encoding = mimetypes.guess_type("x" + ending)
    return _OCTETS if kind is None or encoding else kind


def _walk(value, path, simplify):
    """The value as plain lists, dicts, texts and numbers, the place of each known."""
    if value is None or isinstance(value, (bool, str)):
        return value
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        number = float(value)
        return number if number - number == 0 else None
    if isinstance(value, dict):
        return {_key(key, path): _walk(item, (*path, key), simplify) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_walk(item, (*path, index), simplify) for index, item in enumerate(value)]
    try:
        simple = simplify(value)
    except EncodeError as error:
        raise EncodeError(f"{_place(path)}: {error}") from None
    return _walk(simple, path, simplify)


def _key(key, path):
    if isinstance(key, Enum):
        key = key.value
    if key is None or isinstance(key, (str, int, float)):
        return key
    number = _from_numpy(key)
    if isinstance(number, (str, int, float)):
        return number
    raise EncodeError(f"{_place(path)}: the key {_short(key)} is {_type_name(key)}; the keys of a JSON object are texts or numbers")


def _place(path):
    place = str(path[0])
    for step in path[1:]:
        plain = isinstance(step, str) and step.isidentifier()
        place += f".{step}" if plain else f"[{_short(step)}]"
    return place


def _short(value):
    try:
        text = repr(value)
    except Exception:
        text = _type_name(value)
    return text if len(text) <= 60 else text[:59] + "…"


def _type_name(value):
    kind = type(value)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def _advice(value):
    if isinstance(value, (bytes, bytearray, memoryview)):
        return "write the bytes to a file and return its Path, or return io.BytesIO(...)"
    name = type(value).__name__
    if name in ("coroutine", "async_generator"):
        return "await it, or declare predict as async def"
    if hasattr(value, "tolist"):
        return "return its .tolist()"
    if hasattr(value, "save"):
        return "save it to a file and return its Path"
    return "return text, numbers, lists, dicts, a Path or a BaseModel"
