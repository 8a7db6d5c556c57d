"""Conda before pip, in one environment: the two solutions made to agree before anything is downloaded.

1. Conda's packages are solved.
2. What pip's requirements ask of packages that conda provides is held against conda's versions. Where conda is free to take others (the
   user's conda lines allow it), it is solved again under pip's conditions; where it is not, the two lines are a Problem.
3. uv resolves the rest with conda's packages as they are, and what its packages need of them is treated in the same way.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from packaging.specifiers import InvalidSpecifier, SpecifierSet

from lading.frameworks.choice import applies
from lading.frameworks.conda_builds import beside_conda, explain
from lading.model.conda import CondaPackage, MatchSpec
from lading.model.decisions import Decision, Kind
from lading.model.events import Reporter, silent
from lading.model.lock import Lock
from lading.model.plan import Plan
from lading.model.problems import ExitCode, LadingError, Problem
from lading.model.records import dataclass, replace
from lading.model.requirements import Declared, Via
from lading.model.target import Interpreter
from lading.resolvers.conda import CondaOptions, Solution, solve
from lading.resolvers.uv import ResolveOptions, resolve

_ROUNDS = 8
_NEEDS = re.compile(
    r"(?:versions of )?(?P<who>[\w.\[\]-]+)(?P<version>[=<>!~][^\s,]*)? depends? on (?P<name>[\w.-]+)(?P<spec>(?:[<>=!~]=?[\w.*+!]+,?)+)"
)
_REQUIRES = re.compile(r"you require (?P<name>[\w.-]+)(?P<spec>(?:[<>=!~]=?[\w.*+!]+,?)+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolving:
    """What resolving both needs.

    ``make`` gives a plan for the Python that conda chose, ``interpreter`` one of this machine like it. ``first`` is conda's solution without
    any conditions, where that is known already.
    """

    root: Path
    conda: CondaOptions
    pip: ResolveOptions
    make: Callable[[Plan, str], Plan]
    interpreter: Callable[[str], Interpreter | None]
    reporter: Reporter = silent
    first: Solution | None = None


@dataclass(frozen=True, slots=True)
class _Wish:
    """What pip asks of a package that conda provides: who asks, in words, and which line that is."""

    package: CondaPackage
    name: str
    specifier: str
    who: str
    declared: Declared | None


def resolve_both(plan: Plan, how: Resolving) -> Lock:
    """Choose conda's packages, then pip's against them.

    Raises:
        LadingError: if either has no solution or the two contradict each other; exit code 3, or 5 when a channel or an index is down.
    """
    conditions: dict[tuple[str, str], _Wish] = {}
    refused: LadingError | None = None
    for _round in range(_ROUNDS):
        solution = _solve(plan, how, conditions, refused)
        made = how.make(plan, solution.lock.python)
        wishes = list(_contradictions(made, solution))
        if not wishes:
            mixed = beside_conda(_written(made), solution.lock.packages, solution.lines, made.target)
            if mixed:
                raise LadingError(*mixed)
            try:
                return _resolve(made, solution, how, tuple(conditions.values()))
            except LadingError as error:
                wishes = list(_from_error(error, made, solution))
                if not wishes:
                    raise
        refused = LadingError(*(_contradiction(wish, solution, conditions.values()) for wish in wishes))
        added = {condition: wish for wish in wishes for condition in _conditions(wish, solution)}
        if not added or added.keys() <= conditions.keys():
            raise refused
        conditions |= added
    assert refused is not None
    raise refused


def _solve(plan: Plan, how: Resolving, conditions: Mapping[tuple[str, str], _Wish], refused: LadingError | None) -> Solution:
    if refused is None:
        return how.first or solve(plan, how.root, how.conda, how.reporter)
    try:
        return solve(plan, how.root, replace(how.conda, constraints=tuple(conditions)), how.reporter)
    except LadingError as error:
        if error.exit_code is ExitCode.RESOLUTION:
            raise refused from None  # conda is not free to do otherwise: the contradiction itself is what the user must know
        raise


def _written(plan: Plan) -> tuple[Declared, ...]:
    """The requirements as they were written, before builds were completed."""
    return plan.asked.requirements if plan.asked else plan.requirements


def _contradictions(plan: Plan, solution: Solution) -> Iterable[_Wish]:
    """The requirements that conda's version of their package does not satisfy."""
    provides = solution.lock.provides
    for declared in _written(plan):
        if declared.name in provides and applies(declared, plan.target) and not _satisfied(declared, provides[declared.name]):
            assert declared.name is not None
            yield _Wish(_package(declared.name, solution), declared.name, _asked(declared), "pip", declared)


def _satisfied(declared: Declared, version: str) -> bool:
    return declared.via is Via.INDEX and SpecifierSet(declared.specifier).contains(version, prereleases=True)


def _asked(declared: Declared) -> str:
    return declared.specifier if declared.via is Via.INDEX else f" from {declared.pep508}"


def _package(name: str, solution: Solution) -> CondaPackage:
    return next(package for package in solution.lock.packages if name in dict(package.provides))


def _conditions(wish: _Wish, solution: Solution) -> Iterable[tuple[str, str]]:
    """The wish as conda's conditions, on every package that provides it; none where conda has no words for it."""
    clauses = [clause.strip() for clause in wish.specifier.split(",") if clause.strip()]
    if not clauses or any(clause.startswith("===") or "+" in clause or not re.match(r"[<>=!~]", clause) for clause in clauses):
        return
    for package in solution.lock.packages:
        if wish.name in dict(package.provides):
            yield package.name, ",".join(clauses)


def _from_error(error: LadingError, plan: Plan, solution: Solution) -> Iterable[_Wish]:
    """What uv says that packages need of conda's, in the derivation of a conflict."""
    provides = solution.lock.provides
    for problem in error.problems:
        text = " ".join((problem.detail or "").split())
        for found in (*_NEEDS.finditer(text), *_REQUIRES.finditer(text)):
            specifier = found["spec"].rstrip(",.")
            if found["name"] in provides and not _allows(specifier, provides[found["name"]]):
                who = found["who"] if "who" in found.groupdict() else "pip"
                declared = _line_of(found["name"], specifier, who, problem, plan)
                yield _Wish(_package(found["name"], solution), found["name"], specifier, who, declared)


def _line_of(name: str, specifier: str, who: str, problem: Problem, plan: Plan) -> Declared | None:
    """The user's line behind a demand: one on the package itself (a constraint is told as its dependent's), else the dependent's own."""
    lines = (*_written(plan), *plan.constraints)
    fits: tuple[Callable[[Declared], bool], ...] = (
        lambda one: one.name == name and SpecifierSet(one.specifier) == SpecifierSet(specifier),
        lambda one: one.name == who,
        lambda one: one.origin == problem.origin,
    )
    return next((one for fit in fits for one in lines if fit(one)), None)


def _allows(specifier: str, version: str) -> bool:
    try:
        return SpecifierSet(specifier).contains(version, prereleases=True)
    except InvalidSpecifier:
        return True


def _contradiction(wish: _Wish, solution: Solution, conditions: Iterable[_Wish]) -> Problem:
    line = solution.lines.get(wish.package.name)
    by_conda = f"{wish.name} {dict(wish.package.provides)[wish.name]} by conda{_because_of(line, wish.package)}"
    own = wish.declared is not None and wish.declared.name == wish.name
    where = wish.declared.origin if wish.declared else None
    asks = (
        f"{where} asks for {wish.name}{wish.specifier}"
        if own
        else f"{wish.who}{f' ({where})' if where else ''} needs {wish.name}{wish.specifier}"
    )
    other = f"{line.origin}" if line else "the conda packages"
    ways = [f"ask conda for {wish.package.name} {wish.specifier.strip()} in {other}"] if re.match(r"[<>=!~]", wish.specifier) else []
    ways += [f"change {where}" if own else f"use another version of {wish.who}"]
    if line is not None and line.name == wish.package.name:
        ways += [f"remove {wish.package.name} from {line.origin.path}, so that pip installs it"]
    return Problem(
        rule="conda-pip-conflict",
        what=f"Conda and pip contradict each other about {wish.name}: {by_conda}, and {asks}.",
        origin=where or (line.origin if line else None),
        why=_why(wish, conditions),
        instead=f"{ways[0][:1].upper()}{ways[0][1:]}; or {'; or '.join(ways[1:])}." if len(ways) > 1 else f"{ways[0].capitalize()}.",
        code=ExitCode.RESOLUTION,
        detail="\n".join(f"{one.origin}: {str(one.raw).strip()}" for one in (line, wish.declared) if one is not None),
    )


def _why(wish: _Wish, conditions: Iterable[_Wish]) -> str:
    other = next((one for one in conditions if one.name == wish.name), None)
    if other is None:
        return "Conda's packages are installed first and pip may not replace them; the conda lines leave no version that both accept."
    where = f"{other.declared.origin}: {str(other.declared.raw).strip()}" if other.declared else "pip's requirements"
    needs = (
        f", which needs {other.name}{other.specifier} of conda"
        if other.who == "pip"
        else f" ({other.who} needs {other.name}{other.specifier})"
    )
    return f"Conda's version was chosen for {where}{needs}; no version suits both."


def _because_of(line: MatchSpec | None, package: CondaPackage) -> str:
    if line is None:
        return ""
    if line.name == package.name:
        return f" ({line.origin}: {str(line.raw).strip()})"
    return f" (which {line.name} brings, {line.origin})"


def _resolve(plan: Plan, solution: Solution, how: Resolving, conditions: tuple[_Wish, ...]) -> Lock:
    """Uv's part, with conda's packages as they are."""
    provides = solution.lock.provides
    rest, settled = [], []
    for declared in plan.requirements:
        if declared.name not in provides or not applies(declared, plan.target):
            rest.append(declared)
        elif declared.extras:
            settled.append(declared)
            rest.append(replace(declared, specifier="", hashes=()))
        else:
            settled.append(declared)
    bound = [replace(index, packages=kept) for index in plan.bound if (kept := tuple(one for one in index.packages if one not in provides))]
    asked = replace(plan, requirements=tuple(rest), bound=tuple(bound))
    pip = replace(how.pip, conda=solution.lock)
    made = resolve(asked, how.interpreter(solution.lock.python), how.root, pip, how.reporter)
    shared = {**{str(one.name): provides[str(one.name)] for one in settled}, **dict(made.conda.shared if made.conda else ())}
    decisions = (
        *(_once(declared, solution) for declared in settled),
        *(_yielded(wish, solution) for wish in conditions),
        *solution.decisions,
        *explain(solution.lock.packages, solution.lines, plan.target),
    )
    lines = [f"{spec.origin}: {str(spec.raw).strip()}" for spec in (plan.conda.specs if plan.conda else ())]
    lines += [f"{declared.origin}: {declared.raw}" for declared in settled if not declared.extras]
    return replace(
        made,
        conda=replace(solution.lock, shared=tuple(sorted(shared.items()))),
        decisions=tuple(dict.fromkeys((*made.decisions, *decisions))),
        requirements=(*lines, *made.requirements),
        tools={**made.tools, "py-rattler": _rattler_version()},
    )


def _once(declared: Declared, solution: Solution) -> Decision:
    name = str(declared.name)
    package = _package(name, solution)
    line = solution.lines.get(package.name)
    also = f", with the extras {', '.join(declared.extras)} by pip" if declared.extras else ""
    return Decision(
        rule="conda-provides",
        kind=Kind.KEPT,
        subject=name,
        asked=declared.pep508,
        chose=f"{package.name} {package.version} by conda{also}",
        because=f"conda installs it already{_because_of(line, package)}, and a package is installed once",
        origin=declared.origin,
        instead=f"{package.name} out of {line.origin.path}, if pip is to install it" if line and line.name == package.name else None,
    )


def _yielded(wish: _Wish, solution: Solution) -> Decision:
    package = next((one for one in solution.lock.packages if one.name == wish.package.name), wish.package)
    line = solution.lines.get(package.name)
    asks = f"{wish.declared.origin}" if wish.declared else wish.who
    return Decision(
        rule="conda-version-for-pip",
        kind=Kind.CHOSEN,
        subject=wish.name,
        asked=f"{wish.name}{wish.specifier} ({asks}{'' if wish.who == 'pip' else f', needed by {wish.who}'})",
        chose=f"{package.name} {package.version} by conda",
        because=f"conda alone would have taken {wish.package.version}; the conda lines allow both",
        origin=line.origin if line else None,
        instead=f"a version of {package.name} among the conda packages",
    )


def _rattler_version() -> str:
    from importlib.metadata import version  # noqa: PLC0415 -- needed here alone

    return version("py-rattler")
