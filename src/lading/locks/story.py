"""Two locks compared, in words that a person reads."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from lading.explain.style import Style
from lading.explain.text import count, wrap
from lading.locks.diff import Change, diff
from lading.locks.reasons import Reasons, as_of_change, direction, target_changes
from lading.model.lock import Lock
from lading.model.records import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """One package that differs: what happened (``added``, ``removed``, ``upgraded``, ``downgraded``, ``changed``, ``files``), and why."""

    name: str
    what: str
    before: str | None
    after: str | None
    because: str

    def as_json(self) -> dict[str, Any]:
        """The record as JSON data; keys without a value are left out."""
        record = {"name": self.name, "what": self.what, "before": self.before, "after": self.after, "because": self.because}
        return {key: value for key, value in record.items() if value is not None}


@dataclass(frozen=True, slots=True, kw_only=True)
class Story:
    """All that differs. ``about`` are sentences about the whole (another Python, another day); ``same`` counts what stayed."""

    about: tuple[str, ...]
    packages: tuple[Told, ...]
    same: int

    def as_json(self) -> dict[str, Any]:
        """The record as JSON data."""
        return {"about": list(self.about), "packages": [told.as_json() for told in self.packages], "same": self.same}


def tell(before: Lock, after: Lock) -> Story:
    """Compare two locks: each package that differs with the reason, as far as the locks record it."""
    changes, reasons = diff(before, after), Reasons(before, after)
    told = [
        *(_told(change, "added", reasons) for change in changes.added),
        *(_told(change, "removed", reasons) for change in changes.removed),
        *(_told(change, direction(change), reasons) for change in changes.changed),
        *(_same_version(change) for change in changes.refreshed),
    ]
    day = as_of_change(before, after)
    names = {str(package["name"]) for package in after.packages}
    changed = {one.name for one in told}
    return Story(
        about=(*target_changes(before, after), *([day] if day else [])),
        packages=tuple(told),
        same=len(names - changed),
    )


def _told(change: Change, what: str, reasons: Reasons) -> Told:
    return Told(name=change.name, what=what, before=change.before, after=change.after, because=reasons.of(change))


def _same_version(change: Change) -> Told:
    because = "the same version, recorded with other files, hashes or another place"
    return Told(name=change.name, what="files", before=change.before, after=change.after, because=because)


_TITLES = {
    "added": "Added",
    "removed": "Removed",
    "upgraded": "Upgraded",
    "downgraded": "Downgraded",
    "changed": "Another build or source",
    "files": "Other files",
}


def render_story(story: Story, style: Style) -> str:
    """The story as text: the whole first, then each kind of change under a heading."""
    parts = [[_sentence(one) for one in story.about]] if story.about else []
    for what, title in _TITLES.items():
        told = [one for one in story.packages if one.what == what]
        if told:
            parts.append([style.paint(f"{title} ({len(told)})", "bold"), *(_line(one, style) for one in told)])
    parts.append([_summary(story)])
    return "\n\n".join("\n".join(part) for part in parts)


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}."


def _line(told: Told, style: Style) -> str:
    versions = " -> ".join(dict.fromkeys(one for one in (told.before, told.after) if one))
    return wrap(f"{told.name} {versions}: {told.because}", style, "  ", "      ")


def _summary(story: Story) -> str:
    if not story.packages:
        return f"No package differs; {count(story.same, 'package')} in both."
    return f"{_counted(story.packages)}; {count(story.same, 'package')} the same."


def _counted(packages: Iterable[Told]) -> str:
    numbers: dict[str, int] = {}
    for told in packages:
        word = "with other files" if told.what == "files" else told.what
        numbers[word] = numbers.get(word, 0) + 1
    return ", ".join(f"{number} {word}" for word, number in numbers.items())
