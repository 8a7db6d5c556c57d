"""Modules that the predictors import and that nothing installs: said before the import fails.

Only what is certain is told: well-known modules, imported where the import must succeed, that no installed distribution brings.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator

from lading.model.decisions import Decision, Kind
from lading.model.files import ProjectFiles
from lading.model.lock import Lock
from lading.model.modules import distributions_of, is_brought
from lading.model.origin import Origin
from lading.model.plan import Plan
from lading.model.project import Api
from lading.planner.preinstalled import parsed, sources_of

RULE = "imports-undeclared"

_ALWAYS = ast.With | ast.AsyncWith | ast.ClassDef
Imports = tuple[tuple[str, Origin], ...]


def known_imports(apis: Iterable[Api], files: ProjectFiles) -> Imports:
    """The well-known modules that the predictors' files import, each with its first place.

    An import in a ``try`` or under a condition may fail; one in a function counts where the function is the predictor's own file.
    """
    found: dict[str, Origin] = {}
    for api in apis:
        for path, own in sources_of(api, files):
            tree = parsed(path, files)
            for module, line in _certain(tree.body if tree else (), inside=path == api.file):
                top = module.partition(".")[0]
                if top not in own and distributions_of(top):
                    found.setdefault(top, Origin(path, line))
    return tuple(found.items())


def _certain(statements: Iterable[ast.stmt], *, inside: bool) -> Iterator[tuple[str, int]]:
    for node in statements:
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
            yield node.module, node.lineno
        elif isinstance(node, _ALWAYS) or (inside and isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)):
            yield from _certain(node.body, inside=inside)


def undeclared(imports: Imports, plan: Plan, lock: Lock, commands: Iterable[str]) -> tuple[Decision, ...]:
    """The advice about modules that nothing in the lock brings; ``commands`` are the project's own, which may install more."""
    there = frozenset(str(package["name"]) for package in lock.packages) | _by_conda(lock)
    written = " ".join((*commands, *(line for script in plan.scripts for line in script.commands)))
    missing = [(module, origin) for module, origin in imports if not is_brought(module, there) and not _is_named(module, written)]
    if not missing:
        return ()
    names = [distributions_of(module)[0] for module, _ in missing]
    listed = " and ".join(names) if len(names) < 3 else f"{', '.join(names[:-1])} and {names[-1]}"
    place = plan.source or "a requirements.txt"
    return (
        Decision(
            rule=RULE,
            kind=Kind.ADVICE,
            subject="imports",
            asked=", ".join(f"import {module} ({origin})" for module, origin in missing),
            chose="as declared",
            because=f"no file declares {listed}, and nothing that is installed needs {'it' if len(names) == 1 else 'them'}: importing will fail",
            origin=missing[0][1],
            instead=f"{listed} in {place}",
        ),
    )


def _by_conda(lock: Lock) -> frozenset[str]:
    if lock.conda is None:
        return frozenset()
    return frozenset((*(package.name for package in lock.conda.packages), *lock.conda.provides))


def _is_named(module: str, written: str) -> bool:
    return any(name in written for name in (module, *distributions_of(module)))
