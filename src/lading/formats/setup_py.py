"""``setup.py``: setuptools' build script, read without running it where that tells all; else the build backend must be asked."""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from lading.formats._optional import Extras, without_parts, written_names
from lading.formats._place import NO_VARIABLES, Place
from lading.formats._python import specifier_request
from lading.formats._requirement import read_pep508
from lading.formats._text import read_text
from lading.formats._together import conflicting_pins
from lading.model.decisions import Decision, Kind
from lading.model.files import ProjectFiles
from lading.model.names import canonical
from lading.model.origin import Origin
from lading.model.problems import LadingError, Problem, ProblemCollector
from lading.model.requirements import Declaration, Declared
from lading.model.selection import DEFAULT, Selection

name = "setup.py"

_Item = tuple[str, int]
_CHANGES = ("append", "extend", "insert", "remove", "pop", "clear", "sort", "reverse")


class _UnknownError(Exception):
    """What the script alone does not tell."""


def recognises(path: str) -> bool:
    """Whether a file's name is setuptools'."""
    return path.rsplit("/", 1)[-1] == name


def parse(
    path: str,
    files: ProjectFiles,
    environ: Mapping[str, str] = NO_VARIABLES,  # noqa: ARG001 -- the seam's signature
    selection: Selection = DEFAULT,
) -> Declaration:
    """Read ``install_requires`` and ``python_requires`` of ``setup()``.

    Literals, names of literals, and lists added to each other are understood. Whatever else decides what is required makes the
    declaration dynamic.

    Raises:
        LadingError: if the script is no Python, or a requirement in it is none.
    """
    tree = _tree(path, read_text(path, files, coding_line=True))
    script = _Script(tree)
    problems = ProblemCollector()
    python = None

    def read(items: Sequence[_Item]) -> list[Declared]:
        return _requirements(items, path, files, problems)

    try:
        arguments = script.arguments()
        requirements = read(script.items(arguments["install_requires"])) if "install_requires" in arguments else []
        requirements += _optional(script, arguments, selection, path, read, problems=problems) if selection else []
        asked = script.text(arguments["python_requires"]) if "python_requires" in arguments else None
    except _UnknownError as error:
        if selection:
            raise without_parts(selection, path) from error
        return Declaration(format=name, path=path, read=(path,), dynamic=True, decisions=(_asked_backend(path, str(error), script.line),))
    if asked:
        with problems.catching():
            python = specifier_request(asked[0], Origin(path, asked[1]), what="python_requires", example='python_requires=">=3.10"')
    problems.add(*conflicting_pins(requirements))
    problems.raise_if_any()
    return Declaration(format=name, path=path, read=(path,), requirements=tuple(dict.fromkeys(requirements)), python=python)


def _requirements(items: Sequence[_Item], path: str, files: ProjectFiles, problems: ProblemCollector) -> list[Declared]:
    found = []
    for text, line in items:
        for number, one in enumerate(part.strip() for part in text.splitlines()):
            if one and not one.startswith("#"):
                with problems.catching():
                    found.append(read_pep508(one, Place(one, Origin(path, line + number), files, folder=path.rpartition("/")[0])))
    return found


def _optional(
    script: _Script,
    arguments: Mapping[str, ast.expr],
    selection: Selection,
    path: str,
    read: Callable[[Sequence[_Item]], list[Declared]],
    *,
    problems: ProblemCollector,
) -> list[Declared]:
    """The requirements of the extras that are wanted.

    Raises:
        LadingError: if the script has no such extra, or no groups.
        _UnknownError: if only running the script would tell.
    """
    if selection.groups:
        raise without_parts(Selection(groups=selection.groups), path)
    listed = script.extras(arguments.get("extras_require"))
    itself = canonical(script.name(arguments))
    extras = Extras(path=path, itself=itself, written=tuple(listed), read=lambda one: read(script.items(listed[one])))
    wanted = written_names(selection.extras, listed, "extra", path)
    return [one for extra in wanted for one in extras.requirements(extra, problems)]


def _tree(path: str, text: str) -> ast.Module:
    try:
        return ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise LadingError(
            Problem(
                rule="setup-py-invalid",
                what=f"{path} is not valid Python.",
                origin=Origin(path, getattr(error, "lineno", None) or 1),
                why=f"{getattr(error, 'msg', None) or type(error).__name__}.",
                instead="Correct it, or name another file as the dependency source.",
            )
        ) from error


@dataclass(slots=True)
class _Script:
    """A setup.py's syntax tree. ``line`` is where reading stopped."""

    tree: ast.Module
    line: int = 1
    depth: int = 0
    names: dict[str, ast.expr] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Note every name that is bound by one assignment at the top of the script, and that nothing else touches."""
        touched = [name for node in ast.walk(self.tree) for name in _touched(node)]
        for node in self.tree.body:
            if isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.targets[0], ast.Name):
                target = node.targets[0].id
                if touched.count(target) == 1:
                    self.names[target] = node.value

    def arguments(self) -> dict[str, ast.expr]:
        """The keyword arguments of the only ``setup()``.

        Raises:
            _UnknownError: if there is none, there are several, or some of its arguments are hidden in ``**``.
        """
        calls = [node for node in ast.walk(self.tree) if isinstance(node, ast.Call) and _is_setup(node.func)]
        if len(calls) != 1:
            raise _UnknownError("it calls setup() more than once" if calls else "it does not call setup() itself")
        self.line = calls[0].lineno
        if any(keyword.arg is None for keyword in calls[0].keywords) or calls[0].args:
            raise _UnknownError("setup() gets arguments that are made elsewhere")
        return {keyword.arg: keyword.value for keyword in calls[0].keywords if keyword.arg}

    def items(self, node: ast.expr) -> list[_Item]:
        """A list of texts with their lines.

        Raises:
            _UnknownError: if only running the script would tell.
        """
        self.depth += 1
        if self.depth > 100:
            raise _UnknownError("its lists refer to each other")
        if isinstance(node, ast.List | ast.Tuple | ast.Set):
            return [item for element in node.elts for item in self._element(element)]
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
            return [*self.items(node.left), *self.items(node.right)]
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            return [(node.value, node.lineno)]
        if isinstance(node, ast.Constant) and node.value is None:
            return []
        if isinstance(node, ast.Name) and node.id in self.names:
            return self.items(self.names[node.id])
        self.line = node.lineno
        raise _UnknownError("install_requires is worked out when it runs")

    def extras(self, node: ast.expr | None) -> dict[str, ast.expr]:
        """Where each extra is listed.

        Raises:
            _UnknownError: if only running the script would tell.
        """
        table = self.names.get(node.id) if isinstance(node, ast.Name) else node
        if table is not None and not isinstance(table, ast.Dict):
            raise _UnknownError("extras_require is worked out when it runs")
        return {self.text(key)[0]: value for key, value in zip(table.keys, table.values, strict=True) if key} if table else {}

    def name(self, arguments: Mapping[str, ast.expr]) -> str:
        """The project's name; empty if only running the script would tell it."""
        try:
            return self.text(arguments["name"])[0]
        except (KeyError, _UnknownError):
            return ""

    def _element(self, node: ast.expr) -> list[_Item]:
        return self.items(node.value) if isinstance(node, ast.Starred) else [self.text(node)]

    def text(self, node: ast.expr) -> _Item:
        """One text with its line.

        Raises:
            _UnknownError: if only running the script would tell.
        """
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            return node.value, node.lineno
        value: Any = self.names.get(node.id) if isinstance(node, ast.Name) else None
        if isinstance(value, ast.Constant) and isinstance(value.value, str):
            return value.value, value.lineno
        self.line = node.lineno
        raise _UnknownError("a requirement is worked out when it runs")


def _is_setup(function: ast.expr) -> bool:
    if isinstance(function, ast.Attribute):
        return function.attr == "setup" and isinstance(function.value, ast.Name) and function.value.id in ("setuptools", "core")
    return isinstance(function, ast.Name) and function.id == "setup"


def _touched(node: ast.AST) -> list[str]:
    """The names that a node binds, or whose list it changes in place."""
    if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load):
        return [node.id]
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and isinstance(node.func.value, ast.Name):
        return [node.func.value.id] if node.func.attr in _CHANGES else []
    if isinstance(node, ast.Subscript) and isinstance(node.value, ast.Name) and not isinstance(node.ctx, ast.Load):
        return [node.value.id]
    return []


def _asked_backend(path: str, why: str, line: int) -> Decision:
    return Decision(
        rule="metadata-from-backend",
        kind=Kind.CHOSEN,
        subject=path,
        asked=f"the requirements of {path}",
        chose="what its build backend answers, in an isolated environment",
        because=f"reading the script does not tell: {why}",
        origin=Origin(path, line),
        instead="[project] dependencies in pyproject.toml, or a requirements.txt",
    )
