"""``Pipfile.lock``: Pipenv's lock, JSON."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from lading.formats._lock_toml import not_a_lock, shaped_as
from lading.formats._locked import known_hashes
from lading.formats._pipfile import PipenvSources, read_entry
from lading.formats._place import NO_VARIABLES, Place
from lading.formats._python import exact_request
from lading.formats._text import read_text
from lading.formats._toml import read_toml
from lading.model.files import ProjectFiles
from lading.model.locked import LockedPackage, LockedSet
from lading.model.origin import Origin
from lading.model.problems import LadingError, Problem, ProblemCollector
from lading.model.records import replace
from lading.model.requirements import Declaration, Via
from lading.model.secrets import redact_urls

name = "Pipfile.lock"

_KEY = re.compile(r'^\s*"([^"\\]+)"\s*:\s*\{', re.MULTILINE)


def recognises(path: str) -> bool:
    """Whether a file's name is Pipenv's lock."""
    return path.rsplit("/", 1)[-1] == name


def parse(path: str, files: ProjectFiles, environ: Mapping[str, str] = NO_VARIABLES) -> Declaration:
    """Read ``default``; ``develop`` is for development.

    Raises:
        LadingError: with every problem of the file.
    """
    text = read_text(path, files)
    data = _parsed(path, text)
    lines = _lines(text)
    problems = ProblemCollector()
    sources = PipenvSources()
    packages = []
    with shaped_as(path, "Pipenv"):
        meta = data.get("_meta", {})
        for source in meta.get("sources", ()):
            with problems.catching():
                place = Place(redact_urls(str(source["url"])), Origin(path, lines.get("_meta", 1)), files)
                sources.add(str(source.get("name", "")), str(source["url"]), place, environ)
        for written, entry in data.get("default", {}).items():
            with problems.catching():
                packages.append(_package(written, entry, Origin(path, lines.get(written, 1)), files, sources))
        requires = meta.get("requires", {})
        asked = requires.get("python_full_version") or requires.get("python_version")
    python = None
    if asked:
        with problems.catching():
            origin = Origin(path, lines.get("requires", 1))
            python = exact_request(str(asked), origin, rule="python-version-invalid", what="_meta.requires")
    problems.raise_if_any()
    return Declaration(
        format=name, path=path, read=(path,), options=sources.options(), python=python, locked=LockedSet(packages=tuple(packages))
    )


def _parsed(path: str, text: str) -> Mapping[str, Any]:
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as error:
        line = getattr(error, "lineno", 1)
        conflict = "<<<<<<< " in text
        why = "It holds the conflict markers of a merge." if conflict else "It is not valid JSON."
        instead = "Settle the Pipfile, then run `pipenv lock`."
        raise LadingError(
            Problem(rule="lock-unreadable", what=f"{path} cannot be read as a lock.", origin=Origin(path, line), why=why, instead=instead)
        ) from error
    if not isinstance(data, dict):
        raise not_a_lock(path, "it is not a table")
    return data


def _lines(text: str) -> dict[str, int]:
    """The line where each key's table begins; of a name in both groups, the first, which is ``default``'s."""
    lines: dict[str, int] = {}
    line, at = 1, 0
    for found in _KEY.finditer(text):
        line += text.count("\n", at, found.start(1))
        at = found.start(1)
        lines.setdefault(found[1], line)
    return lines


def _package(written: str, entry: Any, origin: Origin, files: ProjectFiles, sources: PipenvSources) -> LockedPackage:
    raw = f"{written}{entry.get('version', '')}"
    pin = read_entry(written, entry, Place(raw, origin, files), sources)
    if not pin.is_pinned and pin.marker is None:
        pin = replace(pin, marker=_marker_of_pipfile(written, origin, files))
    version = pin.specifier.removeprefix("==") if pin.via is Via.INDEX and pin.is_pinned else None
    return LockedPackage(pin=replace(pin, hashes=known_hashes(pin.hashes) if pin.via is not Via.VCS else ()), version=version)


def _marker_of_pipfile(written: str, origin: Origin, files: ProjectFiles) -> str | None:
    """The marker in the Pipfile of a package that its lock holds without version and marker.

    Pipenv writes such an entry for a package that the locking platform does not need; the planner sees whether the target does.
    """
    path = origin.path.removesuffix(".lock")
    if files.read(path) is None:
        return None
    value = read_toml(path, files).get("packages", written)
    place = Place(written, origin, files)
    return read_entry(written, {**value, "version": "*", "index": None} if isinstance(value, dict) else "*", place, PipenvSources()).marker
