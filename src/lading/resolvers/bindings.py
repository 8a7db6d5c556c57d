"""Packages that come from one index and no other."""

from __future__ import annotations

from collections.abc import Iterable

from lading.frameworks.choice import applies
from lading.model.plan import BoundIndex, Plan
from lading.model.problems import LadingError, Problem
from lading.model.records import dataclass
from lading.model.requirements import Declared, Via


@dataclass(frozen=True, slots=True)
class Binding:
    """One index and the packages that it alone provides. ``name`` is uv's name for it in the generated project."""

    name: str
    index: BoundIndex
    packages: frozenset[str]


def bindings(plan: Plan) -> tuple[Binding, ...]:
    """Every bound index with its packages; a requirement's own ``--index-url`` or ``--find-links`` counts.

    A package that is required by URL or path needs no index and is left out.

    Raises:
        LadingError: if one package is bound to two places.
    """
    direct = {declared.name for declared in plan.requirements if declared.via is not Via.INDEX}
    owners: dict[str, BoundIndex] = {}
    for index in (*plan.bound, *_of_lines(declared for declared in plan.requirements if applies(declared, plan.target))):
        for package in index.packages:
            owner = owners.setdefault(package, index)
            if _key(owner) != _key(index):
                raise LadingError(_bound_twice(package, owner, index, plan.requirements))
    grouped: dict[tuple[str, str], tuple[BoundIndex, set[str]]] = {}
    for package, index in owners.items():
        if package not in direct:
            grouped.setdefault(_key(index), (index, set()))[1].add(package)
    return tuple(Binding(f"lading-{number}", *_frozen(group)) for number, group in enumerate(grouped.values(), start=1))


def _key(index: BoundIndex) -> tuple[str, str]:
    return index.url.reveal(), index.kind


def _frozen(group: tuple[BoundIndex, set[str]]) -> tuple[BoundIndex, frozenset[str]]:
    return group[0], frozenset(group[1])


def _of_lines(requirements: Iterable[Declared]) -> Iterable[BoundIndex]:
    for declared in requirements:
        if declared.name and declared.index:
            yield BoundIndex("line", declared.index, (declared.name,))
        if declared.name and declared.find_links:
            yield BoundIndex("line", declared.find_links, (declared.name,), "find-links")


def _bound_twice(package: str, first: BoundIndex, second: BoundIndex, requirements: Iterable[Declared]) -> Problem:
    return Problem(
        rule="two-indexes-for-one-package",
        what=f"{package} is bound to two places: {first.url} and {second.url}.",
        origin=next((declared.origin for declared in requirements if declared.name == package), None),
        why="Within one environment a package comes from one place.",
        instead=f"Name one index for {package}.",
    )
