"""``pdm.lock``: PDM's lock, formats 4.x."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lading.formats._lock_toml import LockText, read_lock_toml, shaped_as
from lading.formats._locked import at_commit, at_path, at_url, indexed
from lading.formats._optional import wanted_parts, without_parts
from lading.formats._pdm import read_pdm
from lading.formats._place import NO_VARIABLES, Place
from lading.formats._python import specifier_request
from lading.formats._requirement import read_pep508
from lading.formats._toml import read_toml
from lading.formats._toml_reader import TomlReader
from lading.model.files import ProjectFiles
from lading.model.locked import LockedPackage, LockedSet, Need
from lading.model.names import canonical
from lading.model.origin import Origin
from lading.model.problems import LadingError, Problem, ProblemCollector
from lading.model.records import replace
from lading.model.requirements import BoundIndex, Declaration, Declared, IndexOptions
from lading.model.secrets import SecretText
from lading.model.selection import DEFAULT, Selection
from lading.model.target import PythonRequest

name = "pdm.lock"

_GROUPS = ("default", "lading")
_PYPROJECT = "pyproject.toml"


def recognises(path: str) -> bool:
    """Whether a file's name is PDM's lock."""
    return path.rsplit("/", 1)[-1] == name


def parse(path: str, files: ProjectFiles, environ: Mapping[str, str] = NO_VARIABLES, selection: Selection = DEFAULT) -> Declaration:
    """Read the lock: the default group (and one named ``lading``), with the sources that pyproject.toml names.

    Raises:
        LadingError: with every problem of the file.
    """
    lock = read_lock_toml(path, files, "package")
    with shaped_as(path, "PDM"):
        return _Reading(lock, files, environ, selection).declaration()


class _Reading:
    """One pdm.lock while it is read. Entries of one package with and without extras are one package here."""

    def __init__(self, lock: LockText, files: ProjectFiles, environ: Mapping[str, str], selection: Selection) -> None:
        self.lock = lock
        self.selection = selection
        self.groups = frozenset(_GROUPS)
        self.files = files
        self.environ = environ
        self.folder = lock.path.rpartition("/")[0]
        self.problems = ProblemCollector()
        self.has_groups = any("groups" in package for package in lock.packages)
        self.read = [lock.path]

    def declaration(self) -> Declaration:
        """All of the file.

        Raises:
            LadingError: with every problem.
        """
        self._parts()
        options, bound, roots = self._project()
        packages: dict[tuple[str, str], LockedPackage] = {}
        for number, package in enumerate(self.lock.packages):
            with self.problems.catching():
                if not self.has_groups or set(package.get("groups", _GROUPS)) & self.groups:
                    self._add(number, package, packages)
        python = self._python()
        self.problems.raise_if_any()
        return Declaration(
            format=name,
            path=self.lock.path,
            read=tuple(self.read),
            options=options,
            bound=bound,
            python=python,
            locked=LockedSet(packages=tuple(packages.values()), roots=roots),
        )

    def _parts(self) -> None:
        """Add the wanted extras and groups, which are groups alike in this lock."""
        if self.selection and not self.has_groups:
            self.problems.add(*without_parts(self.selection, self.lock.path).problems)
            return
        known = {str(group) for package in self.lock.packages for group in package.get("groups", ())}
        groups, extras = wanted_parts(self.selection, known, known, self.lock.path, self.problems)
        self.groups |= {*groups, *extras}

    def _project(self) -> tuple[IndexOptions, tuple[BoundIndex, ...], tuple[Need, ...] | None]:
        pyproject = f"{self.folder}/{_PYPROJECT}".lstrip("/")
        if self.files.read(pyproject) is None:
            if not self.has_groups and self.lock.packages:
                raise LadingError(_no_roots(self.lock.path, pyproject))
            return IndexOptions(), (), None
        reader = TomlReader(read_toml(pyproject, self.files), self.files, self.problems)
        pdm = read_pdm(reader, [], self.environ)
        if self.has_groups:
            return pdm.options, pdm.bound, None
        self.read.append(pyproject)
        declared = reader.requirements("project", "dependencies")
        return pdm.options, pdm.bound, tuple(_need(one) for one in declared)

    def _python(self) -> PythonRequest | None:
        targets = self.lock.data.get("metadata", {}).get("targets", ())
        texts = {str(target["requires_python"]) for target in targets if "requires_python" in target}
        if len(texts) != 1:
            return None
        return specifier_request(texts.pop(), self.lock.origin(), what="requires_python", example='requires_python = ">=3.10"')

    def _add(self, number: int, package: Mapping[str, Any], packages: dict[tuple[str, str], LockedPackage]) -> None:
        version = str(package.get("version", ""))
        written = canonical(package["name"])
        origin = self.lock.origin(number)
        place = Place(f"{written}=={version}", origin, self.files, folder=self.folder)
        marker = package.get("marker") if self.has_groups else None
        declared = Declared(
            raw=SecretText(place.raw),
            origin=origin,
            name=written,
            hashes=self.lock.hashes[number],
            marker=read_pep508(f"x ; {marker}", place).marker if marker else None,
        )
        pin = _pin(declared, version, package, place)
        needs = [_need(read_pep508(text, place)) for text in package.get("dependencies", ())]
        extras = tuple(canonical(str(extra)) for extra in package.get("extras", ()))
        needs = [replace(need, extra=extra) for extra in extras for need in needs if need.name != written] if extras else needs
        self._merge(LockedPackage(pin=pin, version=version, needs=tuple(needs)), packages)

    def _merge(self, found: LockedPackage, packages: dict[tuple[str, str], LockedPackage]) -> None:
        key = (found.pin.name or "", found.version or "")
        before = packages.get(key)
        if before is None:
            packages[key] = found
            return
        # With a marker on either entry the package is needed where one of them holds: with extras it is needed no less.
        hashes = tuple(dict.fromkeys((*before.pin.hashes, *found.pin.hashes)))
        marker = None if None in (before.pin.marker, found.pin.marker) else f"({before.pin.marker}) or ({found.pin.marker})"
        needs = () if self.has_groups else (*before.needs, *found.needs)
        packages[key] = replace(before, pin=replace(before.pin, hashes=hashes, marker=marker), needs=needs)


def _pin(declared: Declared, version: str, package: Mapping[str, Any], place: Place) -> Declared:
    if "git" in package:
        commit = package.get("revision") or package.get("ref") or ""
        return at_commit(declared, str(package["git"]), str(commit), package.get("subdirectory"), place)
    if "path" in package:
        return at_path(declared, str(package["path"]), place, editable=bool(package.get("editable")))
    if "url" in package:
        return at_url(declared, str(package["url"]), package.get("subdirectory"), place)
    return indexed(declared, version, None, place)


def _need(declared: Declared) -> Need:
    return Need(
        name=declared.name or "",
        extras=tuple(canonical(extra) for extra in declared.extras),
        specifier=declared.specifier,
        marker=declared.marker,
    )


def _no_roots(path: str, pyproject: str) -> Problem:
    return Problem(
        rule="lock-unreadable",
        what=f"{path} does not say which packages the project itself needs, and there is no {pyproject} that does.",
        origin=Origin(path, 1),
        why="Its packages name no groups.",
        instead="Put the pyproject.toml beside it, or lock anew with `pdm lock --strategy inherit_metadata`.",
    )
