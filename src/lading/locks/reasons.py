"""Why a package differs between two locks: the user's own line, another package, the target, the day, or a newer release."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from lading.locks.diff import Change, diff
from lading.model.lock import Lock
from lading.model.records import dataclass

_LINE = re.compile(r"(?P<origin>\S+?(?::\d+)?): (?P<text>.+)")
_NAMED = re.compile(r"(?:-e )?(?P<name>[A-Za-z0-9](?:[\w.-]*[A-Za-z0-9])?)(?=$|[\s\[@<>=!~;(])")
_TARGET = (("python", "Python"), ("implementation", "the implementation"), ("platform", "the platform"), ("accelerator", "the accelerator"))


@dataclass(frozen=True, slots=True)
class _Side:
    """One of the two locks, by package."""

    versions: Mapping[str, str]
    asked: Mapping[str, tuple[str, ...]]
    needed_by: Mapping[str, frozenset[str]]
    index: Mapping[str, str]

    @classmethod
    def of(cls, lock: Lock) -> _Side:
        needed: dict[str, set[str]] = {}
        for package in lock.packages:
            for need in package.get("dependencies", ()):
                needed.setdefault(str(need.get("name")), set()).add(str(package["name"]))
        return cls(
            versions={str(package["name"]): _source(package) for package in lock.packages},
            asked=_asked(lock),
            needed_by={name: frozenset(who) for name, who in needed.items()},
            index={str(package["name"]): str(package["index"]) for package in lock.packages if "index" in package},
        )


def _source(package: Mapping[str, Any]) -> str:
    place = package.get("vcs", {}).get("commit-id") or package.get("directory", {}).get("path") or ""
    return f"{package.get('version', '')} {place}".strip()


def _asked(lock: Lock) -> dict[str, tuple[str, ...]]:
    """The user's lines about each package, each with its origin; the number of a line that only moved does not count."""
    asked: dict[str, tuple[str, ...]] = {}
    for line in lock.requirements:
        found = _LINE.fullmatch(line)
        named = _NAMED.match(found["text"]) if found else None
        if found and named:
            name = str(canonicalize_name(named["name"]))
            asked[name] = (*asked.get(name, ()), line)
    return asked


class Reasons:
    """Why each package of the second lock differs from the first."""

    def __init__(self, before: Lock, after: Lock) -> None:
        self.before, self.after = _Side.of(before), _Side.of(after)
        self.target = target_changes(before, after)
        self.day = as_of_change(before, after)
        changes = diff(before, after)
        self.moved = {change.name for change in (*changes.added, *changes.removed, *changes.changed)}

    def of(self, change: Change) -> str:
        """The reason as a clause: ``requirements.txt:3 asks for flask>=3; it asked for flask<3``."""
        if change.before is None:
            return self._added(change.name)
        if change.after is None:
            return self._removed(change.name)
        return self._changed(change)

    def _added(self, name: str) -> str:
        if asked := self.after.asked.get(name):
            return _asks(asked)
        if who := self.after.needed_by.get(name):
            return f"{_list(who)} {_verb(who, 'need')} it"
        return "the reason is not recorded"

    def _removed(self, name: str) -> str:
        if (asked := self.before.asked.get(name)) and name not in self.after.asked:
            return f"it is not asked for any more ({'; '.join(asked)})"
        if who := self.before.needed_by.get(name):
            gone = sorted(one for one in who if one not in self.after.versions)
            kept = sorted(one for one in who if one in self.after.versions)
            parts = [f"{_list(gone)} {_verb(gone, 'is', 'are')} gone"] if gone else []
            parts += [f"{_list(kept)} {_verb(kept, 'need')} it no more"] if kept else []
            return " and ".join(parts)
        return "nothing needs it any more"

    def _changed(self, change: Change) -> str:
        name = change.name
        old, new = self.before.asked.get(name, ()), self.after.asked.get(name, ())
        if _texts(old) != _texts(new):
            was = f"; before: {', '.join(_texts(old))}" if old else ", which nothing asked for before"
            return f"{_asks(new)}{was}" if new else f"it is not asked for any more ({'; '.join(old)})"
        if self.before.index.get(name, "") != self.after.index.get(name, "") and name in self.after.index:
            return f"it comes from {self.after.index[name]}" + (f", not {self.before.index[name]}" if name in self.before.index else "")
        if self.target and _build(change):
            return "; ".join(self.target)
        who = sorted(self.after.needed_by.get(name, frozenset()) & self.moved)
        if who and not new:
            return f"{_list(who)}, which {_verb(who, 'need')} it, changed as well"
        if self.day or self.target:
            return "; ".join([*self.target, *([self.day] if self.day else [])])
        return _by_itself(change)


def target_changes(before: Lock, after: Lock) -> tuple[str, ...]:
    """What the second lock is for that the first was not, in words."""
    changes = []
    for key, words in _TARGET:
        old, new = before.target.get(key), after.target.get(key)
        if old != new and new:
            changes.append(f"{words} is {new}" + (f", and was {old}" if old else ""))
    return tuple(changes)


def as_of_change(before: Lock, after: Lock) -> str | None:
    """How the days differ as of which the locks were made."""
    if before.as_of == after.as_of:
        return None
    if after.as_of is None:
        return f"the lock is not held to {before.as_of} any more"
    return f"the lock is held to what was there at {after.as_of}" + (f", and was to {before.as_of}" if before.as_of else "")


def direction(change: Change) -> str:
    """``upgraded``, ``downgraded``, or ``changed`` where the versions do not tell (another build, another source)."""
    try:
        old, new = Version(change.before or ""), Version(change.after or "")
    except InvalidVersion:
        return "changed"
    if old.public == new.public:
        return "changed"
    return "upgraded" if new > old else "downgraded"


def _build(change: Change) -> bool:
    """Whether only the build label differs."""
    return (change.before or "").partition("+")[0] == (change.after or "").partition("+")[0]


def _by_itself(change: Change) -> str:
    if direction(change) == "upgraded":
        return "a newer version was there"
    if direction(change) == "downgraded":
        return "the newer one does not fit, or is not there any more"
    return "its source changed"


def _texts(lines: tuple[str, ...]) -> tuple[str, ...]:
    found = (_LINE.fullmatch(line) for line in lines)
    return tuple(sorted(match["text"] for match in found if match))


def _asks(lines: tuple[str, ...]) -> str:
    found = [match for line in lines if (match := _LINE.fullmatch(line))]
    return " and ".join(f"{match['origin']} asks for {match['text']}" for match in found)


def _list(names: frozenset[str] | list[str]) -> str:
    *most, last = sorted(names)
    return f"{', '.join(most)} and {last}" if most else last


def _verb(names: frozenset[str] | list[str], word: str, plural: str | None = None) -> str:
    if plural:
        return word if len(names) == 1 else plural
    return f"{word}s" if len(names) == 1 else word
