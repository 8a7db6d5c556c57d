"""``@lading.batched`` read from the source: its options, and the types of one request in a function that takes lists of them."""

from __future__ import annotations

import ast
import copy
from typing import Any

from lading.model.problems import Problem, ProblemCollector
from lading.model.records import replace
from lading.schema.constants import UnknownValueError, evaluate
from lading.schema.source import Defined, External, written_type

LARGEST = 1024
_DEFAULTS = {"max_batch_size": 32, "max_latency": 0.01}
_LISTS = frozenset({"builtins.list", "typing.List", "typing.Sequence", "collections.abc.Sequence"})


def read_options(method: Defined, decorator: ast.expr, collector: ProblemCollector) -> dict[str, Any]:
    """``max_batch_size`` and ``max_latency`` (seconds) of ``@batched`` or ``@batched(...)``; what is wrong goes to ``collector``."""
    options: dict[str, Any] = dict(_DEFAULTS)
    for keyword in decorator.keywords if isinstance(decorator, ast.Call) else ():
        if keyword.arg not in _DEFAULTS:
            continue
        try:
            value = evaluate(method.module, keyword.value)
        except UnknownValueError as error:
            value = error.expression
        if _fits(keyword.arg, value):
            options[keyword.arg] = value
        else:
            wanted = f"a whole number from 1 to {LARGEST}" if keyword.arg == "max_batch_size" else "a number of seconds from 0 on"
            _add(
                collector,
                method,
                keyword.value,
                f"{keyword.arg} of @batched must be {wanted}, and {value!r} is not one that the source shows",
                why="it decides how requests are gathered",
                instead=f"write @batched({keyword.arg}={_DEFAULTS[keyword.arg]})",
            )
    return options


def _fits(name: str, value: Any) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return isinstance(value, int) and 1 <= value <= LARGEST if name == "max_batch_size" else 0 <= value < float("inf")


class BatchReader:
    """Reads one batched function."""

    def __init__(self, method: Defined, where: str, collector: ProblemCollector) -> None:
        self._method, self._where, self._collector = method, where, collector

    def check(self, *, asynchronous: bool, piecewise: bool) -> None:
        """Refuse what cannot be batched."""
        if asynchronous or piecewise:
            what = f"{self._where} is batched and {'asynchronous' if asynchronous else 'gives its output piece by piece'}"
            why = "one call of it answers many requests, all at once"
            self._add(self._method.node, what, why, "write a plain def that returns a list, or remove @batched")

    def item(self, argument: ast.arg) -> ast.arg:
        """A parameter with the type that one request gives: ``str`` of ``list[str]``."""
        one = copy.copy(argument)
        if argument.annotation is not None:
            one.annotation = self._unwrapped(argument.annotation, f"the input {argument.arg} of {self._where}", "list[str]")
        return one

    def one_output(self) -> Defined:
        """The function with the type of one request's output."""
        node = self._method.node
        if isinstance(node, ast.ClassDef) or node.returns is None:
            return self._method
        one = copy.copy(node)
        one.returns = self._unwrapped(node.returns, f"the output of {self._where}", "-> list[str]")
        return replace(self._method, node=one)

    def _unwrapped(self, annotation: ast.expr, what: str, example: str) -> ast.expr:
        if isinstance(annotation, ast.Constant) and isinstance(annotation.value, str):
            inner = written_type(annotation.value)
            if inner is not None:
                annotation = ast.copy_location(inner, annotation)
                for part in ast.walk(annotation):
                    ast.copy_location(part, annotation)
        if isinstance(annotation, ast.Subscript):
            found = self._method.module.sources.resolve(self._method.module, annotation.value)
            if isinstance(found, External) and found.name in _LISTS:
                return annotation.slice
        why = "a batched predictor gets a list with the value of each request, and returns a list with an output for each"
        self._add(annotation, f"{what} is {ast.unparse(annotation)}, which is no list", why, f"write {example}")
        return annotation

    def _add(self, node: ast.AST, what: str, why: str, instead: str) -> None:
        _add(self._collector, self._method, node, what, why=why, instead=instead)


def _add(collector: ProblemCollector, method: Defined, node: ast.AST, what: str, *, why: str, instead: str) -> None:
    collector.add(Problem(rule="predictor-method", what=what, origin=method.module.origin(node), why=why, instead=instead))
