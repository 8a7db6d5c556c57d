"""Values that a source shows: literals, module constants and simple expressions over them. Nothing of the project is run."""

from __future__ import annotations

import ast
import math
import operator
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from lading.model.records import dataclass
from lading.schema.source import Assigned, Defined, External, Module, class_attribute

_LARGEST = 10_000  # items of a sequence, characters of a text, bits of a number: no default is larger
_MOST_STEPS = 100_000  # a source that needs more than this to tell a default is not telling it


class UnknownValueError(Exception):
    """The source does not show the value. ``node`` is the part that cannot be told."""

    def __init__(self, node: ast.AST) -> None:
        super().__init__(_text(node))
        self.node = node

    @property
    def expression(self) -> str:
        """The part that cannot be told, as it is written."""
        return str(self)


@dataclass(frozen=True, slots=True)
class Member:
    """A member of an enum of the project."""

    name: str
    value: Any


@dataclass(frozen=True, slots=True)
class _Unknown:
    """Stands for an item that cannot be told in a container of which only other parts may be needed (``MODELS.keys()``)."""

    node: ast.AST


def _text(node: ast.AST) -> str:
    try:
        text = ast.unparse(node)
    except (RecursionError, ValueError):
        return "this expression"
    return text if len(text) <= 80 else text[:77] + "..."


def evaluate(module: Module, node: ast.expr, local: Mapping[str, Any] | None = None) -> Any:
    """The value of an expression in ``module``; ``local`` are values of names that hold only here.

    Raises:
        UnknownValueError: if the source does not show it.
    """
    value = _Evaluator(module, local or {}).value(node)
    _refuse_unknown(value)
    return value


def as_json(value: Any) -> Any:
    """A value as JSON data: enum members by their value, tuples and sets as lists.

    Raises:
        TypeError: if it has no JSON form.
    """
    if isinstance(value, Member):
        return as_json(value.value)
    if isinstance(value, tuple | list):
        return [as_json(item) for item in value]
    if isinstance(value, set):
        return [as_json(item) for item in sorted(value, key=repr)]
    if isinstance(value, dict):
        return {str(as_json(key)): as_json(item) for key, item in value.items()}
    if value is None or isinstance(value, bool | int | str) or (isinstance(value, float) and math.isfinite(value)):
        return value
    raise TypeError(type(value).__name__)


def _refuse_unknown(value: Any) -> None:
    if isinstance(value, _Unknown):
        raise UnknownValueError(value.node)
    if isinstance(value, dict):
        for item in (*value.keys(), *value.values()):
            _refuse_unknown(item)
    elif isinstance(value, list | tuple | set):
        for item in value:
            _refuse_unknown(item)


_OPERATORS: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Pow: operator.pow,
    ast.LShift: operator.lshift,
    ast.BitOr: operator.or_,
}
_UNARY: dict[type[ast.unaryop], Callable[[Any], Any]] = {ast.USub: operator.neg, ast.UAdd: operator.pos, ast.Not: operator.not_}
_KNOWN_NAMES = {"sys.maxsize": sys.maxsize, "math.pi": math.pi, "math.e": math.e, "math.inf": math.inf}
_FUNCTIONS: dict[str, Callable[..., Any]] = {
    f"builtins.{function.__name__}": function
    for function in (list, tuple, set, dict, sorted, len, min, max, sum, int, float, str, bool, abs, round, range)
}
_METHODS: dict[type, set[str]] = {
    dict: {"keys", "values", "items", "get", "copy"},
    str: {"join", "lower", "upper", "strip", "split"},
    list: {"copy", "index", "count"},
}
_FAILURES = (TypeError, ValueError, ArithmeticError, LookupError, AttributeError, RecursionError, MemoryError)


class _Evaluator:
    def __init__(self, module: Module, local: Mapping[str, Any], depth: int = 0, steps: Iterator[int] | None = None) -> None:
        self.module = module
        self.local = local
        self.depth = depth
        self.steps = steps or iter(range(_MOST_STEPS))

    def value(self, node: ast.expr) -> Any:
        method = getattr(self, f"_{type(node).__name__.lower()}", None)
        if method is None or next(self.steps, None) is None:
            raise UnknownValueError(node)
        try:
            return _limited(method(node), node)
        except _FAILURES:
            raise UnknownValueError(node) from None

    def _loosely(self, node: ast.expr) -> Any:
        try:
            return self.value(node)
        except UnknownValueError as error:
            return _Unknown(error.node)

    def _constant(self, node: ast.Constant) -> Any:
        return node.value

    def _name(self, node: ast.Name) -> Any:
        return self.local[node.id] if node.id in self.local else self._named(node)

    def _attribute(self, node: ast.Attribute) -> Any:
        if node.attr in ("value", "name") and not isinstance(self.module.sources.resolve(self.module, node), Assigned):
            owner = self.value(node.value)
            if isinstance(owner, Member):
                return getattr(owner, node.attr)
        return self._named(node)

    def _named(self, node: ast.expr) -> Any:
        found = self.module.sources.resolve(self.module, node)
        if isinstance(found, External) and found.name in _KNOWN_NAMES:
            return _KNOWN_NAMES[found.name]
        if isinstance(found, Defined) and (members := enum_members(found)):
            return list(members)
        if isinstance(found, Assigned) and (member := self._member(node)):
            return member
        if not isinstance(found, Assigned) or found.value is None or self.depth > 20:
            raise UnknownValueError(node)
        return _Evaluator(found.module, {}, self.depth + 1, self.steps).value(found.value)

    def _member(self, node: ast.expr) -> Member | None:
        """``Size.SMALL`` is a member of its enum, not just the value that the class body assigns."""
        owner = self.module.sources.resolve(self.module, node.value) if isinstance(node, ast.Attribute) else None
        members = enum_members(owner) if isinstance(owner, Defined) else ()
        return next((member for member in members if isinstance(node, ast.Attribute) and member.name == node.attr), None)

    def _list(self, node: ast.List) -> Any:
        return list(self._items(node.elts))

    def _tuple(self, node: ast.Tuple) -> Any:
        return tuple(self._items(node.elts))

    def _set(self, node: ast.Set) -> Any:
        return set(self._items(node.elts))

    def _items(self, nodes: list[ast.expr]) -> Iterator[Any]:
        for node in nodes:
            if isinstance(node, ast.Starred):
                yield from self.value(node.value)
            else:
                yield self._loosely(node)

    def _dict(self, node: ast.Dict) -> Any:
        made: dict[Any, Any] = {}
        for key, value in zip(node.keys, node.values, strict=True):
            if key is None:
                made.update(self.value(value))
            else:
                made[self.value(key)] = self._loosely(value)
        return made

    def _unaryop(self, node: ast.UnaryOp) -> Any:
        return _UNARY[type(node.op)](self.value(node.operand))

    def _binop(self, node: ast.BinOp) -> Any:
        left, right = self.value(node.left), self.value(node.right)
        formats = isinstance(node.op, ast.Mod) and isinstance(left, str | bytes)
        if formats or (isinstance(node.op, ast.Pow | ast.LShift | ast.Mult) and not _is_small(node.op, left, right)):
            raise UnknownValueError(node)
        return _OPERATORS[type(node.op)](left, right)

    def _ifexp(self, node: ast.IfExp) -> Any:
        return self.value(node.body if self.value(node.test) else node.orelse)

    def _joinedstr(self, node: ast.JoinedStr) -> Any:
        return "".join(str(self.value(part)) for part in node.values)

    def _formattedvalue(self, node: ast.FormattedValue) -> Any:
        spec = self.value(node.format_spec) if node.format_spec else ""
        value = self.value(node.value)
        _refuse_unknown(value)
        if len(spec) > 6:  # `>10.2f` is; a width of millions is no part of a description
            raise UnknownValueError(node)
        return format(repr(value) if node.conversion == ord("r") else value, spec)

    def _subscript(self, node: ast.Subscript) -> Any:
        found = self.value(node.value)[self.value(node.slice)]
        _refuse_unknown(found)
        return found

    def _listcomp(self, node: ast.ListComp) -> Any:
        return list(self._comprehended(node))

    def _generatorexp(self, node: ast.GeneratorExp) -> Any:
        return list(self._comprehended(node))

    def _comprehended(self, node: ast.ListComp | ast.GeneratorExp) -> Iterator[Any]:
        loop = node.generators[0]
        if len(node.generators) > 1 or loop.ifs or not isinstance(loop.target, ast.Name):
            raise UnknownValueError(node)
        for item in self.value(loop.iter):
            yield _Evaluator(self.module, {**self.local, loop.target.id: item}, self.depth, self.steps).value(node.elt)

    def _call(self, node: ast.Call) -> Any:
        if node.keywords:
            raise UnknownValueError(node)
        found = self.module.sources.resolve(self.module, node.func)
        arguments = [self.value(argument) for argument in node.args]
        if isinstance(found, External):
            return self._call_known(node, found.name, arguments)
        if isinstance(node.func, ast.Attribute):
            owner = self.value(node.func.value)
            if node.func.attr in _METHODS.get(type(owner), ()):
                return _listed(getattr(owner, node.func.attr)(*arguments))
        raise UnknownValueError(node)

    @staticmethod
    def _call_known(node: ast.Call, name: str, arguments: list[Any]) -> Any:
        if name in ("pathlib.Path", "pathlib.PurePath", "cog.Path") and len(arguments) == 1 and isinstance(arguments[0], str):
            return arguments[0]
        function = _FUNCTIONS.get(name)
        if function is None or (function is range and len(range(*arguments)) > _LARGEST):
            raise UnknownValueError(node)
        return _listed(function(*arguments))


def _listed(value: Any) -> Any:
    return list(value) if isinstance(value, range | type({}.keys()) | type({}.values()) | type({}.items())) else value


def _is_small(operation: ast.operator, left: Any, right: Any) -> bool:
    if isinstance(operation, ast.Mult):
        sizes = [len(part) if isinstance(part, str | bytes | list | tuple) else abs(part) for part in (left, right)]
        plain = isinstance(left, int | float) and isinstance(right, int | float)
        return plain or sizes[0] * sizes[1] <= _LARGEST
    bits = left.bit_length() if isinstance(left, int) else 64
    return bool(abs(right) <= _LARGEST and bits * abs(right) <= _LARGEST)


def _limited(value: Any, node: ast.AST) -> Any:
    too_long = isinstance(value, str | bytes | list | tuple | dict | set) and len(value) > _LARGEST
    if too_long or (isinstance(value, int) and value.bit_length() > _LARGEST):
        raise UnknownValueError(node)
    return value


_ENUM_BASES = frozenset(("enum.Enum", "enum.IntEnum", "enum.StrEnum"))


def is_enum(owner: Defined, depth: int = 0) -> bool:
    """Whether a class of the project is an enum, directly or through another class of the project."""
    if not isinstance(owner.node, ast.ClassDef) or depth > 10:
        return False
    for base in owner.node.bases:
        found = owner.module.sources.resolve(owner.module, base)
        if isinstance(found, External) and found.name in _ENUM_BASES:
            return True
        if isinstance(found, Defined) and is_enum(found, depth + 1):
            return True
    return False


def enum_members(owner: Defined) -> tuple[Member, ...]:
    """The members of an enum of the project, ``auto()`` counted as Python does; empty for other classes.

    Raises:
        UnknownValueError: if a member's value cannot be told.
    """
    if not is_enum(owner):
        return ()
    members: list[Member] = []
    for statement in owner.node.body:
        if isinstance(statement, ast.Assign) and len(statement.targets) == 1 and isinstance(statement.targets[0], ast.Name):
            name = statement.targets[0].id
            if not name.startswith("_"):
                members.append(Member(name, _member_value(owner, name, statement.value, members)))
    return tuple(members)


def _member_value(owner: Defined, name: str, node: ast.expr, before: list[Member]) -> Any:
    if isinstance(node, ast.Call) and not node.args:
        found = owner.module.sources.resolve(owner.module, node.func)
        if isinstance(found, External) and found.name == "enum.auto":
            if class_attribute(owner, "_generate_next_value_") is not None:
                raise UnknownValueError(node)
            texts = any(_is_named(owner, base, "enum.StrEnum") for base in typed_bases(owner))
            return name.lower() if texts else max((member.value for member in before if isinstance(member.value, int)), default=0) + 1
    return evaluate(owner.module, node)


def typed_bases(owner: Defined) -> list[ast.expr]:
    """The expressions of a class's bases."""
    return owner.node.bases if isinstance(owner.node, ast.ClassDef) else []


def _is_named(owner: Defined, node: ast.expr, name: str) -> bool:
    found = owner.module.sources.resolve(owner.module, node)
    return isinstance(found, External) and found.name == name
