"""A project's Python files as syntax trees, and what each name in them stands for. Nothing is imported or run."""

from __future__ import annotations

import ast
import posixpath
import typing
import warnings
from collections.abc import Iterable
from typing import TypeAlias

from lading.model.files import ProjectFiles
from lading.model.origin import Origin
from lading.model.problems import LadingError, Problem
from lading.model.records import dataclass, field

_DEEPEST_CHAIN = 50
_COG_NAMES = frozenset(
    [
        "AsyncConcatenateIterator",
        "BaseModel",
        "BasePredictor",
        "BaseRunner",
        "ConcatenateIterator",
        "File",
        "Input",
        "Opaque",
        "Path",
        "Secret",
        "concurrent",
        "current_scope",
        "streaming",
    ]
)
_MUTATORS = frozenset(["append", "extend", "insert", "remove", "pop", "clear", "update", "setdefault", "sort", "reverse", "add", "discard"])
_TYPE_ALIAS: type[ast.stmt] | None = getattr(ast, "TypeAlias", None)
FunctionNode: TypeAlias = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True, slots=True)
class External:
    """A name from outside the project, by its full dotted name: ``typing.Optional``, ``builtins.str``, ``cog.Input``."""

    name: str


@dataclass(frozen=True, slots=True, eq=False)
class Defined:
    """A class or function of the project."""

    module: Module
    node: ast.ClassDef | FunctionNode


@dataclass(frozen=True, slots=True, eq=False)
class Assigned:
    """A name of the project that is assigned once: its value's expression. None: the value cannot be told from the source."""

    module: Module
    value: ast.expr | None
    line: int


Found: TypeAlias = "External | Defined | Assigned | Module | None"


@dataclass(slots=True, eq=False)
class Module:
    """One parsed file. ``bindings`` maps a module-level name to what binds it: a definition, an assignment or an import."""

    path: str
    tree: ast.Module
    sources: Sources
    bindings: dict[str, ast.stmt | Assigned | _Import] = field(default_factory=dict)
    stars: list[_Import] = field(default_factory=list)

    def origin(self, node: ast.AST | int) -> Origin:
        """Where a node (or a line) of this file is."""
        return Origin(self.path, node if isinstance(node, int) else getattr(node, "lineno", None))

    def lookup(self, name: str) -> Found:
        """What a module-level name stands for; None when this file does not bind it."""
        return self.sources.follow(self, name)

    def classes_and_functions(self) -> tuple[str, ...]:
        """Names of the module-level classes and functions, in the order of the source."""
        kinds = (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
        return tuple(name for name, bound in self.bindings.items() if isinstance(bound, kinds))


@dataclass(frozen=True, slots=True)
class _Import:
    """``from module import name`` (``name`` None: the module itself; ``*``: all of it); ``level`` counts leading dots."""

    module: str
    name: str | None
    level: int = 0


class Sources:
    """Reads, parses and remembers a project's Python files.

    ``python_path`` is a folder searched before the project's root, as the worker does.
    """

    def __init__(self, files: ProjectFiles, python_path: str | None = None) -> None:
        self._files = files
        self._roots = tuple(dict.fromkeys(root for root in (_as_folder(python_path), "") if root is not None))
        self._modules: dict[str, Module | None] = {}
        self._following: set[tuple[str, str]] = set()

    def read(self, path: str) -> Module | None:
        """The parsed file, None when there is none.

        Raises:
            LadingError: if it is not Python (`syntax-error`) or not text.
        """
        if path not in self._modules:
            content = self._files.read(path)
            self._modules[path] = None if content is None else _bind(Module(path, parse(content, path), self))
        return self._modules[path]

    def find(self, dotted: str, beside: str | None = None, level: int = 0) -> Module | None:
        """The project's module of that name; None for one from outside the project, or one that does not parse.

        A file that does not parse is no reason to fail here: the names that it would give stay unknown and are named then.
        """
        folders: Iterable[str] = self._roots
        if level and beside is not None:
            folder = posixpath.dirname(beside)
            for _ in range(level - 1):
                folder = posixpath.dirname(folder)
            folders = (folder,)
        inside = dotted.replace(".", "/")
        for folder in folders:
            base = posixpath.join(folder, inside) if inside else folder
            for path in (f"{base}.py", posixpath.join(base, "__init__.py")):
                module = self._read_quietly(path)
                if module is not None:
                    return module
        return None

    def _read_quietly(self, path: str) -> Module | None:
        try:
            return self.read(path)
        except LadingError:
            return None

    def follow(self, module: Module, name: str) -> Found:
        """What ``name`` stands for in ``module``, through imports inside the project; circular imports end in None."""
        key = (module.path, name)
        if key in self._following or len(self._following) > _DEEPEST_CHAIN:
            return None
        self._following.add(key)
        try:
            return self._follow(module, name)
        finally:
            self._following.discard(key)

    def _follow(self, module: Module, name: str) -> Found:
        bound = module.bindings.get(name)
        if isinstance(bound, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            return Defined(module, bound)
        if isinstance(bound, Assigned):
            return bound
        if isinstance(bound, _Import):
            return self._imported(module, bound)
        for star in reversed(module.stars):
            found = self._from_star(module, star, name)
            if found is not None:
                return found
        return None

    def _imported(self, module: Module, wanted: _Import) -> Found:
        if wanted.name is None:
            return self.find(wanted.module) or External(canonical(wanted.module))
        home = self.find(wanted.module, module.path, wanted.level)
        if home is not None:
            return home.lookup(wanted.name) or self.find(f"{wanted.module}.{wanted.name}".strip("."), module.path, wanted.level)
        if wanted.level and self.find(wanted.name, module.path, wanted.level) is not None:
            return self.find(wanted.name, module.path, wanted.level)  # `from . import shapes` without an __init__.py
        if not wanted.level:
            submodule = self.find(f"{wanted.module}.{wanted.name}")  # a folder without an __init__.py
            return submodule or External(canonical(f"{wanted.module}.{wanted.name}"))
        return External(f"{'.' * wanted.level}{wanted.module}.{wanted.name}")

    def _from_star(self, module: Module, star: _Import, name: str) -> Found:
        home = self.find(star.module, module.path, star.level)
        if home is not None:
            return None if name.startswith("_") else home.lookup(name)
        if star.module in ("typing", "typing_extensions") and name in typing.__all__:
            return External(f"typing.{name}")
        return External(f"cog.{name}") if star.module == "cog" and name in _COG_NAMES else None

    def resolve(self, module: Module, node: ast.expr) -> Found:
        """What a name or a dotted name stands for; None for anything else and for names that nothing binds."""
        if isinstance(node, ast.Name):
            return module.lookup(node.id) or self._builtin(module, node.id)
        if not isinstance(node, ast.Attribute):
            return None
        base = self.resolve(module, node.value)
        if isinstance(base, External):
            submodule = self.find(f"{base.name}.{node.attr}")
            return submodule or External(canonical(f"{base.name}.{node.attr}"))
        if isinstance(base, Module):
            return base.lookup(node.attr) or self.find(f"{_dotted(base.path)}.{node.attr}")
        if isinstance(base, Defined) and isinstance(base.node, ast.ClassDef):
            return class_attribute(base, node.attr)
        return None

    @staticmethod
    def _builtin(module: Module, name: str) -> Found:
        builtins = vars(__import__("builtins"))
        return External(f"builtins.{name}") if name in builtins and name not in module.bindings else None


def class_attribute(owner: Defined, name: str) -> Found:
    """What the body of a class binds a name to: a method or an assignment; None when it does not."""
    found: Found = None
    for statement in owner.node.body:
        if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) and statement.name == name:
            found = Defined(owner.module, statement)
        for target, value in _assignments(statement):
            if target == name:
                found = Assigned(owner.module, value, statement.lineno)
    return found


def _dotted(path: str) -> str:
    return path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def module_name(module: Module) -> str:
    """The name under which the worker imports a file of the project."""
    return _dotted(module.path)


def _as_folder(path: str | None) -> str | None:
    normal = posixpath.normpath(path) if path else None
    return "" if normal == "." else normal


_SAME_AS = {
    "typing_extensions.": "typing.",
    "collections.abc.": "typing.",
    "cog.types.": "cog.",
    "cog.input.": "cog.",
    "cog.predictor.": "cog.",
    "cog.model.": "cog.",
    "pydantic.v1.": "pydantic.",
    "pydantic.main.": "pydantic.",
}


def canonical(name: str) -> str:
    """One name for things that several modules export."""
    for prefix, instead in _SAME_AS.items():
        if name.startswith(prefix):
            return instead + name.removeprefix(prefix)
    return name


def parse(content: bytes, path: str) -> ast.Module:
    """The file's syntax tree.

    A file that only an older Python reads (``async`` as a name, before 3.7) is read as that one does.

    Raises:
        LadingError: `syntax-error`, with the line.
    """
    try:
        return _parse(content)
    except SyntaxError as error:
        try:
            return _parse(content, (3, 6))
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            raise LadingError(_syntax_problem(path, error.lineno, error.msg)) from None
    except (ValueError, RecursionError, MemoryError) as error:
        raise LadingError(_syntax_problem(path, None, str(error) or "the file is nested too deeply")) from None


def _parse(content: bytes, version: tuple[int, int] | None = None) -> ast.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # an odd escape in the user's strings is not ours to report
        return ast.parse(content) if version is None else ast.parse(content, feature_version=version)


def written_type(text: str) -> ast.expr | None:
    """The annotation that is written as a text; None if the text is no expression. Its places are those within the text."""
    try:
        return ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def _syntax_problem(path: str, line: int | None, message: str) -> Problem:
    import platform  # noqa: PLC0415 -- 1 ms, for a file that cannot be read

    running = platform.python_version()
    python_2 = "Missing parentheses in call to 'print'" in message or "multiple exception types" in message
    return Problem(
        rule="syntax-error",
        what=f"{path} is not Python that can be read: {message}",
        origin=Origin(path, line or None),
        why="it is written for Python 2" if python_2 else f"Python {running}, which Lading runs on, refuses it",
        instead="port the file to Python 3"
        if python_2
        else f"correct the line; if it uses syntax that came after Python {running}, run Lading with a Python that has it",
    )


def _bind(module: Module) -> Module:
    _bind_body(module, module.tree.body, certain=True)
    return module


def _bind_body(module: Module, body: list[ast.stmt], *, certain: bool) -> None:
    """Collect what a block binds; what an ``else`` or ``except`` block binds counts only if the main block did not."""
    for statement in body:
        if isinstance(statement, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            _put(module, statement.name, statement, certain=certain)
        elif isinstance(statement, ast.Import | ast.ImportFrom):
            _bind_import(module, statement, certain=certain)
        elif isinstance(statement, ast.If | ast.Try | ast.With | ast.For | ast.While | ast.AsyncFor | ast.AsyncWith):
            _bind_block(module, statement, certain=certain)
        else:
            _bind_values(module, statement, certain=certain)


def _bind_block(module: Module, statement: ast.stmt, *, certain: bool) -> None:
    _bind_body(module, getattr(statement, "body", []), certain=certain)
    for handler in getattr(statement, "handlers", []):
        _bind_body(module, handler.body, certain=False)
    _bind_body(module, getattr(statement, "orelse", []), certain=False)
    _bind_body(module, getattr(statement, "finalbody", []), certain=certain)
    if isinstance(statement, ast.For | ast.AsyncFor | ast.While):
        _forget_changed(module, statement)


def _forget_changed(module: Module, loop: ast.stmt) -> None:
    """A loop's assignments happen any number of times: their names have no value that the source shows."""
    for node in ast.walk(loop):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            module.bindings[node.id] = Assigned(module, None, node.lineno)
        elif isinstance(node, ast.stmt):
            _forget_mutated(module, node)


def _bind_values(module: Module, statement: ast.stmt, *, certain: bool) -> None:
    _forget_mutated(module, statement)
    for name, value in _assignments(statement):
        _put(module, name, Assigned(module, value, statement.lineno), certain=certain)


def _assignments(statement: ast.stmt) -> list[tuple[str, ast.expr | None]]:
    if isinstance(statement, ast.Assign):
        return [pair for target in statement.targets for pair in _unpack(target, statement.value)]
    if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name) and statement.value is not None:
        return [(statement.target.id, statement.value)]
    if _TYPE_ALIAS is not None and isinstance(statement, _TYPE_ALIAS):
        alias = typing.cast("typing.Any", statement)
        return [(alias.name.id, alias.value)]
    return []


def _unpack(target: ast.expr, value: ast.expr) -> list[tuple[str, ast.expr | None]]:
    if isinstance(target, ast.Name):
        return [(target.id, value)]
    if not isinstance(target, ast.Tuple | ast.List):
        return []
    matching = isinstance(value, ast.Tuple | ast.List) and len(value.elts) == len(target.elts)
    names = [part for part in target.elts if isinstance(part, ast.Name)]
    if not matching or len(names) != len(target.elts):
        return [(part.id, None) for part in names]
    return [(part.id, inner) for part, inner in zip(names, typing.cast("ast.Tuple", value).elts, strict=True)]


def _forget_mutated(module: Module, statement: ast.stmt) -> None:
    """``NAMES.append(x)``, ``NAMES += [x]``, ``NAMES["x"] = 1``: the assigned expression no longer tells the value."""
    changed: list[ast.expr] = []
    if isinstance(statement, ast.AugAssign):
        changed = [statement.target]
    elif isinstance(statement, ast.Assign):
        changed = [target.value for target in statement.targets if isinstance(target, ast.Subscript)]
    elif isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Call):
        called = statement.value.func
        changed = [called.value] if isinstance(called, ast.Attribute) and called.attr in _MUTATORS else []
    for node in changed:
        if isinstance(node, ast.Name):
            module.bindings[node.id] = Assigned(module, None, statement.lineno)


def _bind_import(module: Module, statement: ast.Import | ast.ImportFrom, *, certain: bool) -> None:
    for alias in statement.names:
        if isinstance(statement, ast.Import):
            name, wanted = alias.asname or alias.name.partition(".")[0], _Import(alias.name, None)
            if alias.asname is None:
                wanted = _Import(name, None)
            _put(module, name, wanted, certain=certain)
        elif alias.name == "*":
            module.stars.append(_Import(statement.module or "", "*", statement.level))
        else:
            wanted = _Import(statement.module or "", alias.name, statement.level)
            _put(module, alias.asname or alias.name, wanted, certain=certain)


def _put(module: Module, name: str, bound: ast.stmt | Assigned | _Import, *, certain: bool) -> None:
    if certain:
        module.bindings[name] = bound
    else:
        module.bindings.setdefault(name, bound)
