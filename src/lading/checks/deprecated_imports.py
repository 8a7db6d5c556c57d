"""Names that predictors import from ``cog`` and should not any more."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from lading.checks.advice import Advice, Edit
from lading.model.files import ProjectFiles
from lading.model.project import Api, ProjectConfig, Style
from lading.schema.source import Module, Sources
from lading.schema.static import read_module

_OLD = {
    "ExperimentalFeatureWarning": ("nothing warns with it any more", "no import of it, and no filter for it"),
    "File": ("Cog has deprecated it: the whole file is read to give it", "cog.Path, which is a file on the disk"),
    "emit_metric": ("Cog has deprecated it", "self.record_metric(name, value), or current_scope().record_metric(name, value)"),
}
_HOMES = ("cog.types", "cog.predictor", "cog.input", "cog.model", "cog.base_predictor", "cog.base_input")


def check(config: ProjectConfig, files: ProjectFiles) -> Iterator[Advice]:
    """Every such import in the files that define predictors."""
    from lading.model.problems import LadingError  # noqa: PLC0415 -- only for this

    for api in (*config.apis, *([config.train] if config.train else [])):
        if api.style is Style.COG:
            try:
                yield from _in_file(read_module(Sources(files, api.python_path), api.file), api)
            except LadingError:
                continue


def _in_file(module: Module, _api: Api) -> Iterator[Advice]:
    for statement in ast.walk(module.tree):
        if not isinstance(statement, ast.ImportFrom) or statement.level or statement.module is None:
            continue
        if statement.module in _HOMES:
            yield _from_inside(module, statement)
        if statement.module == "cog" or statement.module in _HOMES:
            for alias in statement.names:
                if alias.name in _OLD:
                    yield _old(module, statement, alias)


def _from_inside(module: Module, statement: ast.ImportFrom) -> Advice:
    assert statement.module is not None
    return Advice(
        rule="deprecated-import",
        what=f"{', '.join(alias.name for alias in statement.names)} comes from {statement.module}.",
        origin=module.origin(statement),
        why="that is inside of Cog, and moves from one version to the next",
        instead="from cog import ...",
        edits=(Edit(module.path, statement.lineno, f"from {statement.module} import", "from cog import"),),
    )


def _old(module: Module, statement: ast.ImportFrom, alias: ast.alias) -> Advice:
    why, instead = _OLD[alias.name]
    return Advice(
        rule="deprecated-import",
        what=f"{alias.name} is imported from cog.",
        origin=module.origin(alias.lineno),
        why=why,
        instead=instead,
        edits=_removal(module, statement, alias),
    )


def _removal(module: Module, statement: ast.ImportFrom, alias: ast.alias) -> tuple[Edit, ...]:
    """Take an import away that nothing uses, if it stands on one line."""
    name = alias.asname or alias.name
    used = any(isinstance(node, ast.Name) and node.id == name for node in ast.walk(module.tree))
    one_line = statement.lineno == statement.end_lineno
    if used or not one_line:
        return ()
    if len(statement.names) == 1:
        return (Edit(module.path, statement.lineno, alias.name, None),)
    written = alias.name if alias.asname is None else f"{alias.name} as {alias.asname}"
    last = statement.names[-1] is alias
    return (Edit(module.path, statement.lineno, f", {written}" if last else f"{written}, ", ""),)
