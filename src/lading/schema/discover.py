"""Finding the predictor of a project that does not name one."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from lading.model.files import ProjectFiles
from lading.model.problems import LadingError
from lading.model.records import dataclass
from lading.schema.source import Defined, Module, Sources
from lading.schema.static import Ancestry, parameters

USUAL_FILES = ("predict.py", "predictor.py", "main.py", "app.py", "serve.py", "model.py")
_USUAL_CLASSES = ("Predictor", "Runner")
_NEVER = ("setup.py", "conftest.py", "noxfile.py")


@dataclass(frozen=True, slots=True, order=True)
class Candidate:
    """A class or function that could be meant: ``file`` is relative to the root, ``line`` counted from 1."""

    file: str
    object: str
    line: int

    def __str__(self) -> str:
        return f"{self.file}:{self.object}"


def find_predictor(files: ProjectFiles, only: str | None = None) -> list[Candidate]:
    """Every predictor in the Python files at the project's root: those of the usual file names first, then by name.

    A predictor is a class that inherits from Cog's ``BasePredictor`` or ``BaseRunner``; a class with ``setup`` and ``predict`` or
    ``run``; a class named ``Predictor`` or ``Runner`` with one of them; a function named ``predict`` with type hints. Several
    answers are an answer: whoever asks decides. Files that are no Python are passed over. ``only`` asks about one file, which may be
    anywhere in the project.
    """
    sources = Sources(files)
    names = [name for name in files.entries() if name.endswith(".py") and not _is_for_others(name)] if only is None else [only]
    ordered = sorted(names, key=lambda name: (USUAL_FILES.index(name) if name in USUAL_FILES else len(USUAL_FILES), name))
    return [candidate for name in ordered for candidate in _in_file(sources, name)]


def _is_for_others(name: str) -> bool:
    return name in _NEVER or name.startswith("test_") or name.endswith("_test.py")


def _in_file(sources: Sources, name: str) -> Iterator[Candidate]:
    try:
        module = sources.read(name)
    except (LadingError, RecursionError):
        return
    if module is None:
        return
    for bound in (found for found in map(module.lookup, module.classes_and_functions()) if isinstance(found, Defined)):
        if _is_predictor(module, bound):
            yield Candidate(name, bound.node.name, bound.node.lineno)


def _is_predictor(module: Module, found: Defined) -> bool:
    node = found.node
    if not isinstance(node, ast.ClassDef):
        typed = node.returns is not None or any(argument.annotation is not None for argument, _ in parameters(node, skip_self=False))
        return node.name == "predict" and typed
    ancestry = Ancestry.of(found)
    answers = any(ancestry.method(name) for name in ("predict", "run"))
    if not answers or _has_heirs(module, found):
        return False
    return ancestry.framework or node.name in _USUAL_CLASSES or ancestry.method("setup") is not None


def _has_heirs(module: Module, found: Defined) -> bool:
    """Whether another class of the same file builds on this one, which is then a base and not meant itself."""
    others = (module.lookup(name) for name in module.classes_and_functions())
    classes = (other for other in others if isinstance(other, Defined) and other.node is not found.node)
    return any(ancestor.node is found.node for other in classes for ancestor in Ancestry.of(other).classes)
