"""Extras and dependency groups that are asked for by name: those that a file has, and a problem for each that it has not."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from lading.formats._markers import both
from lading.formats._near import did_you_mean
from lading.model.names import canonical
from lading.model.origin import Origin
from lading.model.problems import LadingError, Problem, ProblemCollector
from lading.model.records import dataclass, replace
from lading.model.requirements import Declared
from lading.model.selection import Asked, Selection


def written_names(asked: Asked, known: Iterable[str], kind: str, path: str) -> list[str]:
    """The names as the file writes them. ``kind`` is ``extra`` or ``group``.

    Raises:
        LadingError: for every name that the file does not know.
    """
    by_name = {canonical(name): name for name in known}
    unknown = [unknown_part(name, origin, list(by_name.values()), kind, path) for name, origin in asked if name not in by_name]
    if unknown:
        raise LadingError(*unknown)
    return [by_name[name] for name, _ in asked]


def wanted_parts(
    selection: Selection, groups: Iterable[str], extras: Iterable[str], path: str, problems: ProblemCollector
) -> tuple[list[str], list[str]]:
    """The wanted groups and extras as the file writes them; what it does not know goes to ``problems``."""
    found: list[list[str]] = []
    for asked, known, kind in ((selection.groups, groups, "group"), (selection.extras, extras, "extra")):
        found.append([])
        with problems.catching():
            found[-1] = written_names(asked, known, kind, path)
    return found[0], found[1]


@dataclass(frozen=True, slots=True, kw_only=True)
class Extras:
    """The extras of the project ``itself`` (its name in normal form) that ``path`` defines, as they are written; ``read`` gives one's list."""

    path: str
    itself: str
    written: tuple[str, ...]
    read: Callable[[str], Iterable[Declared]]

    def requirements(self, extra: str, problems: ProblemCollector, chain: tuple[str, ...] = ()) -> list[Declared]:
        """The requirements of an extra; one on the project itself (``name[other]``) stands for those of the extras that it names."""
        found: list[Declared] = []
        known = {canonical(name): name for name in self.written}
        if extra not in known.values() or extra in chain:
            return []
        for declared in self.read(extra):
            if declared.name != self.itself or not declared.extras:
                found.append(declared)
                continue
            for one in declared.extras:
                if canonical(one) not in known:
                    problems.add(unknown_part(one, declared.origin, list(known.values()), "extra", self.path))
                    continue
                items = self.requirements(known[canonical(one)], problems, (*chain, extra))
                found += [replace(item, marker=both(declared.marker, item.marker)) for item in items]
        return found


def unknown_part(name: str, origin: Origin, known: list[str], kind: str, path: str) -> Problem:
    """A name that the file does not know. ``kind`` is ``extra`` or ``group``."""
    near = did_you_mean(name, known)
    said = "dependency group" if kind == "group" else "extra"
    there = f"It has {', '.join(sorted(known))}." if known else f"It has no {said}s."
    return Problem(
        rule=f"{kind}-unknown",
        what=f"There is no {said} {name} in {path}.",
        origin=origin,
        why=there,
        instead=f"Did you mean {near}?" if near else "Ask for one that is there, or define it.",
    )


def without_parts(selection: Selection, path: str) -> LadingError:
    """The error of a file whose format has neither extras nor groups."""
    names = [*(("extra", *one) for one in selection.extras), *(("group", *one) for one in selection.groups)]
    return LadingError(
        *(
            Problem(
                rule=f"{kind}-unknown",
                what=f"{path} has no {'dependency groups' if kind == 'group' else 'extras'}, and {name} is asked for.",
                origin=origin,
                why="Extras and groups are parts of a pyproject.toml, a setup.cfg, or a lock made from one.",
                instead="Write these requirements in a file of their own, and name it: --source FILE.",
            )
            for kind, name, origin in names
        )
    )
