"""``-i name=value`` from the command line as a request's ``input``, with every complaint before anything is started.

As in Cog (``pkg/predict/input.go``, ``input_validation.go``): a repeated name makes a list, ``@file`` stands for a file's content,
and an input that the model does not have is an error here, though the server only strips it.
"""

from __future__ import annotations

import base64
import difflib
import json
import mimetypes
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, TypeAlias

from lading.model.origin import Origin
from lading.model.problems import LadingError, Problem, ProblemCollector
from lading.schema.fit import misfits, unknown_names

ReadFile: TypeAlias = Callable[[str], bytes]
_ORIGIN = Origin("-i")
_FILES = frozenset(("path", "file"))
_EXPECTED = {
    "bool": "boolean",
    "int": "integer",
    "float": "number",
    "str": "string",
    "path": "string",
    "file": "string",
    "secret": "string",
    "list": "array",
    "dict": "object",
    "object": "object",
}
_TRUE = frozenset(("true", "1", "yes", "on"))
_FALSE = frozenset(("false", "0", "no", "off"))


class _UnfitError(Exception):
    """A text cannot become the declared type; the message says what was expected and what came."""


def convert(signature: Mapping[str, Any], pairs: Iterable[str], read_file: ReadFile) -> dict[str, Any]:
    """Make a request's ``input`` from ``name=value`` texts, by the declared types.

    ``@file`` gives a data URL for ``Path`` and ``File`` inputs, the file's text for texts, and its JSON for ``dict``, ``list`` and ``Any``.
    ``@@`` stands for a plain ``@``. ``read_file`` returns a file's content and raises ``OSError`` when it cannot.

    Raises:
        LadingError: with every problem: `input-syntax`, `unknown-input`, `missing-input`, `invalid-input`, `input-file`.
    """
    collector = ProblemCollector()
    given = _group(pairs, collector)
    fields = {field["name"]: field for field in signature["inputs"]}
    converted: dict[str, Any] = {}
    failed: set[str] = set()
    for name, texts in given.items():
        if name not in fields:
            converted[name] = texts  # named by `check` together with all others
            continue
        try:
            converted[name] = _convert(fields[name], texts, read_file)
        except _UnfitError as error:
            failed.add(name)
            collector.add(_invalid(name, str(error), fields[name]))
        except OSError as error:
            failed.add(name)
            collector.add(_unreadable(name, error))
    collector.add(*(problem for name, problem in _problems(signature, converted) if name not in failed))
    collector.raise_if_any()
    return converted


def check(signature: Mapping[str, Any], value: object) -> None:
    """Check a whole ``input`` (``--json``) as the worker will, and refuse names that the model does not have.

    Raises:
        LadingError: `unknown-input`, `missing-input`, `invalid-input`.
    """
    problems = [problem for _, problem in _problems(signature, value)]
    if problems:
        raise LadingError(*problems)


def convert_payload(pairs: Iterable[str], read_file: ReadFile) -> dict[str, Any]:
    """Make a JSON payload without declared types (Cortex): a value that is JSON is taken as such, anything else as text.

    ``@file`` gives the file's JSON if it is JSON, its text if it is text, and a data URL otherwise.

    Raises:
        LadingError: `input-syntax` or `input-file`.
    """
    collector = ProblemCollector()
    payload: dict[str, Any] = {}
    for name, texts in _group(pairs, collector).items():
        try:
            values = [_guess(text, read_file) for text in texts]
            payload[name] = values[0] if len(values) == 1 else values
        except OSError as error:
            collector.add(_unreadable(name, error))
    collector.raise_if_any()
    return payload


def _guess(text: str, read_file: ReadFile) -> Any:
    path = _file_named(text)
    if path is not None:
        content = read_file(path)
        try:
            text = content.decode()
        except UnicodeDecodeError:
            return data_url(path, content)
    else:
        text = _unescape(text)
    try:
        return json.loads(text, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        return text


def data_url(path: str, content: bytes) -> str:
    """A file's content as a ``data:`` URL, its type guessed from the name."""
    kind = mimetypes.guess_type(path)[0] or "application/octet-stream"
    return f"data:{kind};base64,{base64.b64encode(content).decode('ascii')}"


def _group(pairs: Iterable[str], collector: ProblemCollector) -> dict[str, list[str]]:
    given: dict[str, list[str]] = {}
    for pair in pairs:
        name, equals, text = pair.partition("=")
        if equals and name.strip():
            given.setdefault(name.strip(), []).append(text)
        else:
            what = f"the input {pair!r} is not of the form name=value" if not equals else f"the input {pair!r} has no name"
            collector.add(Problem(rule="input-syntax", what=what, origin=_ORIGIN, instead="write -i name=value, or -i name=@file"))
    return given


def _convert(field: Mapping[str, Any], texts: list[str], read_file: ReadFile) -> Any:
    kind = field["type"]
    if _is_list(kind):
        items = next(part["items"] for part in _members(kind) if part["kind"] == "list")
        if len(texts) == 1 and (whole := _whole_list(texts[0], read_file)) is not None:
            return whole
        return [_convert_one(items, text, read_file) for text in texts]
    if len(texts) > 1:
        if kind["kind"] == "any":
            return [_convert_one(kind, text, read_file) for text in texts]
        raise _UnfitError(f"expected {_expected(kind)}, got array")
    if field.get("nullable") and texts[0] == "null" and not _takes(kind, "str"):
        return None
    return _convert_one(kind, texts[0], read_file)


def _whole_list(text: str, read_file: ReadFile) -> list[Any] | None:
    """``-i xs=[1,2]`` gives a list at once; a text that is no JSON list is one item."""
    path = _file_named(text)
    if path is not None and not path.endswith(".json"):
        return None
    if path is None and not text.lstrip().startswith("["):
        return None
    try:
        whole = json.loads(read_file(path) if path is not None else text)
    except (ValueError, RecursionError):
        return None
    return whole if isinstance(whole, list) else None


def _convert_one(kind: Mapping[str, Any], text: str, read_file: ReadFile) -> Any:
    path = _file_named(text)
    if path is not None:
        content = read_file(path)
        if kind["kind"] in _FILES:
            return data_url(path, content)
        try:
            text = content.decode()
        except UnicodeDecodeError:
            if kind["kind"] == "any":
                return data_url(path, content)
            raise _UnfitError(f"expected {_expected(kind)}, got the file {path}, which is not UTF-8 text") from None
    else:
        text = _unescape(text)
    return _from_text(kind, text)


def _from_text(kind: Mapping[str, Any], text: str) -> Any:
    name = kind["kind"]
    if name in ("str", "path", "file", "secret"):
        return text
    if name in ("literal", "enum"):
        return _from_values(kind, text)
    if name == "union":
        return _from_union(kind, text)
    if name == "bool":
        return _boolean(text)
    if name in ("int", "float"):
        return _number(name, text)
    value = _json(text)
    if name == "any":
        return text if value is _NOT_JSON else value
    fits: dict[str, type] = {"list": list, "dict": dict, "object": dict, "null": type(None)}
    if not isinstance(value, fits[name]):
        raise _UnfitError(f"expected {_expected(kind)}, got {_name_of(value)}")
    return value


def _boolean(text: str) -> bool:
    if text.lower() in _TRUE | _FALSE:
        return text.lower() in _TRUE
    raise _UnfitError(f"expected boolean, got {_name_of(_json(text))}")


def _number(name: str, text: str) -> Any:
    value = _json(text.strip())
    if isinstance(value, int | float) and not isinstance(value, bool):
        if name == "float" or isinstance(value, int) or value.is_integer():
            return value
        raise _UnfitError("expected integer, got number")
    raise _UnfitError(f"expected {_EXPECTED[name]}, got {_name_of(value)}")


def _from_values(kind: Mapping[str, Any], text: str) -> Any:
    """One of several values: the text itself, the JSON value, or the name of the enum's member."""
    values = list(kind["values"] if kind["kind"] == "literal" else kind["members"].values())
    if text in values:
        return text
    value = _json(text)
    if any(value == other and type(value) is type(other) for other in values):
        return value
    return kind.get("members", {}).get(text, text)


def _from_union(kind: Mapping[str, Any], text: str) -> Any:
    """The JSON value if a member takes it, else the text: ``3`` is a number where numbers are possible."""
    value = _json(text)
    if value is not _NOT_JSON and not isinstance(value, str) and not misfits({"inputs": [{"name": "x", "type": kind}]}, {"x": value}):
        return value
    return text


_NOT_JSON = object()


def _json(text: str) -> Any:
    try:
        return json.loads(text, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        return _NOT_JSON


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")


def _file_named(text: str) -> str | None:
    return text[1:] if text.startswith("@") and not text.startswith("@@") and len(text) > 1 else None


def _unescape(text: str) -> str:
    return text[1:] if text.startswith("@@") else text


def _members(kind: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return list(kind["types"]) if kind["kind"] == "union" else [kind]


def _is_list(kind: Mapping[str, Any]) -> bool:
    return any(part["kind"] == "list" for part in _members(kind))


def _takes(kind: Mapping[str, Any], name: str) -> bool:
    return any(part["kind"] == name for part in _members(kind))


def _expected(kind: Mapping[str, Any]) -> str:
    names = list(dict.fromkeys(_EXPECTED.get(part["kind"], "a listed value") for part in _members(kind)))
    return " or ".join(names)


def _name_of(value: object) -> str:
    """JSON's name of a value's type; a text that is no JSON is a string."""
    if value is None:
        return "null"
    for kind, name in ((bool, "boolean"), (int, "number"), (float, "number"), (list, "array"), (dict, "object")):
        if isinstance(value, kind):
            return name
    return "string"


def _problems(signature: Mapping[str, Any], value: object) -> Iterator[tuple[str, Problem]]:
    """Every problem of an ``input``, with the name of the input it is about."""
    fields = {field["name"]: field for field in signature["inputs"]}
    for name in unknown_names(signature, value):
        yield name, _unknown(name, list(fields))
    for misfit in misfits(signature, value):
        name = misfit["loc"][2]
        top = name if name in fields else name.partition("/")[0]
        if misfit["type"] == "value_error.missing" and name in fields:
            instead = f"give it: -i {name}={_example(fields[name])}"
            yield name, Problem(rule="missing-input", what=f'missing required input "{name}"', origin=_ORIGIN, instead=instead)
        else:
            yield top, _invalid(name, _as_cog_says(misfit, value, fields.get(top), name), fields.get(top))


def _as_cog_says(misfit: Mapping[str, Any], value: object, field: Mapping[str, Any] | None, name: str) -> str:
    """The command line's own words for the two commonest complaints: a type, and a choice."""
    message = str(misfit["msg"])
    if field is None or not isinstance(value, dict) or name != field["name"]:
        return message
    given = value[name]
    if " is not one of [" in message:
        return f"must be one of: {', '.join(map(str, _allowed(field)))}"
    if " is not of type " in message:
        return "must not be null" if given is None else f"expected {_expected(field['type'])}, got {_name_of(given)}"
    return message


def _allowed(field: Mapping[str, Any]) -> list[Any]:
    kind = field["type"]
    if kind["kind"] == "literal":
        return list(kind["values"])
    return list(kind["members"].values()) if kind["kind"] == "enum" else list(field.get("choices", ()))


def _invalid(name: str, why: str, field: Mapping[str, Any] | None) -> Problem:
    instead = None if field is None else f"write -i {name.partition('/')[0]}={_example(field)}, for example"
    return Problem(rule="invalid-input", what=f'invalid input "{name}": {why}', origin=_ORIGIN, instead=instead)


def _unknown(name: str, valid: list[str]) -> Problem:
    known = f"valid inputs are: {', '.join(sorted(valid))}" if valid else "model does not accept inputs"
    close = difflib.get_close_matches(name, valid, n=1)
    instead = f"write {close[0]} instead of {name}" if close else f"leave {name} out"
    return Problem(rule="unknown-input", what=f'unknown input "{name}"; {known}', origin=_ORIGIN, instead=instead)


def _unreadable(name: str, error: OSError) -> Problem:
    path = error.filename or "the file"
    what = f'invalid input "{name}": {path} cannot be read'
    instead = "correct the path after @, or write @@ for a value that begins with @"
    return Problem(rule="input-file", what=what, origin=_ORIGIN, why=error.strerror or str(error), instead=instead)


def _example(field: Mapping[str, Any]) -> str:
    allowed = _allowed(field)
    if allowed:
        return str(allowed[0])
    if field.get("default") is not None and field["type"]["kind"] in ("bool", "int", "float", "str"):
        return json.dumps(field["default"]) if field["type"]["kind"] != "str" else str(field["default"])
    low = field.get("ge", 1)
    shown = {
        "bool": "true",
        "int": str(low),
        "float": str(field.get("ge", 0.5)),
        "path": "@FILE",
        "file": "@FILE",
        "dict": "'{}'",
        "object": "'{}'",
    }
    return shown.get(field["type"]["kind"], "VALUE")
