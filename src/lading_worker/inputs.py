"""A predictor's signature as data, and how a request's ``input`` becomes the keyword arguments of its ``predict``.

Standard library only, syntax of Python 3.6: the worker imports this file inside the model's environment, and
``lading.schema`` imports the same file, so the command line, the schema and the server cannot disagree.

The signature
=============
``lading.schema.static`` reads it from the source without importing the model; it is JSON data::

    {
      "format": 1,
      "file": "predict.py",              where the object was asked for, relative to the project's root
      "object": "Predictor",             class or function
      "kind": "class" | "function",
      "method": "predict" | "run" | null,   the method to call; null for a function
      "asynchronous": false,             `async def` (coroutine or asynchronous generator)
      "generator": false,                the output comes piece by piece
      "streaming": false,                decorated with `@cog.streaming`
      "concurrent": 1,                   `@cog.concurrent(max=N)`
      "batched": {"max_batch_size": 32, "max_latency": 0.01},   only with `@lading.batched`; inputs and output are then one request's
      "setup": null | {"asynchronous": false, "weights": null | "path" | "file" | "str" | "any", "weights_required": false},
      "healthcheck": false,              the class has a healthcheck method
      "inputs": [INPUT, ...],            in the order of the source
      "output": TYPE                     {"kind": "iterator", "items": TYPE, "concatenate": bool} for piecewise ones
    }

    INPUT = {
      "name": "scale", "type": TYPE, "line": 12,
      "required": true,                  nothing can stand in for it
      "nullable": false,                 `Optional[T]`, or `T = None`; `null` is accepted
      "default": JSON,                   absent: none, or `own_default`
      "own_default": true,               a plain Python default (no `Input(...)`): leave it out of the call and Python applies it
      "description", "ge", "le", "min_length", "max_length", "regex", "choices", "deprecated", "accept"   only when given
    }

    TYPE = {"kind": "bool" | "int" | "float" | "str" | "path" | "file" | "secret" | "any" | "null"}
         | {"kind": "list", "items": TYPE}
         | {"kind": "dict", "values": TYPE}   with "coder": {"name", "module"}: a class of the model's own, see `coders`
         | {"kind": "object", "name": "Point", "fields": [{"name", "type", "required", "default"?}]}
         | {"kind": "literal", "values": [JSON]}
         | {"kind": "enum", "name": "Size", "module": "shapes", "members": {"SMALL": "s"}}
         | {"kind": "union", "types": [TYPE]}

What fits
=========
Cog checks a request against its JSON schema (coglet, ``input_validation.rs``), so JSON Schema's idea of types holds: an
integer is accepted where a float is declared, ``3.0`` where an int is, no string for a number and no bool for an int; ``regex`` is
searched, not anchored. Where JSON Schema leaves the Python type open we make the declared one (``3`` for a float arrives as
``3.0``, ``3.0`` for an int as ``3``). Unlike Cog, ``null`` is accepted where the predictor says ``Optional``, ``Any`` takes any
JSON, and the values of secrets never appear in a message. Numbers that JSON does not know (``NaN``, ``Infinity``) are refused.
"""

# ruff: noqa: ARG001 - the converters stand in one table and share one signature

import copy
import json
import math
import re
import sys

CONSTRAINTS = ("ge", "le", "min_length", "max_length", "regex", "choices")
_JSON_NAMES = {
    "bool": "boolean",
    "int": "integer",
    "float": "number",
    "str": "string",
    "path": "string",
    "file": "string",
    "secret": "string",
    "null": "null",
    "list": "array",
    "dict": "object",
    "object": "object",
}
_LONGEST_SHOWN = 200
_HIDDEN = '"**********"'


class InvalidInput(Exception):  # noqa: N818 - the name the worker and the schema agreed on
    """The input does not fit the signature. ``detail`` is the list of Cog's 422 answer: ``loc``, ``msg``, ``type``."""

    def __init__(self, detail):
        super().__init__("; ".join("{}: {}".format(".".join(map(str, item["loc"][2:])), item["msg"]) for item in detail))
        self.detail = detail


class _Misfit(Exception):  # noqa: N818 - not an error of ours, a property of a value
    """One value does not fit; ``path`` leads to it inside the input."""

    def __init__(self, message, path=(), kind="value_error"):
        super().__init__(message)
        self.message = message
        self.path = tuple(path)
        self.kind = kind


class _Misfits(Exception):  # noqa: N818 - see `_Misfit`
    """Everything that one input's constraints found."""

    def __init__(self, found):
        super().__init__(found)
        self.found = found


class Verbatim:
    """Stands in for the worker's ``files``: leaves values as they are, for checking without making anything."""

    def path(self, value):
        """A ``Path`` input: the text itself."""
        return value

    def file(self, value):
        """A ``File`` input: the text itself."""
        return value

    def secret(self, value):
        """A ``Secret`` input: the text itself."""
        return value


def bind(signature, value, files, enums=None):
    """Make the keyword arguments of ``predict`` from a request's ``input``.

    Args:
        signature: the signature, see the top of this file.
        value: what the request carries; ``None`` stands for ``{}``, as in Cog. It is not changed.
        files: makes the run-time objects: ``path(text)``, ``file(text)``, ``secret(text)``. They may raise ``ValueError`` with a
            sentence for the client. For defaults, ``default_path`` and ``default_file`` are used if there (a default is the author's
            and may name a file of the project).
        enums: the classes of enum types by input name (`enum_classes`); without one the plain value is passed.

    Raises:
        InvalidInput: with every input that does not fit.
    """
    value = {} if value is None else value
    if not isinstance(value, dict):
        raise InvalidInput([_detail("__root__", _Misfit(_not_a("object", _show(value))))])
    problems = []
    arguments = {}
    for field in signature["inputs"]:
        try:
            _bind_field(field, value, arguments, _Maker(files, (enums or {}).get(field["name"])))
        except _Misfits as misfits:
            problems.extend(_detail(field["name"], misfit) for misfit in misfits.found)
        except _Misfit as misfit:
            problems.append(_detail(field["name"], misfit))
    if problems:
        raise InvalidInput(problems)
    return arguments


def unknown_inputs(signature, value):
    """Names in a request's ``input`` that the predictor does not have. They are left out of the call, as in Cog, with a note."""
    known = {field["name"] for field in signature["inputs"]}
    return [name for name in value if name not in known] if isinstance(value, dict) else []


def enum_classes(signature, function):
    """The enum classes of the inputs of ``function`` (the loaded ``predict``) by input name, for `bind`."""
    found = {}
    for field in signature["inputs"]:
        kind = _first_enum(field["type"])
        cls = _enum_class(kind, function) if kind else None
        if cls is not None:
            found[field["name"]] = cls
    return found


def _first_enum(kind):
    if kind["kind"] == "enum":
        return kind
    inner = [kind["items"]] if kind["kind"] == "list" else kind.get("types", ())
    return next((enum for enum in map(_first_enum, inner) if enum), None)


def _enum_class(kind, function):
    from enum import EnumMeta

    scopes = [vars(sys.modules[kind["module"]])] if kind.get("module") in sys.modules else []
    scopes.insert(0, getattr(function, "__globals__", {}))
    for scope in scopes:
        for thing in list(scope.values()):
            if isinstance(thing, EnumMeta) and thing.__name__ == kind["name"]:
                return thing
    return None


class _Maker:
    """What conversion needs beside the value: the makers of run-time objects and the input's enum class."""

    def __init__(self, files, enum=None):
        self.files = files
        self.enum = enum

    def for_default(self):
        """The same, with the makers for the author's own defaults."""
        return _Maker(_DefaultFiles(self.files), self.enum)

    def member(self, value):
        """The enum member of a value, or the value when the class is not known."""
        try:
            return value if self.enum is None else self.enum(value)
        except ValueError:
            return value


class _DefaultFiles:
    def __init__(self, files):
        self.path = getattr(files, "default_path", files.path)
        self.file = getattr(files, "default_file", files.file)
        self.secret = files.secret


def _bind_field(field, value, arguments, maker):
    name = field["name"]
    if name in value:
        arguments[name] = _convert_field(field, value[name], maker)
    elif field.get("own_default"):
        return
    elif "default" in field:
        arguments[name] = _default(field, maker.for_default())
    elif field.get("nullable"):
        arguments[name] = None
    else:
        raise _Misfit("Field required", kind="value_error.missing")


def _default(field, maker):
    if field["default"] is None:
        return None
    return _convert(field["type"], copy.deepcopy(field["default"]), maker)


def _convert_field(field, value, maker):
    if value is None and field.get("nullable"):
        return None
    try:
        converted = _convert(field["type"], value, maker)
    except _Misfit as misfit:
        if field.get("choices") and field["type"]["kind"] != "list":
            # coglet checks the choices, too, when the type is already wrong
            raise _Misfits([_not_one_of(_shown(field["type"], value), field["choices"]), misfit]) from None
        raise
    misfits = list(_broken_constraints(field, field["type"], value))
    if misfits:
        raise _Misfits(misfits)
    return converted


def _broken_constraints(field, kind, value):
    """``ge`` … ``choices`` of one input that a value breaks; on a list they hold for each item."""
    if not any(name in field for name in CONSTRAINTS):
        return
    if isinstance(value, list) and kind["kind"] == "list":
        for index, item in enumerate(value):
            for misfit in _broken_constraints(field, kind["items"], item):
                yield _Misfit(misfit.message, (index, *misfit.path))
        return
    shown = _shown(kind, value)
    if field.get("choices") and not _is_one_of(value, field["choices"]):
        yield _not_one_of(shown, field["choices"])
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        yield from _broken_bounds(field, value, shown)
    if isinstance(value, str):
        yield from _broken_text(field, value, shown)


def _broken_bounds(field, value, shown):
    low, high = field.get("ge"), field.get("le")
    if low is not None and value < low:
        yield _Misfit(f"{shown} is less than the minimum of {_number(low)}")
    if high is not None and value > high:
        yield _Misfit(f"{shown} is greater than the maximum of {_number(high)}")


def _broken_text(field, value, shown):
    shortest, longest, pattern = field.get("min_length"), field.get("max_length"), field.get("regex")
    if shortest is not None and len(value) < shortest:
        yield _Misfit(f"{shown} is shorter than {_characters(shortest)}")
    if longest is not None and len(value) > longest:
        yield _Misfit(f"{shown} is longer than {_characters(longest)}")
    if pattern is not None and not _matches(pattern, value):
        yield _Misfit(f"{shown} does not match {_show(pattern)}")


def _matches(pattern, value):
    try:
        return re.search(pattern, value)
    except re.error as error:
        # The pattern was checked when the signature was read, by another Python; this one may not know its syntax.
        raise _Misfit(f"cannot be checked: {_show(pattern)} is no regular expression for this Python ({error})") from None


def _characters(count):
    return f"{count} character" if count == 1 else f"{count} characters"


def _convert(kind, value, maker, exact=False):  # noqa: FBT002 - only `_to_union` sets it
    """The value as the declared type; ``exact`` refuses even the harmless change between int and float."""
    return _CONVERTERS[kind["kind"]](kind, value, maker, exact)


def _to_any(kind, value, maker, exact):
    return value


def _to_null(kind, value, maker, exact):
    return _require(value is None, kind, value)


def _to_bool(kind, value, maker, exact):
    _require(isinstance(value, bool), kind, value)
    return value


def _to_int(kind, value, maker, exact):
    whole = isinstance(value, float) and math.isfinite(value) and value == int(value)
    _require((isinstance(value, int) and not isinstance(value, bool)) or (whole and not exact), kind, value)
    return int(value)


def _to_float(kind, value, maker, exact):
    fits = isinstance(value, float) or (isinstance(value, int) and not isinstance(value, bool) and not exact)
    _require(fits, kind, value)
    try:
        number = float(value)
    except OverflowError:
        raise _Misfit(f"{_show(value)} is too large for a number") from None
    _require(math.isfinite(number), kind, value)
    return number


def _to_str(kind, value, maker, exact):
    _require(isinstance(value, str), kind, value)
    return value


def _to_file(kind, value, maker, exact):
    if not isinstance(value, str):
        raise _Misfit(_not_a("string", _shown(kind, value)))
    try:
        return getattr(maker.files, kind["kind"])(value)
    except ValueError as error:
        raise _Misfit(str(error)) from None


_PLAIN = {"float": {float}, "str": {str}, "bool": {bool}, "int": {int}}


def _all_plain(kind, values):
    """Whether every item is of the declared type already, found out at the speed of C: lists of numbers are long."""
    if set(map(type, values)) != _PLAIN.get(kind["kind"]):
        return False
    if kind["kind"] != "float":
        return True
    total = sum(values)
    return total - total == 0  # a NaN or an infinity makes it neither


def _to_list(kind, value, maker, exact):
    _require(isinstance(value, list), kind, value)
    if _all_plain(kind["items"], value):
        return list(value)
    return [_inside(index, kind["items"], item, maker, exact) for index, item in enumerate(value)]


def _to_dict(kind, value, maker, exact):
    _require(isinstance(value, dict), kind, value)
    return {key: _inside(key, kind["values"], item, maker, exact) for key, item in value.items()}


def _to_object(kind, value, maker, exact):
    """A ``TypedDict``: declared keys are checked, others stay as they are, as Python's own ``TypedDict`` lets them."""
    _require(isinstance(value, dict), kind, value)
    made = dict(value)
    for field in kind["fields"]:
        name = field["name"]
        if name in value:
            made[name] = _inside(name, field["type"], value[name], maker, exact)
        elif field["required"]:
            raise _Misfit("Field required", (name,), "value_error.missing")
    return made


def _to_literal(kind, value, maker, exact):
    if not _is_one_of(value, kind["values"]):
        raise _not_one_of(_show(value), kind["values"])
    return value


def _to_enum(kind, value, maker, exact):
    values = list(kind["members"].values())
    if not _is_one_of(value, values):
        raise _not_one_of(_show(value), values)
    return maker.member(value)


def _to_union(kind, value, maker, exact):
    """The member that takes the value as it is; else the first that takes it with a change between int and float."""
    for strictly in (True,) if exact else (True, False):
        for member in kind["types"]:
            try:
                return _convert(member, value, maker, strictly)
            except _Misfit:
                continue
    raise _Misfit(f"{_shown(kind, value)} is not valid under any of the schemas listed in the 'anyOf' keyword")


_CONVERTERS = {
    "any": _to_any,
    "null": _to_null,
    "bool": _to_bool,
    "int": _to_int,
    "float": _to_float,
    "str": _to_str,
    "path": _to_file,
    "file": _to_file,
    "secret": _to_file,
    "list": _to_list,
    "dict": _to_dict,
    "object": _to_object,
    "literal": _to_literal,
    "enum": _to_enum,
    "union": _to_union,
}


def _inside(key, kind, value, maker, exact):
    try:
        return _convert(kind, value, maker, exact)
    except _Misfit as misfit:
        raise _Misfit(misfit.message, (key, *misfit.path), misfit.kind) from None


def _require(fits, kind, value):
    if not fits:
        raise _Misfit(_not_a(_JSON_NAMES[kind["kind"]], _show(value)))


def _is_one_of(value, values):
    """Membership as JSON means it: ``true`` is not ``1``, but ``1.0`` is."""
    return any(value == other and isinstance(value, bool) == isinstance(other, bool) for other in values)


def holds_secret(kind):
    """Whether a TYPE is a secret, or has one in it."""
    inner = [kind.get("items"), kind.get("values")] if kind["kind"] in ("list", "dict") else kind.get("types", [])
    return kind["kind"] == "secret" or any(holds_secret(part) for part in inner if part)


def _detail(name, misfit):
    """One entry of Cog's 422. Inside an input the place is a JSON pointer in one text (``xs/1``), as coglet 0.23.1 writes it."""
    inside = [str(key).replace("~", "~0").replace("/", "~1") for key in misfit.path]
    return {"loc": ["body", "input", "/".join([name, *inside])], "msg": misfit.message, "type": misfit.kind}


def _not_a(name, shown):
    return f'{shown} is not of type "{name}"'


def _not_one_of(shown, values):
    return _Misfit("{} is not one of [{}]".format(shown, ",".join(map(_show, values))))


def _number(value):
    return _show(int(value) if isinstance(value, float) and value == int(value) else value)


def _shown(kind, value):
    return _HIDDEN if holds_secret(kind) else _show(value)


def _show(value):
    """A value as JSON, shortened; a message must never fail for what a client sends."""
    try:
        # A lone surrogate is a text in JSON and in Python, but nothing that could be written out again.
        text = json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "backslashreplace").decode("utf-8")
    except (TypeError, ValueError, RecursionError):
        text = "a value of type " + type(value).__name__
    return text if len(text) <= _LONGEST_SHOWN else text[: _LONGEST_SHOWN - 1] + "…"
