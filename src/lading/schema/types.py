"""Type annotations as the TYPE records of a signature (described in ``lading_worker.inputs``)."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import Any, TypeAlias

from lading.model.origin import Origin
from lading.model.problems import LadingError, Problem
from lading.model.records import dataclass, field
from lading.schema.constants import Member, UnknownValueError, as_json, enum_members, evaluate, is_enum
from lading.schema.source import Assigned, Defined, External, Module, module_name, written_type

Type: TypeAlias = dict[str, Any]

_PLAIN = {
    "builtins.bool": "bool",
    "builtins.float": "float",
    "builtins.int": "int",
    "builtins.str": "str",
    "typing.Text": "str",
    "typing.AnyStr": "str",
    "typing.Any": "any",
    "builtins.object": "any",
    "builtins.None": "null",
    "types.NoneType": "null",
    "cog.Path": "path",
    "cog.URLPath": "path",
    "pathlib.Path": "path",
    "pathlib.PurePath": "path",
    "pathlib.PosixPath": "path",
    "os.PathLike": "path",
    "cog.File": "file",
    "cog.URLFile": "file",
    "cog.Secret": "secret",
    "pydantic.SecretStr": "secret",
}
_OUTPUT_PLAIN = {
    "io.BytesIO": "file",
    "io.IOBase": "file",
    "typing.BinaryIO": "file",
    "typing.IO": "file",
    "datetime.datetime": "str",
    "datetime.date": "str",
    "uuid.UUID": "str",
    "decimal.Decimal": "float",
}
_LISTS = frozenset(("builtins.list", "typing.List", "typing.Sequence", "typing.MutableSequence"))
_OUTPUT_LISTS = frozenset(("builtins.tuple", "typing.Tuple", "builtins.set", "typing.Set", "builtins.frozenset", "typing.FrozenSet"))
_DICTS = frozenset(
    ("builtins.dict", "typing.Dict", "typing.Mapping", "typing.MutableMapping", "collections.OrderedDict", "collections.defaultdict")
)
_ITERATORS = frozenset(("typing.Iterator", "typing.AsyncIterator", "typing.Generator", "typing.AsyncGenerator"))
_ITERABLES = frozenset(("typing.Iterable", "typing.AsyncIterable"))
_CONCATENATE = frozenset(("cog.ConcatenateIterator", "cog.AsyncConcatenateIterator"))
_WRAPPERS = frozenset(("typing.Required", "typing.NotRequired", "typing.ReadOnly", "typing.Final", "typing.ClassVar"))
_RECORDS = frozenset(("cog.BaseModel", "pydantic.BaseModel", "msgspec.Struct"))
_DATACLASSES = frozenset(("dataclasses.dataclass", "pydantic.dataclasses.dataclass", "attr.s", "attr.define", "attrs.define"))
_FILES = frozenset(("path", "file", "secret"))


@dataclass(frozen=True, slots=True)
class TypeReader:
    """Reads annotations of one place: an input or an output, named by ``what`` for messages.

    A string annotation is read where it stands, so problems carry the line of the annotation.
    """

    what: str
    output: bool = False
    inside: tuple[str, ...] = field(default=())

    def read(self, module: Module, node: ast.expr, at: Origin | None = None) -> Type:
        """The TYPE of an annotation.

        Raises:
            LadingError: `unsupported-type` or `unresolved-type`, with what to write instead.
        """
        origin = at or module.origin(node)
        if isinstance(node, ast.Constant):
            return self._constant(module, node, origin)
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr):
            return self._union(module, [node.left, node.right], origin)
        if isinstance(node, ast.Subscript):
            return self._generic(module, node, origin)
        return self._named(module, node, origin)

    def _constant(self, module: Module, node: ast.Constant, origin: Origin) -> Type:
        if node.value is None:
            return {"kind": "null"}
        if isinstance(node.value, str):
            inner = written_type(node.value)
            if inner is None:
                raise self._unsupported(node, origin, "the text is not a type")
            return self.read(module, inner, origin)
        raise self._unsupported(node, origin, "a value is not a type")

    def _named(self, module: Module, node: ast.expr, origin: Origin) -> Type:
        found = module.sources.resolve(module, node)
        if isinstance(found, External):
            return self._external(module, found.name, node, origin)
        if isinstance(found, Defined) and isinstance(found.node, ast.ClassDef):
            return self._class(module, found, node, origin)
        if isinstance(found, Assigned) and found.value is not None:
            return self._alias(found, node, origin)
        if isinstance(found, Assigned):
            raise self._unsupported(node, origin, f"its value at line {found.line} of {found.module.path} is not a plain alias")
        raise self._unresolved(node, origin)

    def _alias(self, found: Assigned, node: ast.expr, origin: Origin) -> Type:
        key = f"alias {found.module.path}:{found.line}"
        if key in self.inside:
            return {"kind": "any"}
        deeper = TypeReader(self.what, self.output, (*self.inside, key))
        value = found.value
        assert value is not None
        if isinstance(value, ast.Call):
            maker = found.module.sources.resolve(found.module, value.func)
            name = maker.name if isinstance(maker, External) else ""
            if name == "typing.NewType" and len(value.args) == 2:
                return deeper.read(found.module, value.args[1], origin)
            if name == "typing.TypedDict" and len(value.args) == 2 and isinstance(value.args[1], ast.Dict):
                return deeper._typed_dict_call(found.module, value, origin)
            raise self._unsupported(node, origin, f"it is made by a call at line {found.line} of {found.module.path}")
        return deeper.read(found.module, value, origin)

    def _external(self, module: Module, name: str, node: ast.expr, origin: Origin) -> Type:
        if name in _PLAIN:
            return {"kind": _PLAIN[name]}
        if name in _LISTS or (self.output and name in _OUTPUT_LISTS):
            return {"kind": "list", "items": {"kind": "any"}}
        if name in _DICTS:
            return {"kind": "dict", "values": {"kind": "any"}}
        if self.output and name in _OUTPUT_PLAIN:
            return {"kind": _OUTPUT_PLAIN[name]}
        if self.output and name in _CONCATENATE:
            return {"kind": "iterator", "items": {"kind": "str"}, "concatenate": True}  # nothing but texts can be concatenated
        if self.output and (name in _ITERATORS or name in _ITERABLES):
            raise self._unsupported(
                node, origin, "it does not say what it yields", f"write {ast.unparse(node)}[str], with the yielded type"
            )
        if name.partition(".")[0] not in ("builtins", "typing", "cog") and has_coder(module):
            return _coded(module, node)
        raise self._outside(name, node, origin)

    def _outside(self, name: str, node: ast.expr, origin: Origin) -> LadingError:
        home, _, last = name.rpartition(".")
        if name in _OUTPUT_LISTS or home in ("builtins", "typing"):
            return self._unsupported(node, origin, "JSON has no such type")
        return self._unsupported(node, origin, f"{last} comes from {home}, which is not part of the project and is not imported to look")

    def _generic(self, module: Module, node: ast.Subscript, origin: Origin) -> Type:
        found = module.sources.resolve(module, node.value)
        name = found.name if isinstance(found, External) else ""
        arguments = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
        if name == "typing.Optional" and len(arguments) == 1:
            return self._union(module, [*arguments, ast.Constant(None)], origin)
        if name == "typing.Union":
            return self._union(module, arguments, origin)
        if name == "typing.Annotated" and arguments:
            return self._annotated(module, arguments, origin)
        if name == "typing.Literal":
            return self._literal(module, node, arguments, origin)
        if name in _WRAPPERS and len(arguments) == 1:
            return self.read(module, arguments[0], origin)
        if name in _LISTS and len(arguments) == 1:
            return {"kind": "list", "items": self.read(module, arguments[0], origin)}
        if name in _DICTS and len(arguments) == 2:
            return self._dict(module, arguments, origin)
        if self.output:
            return self._output_generic(module, node, name, arguments, origin)
        raise self._unsupported(node, origin, "JSON has no such type")

    def _output_generic(self, module: Module, node: ast.Subscript, name: str, arguments: list[ast.expr], origin: Origin) -> Type:
        if name in _CONCATENATE and len(arguments) == 1:
            items = self.read(module, arguments[0], origin)
            if items["kind"] != "str":
                raise self._unsupported(node, origin, "only texts can be concatenated", "write ConcatenateIterator[str], or Iterator[...]")
            return {"kind": "iterator", "items": items, "concatenate": True}
        if (name in _ITERATORS or name in _ITERABLES) and arguments:
            kind = "iterator" if name in _ITERATORS else "iterable"
            return {"kind": kind, "items": self.read(module, arguments[0], origin), "concatenate": False}
        if name in _OUTPUT_LISTS and arguments:
            return {"kind": "list", "items": self._common(module, arguments, origin)}
        if name in ("os.PathLike", "typing.IO"):
            return {"kind": "path" if name == "os.PathLike" else "file"}
        raise self._unsupported(node, origin, "JSON has no such type")

    def _common(self, module: Module, arguments: list[ast.expr], origin: Origin) -> Type:
        wanted = [argument for argument in arguments if not (isinstance(argument, ast.Constant) and argument.value is ...)]
        return self._union(module, wanted, origin) if wanted else {"kind": "any"}

    def _dict(self, module: Module, arguments: list[ast.expr], origin: Origin) -> Type:
        key = self.read(module, arguments[0], origin)
        if key["kind"] not in ("str", "any", "literal", "enum") and not self.output:
            raise self._unsupported(arguments[0], origin, "the keys of a JSON object are texts", "write dict[str, ...]")
        return {"kind": "dict", "values": self.read(module, arguments[1], origin)}

    def _annotated(self, module: Module, arguments: list[ast.expr], origin: Origin) -> Type:
        for note in arguments[1:]:
            found = module.sources.resolve(module, note)
            if isinstance(found, External) and found.name == "cog.Opaque":
                return self._opaque(module, arguments[0])
        return self.read(module, arguments[0], origin)

    def _opaque(self, module: Module, node: ast.expr) -> Type:
        """``Annotated[T, Opaque]``: T is not looked at, but whether it is a list or optional still shows, as in Cog."""
        if isinstance(node, ast.BinOp):
            parts = [part for part in (node.left, node.right) if not (isinstance(part, ast.Constant) and part.value is None)]
            if len(parts) == 1:
                return {"kind": "union", "types": [self._opaque(module, parts[0]), {"kind": "null"}]}
        if isinstance(node, ast.Subscript):
            found = module.sources.resolve(module, node.value)
            name = found.name if isinstance(found, External) else ""
            if name == "typing.Optional":
                return {"kind": "union", "types": [self._opaque(module, node.slice), {"kind": "null"}]}
            if name in _LISTS:
                return {"kind": "list", "items": {"kind": "any"}}
        return {"kind": "any"}

    def _literal(self, module: Module, node: ast.Subscript, arguments: list[ast.expr], origin: Origin) -> Type:
        values: list[Any] = []
        for argument in arguments:
            try:
                values.append(as_json(evaluate(module, argument)))
            except (UnknownValueError, TypeError):
                raise self._unsupported(node, origin, f"{ast.unparse(argument)} is not a value that the source shows") from None
        return {"kind": "literal", "values": values}

    def _union(self, module: Module, nodes: list[ast.expr], origin: Origin) -> Type:
        types: list[Type] = []
        for node in nodes:
            read = self.read(module, node, origin)
            for part in read["types"] if read["kind"] == "union" else [read]:
                if part not in types:
                    types.append(part)
        if not self.output and len([part for part in types if part["kind"] != "null"]) > 1:
            self._refuse_files(types, nodes[0], origin)
        return types[0] if len(types) == 1 else {"kind": "union", "types": types}

    def _refuse_files(self, types: list[Type], node: ast.expr, origin: Origin) -> None:
        for kind in types:
            if any(part["kind"] in _FILES for part in _parts(kind)):
                why = "a text that arrives could be either of the types; Path, File and Secret cannot share an input with another type"
                raise self._unsupported(node, origin, why, "use two inputs, each Optional")

    def _class(self, module: Module, found: Defined, node: ast.expr, origin: Origin) -> Type:
        key = f"class {found.module.path}:{found.node.lineno}"
        if key in self.inside:
            return {"kind": "any"}  # a class that contains itself; Cog leaves it open at this point, too
        deeper = TypeReader(self.what, self.output, (*self.inside, key))
        if is_enum(found):
            return self._enum(found, node, origin)
        shape = _shape(found)
        if shape == "path":
            return {"kind": "path"}
        if shape == "typed-dict" or (shape == "record" and self.output):
            return deeper._object(found, shape)
        if has_coder(module):
            return _coded(module, node)
        if shape == "record":
            why = "an input arrives as JSON, and nothing makes a class of it"
            raise self._unsupported(node, origin, why, "use a TypedDict or dict, and make the object in the predictor")
        raise self._unsupported(node, origin, f"the class at {found.module.origin(found.node)} does not show what it is as JSON")

    def _enum(self, found: Defined, node: ast.expr, origin: Origin) -> Type:
        try:
            members: tuple[Member, ...] = enum_members(found)
            values = {member.name: as_json(member.value) for member in members}
        except (UnknownValueError, TypeError) as error:
            raise self._unsupported(node, origin, f"a member's value cannot be told from the source: {error}") from None
        if not values:
            raise self._unsupported(node, origin, f"the enum at {found.module.origin(found.node)} has no members")
        return {"kind": "enum", "name": found.node.name, "module": module_name(found.module), "members": values}

    def _object(self, found: Defined, shape: str) -> Type:
        fields = {record["name"]: record for record in self._fields(found, shape, required=True)}
        return {"kind": "object", "name": found.node.name, "fields": list(fields.values())}

    def _fields(self, found: Defined, shape: str, *, required: bool) -> Iterator[Type]:
        assert isinstance(found.node, ast.ClassDef)
        for base in found.node.bases:
            parent = found.module.sources.resolve(found.module, base)
            if isinstance(parent, Defined) and isinstance(parent.node, ast.ClassDef):
                yield from self._fields(parent, shape, required=True)
        total = next((keyword.value for keyword in found.node.keywords if keyword.arg == "total"), None)
        required = not (isinstance(total, ast.Constant) and total.value is False)
        for statement in found.node.body:
            if not isinstance(statement, ast.AnnAssign) or not isinstance(statement.target, ast.Name):
                continue
            if not self._is_class_variable(found.module, statement.annotation):
                yield self._field(found.module, statement, shape, required=required)

    def _field(self, module: Module, statement: ast.AnnAssign, shape: str, *, required: bool) -> Type:
        assert isinstance(statement.target, ast.Name)
        kind = self.read(module, statement.annotation)
        wrapper = _wrapper(module, statement.annotation)
        if wrapper:
            required = wrapper == "typing.Required"
        if shape == "record":
            required = statement.value is None and not _is_nullable(kind)
        return {"name": statement.target.id, "type": kind, "required": required}

    @staticmethod
    def _is_class_variable(module: Module, node: ast.expr) -> bool:
        inner = node.value if isinstance(node, ast.Subscript) else node
        found = module.sources.resolve(module, inner)
        return isinstance(found, External) and found.name == "typing.ClassVar"

    def _typed_dict_call(self, module: Module, call: ast.Call, origin: Origin) -> Type:
        keys = call.args[1]
        assert isinstance(keys, ast.Dict)
        total = next((keyword.value for keyword in call.keywords if keyword.arg == "total"), None)
        required = not (isinstance(total, ast.Constant) and total.value is False)
        fields = []
        for key, value in zip(keys.keys, keys.values, strict=True):
            if not isinstance(key, ast.Constant) or not isinstance(key.value, str):
                raise self._unsupported(call, origin, "its keys are not plain texts")
            wrapper = _wrapper(module, value)
            needed = wrapper == "typing.Required" if wrapper else required
            fields.append({"name": key.value, "type": self.read(module, value, origin), "required": needed})
        name = call.args[0].value if isinstance(call.args[0], ast.Constant) else "TypedDict"
        return {"kind": "object", "name": str(name), "fields": fields}

    def _unsupported(self, node: ast.expr, origin: Origin, why: str, instead: str | None = None) -> LadingError:
        return LadingError(
            Problem(
                rule="unsupported-type",
                what=f"{self.what} has the type {_shown(node)}, which cannot be told as JSON",
                origin=origin,
                why=why,
                instead=instead or self._advice(node),
            )
        )

    def _unresolved(self, node: ast.expr, origin: Origin) -> LadingError:
        simple = isinstance(node, ast.Name | ast.Attribute)
        return LadingError(
            Problem(
                rule="unresolved-type",
                what=f"{self.what} has the type {_shown(node)}, which the project's files do not explain",
                origin=origin,
                why=f"neither {origin.path} nor a file of the project that it imports from defines {_shown(node)}"
                if simple
                else "it is not a type but an expression",
                instead=f"import or define {_shown(node)}, or use str, int, float, bool, Path, list[...], dict, Optional[...] or Any"
                if simple
                else self._advice(node),
            )
        )

    def _advice(self, node: ast.expr) -> str:
        if self.output:
            return "return str, int, float, bool, Path, list[...], dict, a BaseModel or TypedDict, Iterator[...] or Any"
        return f"use str, int, float, bool, Path, list[...], dict, Optional[...] or Any, or write Annotated[{_shown(node)}, Opaque]"


def has_coder(module: Module) -> bool:
    """Whether a file, or one that it imports, defines a ``cog.Coder``: then classes of the model's own can be inputs and outputs."""
    found = [module.lookup(name) for name in module.bindings]
    return any(_is_coder(one) for one in found) or any(
        _is_coder(one.lookup(name)) for one in found if isinstance(one, Module) for name in one.bindings
    )


def _is_coder(found: object) -> bool:
    if not isinstance(found, Defined) or not isinstance(found.node, ast.ClassDef):
        return False
    bases = (found.module.sources.resolve(found.module, base) for base in found.node.bases)
    return any(isinstance(base, External) and base.name in ("cog.Coder", "cog.coder.Coder") for base in bases)


def _coded(module: Module, node: ast.expr) -> Type:
    return {"kind": "dict", "values": {"kind": "any"}, "coder": {"name": ast.unparse(node), "module": module_name(module)}}


def _parts(kind: Type) -> Iterator[Type]:
    yield kind
    for inner in (*kind.get("types", ()), *(kind[name] for name in ("items", "values") if isinstance(kind.get(name), dict))):
        yield from _parts(inner)


def _is_nullable(kind: Type) -> bool:
    return kind["kind"] == "null" or (kind["kind"] == "union" and {"kind": "null"} in kind["types"])


def _wrapper(module: Module, node: ast.expr) -> str | None:
    found = module.sources.resolve(module, node.value) if isinstance(node, ast.Subscript) else None
    name = found.name if isinstance(found, External) else ""
    return name if name in ("typing.Required", "typing.NotRequired") else None


def _shape(found: Defined, depth: int = 0) -> str:
    """What a class of the project is: ``typed-dict``, ``record`` (dataclass, BaseModel), ``path``, or ``other``."""
    assert isinstance(found.node, ast.ClassDef)
    for decorator in found.node.decorator_list:
        called = decorator.func if isinstance(decorator, ast.Call) else decorator
        named = found.module.sources.resolve(found.module, called)
        if isinstance(named, External) and named.name in _DATACLASSES:
            return "record"
    for base in found.node.bases if depth < 20 else []:
        parent = found.module.sources.resolve(found.module, base.value if isinstance(base, ast.Subscript) else base)
        shape = _external_shape(parent.name) if isinstance(parent, External) else "other"
        if isinstance(parent, Defined) and isinstance(parent.node, ast.ClassDef):
            shape = _shape(parent, depth + 1)
        if shape != "other":
            return shape
    return "other"


def _external_shape(name: str) -> str:
    if name == "typing.TypedDict":
        return "typed-dict"
    if name in _RECORDS or name == "typing.NamedTuple":
        return "record" if name in _RECORDS else "other"
    return "path" if _PLAIN.get(name) == "path" else "other"


def _shown(node: ast.expr) -> str:
    try:
        text = ast.unparse(node)
    except (RecursionError, ValueError):
        return "an expression"
    return text if len(text) <= 80 else text[:77] + "..."
