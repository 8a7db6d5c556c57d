"""``pylock.toml`` and ``pylock.NAME.toml``: the standard lock of PEP 751, whoever made it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from lading.formats._lock_toml import LockText, not_a_lock, read_lock_toml, shaped_as
from lading.formats._locked import at_commit, at_path, at_url, indexed
from lading.formats._optional import wanted_parts
from lading.formats._place import NO_VARIABLES, Place
from lading.formats._python import specifier_request
from lading.model.files import ProjectFiles
from lading.model.locked import LockedPackage, LockedSet
from lading.model.names import canonical
from lading.model.problems import ProblemCollector
from lading.model.requirements import Declaration, Declared
from lading.model.secrets import SecretText
from lading.model.selection import DEFAULT, Selection

name = "pylock.toml"

_NAME = re.compile(r"pylock(\.[^.]+)?\.toml")
_OURS = re.compile(r"pylock\.lading(-.*)?\.toml")


def recognises(path: str) -> bool:
    """Whether a file's name is that of a standard lock; Lading's own are none of this reader's."""
    written = path.rsplit("/", 1)[-1]
    return _NAME.fullmatch(written) is not None and _OURS.fullmatch(written) is None


def parse(
    path: str,
    files: ProjectFiles,
    environ: Mapping[str, str] = NO_VARIABLES,  # noqa: ARG001 -- the seam's signature
    selection: Selection = DEFAULT,
) -> Declaration:
    """Read the lock. Markers stay, also those on ``extras`` and ``dependency_groups``: the planner evaluates them for what is wanted.

    Raises:
        LadingError: with every problem of the file.
    """
    lock = read_lock_toml(path, files, "packages")
    if str(lock.data.get("lock-version", "")).partition(".")[0] != "1":
        raise not_a_lock(path, f"its lock-version is {lock.data.get('lock-version')}, and this version of Lading reads 1.x")
    problems = ProblemCollector()
    packages = []
    python = None
    with shaped_as(path, "PEP 751"):
        for number, package in enumerate(lock.packages):
            with problems.catching():
                packages.append(_package(number, package, lock, files))
        required = lock.data.get("requires-python")
        if required is not None:
            with problems.catching():
                python = specifier_request(str(required), lock.origin(), what="requires-python", example='requires-python = ">=3.10"')
        extras, groups = (_texts(lock.data.get(key)) for key in ("extras", "dependency-groups"))
        wanted_parts(selection, groups, extras, path, problems)
    problems.raise_if_any()
    locked = LockedSet(
        packages=tuple(packages),
        extras=selection.extra_names,
        groups=tuple(dict.fromkeys((*map(canonical, _texts(lock.data.get("default-groups"))), *selection.group_names))),
    )
    return Declaration(format=name, path=path, read=(path,), python=python, locked=locked)


def _texts(value: Any) -> tuple[str, ...]:
    return tuple(str(one) for one in value) if isinstance(value, list) else ()


def _package(number: int, package: Mapping[str, Any], lock: LockText, files: ProjectFiles) -> LockedPackage:
    version = package.get("version")
    written = canonical(package["name"])
    origin = lock.origin(number)
    place = Place(f"{written}=={version}" if version else written, origin, files, folder=lock.path.rpartition("/")[0])
    marker = str(package["marker"]) if package.get("marker") else None
    hashes = (*lock.hashes[number], *_hashes(package))
    declared = Declared(raw=SecretText(place.raw), origin=origin, name=written, hashes=tuple(dict.fromkeys(hashes)), marker=marker)
    return LockedPackage(pin=_pin(declared, package, place), version=str(version) if version else None)


def _pin(declared: Declared, package: Mapping[str, Any], place: Place) -> Declared:
    if vcs := package.get("vcs"):
        return at_commit(declared, str(vcs.get("url") or vcs["path"]), str(vcs["commit-id"]), vcs.get("subdirectory"), place)
    if directory := package.get("directory"):
        return at_path(declared, str(directory["path"]), place, editable=bool(directory.get("editable")))
    if archive := package.get("archive"):
        if "path" in archive:
            return at_path(declared, str(archive["path"]), place)
        return at_url(declared, str(archive["url"]), archive.get("subdirectory"), place)
    files = [*([package["sdist"]] if "sdist" in package else ()), *package.get("wheels", ())]
    if not files:
        raise not_a_lock(place.origin.path, f"{declared.name} has no files", place.origin)
    local = [file for file in files if "path" in file and "url" not in file]
    if local:
        return at_path(declared, str(local[-1]["path"]), place)
    version, index = package.get("version"), package.get("index")
    if version is None or (index is None and not _is_public(files) and len(files) == 1):
        return at_url(declared, str(files[-1]["url"]), None, place)
    return indexed(declared, str(version), str(index) if index else None, place)


def _is_public(files: Iterable[Mapping[str, Any]]) -> bool:
    return any("://files.pythonhosted.org/" in str(file.get("url", "")) for file in files)


def _hashes(package: Mapping[str, Any]) -> Iterable[str]:
    tables = [package.get("archive"), package.get("sdist"), *package.get("wheels", ())]
    for table in tables:
        for algorithm, value in (table or {}).get("hashes", {}).items():
            yield f"{algorithm}:{value}"
