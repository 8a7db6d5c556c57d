"""Which packages of another tool's lock a target needs: the lock's graph walked from the project's own needs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache

from packaging.markers import Marker, UndefinedComparison, UndefinedEnvironmentName
from packaging.specifiers import InvalidSpecifier, SpecifierSet

from lading.model.decisions import Decision, Kind
from lading.model.locked import LockedPackage, LockedSet, Need
from lading.model.markers import marker_environment
from lading.model.origin import Origin
from lading.model.problems import ExitCode, LadingError, Problem
from lading.model.records import dataclass, field, replace
from lading.model.requirements import Declaration, Declared
from lading.model.target import Target


def select(declaration: Declaration, target: Target) -> tuple[Declared, ...]:
    """What is installed for the target: each package of the lock that the project, or a package of it, needs there.

    Markers are evaluated here, for the extras and groups that are wanted, and are gone from the answer.

    Raises:
        LadingError: if the lock lacks a package, has two of one name for the target, or holds a marker that cannot be evaluated.
    """
    assert declaration.locked is not None
    selection = _Selection(declaration.locked, declaration.path, target)
    chosen = selection.all()
    names: dict[str, Declared] = {}
    problems = [_not_exact(declared, declaration.path) for declared in chosen if not declared.is_pinned]
    for declared in chosen:
        earlier = names.setdefault(declared.name or str(declared.path), declared)
        if earlier is not declared:
            problems.append(_two_versions(earlier, declared, target))
    if problems:
        raise LadingError(*problems)
    return chosen


@dataclass(slots=True)
class _Selection:
    """One walk. ``wanted`` holds, by position in the lock, the extras that were asked for."""

    locked: LockedSet
    path: str
    target: Target
    by_name: dict[str, list[int]] = field(default_factory=dict)
    wanted: dict[int, set[str]] = field(default_factory=dict)
    markers: dict[str, bool] = field(default_factory=dict)

    def all(self) -> tuple[Declared, ...]:
        """The packages in the lock's order, without markers."""
        packages = self.locked.packages
        if self.locked.roots is None:
            return tuple(_bare(one.pin) for one in packages if self._holds(one.pin.marker, one.pin.origin) and self._is_for_target(one))
        for number, package in enumerate(packages):
            self.by_name.setdefault(package.pin.name or "", []).append(number)
        self._walk()
        return tuple(_bare(packages[number].pin) for number in sorted(self.wanted))

    def _walk(self) -> None:
        open_needs: list[tuple[Need, Origin]] = [(need, Origin(self.path)) for need in self.locked.roots or ()]
        while open_needs:
            need, origin = open_needs.pop()
            if not self._holds(need.marker, origin):
                continue
            for number in self._found(need, origin):
                open_needs += self._want(number, need.extras)

    def _want(self, number: int, extras: Iterable[str]) -> list[tuple[Need, Origin]]:
        """Mark a package; what it needs for the first time because of that."""
        package = self.locked.packages[number]
        before = self.wanted.get(number)
        known = before if before is not None else set()
        fresh = set(extras) - known
        if before is not None and not fresh:
            return []
        self.wanted[number] = known | fresh
        return [(need, package.pin.origin) for need in package.needs if (need.extra is None and before is None) or need.extra in fresh]

    def _found(self, need: Need, origin: Origin) -> list[int]:
        numbers = [number for number in self.by_name.get(need.name, ()) if self._is_for_target(self.locked.packages[number])]
        if len(numbers) > 1 and need.specifier:
            numbers = [number for number in numbers if _allows(need.specifier, self.locked.packages[number].version)]
        if not numbers:
            raise LadingError(_incomplete(self.path, need, origin))
        return numbers[:1] if need.specifier else numbers

    def _is_for_target(self, package: LockedPackage) -> bool:
        return not package.markers or any(self._holds(marker, package.pin.origin) for marker in package.markers)

    def _holds(self, marker: str | None, origin: Origin) -> bool:
        if marker is None:
            return True
        if marker not in self.markers:
            self.markers[marker] = _evaluate(marker, self.target, self.locked, origin)
        return self.markers[marker]


def _bare(pin: Declared) -> Declared:
    return replace(pin, marker=None) if pin.marker else pin


@lru_cache(maxsize=1024)
def _allows(specifier: str, version: str | None) -> bool:
    try:
        return version is None or SpecifierSet(specifier).contains(version, prereleases=True)
    except InvalidSpecifier:
        return True


def _evaluate(marker: str, target: Target, locked: LockedSet, origin: Origin) -> bool:
    environment: Mapping[str, str | frozenset[str]] = {
        **marker_environment(target),
        "extras": frozenset(locked.extras),
        "dependency_groups": frozenset(locked.groups),
    }
    try:
        read = Marker(marker)
        return any(read.evaluate({**environment, "extra": extra}, context="lock_file") for extra in ("", *locked.extras))
    except (ValueError, UndefinedComparison, UndefinedEnvironmentName) as error:
        raise LadingError(
            Problem(
                rule="marker-invalid",
                what=f"The marker `{marker}` of the lock cannot be evaluated.",
                origin=origin,
                instead="Let the tool that made the lock make it again.",
            )
        ) from error


def _incomplete(path: str, need: Need, origin: Origin) -> Problem:
    return Problem(
        rule="lock-incomplete",
        what=f"{path} holds no {need.name}{need.specifier}, and something in it needs it.",
        origin=origin,
        why="The lock was edited by hand, or a merge lost a part of it.",
        instead="Let the tool that made it make it again.",
        code=ExitCode.LOCK,
    )


def _not_exact(declared: Declared, path: str) -> Problem:
    return Problem(
        rule="lock-incomplete",
        what=f"{path} names no exact version of {declared.name}, which this target needs.",
        origin=declared.origin,
        why="The lock was made on another platform, for which the package is not needed.",
        instead=f"Make the lock on this platform, or pin {declared.name} in the project file.",
        code=ExitCode.LOCK,
    )


def _two_versions(first: Declared, second: Declared, target: Target) -> Problem:
    return Problem(
        rule="lock-ambiguous",
        what=f"The lock holds two versions of {first.name} for this target: {first.pep508} ({first.origin}) and {second.pep508} ({second.origin}).",
        origin=second.origin,
        why=f"The target is Python {target.python} on {target.platform}, with the extras and groups that are wanted.",
        instead="Let the tool that made the lock make it again, or name another source.",
        code=ExitCode.LOCK,
    )


def lock_decision(declaration: Declaration, chosen: tuple[Declared, ...]) -> Decision:
    """What was taken from the lock, in one sentence."""
    assert declaration.locked is not None
    total, some = len(declaration.locked.packages), len(chosen)
    others = "one is" if total - some == 1 else f"{total - some} are"
    rest = f"; the other {others} for other platforms, extras or groups" if total > some else ""
    return Decision(
        rule="lock-used",
        kind=Kind.KEPT,
        subject=declaration.path,
        asked=declaration.path,
        chose=f"{some} package{'' if some == 1 else 's'}, exactly as locked",
        because=f"their versions and hashes are those of {declaration.path}, and nothing is resolved anew{rest}",
        origin=Origin(declaration.path),
        instead="another version in the project file of the tool that made the lock, and its lock made again",
    )
