"""Whether a Cortex predictor can start, as far as its source tells: the class, and the argument names of its methods.

Cortex matches arguments by name (``getfullargspec``) and refuses any other name at start-up, even one with a default. The messages
keep its own words.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence

from lading.model.cortex import ApiKind
from lading.model.files import ProjectFiles
from lading.model.origin import Origin
from lading.model.problems import LadingError, Problem
from lading.model.records import dataclass
from lading.schema.source import Defined, FunctionNode, Module, Sources
from lading.schema.static import Ancestry, read_module


@dataclass(frozen=True, slots=True)
class _Rule:
    """The argument names of one method; ``needed`` says whether the class must have it."""

    method: str
    required: tuple[str, ...]
    optional: tuple[str, ...] = ()
    needed: bool = False

    @property
    def supported(self) -> tuple[str, ...]:
        return (*self.required, *self.optional)


_CLIENT = {"PythonPredictor": "python_client", "TensorFlowPredictor": "tensorflow_client", "ONNXPredictor": "onnx_client"}
_COMMON = ("job_spec", "metrics_client", "proto_module_pb2")
_REQUEST = ("payload", "query_params", "headers")
HANDLES = ("handle_post", "handle_get", "handle_put", "handle_patch", "handle_delete")
"""What a `Handler` of a RealtimeAPI answers methods with; it has at least one of them."""


def _rules(name: str, kind: ApiKind) -> tuple[_Rule, ...]:
    if name == "Task":
        return (_Rule("__init__", ("self",), ("metrics_client",)), _Rule("__call__", ("self", "config"), needed=True))
    if name == "Handler":
        return (_Rule("__init__", ("self", "config"), ("model_client", *_COMMON), needed=True), *_handles(kind))
    if name == "PythonPredictor":
        init = _Rule("__init__", ("self", "config"), ("python_client", *_COMMON), needed=True)
        return (init, *_predicts(kind), _Rule("load_model", ("self", "model_path")))
    client = _CLIENT.get(name)
    return (_Rule("__init__", ("self", client, "config") if client else ("self", "config"), _COMMON, needed=True), *_predicts(kind))


def _handles(kind: ApiKind) -> tuple[_Rule, ...]:
    """The methods of a `Handler`, Cortex 0.34 and 0.35."""
    load = _Rule("load_model", ("self", "model_path"))
    if kind is ApiKind.BATCH:
        return (_Rule("handle_batch", ("self",), ("payload", "batch_id"), needed=True), _Rule("on_job_complete", ("self",)), load)
    if kind is ApiKind.ASYNC:
        return (_Rule("handle_async", ("self",), ("payload", "request_id"), needed=True), load)
    return (*(_Rule(method, ("self",), _REQUEST) for method in HANDLES), load)


def _predicts(kind: ApiKind) -> tuple[_Rule, ...]:
    if kind is ApiKind.ASYNC:
        return (_Rule("predict", ("self",), ("payload", "request_id"), needed=True),)
    return (
        _Rule("predict", ("self",), (*_REQUEST, "batch_id", "context"), needed=True),
        _Rule("post_predict", ("self",), ("response", *_REQUEST)),
        _Rule("on_job_complete", ("self",)),
    )


def check_predictor(
    files: ProjectFiles,
    file: str,
    names: Sequence[str] = ("PythonPredictor",),
    *,
    python_path: str | None = None,
    kind: ApiKind = ApiKind.REALTIME,
) -> list[Problem]:
    """What would keep the predictor in ``file`` from starting; empty when nothing is found.

    What the source cannot tell (a class that comes from a package, a method that a package's base class may have) is no problem here:
    the worker says it when it loads the predictor.
    """
    sources = Sources(files, python_path)
    try:
        module = read_module(sources, file)
        return list(_check(module, names, kind))
    except LadingError as error:
        return list(error.problems)
    except RecursionError:
        return [Problem(rule="syntax-error", what=f"{file} is nested too deeply to be read", origin=Origin(file), instead="simplify it")]


def _check(module: Module, names: Sequence[str], kind: ApiKind) -> Iterator[Problem]:
    found = {name: module.lookup(name) for name in names}
    name = next((name for name in names if found[name] is not None), None)
    if name is None:
        if not _may_come_from_outside(module):
            yield _missing_class(module, names)
        return
    target = found[name]
    if isinstance(target, Defined) and isinstance(target.node, ast.ClassDef):
        ancestry = Ancestry.of(target)
        for rule in _rules(name, kind):
            yield from _check_method(module, name, ancestry, rule)
        if name == "Handler" and kind is ApiKind.REALTIME and not ancestry.outside and not any(map(ancestry.method, HANDLES)):
            what = f"error in {module.path}: class {name}: none of the methods {', '.join(HANDLES)} is defined"
            yield Problem(
                rule="predictor-method", what=what, origin=module.origin(target.node), instead="add def handle_post(self, payload)"
            )


def _may_come_from_outside(module: Module) -> bool:
    """Whether ``from package import *`` stands in the file, with a package that is not part of the project."""
    return any(module.sources.find(star.module, module.path, star.level) is None for star in module.stars)


def _missing_class(module: Module, names: Sequence[str]) -> Problem:
    wanted = " or ".join(names)
    there = module.classes_and_functions()
    return Problem(
        rule="predictor-missing",
        what=f"error in {module.path}: {wanted} class is not defined",
        origin=Origin(module.path),
        why=f"the file defines {', '.join(there)}" if there else "the file defines no class",
        instead=f"name the predictor's class {names[0]}",
    )


def _check_method(module: Module, name: str, ancestry: Ancestry, rule: _Rule) -> Iterator[Problem]:
    method = ancestry.method(rule.method)
    if method is None:
        # A base class that cannot be read may have the method.
        if rule.needed and not ancestry.outside:
            what = f'error in {module.path}: class {name}: required method "{rule.method}" is not defined'
            arguments = ", ".join(rule.required if rule.method != "predict" else ("self", "payload"))
            origin = ancestry.classes[0].module.origin(ancestry.classes[0].node)
            yield Problem(rule="predictor-method", what=what, origin=origin, instead=f"add def {rule.method}({arguments})")
        return
    node = method.node
    assert not isinstance(node, ast.ClassDef)
    for complaint, instead in _complaints(node, rule):
        what = f'error in {module.path}: class {name}: invalid signature for method "{_written(node)}": {complaint}'
        yield Problem(rule="predictor-method", what=what, origin=method.module.origin(node), instead=instead)


def _complaints(node: FunctionNode, rule: _Rule) -> Iterator[tuple[str, str]]:
    given = [argument.arg for argument in (*node.args.posonlyargs, *node.args.args)]
    for missing in (name for name in rule.required if name not in given):
        yield f'"{missing}" is a required argument, but was not provided', f'add the argument "{missing}"'
    if "self" in given and given[0] != "self":
        yield '"self" must be the first argument', "put self first"
    for unsupported in (name for name in given if name not in rule.supported):
        others = ", ".join(f'"{name}"' for name in rule.supported if name != "self") or "no other"
        yield f'"{unsupported}" is not a supported argument', f"remove it; the method may take {others}"
    for argument, default in zip(node.args.kwonlyargs, node.args.kw_defaults, strict=True):
        if default is None:
            yield f'"{argument.arg}" is keyword-only and nothing passes it', "give it a default, or remove it"
    if isinstance(node, ast.AsyncFunctionDef):
        yield "it is asynchronous, and Cortex calls it as a plain function", "write def instead of async def"


def _written(node: FunctionNode) -> str:
    names = [argument.arg for argument in (*node.args.posonlyargs, *node.args.args)]
    names += [f"*{node.args.vararg.arg}"] if node.args.vararg else []
    names += [argument.arg for argument in node.args.kwonlyargs]
    names += [f"**{node.args.kwarg.arg}"] if node.args.kwarg else []
    return f"{node.name}({', '.join(names)})"
