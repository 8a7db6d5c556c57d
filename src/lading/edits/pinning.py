"""Pins for the files of one project, as changes that keep everything else, proved by reading the changed files again."""

from __future__ import annotations

from collections.abc import Iterable

from lading.edits.changes import Change
from lading.edits.floating import Pin
from lading.edits.pins import kind_of, pin_requirements, pin_strings, pin_yaml
from lading.model.files import ProjectFiles
from lading.model.records import dataclass, replace
from lading.model.requirements import Declared


@dataclass(frozen=True, slots=True, kw_only=True)
class Pinning:
    """What to write. ``left`` are the pins that were not written, each with its reason in ``because``."""

    changes: tuple[Change, ...]
    written: tuple[Pin, ...]
    left: tuple[Pin, ...]


def write_pins(found: Iterable[Pin], files: ProjectFiles, config: str | None) -> Pinning:
    """The changes that write every pin that has a version."""
    wanted, left = _agreed(tuple(found))
    by_path: dict[str, list[Pin]] = {}
    for pin in wanted:
        by_path.setdefault(pin.declared.origin.path, []).append(pin)
    changes, written = [], []
    for path, ones in by_path.items():
        change, unwritten = _change(path, ones, files, config)
        changes += [change] if change else []
        left += [_by_hand(pin) for pin in ones if pin.declared.origin.line in unwritten]
        written += [pin for pin in ones if pin.declared.origin.line not in unwritten]
    return Pinning(changes=tuple(changes), written=tuple(written), left=tuple(left))


def _agreed(found: tuple[Pin, ...]) -> tuple[list[Pin], list[Pin]]:
    """Pins by line: where a file belongs to several APIs that lock different versions, none can be written."""
    by_line: dict[tuple[str, str], list[Pin]] = {}
    for pin in found:
        by_line.setdefault((str(pin.declared.origin), pin.declared.name or ""), []).append(pin)
    wanted, left = [], []
    for ones in by_line.values():
        versions = sorted({pin.version for pin in ones if pin.version})
        if len(versions) == 1:
            wanted.append(next(pin for pin in ones if pin.version))
        elif versions:
            left.append(replace(ones[0], version=None, because=f"two locks give it {' and '.join(versions)}"))
        else:
            left.append(ones[0])
    return wanted, left


def _change(path: str, ones: list[Pin], files: ProjectFiles, config: str | None) -> tuple[Change | None, tuple[int, ...]]:
    content = files.read(path)
    lines = tuple(pin.declared.origin.line or 0 for pin in ones)
    kind = kind_of(path, config, files)
    if content is None or not kind:
        return None, lines
    if kind == "requirements":
        return pin_requirements(path, content, {pin.declared.origin.line or 0: pin.version or "" for pin in ones})
    by_line: dict[int, list[tuple[str, str]]] = {}
    for pin in ones:
        by_line.setdefault(pin.declared.origin.line or 0, []).append((pin.declared.name or "", pin.version or ""))
    return (pin_yaml if kind == "yaml" else pin_strings)(path, content, by_line)


def _by_hand(pin: Pin) -> Pin:
    return replace(pin, because=f"this line has a form that is not changed automatically; write {pin.declared.name}=={pin.version} there")


def only_pinned(before: Iterable[Declared], after: Iterable[Declared], written: Iterable[Pin]) -> bool:
    """Whether a changed declaration says what it said before, but for the versions that were written."""
    versions = {(pin.declared.origin.path, pin.declared.name, _facts(pin.declared)): pin.version for pin in written}
    old, new = tuple(before), tuple(after)
    return len(old) == len(new) and all(_same(one, other, versions) for one, other in zip(old, new, strict=True))


def _same(old: Declared, new: Declared, versions: dict[tuple[str, str | None, tuple[object, ...]], str | None]) -> bool:
    version = versions.get((old.origin.path, old.name, _facts(old)))
    expected = old if version is None else old.with_specifier(f"=={version}")
    return _facts(expected) == _facts(new)


def _facts(declared: Declared) -> tuple[object, ...]:
    return (
        declared.name, declared.specifier, declared.extras, declared.marker, declared.url, declared.path, declared.editable,
        declared.hashes, declared.index, declared.find_links, declared.options, declared.origin.path,
    )  # fmt: skip
