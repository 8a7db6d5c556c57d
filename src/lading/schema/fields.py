"""One parameter of ``predict`` as one INPUT record: its type, its default, and what ``Input(...)`` says."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from typing import Any

from lading.model.origin import Origin
from lading.model.problems import Problem, ProblemCollector
from lading.model.records import dataclass, field
from lading.schema.constants import Member, UnknownValueError, as_json, evaluate
from lading.schema.fit import misfits
from lading.schema.source import Assigned, Defined, External, Module
from lading.schema.types import Type, TypeReader
from lading_worker.inputs import CONSTRAINTS

_ARGUMENTS = ("default", "description", *CONSTRAINTS, "deprecated", "accept")
_NUMBERS = frozenset(("int", "float"))


@dataclass(frozen=True, slots=True)
class _InputCall:
    """An ``Input(...)`` that was found: the call, the file it is in, and values of the names that hold only there."""

    module: Module
    call: ast.Call
    local: Mapping[str, Any] = field(default_factory=dict)
    unknown: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class ParameterReader:
    """Reads the parameters of one function; ``where`` names it for messages (``Predictor.predict``)."""

    module: Module
    where: str
    collector: ProblemCollector

    def read(self, argument: ast.arg, default: ast.expr | None) -> dict[str, Any] | None:
        """The INPUT record, or None when the type is missing or cannot be told; the problems are in the collector."""
        origin = self.module.origin(argument)
        kind = self._type(argument, origin)
        if kind is None:
            return None
        record: dict[str, Any] = {"name": argument.arg, "type": kind, "line": argument.lineno}
        record["nullable"] = _take_null(record)
        if default is not None:
            self._read_default(record, default, origin)
        record["required"] = not ("default" in record or "own_default" in record or record["nullable"])
        return record

    def _type(self, argument: ast.arg, origin: Origin) -> Type | None:
        if argument.annotation is None:
            self._add(
                "missing-annotation", f"the input {argument.arg} of {self.where} has no type", origin, _UNTYPED, _write_type(argument)
            )
            return None
        with self.collector.catching():
            kind = TypeReader(f"the input {argument.arg} of {self.where}").read(self.module, argument.annotation)
            if kind["kind"] != "null":
                return kind
            self._add("unsupported-type", f"the input {argument.arg} of {self.where} can only be None", origin, None, _write_type(argument))
        return None

    def _read_default(self, record: dict[str, Any], default: ast.expr, origin: Origin) -> None:
        call = _find_input_call(self.module, default)
        if call is not None:
            _InputReader(self, record, call, origin).read()
            return
        record["own_default"] = True
        try:
            value = as_json(evaluate(self.module, default))
        except (UnknownValueError, TypeError):
            return  # Python itself applies the default; only the schema cannot show it
        if value is None:
            record["nullable"] = True
        record["default"] = value
        self.check_default(record, origin)

    def check_default(self, record: dict[str, Any], origin: Origin) -> None:
        """Add a problem if a default is not what a request may carry."""
        value = record["default"]
        if value is None:
            return
        found = misfits({"inputs": [record]}, {record["name"]: value})
        if found:
            why = "; ".join(entry["msg"] for entry in found)
            what = f"the default of the input {record['name']} does not fit what the input accepts"
            hidden = record["type"]["kind"] == "secret"
            self._add("invalid-default", what, origin, None if hidden else why, "change the default, or the type or limits of the input")

    def _add(self, rule: str, what: str, origin: Origin, why: str | None, instead: str | None) -> None:
        self.collector.add(Problem(rule=rule, what=what, origin=origin, why=why, instead=instead))


_UNTYPED = "the type decides what a request may carry and how it is converted"


def _write_type(argument: ast.arg) -> str:
    return f"write {argument.arg}: str, or another of int, float, bool, Path, list[...], dict, Optional[...]"


def _take_null(record: dict[str, Any]) -> bool:
    """Move ``| None`` from the type of an input to its ``nullable`` mark; return the mark."""
    kind = record["type"]
    if kind["kind"] == "any":
        return False
    if kind["kind"] != "union" or {"kind": "null"} not in kind["types"]:
        return False
    rest = [part for part in kind["types"] if part["kind"] != "null"]
    record["type"] = rest[0] if len(rest) == 1 else {"kind": "union", "types": rest}
    return True


def _find_input_call(module: Module, node: ast.expr, depth: int = 0) -> _InputCall | None:
    """``Input(...)`` itself, a name or class attribute that holds one, or a helper of the project that returns one."""
    if depth > 10:
        return None
    if isinstance(node, ast.Call):
        found = module.sources.resolve(module, node.func)
        if isinstance(found, External) and found.name == "cog.Input":
            return _InputCall(module, node)
        if isinstance(found, Defined) and isinstance(found.node, ast.FunctionDef):
            return _returned_input(found, module, node, depth)
        return None
    found = module.sources.resolve(module, node)
    if isinstance(found, Assigned) and found.value is not None:
        return _find_input_call(found.module, found.value, depth + 1)
    return None


def _returned_input(helper: Defined, module: Module, call: ast.Call, depth: int) -> _InputCall | None:
    """The ``Input`` that a helper returns, with the values that this call gives to the helper's parameters."""
    assert isinstance(helper.node, ast.FunctionDef)
    for statement in helper.node.body:
        if isinstance(statement, ast.Return) and isinstance(statement.value, ast.Call):
            inner = _find_input_call(helper.module, statement.value, depth + 1)
            if inner is None or inner.call is not statement.value:
                return inner
            given = dict(_given(helper.node, call))
            local = {name: value for name, node, home in _homes(given, helper, module) if (value := _try(home, node)) is not _FAILED}
            return _InputCall(helper.module, statement.value, local, frozenset(given) - frozenset(local))
    return None


_FAILED = object()


def _try(module: Module, node: ast.expr) -> Any:
    try:
        return evaluate(module, node)
    except UnknownValueError:
        return _FAILED


def _given(helper: ast.FunctionDef, call: ast.Call) -> Iterator[tuple[str, tuple[ast.expr, bool]]]:
    """Each parameter of a helper with its expression, and whether that is written at the call."""
    arguments = helper.args
    parameters = [argument for argument in (*arguments.posonlyargs, *arguments.args) if argument.arg not in ("self", "cls")]
    tail = parameters[len(parameters) - len(arguments.defaults) :] if len(arguments.defaults) <= len(parameters) else []
    for parameter, default in zip(tail, arguments.defaults, strict=False):
        yield parameter.arg, (default, False)
    for parameter, keyword_default in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True):
        if keyword_default is not None:
            yield parameter.arg, (keyword_default, False)
    for parameter, value in zip(parameters, call.args, strict=False):
        yield parameter.arg, (value, True)
    for keyword in call.keywords:
        if keyword.arg is not None:
            yield keyword.arg, (keyword.value, True)


def _homes(given: Mapping[str, tuple[ast.expr, bool]], helper: Defined, module: Module) -> Iterator[tuple[str, ast.expr, Module]]:
    for name, (node, at_call) in given.items():
        yield name, node, module if at_call else helper.module


@dataclass(frozen=True, slots=True)
class _InputReader:
    """Reads one ``Input(...)`` into its record and checks it as Cog does (``cog.Input``, ``_inspector.py``)."""

    reader: ParameterReader
    record: dict[str, Any]
    found: _InputCall
    origin: Origin

    def read(self) -> None:
        before = len(self.reader.collector.problems)
        for name, node in self._arguments():
            if name == "default":
                self._read_default(node)
            elif name in _ARGUMENTS:
                self._read_argument(name, node)
            elif name == "default_factory":
                self._add(
                    "unknown-input-option", f"{self._subject} uses default_factory, which Cog's Input refuses", None, "write default=..."
                )
            else:
                why = f"Input takes {', '.join(_ARGUMENTS)}"
                self._add("unknown-input-option", f"{self._subject} has an unknown option {name}", why, f"remove {name}")
        if len(self.reader.collector.problems) == before:
            self._check()
        if len(self.reader.collector.problems) == before and "default" in self.record:
            self.reader.check_default(self.record, self.origin)

    @property
    def _subject(self) -> str:
        return f"the Input of {self.record['name']}"

    def _arguments(self) -> Iterator[tuple[str, ast.expr]]:
        call = self.found.call
        if call.args:
            yield "default", call.args[0]
        for keyword in call.keywords:
            if keyword.arg is not None:
                yield keyword.arg, keyword.value
            else:
                self._add(
                    "unresolved-input-option", f"{self._subject} is given ** arguments", "the source does not show them", "write them out"
                )

    def _evaluate(self, node: ast.expr) -> Any:
        if isinstance(node, ast.Name) and node.id in self.found.unknown:
            raise UnknownValueError(node)
        return evaluate(self.found.module, node, self.found.local)

    def _read_default(self, node: ast.expr) -> None:
        if isinstance(node, ast.Constant) and node.value is ...:
            return  # `Input(...)`: pydantic's way to say that there is none
        try:
            value = self._evaluate(node)
            default = as_json(value)
        except (UnknownValueError, TypeError) as error:
            self._unresolved("default", error)
            return
        if isinstance(value, Member) and self.record["type"]["kind"] not in ("enum", "any", "str", "int", "union"):
            self._add("invalid-default", f"the default of {self.record['name']} is an enum's member", None, "write its value")
        if default is None:
            # Cog's newest reader makes such an input required (a Secret excepted); its older ones, and the author, mean optional.
            self.record["nullable"] = True
        self.record["default"] = default

    def _read_argument(self, name: str, node: ast.expr) -> None:
        try:
            value = self._evaluate(node)
            if name == "choices" and isinstance(value, dict):
                value = list(value)
            plain = as_json(value)
        except (UnknownValueError, TypeError) as error:
            if name != "description":  # it says nothing about what is accepted; the schema goes without it
                self._unresolved(name, error)
            return
        if plain is None or (name == "deprecated" and plain is False):
            return
        wanted = _OPTION_TYPES[name]
        if not isinstance(plain, wanted) or (isinstance(plain, bool) and bool not in wanted):
            shown = " or ".join(_SAID[one] for one in wanted)
            self._add("invalid-input-option", f"{name} in {self._subject} must be {shown}", f"it is {plain!r}", None)
            return
        self.record[name] = plain

    def _unresolved(self, name: str, error: Exception) -> None:
        shown = error.expression if isinstance(error, UnknownValueError) else f"a value of type {error}"
        self._add(
            "unresolved-input-option",
            f"{name} in {self._subject} cannot be read from the source: {shown}",
            "the signature is read without importing the model",
            f"write {name} as a plain value, or as a name that is assigned one in the project",
        )

    def _check(self) -> None:
        kinds = _scalar_kinds(self.record["type"])
        self._check_applies(kinds)
        if "choices" in self.record:
            self._check_choices(kinds)
        if "regex" in self.record:
            self._check_regex()
        for low, high in (("ge", "le"), ("min_length", "max_length")):
            if low in self.record and high in self.record and self.record[low] > self.record[high]:
                why = f"{low} is {self.record[low]}, {high} is {self.record[high]}"
                self._add("invalid-input-option", f"{self._subject} accepts nothing", why, f"make {low} smaller than {high}")

    def _check_applies(self, kinds: set[str]) -> None:
        for names, wanted, said in ((("ge", "le"), _NUMBERS, "numbers"), (("min_length", "max_length", "regex"), {"str"}, "texts")):
            used = [name for name in names if name in self.record]
            if used and not kinds & wanted:
                self._add(
                    "invalid-input-option",
                    f"{' and '.join(used)} in {self._subject} has nothing to limit",
                    f"{'/'.join(names)} are for {said}, and the input is {_said_type(self.record['type'])}",
                    f"remove {' and '.join(used)}, or change the type",
                )

    def _check_choices(self, kinds: set[str]) -> None:
        choices = self.record["choices"]
        if not kinds & {"int", "str"}:
            why = f"the input is {_said_type(self.record['type'])}"
            self._wrong_choices("choices are for str and int", why, "use ge and le, or choices of texts")
            return
        if len(choices) < 2:
            self._wrong_choices("choices must name at least two values", f"it names {len(choices)}", "add a value, or remove choices")
        for others in (("ge", "le"), ("min_length", "max_length")):
            if any(name in self.record for name in others):
                self._wrong_choices(f"choices and {'/'.join(others)} exclude each other", None, f"remove {'/'.join(others)}")
        allowed = tuple({"int": int, "str": str}[kind] for kind in kinds & {"int", "str"})
        odd = [choice for choice in choices if isinstance(choice, bool) or not isinstance(choice, allowed or (int, str))]
        if odd:
            why = f"the input is {_said_type(self.record['type'])}"
            self._wrong_choices(f"the choices {odd!r} are not of the input's type", why, "make type and choices agree")

    def _wrong_choices(self, what: str, why: str | None, instead: str) -> None:
        self._add("invalid-input-option", f"{what}, in {self._subject}", why, instead)

    def _check_regex(self) -> None:
        try:
            re.compile(self.record["regex"])
        except (re.error, RecursionError, OverflowError) as error:
            self._add("invalid-input-option", f"regex in {self._subject} is no regular expression", str(error), "correct the pattern")

    def _add(self, rule: str, what: str, why: str | None, instead: str | None) -> None:
        origin = self.found.module.origin(self.found.call)
        self.reader.collector.add(Problem(rule=rule, what=what, origin=origin, why=why, instead=instead))


_OPTION_TYPES: dict[str, tuple[type, ...]] = {
    "description": (str,),
    "ge": (int, float),
    "le": (int, float),
    "min_length": (int,),
    "max_length": (int,),
    "regex": (str,),
    "choices": (list,),
    "deprecated": (bool,),
    "accept": (str,),
}
_SAID: dict[type, str] = {str: "a text", int: "a whole number", float: "a number", list: "a list", bool: "True or False"}


def _scalar_kinds(kind: Type) -> set[str]:
    """The scalar kinds that constraints of an input apply to: its own, its items', its union's."""
    if kind["kind"] == "list":
        return _scalar_kinds(kind["items"])
    if kind["kind"] == "union":
        return {one for part in kind["types"] for one in _scalar_kinds(part)}
    if kind["kind"] in ("literal", "enum"):
        values = kind["values"] if kind["kind"] == "literal" else list(kind["members"].values())
        return {type(value).__name__ for value in values}
    return {kind["kind"]}


def _said_type(kind: Type) -> str:
    inner = f" of {kind['items']['kind']}" if kind["kind"] == "list" else ""
    return f"{kind['kind']}{inner}"
