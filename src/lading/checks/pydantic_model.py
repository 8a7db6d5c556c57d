"""Outputs of pydantic's ``BaseModel`` that allow arbitrary types only so that a ``cog.Path`` may be in them."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from lading.checks.advice import Advice, Edit
from lading.model.files import ProjectFiles
from lading.model.problems import LadingError
from lading.model.project import ProjectConfig, Style
from lading.schema.source import External, Module, Sources
from lading.schema.static import read_module


def check(config: ProjectConfig, files: ProjectFiles) -> Iterator[Advice]:
    """Every class of this kind in the files that define predictors."""
    for api in config.apis:
        if api.style is not Style.COG:
            continue
        try:
            module = read_module(Sources(files, api.python_path), api.file)
        except LadingError:
            continue
        for node in module.tree.body:
            if isinstance(node, ast.ClassDef) and _is_pydantic(module, node) and (setting := _setting(node)) is not None:
                yield _advice(module, node, setting)


def _is_pydantic(module: Module, node: ast.ClassDef) -> bool:
    found = [module.sources.resolve(module, base) for base in node.bases]
    return any(isinstance(base, External) and base.name == "pydantic.BaseModel" for base in found)


def _setting(node: ast.ClassDef) -> ast.stmt | None:
    """``model_config = ConfigDict(arbitrary_types_allowed=True)`` with nothing beside it, or pydantic 1's ``class Config``."""
    for statement in node.body:
        if isinstance(statement, ast.Assign) and isinstance(statement.value, ast.Call | ast.Dict) and _names(statement) == ["model_config"]:
            if isinstance(statement.value, ast.Call):
                keys = [keyword.arg for keyword in statement.value.keywords]
            else:
                keys = [key.value if isinstance(key, ast.Constant) else None for key in statement.value.keys]  # type: ignore[misc]
            if keys == ["arbitrary_types_allowed"]:
                return statement
        inner = statement.body if isinstance(statement, ast.ClassDef) and statement.name == "Config" else []
        if len(inner) == 1 and isinstance(inner[0], ast.Assign) and _names(inner[0]) == ["arbitrary_types_allowed"]:
            return statement
    return None


def _names(statement: ast.Assign) -> list[str]:
    return [target.id for target in statement.targets if isinstance(target, ast.Name)]


def _advice(module: Module, node: ast.ClassDef, setting: ast.stmt) -> Advice:
    return Advice(
        rule="pydantic-workaround",
        what=f"{node.name} allows arbitrary types.",
        origin=module.origin(setting),
        why="that was needed so that a pydantic model could hold a cog.Path, and hides mistakes in its other fields",
        instead="a model without the setting; or one that inherits from cog.BaseModel and needs no pydantic",
        edits=_edits(module, setting),
    )


def _edits(module: Module, setting: ast.stmt) -> tuple[Edit, ...]:
    """Take the setting away, where it is on lines of its own and something else is left in the class."""
    lines = range(setting.lineno, (setting.end_lineno or setting.lineno) + 1)
    others = [node for node in ast.walk(module.tree) if isinstance(node, ast.stmt) and node is not setting and node.lineno in lines]
    inside = {id(node) for node in ast.walk(setting)}
    owner = next(node for node in ast.walk(module.tree) if isinstance(node, ast.ClassDef) and setting in node.body)
    if len(owner.body) == 1 or any(id(node) not in inside for node in others):
        return ()
    return tuple(Edit(module.path, line, "", None) for line in lines)
