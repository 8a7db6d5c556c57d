"""``poetry.lock``: Poetry's lock, from 1.0 to 2.x.

Newer locks name the groups and markers of each package; older ones hold a graph whose roots are in pyproject.toml.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from lading.formats._lock_toml import LockText, read_lock_toml, shaped_as
from lading.formats._locked import at_commit, at_path, at_url, bare, indexed
from lading.formats._markers import either
from lading.formats._optional import wanted_parts, without_parts
from lading.formats._origins import with_credentials
from lading.formats._place import NO_VARIABLES, Place
from lading.formats._poetry import python_marker, read_poetry, read_sources
from lading.formats._poetry_versions import alternatives
from lading.formats._requirement import read_pep508
from lading.formats._toml import read_toml
from lading.formats._toml_reader import TomlReader
from lading.model.files import ProjectFiles
from lading.model.locked import LockedPackage, LockedSet, Need
from lading.model.names import canonical
from lading.model.origin import Origin
from lading.model.problems import LadingError, Problem, ProblemCollector
from lading.model.requirements import Declaration, Declared, IndexOptions
from lading.model.secrets import SecretText
from lading.model.selection import DEFAULT, Selection
from lading.model.target import PythonRequest

name = "poetry.lock"

_GROUPS = ("main", "lading")
_PYPROJECT = "pyproject.toml"


def recognises(path: str) -> bool:
    """Whether a file's name is Poetry's lock."""
    return path.rsplit("/", 1)[-1] == name


def parse(path: str, files: ProjectFiles, environ: Mapping[str, str] = NO_VARIABLES, selection: Selection = DEFAULT) -> Declaration:
    """Read the lock: the main group (and one named ``lading``), with pyproject.toml where the lock does not tell the groups.

    Raises:
        LadingError: with every problem of the file.
    """
    lock = read_lock_toml(path, files, "package")
    with shaped_as(path, "Poetry"):
        return _Reading(lock, files, environ, selection).declaration()


class _Reading:
    """One poetry.lock while it is read."""

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
        options, roots = IndexOptions(), None
        pyproject = f"{self.folder}/{_PYPROJECT}".lstrip("/")
        if not self.has_groups and self.lock.packages and self.files.read(pyproject) is None:
            raise LadingError(_no_roots(self.lock.path, pyproject))
        if self.files.read(pyproject) is not None:
            reader = TomlReader(read_toml(pyproject, self.files), self.files, self.problems)
            sources = read_sources(reader, self.environ)
            options = sources.options
            if not self.has_groups:
                self.read.append(pyproject)
                declared = [*reader.requirements("project", "dependencies"), *read_poetry(reader, sources, ("lading",))]
                roots = tuple(_root(one) for one in declared)
        extras = self._parts()
        packages = []
        for number, package in enumerate(self.lock.packages):
            with self.problems.catching():
                if not self.has_groups or set(package.get("groups", _GROUPS)) & self.groups:
                    packages.append(self._package(number, package))
        python = self._python()
        self.problems.raise_if_any()
        return Declaration(
            format=name,
            path=self.lock.path,
            read=tuple(self.read),
            options=options,
            python=python,
            locked=LockedSet(packages=tuple(one for one in packages if one is not None), roots=roots, extras=extras),
        )

    def _parts(self) -> tuple[str, ...]:
        """The extras that are wanted, if the lock knows them; the groups that are join those that it always gives."""
        if self.selection and not self.has_groups:
            self.problems.add(*without_parts(self.selection, self.lock.path).problems)
            return ()
        known = {str(group) for package in self.lock.packages for group in package.get("groups", ())}
        groups, _ = wanted_parts(self.selection, known, self.lock.data.get("extras", {}), self.lock.path, self.problems)
        self.groups |= set(groups)
        return self.selection.extra_names

    def _python(self) -> PythonRequest | None:
        text = self.lock.data.get("metadata", {}).get("python-versions")
        found = alternatives(text) if isinstance(text, str) else None
        if found is None or len(found) != 1 or not found[0]:
            return None
        return PythonRequest(specifier=found[0], text=str(text), origin=self.lock.origin())

    def _package(self, number: int, package: Mapping[str, Any]) -> LockedPackage:
        version = str(package["version"])
        written = canonical(package["name"])
        origin = self.lock.origin(number)
        place = Place(f"{written}=={version}", origin, self.files, folder=self.folder)
        declared = Declared(
            raw=SecretText(place.raw),
            origin=origin,
            name=written,
            hashes=self.lock.hashes[number] or self._hashes_of_old(package["name"]),
            marker=self._marker(package, place),
        )
        needs = () if self.has_groups else tuple(_needs(package))
        return LockedPackage(pin=self._pin(declared, version, package.get("source", {}), place), version=version, needs=needs)

    def _hashes_of_old(self, written: str) -> tuple[str, ...]:
        """Poetry 1.0 to 1.2 list all files in ``[metadata.files]``."""
        listed = self.lock.data.get("metadata", {}).get("files", {})
        return tuple(str(file["hash"]) for file in (listed.get(written, ()) if isinstance(listed, dict) else ()) if "hash" in file)

    def _marker(self, package: Mapping[str, Any], place: Place) -> str | None:
        """``markers``: one text, or one for each group."""
        written = package.get("markers") if self.has_groups else None
        if isinstance(written, dict):
            groups = [group for group in package.get("groups", ()) if group in self.groups]
            written = either(*(written.get(group) for group in groups))
        return read_pep508(f"x ; {written}", place).marker if written else None

    def _pin(self, declared: Declared, version: str, source: Mapping[str, Any], place: Place) -> Declared:
        if source.get("type") == "legacy":
            url = with_credentials(str(source["url"]), "POETRY_HTTP_BASIC", str(source.get("reference", "")), self.environ)
            return indexed(declared, version, str(source["url"]), place, {bare(url.reveal()): url})
        return _placed(declared, version, source, place)


def _placed(declared: Declared, version: str, source: Mapping[str, Any], place: Place) -> Declared:
    kind, url = source.get("type"), str(source.get("url", ""))
    if kind == "git":
        commit = source.get("resolved_reference") or source.get("reference") or ""
        return at_commit(declared, url, str(commit), source.get("subdirectory"), place)
    if kind == "url":
        return at_url(declared, url, source.get("subdirectory"), place)
    if kind in ("directory", "file"):
        return at_path(declared, url, place, editable=bool(source.get("develop")))
    return indexed(declared, version, None, place)


def _root(declared: Declared) -> Need:
    return Need(name=declared.name or "", extras=declared.extras, specifier=declared.specifier, marker=declared.marker)


def _needs(package: Mapping[str, Any]) -> Iterable[Need]:
    """Edges, each with the extra of its owner that asks for it."""
    wanted_by: dict[str, list[str]] = {}
    for extra, items in package.get("extras", {}).items():
        for item in items:
            wanted_by.setdefault(canonical(str(item).partition(" ")[0].partition("[")[0].partition(";")[0]), []).append(canonical(extra))
    for written, value in package.get("dependencies", {}).items():
        for entry in value if isinstance(value, list) else [value]:
            table = {"version": entry} if isinstance(entry, str) else entry
            found = alternatives(str(table.get("version", "*"))) or [""]
            extras = tuple(canonical(str(extra)) for extra in table.get("extras", ()))
            specifier = found[0] if len(found) == 1 else ""
            for extra in wanted_by.get(canonical(written), [None]) if table.get("optional") else [None]:
                yield Need(name=canonical(written), extras=extras, specifier=specifier, marker=_edge_marker(table), extra=extra)


def _edge_marker(table: Mapping[str, Any]) -> str | None:
    """The marker, without the conditions on extras that `_needs` has from the table of extras."""
    marker = table.get("markers")
    if marker is None and table.get("python"):
        found = alternatives(str(table["python"])) or []
        return either(*(python_marker(specifier) for specifier in found))
    return str(marker) if marker and "extra ==" not in str(marker) else None


def _no_roots(path: str, pyproject: str) -> Problem:
    return Problem(
        rule="lock-unreadable",
        what=f"{path} does not say which packages the project itself needs, and there is no {pyproject} that does.",
        origin=Origin(path, 1),
        why="Before version 2, Poetry's locks hold the packages of all groups together.",
        instead="Put the pyproject.toml beside it, or lock anew with Poetry 2.",
    )
