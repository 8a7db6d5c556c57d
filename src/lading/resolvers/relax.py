"""What to relax when requirements contradict each other: each line of the user's is tried without its version."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from lading.model.plan import Plan
from lading.model.problems import Problem
from lading.model.records import dataclass, replace
from lading.model.requirements import Declared, Via

RULES = ("requirements-conflict",)
_TRIED = 6
"""Lines that are tried: each costs a resolution, of packages that are in the cache by then."""


@dataclass(frozen=True, slots=True)
class Relaxation:
    """A line that, without its version, makes the rest possible, and the version that it would get."""

    declared: Declared
    version: str | None


def relaxations(plan: Plan, involved: Iterable[Declared], attempt: Callable[[Plan], Mapping[str, Any] | None]) -> tuple[Relaxation, ...]:
    """Try each involved line without its version; ``attempt`` resolves a plan, and answers None where there is no solution."""
    candidates = [one for one in dict.fromkeys(involved) if one.via is Via.INDEX and one.specifier][:_TRIED]
    found = []
    for declared in candidates:
        document = attempt(without_version(plan, declared))
        if document is not None:
            versions = [str(package.get("version", "")) for package in document.get("packages", ()) if package.get("name") == declared.name]
            found.append(Relaxation(declared, versions[0] if len(versions) == 1 else None))
    return tuple(found)


def without_version(plan: Plan, declared: Declared) -> Plan:
    """The plan with one line, a requirement or a constraint, without its version."""
    relaxed = replace(declared, specifier="", hashes=())
    return replace(
        plan,
        requirements=tuple(relaxed if one == declared else one for one in plan.requirements),
        constraints=tuple(one for one in plan.constraints if one != declared),
    )


def advised(problem: Problem, found: tuple[Relaxation, ...]) -> Problem:
    """The problem with what to write, in place of the general advice."""
    if not found:
        return replace(problem, instead="No one line is to blame: at least two of them must change. The chain of reasons is below.")
    ways = [f"{one.declared.origin}: {one.declared.name}{f'=={one.version}' if one.version else ' without its version'}" for one in found]
    lead = "Change this line, and the rest fits" if len(ways) == 1 else "Change any one of these lines, and the rest fits"
    return replace(problem, instead=f"{lead}: {'; or '.join(ways)}.")
