"""A predictor's signature, read from its source. The model is never imported: it needs an environment that may not exist yet.

Cog reads signatures in the same spirit (``pkg/schema/python``); the rules for methods and options are those of its Python side
(``cog/_inspector.py``). Where Lading accepts more (keyword-only inputs, nested lists, optional outputs), the request still
means what the source says.
"""

from __future__ import annotations

import ast
import posixpath
from collections.abc import Iterator, Mapping
from typing import Any

from lading.model.files import ProjectFiles
from lading.model.origin import Origin
from lading.model.problems import LadingError, Problem, ProblemCollector
from lading.model.records import dataclass
from lading.schema.batches import BatchReader, read_options
from lading.schema.constants import UnknownValueError, evaluate
from lading.schema.fields import ParameterReader
from lading.schema.source import Assigned, Defined, External, FunctionNode, Module, Sources, class_attribute
from lading.schema.types import Type, TypeReader

FORMAT = 1
PREDICT = ("run", "predict")
"""Methods that answer requests."""
TRAIN = ("train",)
"""Methods that make weights."""
_FRAMEWORK = frozenset(("cog.BasePredictor", "cog.BaseRunner"))
_ROOTS = _FRAMEWORK | {"builtins.object", "typing.Generic", "typing.Protocol", "abc.ABC"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Signature:
    """What a predictor takes and gives.

    ``record`` is the JSON data described in ``lading_worker.inputs``; ``origin`` is where the method or function is defined,
    ``origins`` where each input is, by name.
    """

    record: Mapping[str, Any]
    origin: Origin
    origins: Mapping[str, Origin]

    def as_json(self) -> dict[str, Any]:
        """The signature as JSON data, as the worker, `make_openapi` and `convert` take it."""
        return dict(self.record)


def read_signature(
    files: ProjectFiles,
    file: str,
    object: str,  # noqa: A002 - Cog's word
    *,
    python_path: str | None = None,
    methods: tuple[str, ...] = PREDICT,
) -> Signature:
    """Read the signature of ``object`` (a class with one of ``methods``, or a function) in ``file``.

    Raises:
        LadingError: with every problem of the predictor: `predictor-file-missing`, `syntax-error`, `predictor-missing`,
            `predictor-method`, `setup-signature`, `missing-annotation`, `unsupported-type`, `unresolved-type`,
            `invalid-default`, `invalid-input-option`, `unknown-input-option`, `unresolved-input-option`.
    """
    try:
        return _Reader(Sources(files, python_path), posixpath.normpath(file), object, methods).read()
    except RecursionError:
        problem = Problem(rule="syntax-error", what=f"{file} is nested too deeply to be read", origin=Origin(file), instead="simplify it")
        raise LadingError(problem) from None


class _Reader:
    def __init__(self, sources: Sources, file: str, name: str, methods: tuple[str, ...]) -> None:
        self.sources = sources
        self.file = file
        self.name = name
        self.methods = methods
        self.collector = ProblemCollector()

    def read(self) -> Signature:
        module = read_module(self.sources, self.file)
        target = find_object(module, self.name)
        record: dict[str, Any] = {"format": FORMAT, "file": self.file, "object": self.name}
        if isinstance(target.node, ast.ClassDef):
            method = self._read_class(target, record)
        else:
            record.update(kind="function", method=None, setup=None, healthcheck=False)
            method = target
        origins = self._read_function(method, record) if method else {}
        self.collector.raise_if_any()
        assert method is not None
        return Signature(record=record, origin=method.module.origin(method.node), origins=origins)

    def _read_class(self, target: Defined, record: dict[str, Any]) -> Defined | None:
        ancestry = Ancestry.of(target)
        found = {name: method for name in self.methods if (method := ancestry.method(name))}
        record.update(kind="class", method=next(iter(found), None))
        record["setup"] = self._read_setup(ancestry.method("setup"))
        record["healthcheck"] = ancestry.method("healthcheck") is not None
        origin = target.module.origin(target.node)
        if len(found) == 2:
            run, predict = (method.module.origin(method.node) for method in found.values())
            what = f"{self.name} defines both run ({run}) and predict ({predict})"
            self._add("predictor-method", what, origin, "only one of them can answer requests", "keep run, or keep predict")
        elif not found:
            self._add_no_method(ancestry, origin)
        return next(iter(found.values()), None) if len(found) == 1 else None

    def _add_no_method(self, ancestry: Ancestry, origin: Origin) -> None:
        why = "it is called for every request"
        if ancestry.outside:
            why += f"; {', '.join(ancestry.outside)} may have one, but comes from outside the project and is not imported to look"
        names = " or ".join(reversed(self.methods))
        instead = f"add to {self.name}: def {self.methods[-1]}(self, text: str) -> str: ..."
        self._add("predictor-method", f"{self.name} has no method {names}", origin, why, instead)

    def _read_setup(self, setup: Defined | None) -> dict[str, Any] | None:
        if setup is None or isinstance(setup.node, ast.ClassDef):
            return None
        record: dict[str, Any] = {
            "asynchronous": isinstance(setup.node, ast.AsyncFunctionDef),
            "weights": None,
            "weights_required": False,
        }
        for argument, default in parameters(setup.node):
            if argument.arg == "weights":
                record["weights"] = self._weights_kind(setup.module, argument)
                record["weights_required"] = default is None
            elif default is None:
                self._wrong_setup(setup, f"setup has the argument {argument.arg}, which nothing passes")
        for star in (setup.node.args.vararg, setup.node.args.kwarg):
            if star is not None:
                self._wrong_setup(setup, f"setup takes *{star.arg}")
        return record

    def _wrong_setup(self, setup: Defined, what: str) -> None:
        why = "setup is called with weights alone, if it asks for them"
        self._add("setup-signature", what, setup.module.origin(setup.node), why, "write def setup(self), or def setup(self, weights)")

    @staticmethod
    def _weights_kind(module: Module, argument: ast.arg) -> str:
        if argument.annotation is None:
            return "any"
        try:
            kind = TypeReader("weights", output=True).read(module, argument.annotation)
        except LadingError:
            return "any"
        kinds = [part["kind"] for part in kind.get("types", [kind]) if part["kind"] != "null"]
        return kinds[0] if kinds and kinds[0] in ("path", "file", "str") else "any"

    def _read_function(self, method: Defined, record: dict[str, Any]) -> dict[str, Origin]:
        node = method.node
        assert not isinstance(node, ast.ClassDef)
        where = f"{self.name}.{node.name}" if record["kind"] == "class" else self.name
        record["asynchronous"] = isinstance(node, ast.AsyncFunctionDef)
        record.update(self._read_decorators(method))
        old = _decorated(method, "cog.input")
        if old is not None:
            why = "Cog's way before its version 0.1 (2022), and Cog itself has not run it since"
            instead = 'write def predict(self, prompt: str = Input(description="...")) -> str, with an annotation for each input'
            self._add("predictor-method", f"{where} declares its inputs by @cog.input", method.module.origin(old), why, instead)
            record.update(inputs=[], generator=False, output=None)
            return {}
        self._check_shape(method, where, in_class=record["kind"] == "class")
        found = parameters(node, skip_self=_takes_self(method, record))
        yields = _yields(node)
        if record.get("batched"):
            batch = BatchReader(method, where, self.collector)
            batch.check(asynchronous=record["asynchronous"], piecewise=yields or record["streaming"])
            found = ((batch.item(argument), default) for argument, default in found)
        reader = ParameterReader(method.module, where, self.collector)
        read = [reader.read(argument, default) for argument, default in found]
        record["inputs"] = [one for one in read if one is not None]
        if record.get("batched"):
            method = batch.one_output()
            for one in record["inputs"]:
                # A default is one request's: it cannot be left to Python.
                one.pop("own_default", None)
                one["required"] = not ("default" in one or one["nullable"])
        output = self._read_output(method, where, yields=yields)
        record["generator"] = yields or (output or {}).get("kind") == "iterator"
        record["output"] = output
        return {one["name"]: method.module.origin(one["line"]) for one in record["inputs"]}

    def _check_shape(self, method: Defined, where: str, *, in_class: bool) -> None:
        node = method.node
        assert not isinstance(node, ast.ClassDef)
        origin = method.module.origin(node)
        arguments = node.args
        for star, mark in ((arguments.vararg, "*"), (arguments.kwarg, "**")):
            if star is not None:
                what = f"{where} takes {mark}{star.arg}"
                self._add("predictor-method", what, origin, "inputs are declared one by one, each with its type", "name the inputs")
        named = arguments.posonlyargs[1:] if in_class else arguments.posonlyargs
        if named:
            names = ", ".join(argument.arg for argument in named)
            self._add("predictor-method", f"{where} takes {names} by position only", origin, "inputs are passed by name", "remove the /")
        if in_class and not _decorated(method, "builtins.staticmethod") and not (arguments.args or arguments.posonlyargs):
            self._add("predictor-method", f"{where} has no self", origin, "it is called on the predictor", "add self as its first argument")

    def _read_output(self, method: Defined, where: str, *, yields: bool) -> Type | None:
        node = method.node
        assert not isinstance(node, ast.ClassDef)
        origin = method.module.origin(node)
        if node.returns is None or _is_none(node.returns):
            what = f"{where} does not say what it returns"
            self._add(
                "missing-annotation", what, origin, "the schema of the answers is made from it", "write -> str, or the type of the output"
            )
            return None
        with self.collector.catching():
            output = TypeReader(f"the output of {where}", output=True).read(method.module, node.returns)
            return self._settle_iterator(output, node.returns, where, method.module.origin(node.returns), yields=yields)
        return None

    def _settle_iterator(self, output: Type, node: ast.expr, where: str, origin: Origin, *, yields: bool) -> Type | None:
        if output["kind"] == "iterable":
            output = {**output, "kind": "iterator"} if yields else {"kind": "list", "items": output["items"]}
        inner = [output.get("items"), *output.get("types", []), output.get("values")]
        if any(isinstance(part, dict) and part["kind"] in ("iterator", "iterable") for part in inner):
            why = "only the whole output can come piece by piece"
            self._add(
                "unsupported-type", f"the output of {where} holds an iterator", origin, why, "write Iterator[...] outermost, or a list"
            )
            return None
        if yields and output["kind"] not in ("iterator", "any"):
            what = f"{where} yields, but says that it returns {ast.unparse(node)}"
            self._add(
                "missing-annotation",
                what,
                origin,
                "an output that comes piece by piece is an iterator",
                f"write -> Iterator[{ast.unparse(node)}]",
            )
            return None
        if yields and output["kind"] == "any":
            return {"kind": "iterator", "items": {"kind": "any"}, "concatenate": False}
        return output

    def _read_decorators(self, method: Defined) -> dict[str, Any]:
        flags: dict[str, Any] = {"streaming": _decorated(method, "cog.streaming") is not None, "concurrent": 1}
        decorator = _decorated(method, "cog.concurrent")
        if isinstance(decorator, ast.Call):
            flags["concurrent"] = self._read_concurrent(method, decorator)
        decorator = _decorated(method, "lading.batched")
        if decorator is not None:
            flags["batched"] = read_options(method, decorator, self.collector)
        return flags

    def _read_concurrent(self, method: Defined, call: ast.Call) -> int:
        origin = method.module.origin(call)
        value: Any = 1
        for keyword in call.keywords:
            if keyword.arg == "max":
                try:
                    value = evaluate(method.module, keyword.value)
                except UnknownValueError as error:
                    value = error.expression
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            what = f"max of @concurrent must be a whole number from 1 on, and {value!r} is not one that the source shows"
            self._add("predictor-method", what, origin, "it decides how many predictions run at a time", "write @concurrent(max=4)")
            return 1
        if value > 1 and not isinstance(method.node, ast.AsyncFunctionDef):
            why = "several predictions at a time share one event loop"
            self._add("predictor-method", f"@concurrent(max={value}) needs an async def", origin, why, "write async def, or max=1")
        return value

    def _add(self, rule: str, what: str, origin: Origin, why: str | None, instead: str | None) -> None:
        self.collector.add(Problem(rule=rule, what=what, origin=origin, why=why, instead=instead))


def read_module(sources: Sources, file: str) -> Module:
    """The predictor's file, parsed.

    Raises:
        LadingError: `predictor-file-missing` or `syntax-error`.
    """
    module = sources.read(file)
    if module is None:
        problem = Problem(
            rule="predictor-file-missing",
            what=f"{file} is not in the project",
            origin=Origin(file),
            why="it should hold the predictor",
            instead="correct the path, or add the file",
        )
        raise LadingError(problem)
    return module


def find_object(module: Module, name: str) -> Defined:
    """The class or function ``name`` of a file, followed through imports inside the project.

    Raises:
        LadingError: `predictor-missing`, with the names that are there.
    """
    found = module.lookup(name)
    if isinstance(found, Assigned) and isinstance(found.value, ast.Name | ast.Attribute):
        found = module.sources.resolve(found.module, found.value)
    if isinstance(found, Defined):
        return found
    names = module.classes_and_functions()
    import difflib  # noqa: PLC0415 -- 1 ms, for a name that is wrong

    close = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    if found is None:
        what, why = f"{module.path} defines no {name}", f"it defines {', '.join(names)}" if names else "it defines no class and no function"
        instead = f"name {close[0]}" if close else f"name one of them, or add a class {name}"
    elif isinstance(found, External):
        what, why = f"{name} in {module.path} comes from {found.name}", "that is not part of the project, so its signature cannot be read"
        instead = f"write a class in {module.path} whose predict calls it"
    else:
        what, why = f"{name} in {module.path} is neither a class nor a function", None
        instead = "name a class with predict, or a function"
    raise LadingError(Problem(rule="predictor-missing", what=what, origin=Origin(module.path), why=why, instead=instead))


@dataclass(frozen=True, slots=True)
class Ancestry:
    """A class and its bases inside the project, nearest first, up to Cog's own. ``outside`` names bases that cannot be read."""

    classes: tuple[Defined, ...]
    outside: tuple[str, ...]
    framework: bool

    @classmethod
    def of(cls, target: Defined) -> Ancestry:
        """Follow the bases of a class. As in Cog, what stands after a base class of Cog's does not count as the user's."""
        classes: list[Defined] = []
        outside: list[str] = []
        framework = False
        waiting = [target]
        while waiting:
            current = waiting.pop(0)
            if current in classes or not isinstance(current.node, ast.ClassDef):
                continue
            classes.append(current)
            parents: list[Defined] = []
            for base in current.node.bases:
                found = current.module.sources.resolve(current.module, base.value if isinstance(base, ast.Subscript) else base)
                if isinstance(found, Defined):
                    parents.append(found)
                elif isinstance(found, External) and found.name in _FRAMEWORK:
                    framework = True
                    break
                elif not (isinstance(found, External) and found.name in _ROOTS):
                    outside.append(ast.unparse(base))
            waiting = parents + waiting
        return cls(tuple(classes), tuple(dict.fromkeys(outside)), framework)

    def method(self, name: str) -> Defined | None:
        """The nearest definition of a method."""
        for owner in self.classes:
            found = class_attribute(owner, name)
            if isinstance(found, Assigned) and found.value is not None:
                found = self._alias(owner, found.value)
            if isinstance(found, Defined) and not isinstance(found.node, ast.ClassDef):
                return found
        return None

    @staticmethod
    def _alias(owner: Defined, value: ast.expr) -> Defined | None:
        """``run = predict`` in a class body, or ``predict = other_module.predict``."""
        found = class_attribute(owner, value.id) if isinstance(value, ast.Name) else None
        found = found or owner.module.sources.resolve(owner.module, value)
        return found if isinstance(found, Defined) else None


def parameters(node: FunctionNode, *, skip_self: bool = True) -> Iterator[tuple[ast.arg, ast.expr | None]]:
    """The parameters of a function with their defaults, ``self`` left out on demand; keyword-only ones last."""
    positional = [*node.args.posonlyargs, *node.args.args]
    missing: list[ast.expr | None] = [None] * (len(positional) - len(node.args.defaults))
    pairs = list(zip(positional, [*missing, *node.args.defaults], strict=True))
    yield from pairs[1:] if skip_self else pairs
    yield from zip(node.args.kwonlyargs, node.args.kw_defaults, strict=True)


def _takes_self(method: Defined, record: Mapping[str, Any]) -> bool:
    return record["kind"] == "class" and _decorated(method, "builtins.staticmethod") is None


def _decorated(method: Defined, name: str) -> ast.expr | None:
    for decorator in method.node.decorator_list:
        called = decorator.func if isinstance(decorator, ast.Call) else decorator
        found = method.module.sources.resolve(method.module, called)
        if isinstance(found, External) and found.name == name:
            return decorator
    return None


def _is_none(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value in (None, "None")


def _yields(node: FunctionNode) -> bool:
    """Whether a function is a generator: a ``yield`` of its own, not one of a function inside it."""
    waiting: list[ast.AST] = list(node.body)
    while waiting:
        current = waiting.pop()
        if isinstance(current, ast.Yield | ast.YieldFrom):
            return True
        if not isinstance(current, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda | ast.ClassDef):
            waiting.extend(ast.iter_child_nodes(current))
    return False
