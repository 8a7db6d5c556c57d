"""The chosen source beside those that are ignored: what only the others declare, and what cannot both hold."""

from __future__ import annotations

import re
from collections.abc import Iterable

from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.version import InvalidVersion, Version

from lading.model.decisions import Decision, Kind
from lading.model.origin import Origin
from lading.model.problems import Problem
from lading.model.records import dataclass
from lading.model.requirements import Declaration, Declared, Via

_VERSION = re.compile(r"[0-9][0-9A-Za-z.!+_-]*")


@dataclass(frozen=True, slots=True)
class Difference:
    """One package. ``ignored`` is the line of the ignored file, ``chosen`` those of the chosen one; none: only the ignored one has it."""

    name: str
    ignored: Declared
    chosen: tuple[Declared, ...]


def differences(chosen: Declaration, ignored: Declaration) -> tuple[Difference, ...]:
    """What the ignored declaration asks for and the chosen one does not give.

    A requirement under a marker is compared where both declare the package; it may not be meant for this target.
    """
    ours: dict[str, list[Declared]] = {}
    for declared in pins(chosen):
        ours.setdefault(declared.name or str(declared.path), []).append(declared)
    found = []
    for declared in pins(ignored) if ignored.locked is None else roots(ignored):
        name = declared.name or str(declared.path)
        mine = ours.get(name, [])
        absent = not mine and not declared.marker and declared.name is not None
        if absent or (mine and not any(can_both_hold(one, declared) for one in mine)):
            found.append(Difference(name, declared, tuple(mine)))
    return tuple(dict.fromkeys(found))


def pins(declaration: Declaration) -> tuple[Declared, ...]:
    """All that a declaration installs by name: its requirements, or every package of a lock."""
    if declaration.locked is not None:
        return tuple(package.pin for package in declaration.locked.packages)
    return declaration.requirements


def roots(declaration: Declaration) -> tuple[Declared, ...]:
    """The packages of a lock that the project itself needs; all, where the lock does not tell."""
    locked = declaration.locked
    if locked is None or locked.roots is None:
        return pins(declaration)
    names = {need.name for need in locked.roots}
    return tuple(package.pin for package in locked.packages if package.pin.name in names)


def can_both_hold(first: Declared, second: Declared) -> bool:
    """Whether one installation can satisfy both requirements; where that cannot be told, it can."""
    if Via.INDEX not in (first.via, second.via):
        return first.via is second.via and _place(first) == _place(second)
    if first.via is not Via.INDEX or second.via is not Via.INDEX:
        return True
    try:
        one, other = SpecifierSet(first.specifier), SpecifierSet(second.specifier)
    except InvalidSpecifier:
        return True
    return any(_allows(one, version) and _allows(other, version) for version in _probes(first.specifier, second.specifier))


def _place(declared: Declared) -> str:
    return declared.url.without_credentials() if declared.url else str(declared.path)


def _allows(specifier: SpecifierSet, version: Version) -> bool:
    """Whether a version is allowed; a build label counts only where the specifier names one."""
    return specifier.contains(version, prereleases=True) or (
        version.local is not None and specifier.contains(version.public, prereleases=True)
    )


def _probes(*specifiers: str) -> Iterable[Version]:
    """Versions at and around every one that is named: ranges that overlap have one of these in common."""
    yield Version("0")
    yield Version("99999")
    for text in _VERSION.findall(" ".join(specifiers)):
        try:
            version = Version(text.rstrip(".*"))
        except InvalidVersion:
            continue
        yield version
        release = [*version.release]
        while len(release) < 3:
            release.append(0)
        yield Version(f"{version.epoch}!{'.'.join(map(str, [*release, 1]))}")
        below = _below(list(version.release))
        if below:
            yield Version(f"{version.epoch}!{below}")


def _below(release: list[int]) -> str | None:
    """A release just before another: 2.0 has 1.99999 before it."""
    while release and release[-1] == 0:
        release.pop()
    if not release:
        return None
    return ".".join(map(str, [*release[:-1], release[-1] - 1, 99999]))


def differ_decision(found: tuple[Difference, ...], chosen: Declaration, ignored: Declaration, because: str) -> Decision:
    """The warning about one ignored file, with its table."""
    return Decision(
        rule="sources-differ",
        kind=Kind.ADVICE,
        subject=ignored.path,
        asked=f"{ignored.path} declares {_counted(found)} that {chosen.path} does not give",
        chose=f"{chosen.path} alone",
        because=f"one source is installed, and {chosen.path} counts: {because}",
        origin=Origin(ignored.path, found[0].ignored.origin.line),
        instead=_way_out(chosen, ignored),
        detail=table(found, chosen.path, ignored.path),
    )


def differ_problem(decision: Decision) -> Problem:
    """The same as an error, for ``--strict``."""
    return Problem(
        rule=decision.rule,
        what=f"{decision.asked}.",
        origin=decision.origin,
        why=f"{decision.because[:1].upper()}{decision.because[1:]}; --strict lets no other file say something else.",
        instead=f"{(decision.instead or '')[:1].upper()}{(decision.instead or '')[1:]}.",
        detail=decision.detail,
    )


def _counted(found: tuple[Difference, ...]) -> str:
    return "a package" if len(found) == 1 else f"{len(found)} packages"


def _way_out(chosen: Declaration, ignored: Declaration) -> str:
    if chosen.locked is not None:
        return f"bring {chosen.path} up to date with the tool that made it, or delete the file that is not used any more"
    return f"move what is missing into {chosen.path}, or delete {ignored.path}"


def table(found: Iterable[Difference], chosen: str, ignored: str) -> str:
    """The differences as lines of columns, for the terminal and for records alike."""
    rows = [("package", ignored, chosen)]
    for one in found:
        mine = ", ".join(f"{_said(declared)} ({declared.origin})" for declared in one.chosen) or "-"
        rows.append((one.name, f"{_said(one.ignored)} ({one.ignored.origin})", mine))
    widths = [max(len(row[column]) for row in rows) for column in range(2)]
    return "\n".join(f"{row[0]:{widths[0]}}  {row[1]:{widths[1]}}  {row[2]}" for row in rows)


def _said(declared: Declared) -> str:
    if declared.via is not Via.INDEX:
        return declared.pep508
    return declared.specifier or "any version"
