"""``predict`` is Cog's older name of ``run``, as key of cog.yaml and as method; ``BasePredictor`` that of ``BaseRunner``."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from lading.checks.advice import Advice, Edit
from lading.formats._yaml import Map, read_yaml
from lading.model.files import ProjectFiles
from lading.model.origin import Origin
from lading.model.problems import LadingError, ProblemCollector
from lading.model.project import Api, ProjectConfig, ProjectKind
from lading.schema.source import Defined, Module, Sources
from lading.schema.static import Ancestry, find_object, read_module

_WHY = "Cog has deprecated it; Lading runs both"


def check(config: ProjectConfig, files: ProjectFiles) -> Iterator[Advice]:
    """The older names in a Cog project. The method is renamed only where nothing else of the project can call it."""
    if config.kind is not ProjectKind.COG:
        return
    if config.path:
        yield from _key(config.path, files)
    for api in config.apis:
        yield from _method(api, files)


def _key(path: str, files: ProjectFiles) -> Iterator[Advice]:
    root = read_yaml(path, files, ProblemCollector())
    entry = root.get("predict") if isinstance(root, Map) else None
    if entry is not None:
        yield Advice(
            rule="predict-is-run",
            what="predict names the predictor.",
            origin=Origin(path, entry.line),
            why=_WHY,
            instead="run, with the same value",
            edits=(Edit(path, entry.line, "predict", "run"),),
        )


def _method(api: Api, files: ProjectFiles) -> Iterator[Advice]:
    sources = Sources(files, api.python_path)
    try:
        module = read_module(sources, api.file)
        target = find_object(module, api.object)
    except LadingError:
        return
    if not isinstance(target.node, ast.ClassDef):
        return
    ancestry = Ancestry.of(target)
    method = ancestry.method("predict")
    if method is None or ancestry.method("run") is not None:
        return
    safe = method.module is target.module and not _is_called(files, method)
    edits = (*_rename(method), *_bases(target)) if safe else ()
    yield Advice(
        rule="predict-is-run",
        what=f"{api.object} answers by its method predict.",
        origin=method.module.origin(method.node),
        why=_WHY if safe else f"{_WHY}; it is not renamed here because other code of the project calls or inherits it",
        instead="def run, in a class that inherits from BaseRunner",
        edits=edits,
    )


def _rename(method: Defined) -> Iterator[Edit]:
    line = method.node.lineno
    yield Edit(method.module.path, line, "def predict", "def run")


def _bases(target: Defined) -> Iterator[Edit]:
    """``BasePredictor`` by its own name, if this class is the only user of the import."""
    module = target.module
    assert isinstance(target.node, ast.ClassDef)
    uses = [node for node in ast.walk(module.tree) if isinstance(node, ast.Name) and node.id == "BasePredictor"]
    imports = [
        (statement, alias)
        for statement in module.tree.body
        if isinstance(statement, ast.ImportFrom) and statement.module == "cog"
        for alias in statement.names
        if alias.name == "BasePredictor" and alias.asname is None
    ]
    already = any(alias.name == "BaseRunner" for statement, _ in imports for alias in statement.names)
    if len(uses) == 1 and len(imports) == 1 and not already and uses[0] in target.node.bases:
        yield Edit(module.path, imports[0][1].lineno, "BasePredictor", "BaseRunner")
        yield Edit(module.path, uses[0].lineno, "BasePredictor", "BaseRunner")


def _is_called(files: ProjectFiles, method: Defined) -> bool:
    """Whether any file of the project's root or the predictor's folder speaks of ``.predict`` or overrides it."""
    folder = method.module.path.rpartition("/")[0]
    names = {*(name for name in files.entries()), *(f"{folder}/{name}" for name in files.entries(folder) if folder)}
    return any(_mentions(module, method) for module in _modules(files, names) if module is not None)


def _modules(files: ProjectFiles, names: set[str]) -> Iterator[Module | None]:
    sources = Sources(files)
    for name in sorted(names):
        if name.endswith(".py"):
            try:
                yield sources.read(name)
            except (LadingError, RecursionError):
                yield None


def _mentions(module: Module, method: Defined) -> bool:
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Attribute) and node.attr == "predict" and _is_predictor(node.value):
            return True
        if isinstance(node, ast.Constant) and node.value == "predict":
            return True  # getattr(predictor, "predict"), a test's patch
        same = module.path == method.module.path and getattr(node, "lineno", None) == method.node.lineno
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name == "predict" and not same and _in_class(module, node):
            return True
    return False


def _is_predictor(node: ast.expr) -> bool:
    """``self.predict``, ``super().predict``, ``Predictor().predict``; ``self.model.predict`` is some model's own."""
    if isinstance(node, ast.Name):
        return node.id in ("self", "cls") or "predictor" in node.id.lower()
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name)


def _in_class(module: Module, function: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    return any(isinstance(owner, ast.ClassDef) and function in owner.body for owner in ast.walk(module.tree))
