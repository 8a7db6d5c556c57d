"""``uv.lock``: uv's lock (https://docs.astral.sh/uv/concepts/projects/layout/#the-lockfile).

It holds the packages for every platform at once, as a graph with markers on its edges; the planner walks it for the target.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import parse_qs, urlsplit, urlunsplit

from lading.formats._lock_toml import LockText, not_a_lock, read_lock_toml, shaped_as
from lading.formats._locked import at_commit, at_path, at_url, bare, indexed
from lading.formats._optional import wanted_parts, without_parts
from lading.formats._place import NO_VARIABLES, Place
from lading.formats._python import specifier_request
from lading.formats._toml import read_toml
from lading.formats._toml_reader import TomlReader
from lading.formats._uv_table import read_uv_table
from lading.model.decisions import Decision, Kind
from lading.model.files import ProjectFiles
from lading.model.locked import LockedPackage, LockedSet, Need
from lading.model.names import canonical
from lading.model.problems import LadingError, ProblemCollector
from lading.model.records import replace
from lading.model.requirements import Declaration, Declared
from lading.model.secrets import SecretText, SecretUrl
from lading.model.selection import DEFAULT, Selection

name = "uv.lock"

_GROUP = "lading"
_HIGHEST_VERSION = 1


def recognises(path: str) -> bool:
    """Whether a file's name is uv's lock, or that of a script (``predict.py.lock``)."""
    return path.rsplit("/", 1)[-1] == name or path.endswith(".py.lock")


def parse(path: str, files: ProjectFiles, environ: Mapping[str, str] = NO_VARIABLES, selection: Selection = DEFAULT) -> Declaration:
    """Read the lock: what the project itself needs (and its group ``lading``), and every package with its hashes.

    Credentials of an index come from the pyproject.toml beside it: written there, or as variables by its name
    (``UV_INDEX_<NAME>_PASSWORD`` in ``environ``).

    Raises:
        LadingError: with every problem of the file.
    """
    lock = read_lock_toml(path, files, "package")
    if lock.data.get("version") != _HIGHEST_VERSION:
        raise not_a_lock(path, f"its version is {lock.data.get('version')}, and this version of Lading reads version 1")
    with shaped_as(path, "uv"):
        return _Reading(lock, files, _indexes(lock.path, files, environ), selection).declaration()


def _indexes(path: str, files: ProjectFiles, environ: Mapping[str, str]) -> dict[str, SecretUrl]:
    """The indexes of the pyproject.toml beside the lock, by their bare address; none where it cannot be read."""
    pyproject = f"{path.rpartition('/')[0]}/pyproject.toml".lstrip("/")
    if b"tool.uv" not in (files.read(pyproject) or b""):
        return {}
    try:
        reader = TomlReader(read_toml(pyproject, files), files)
    except LadingError:
        return {}
    uv = read_uv_table(reader, environ)
    urls = [*uv.indexes.values(), *uv.options.extra_index_urls, *([uv.options.index_url] if uv.options.index_url else [])]
    return {bare(url.reveal()): url for url in urls}


class _Reading:
    """One uv.lock while it is read."""

    def __init__(self, lock: LockText, files: ProjectFiles, indexes: Mapping[str, SecretUrl], selection: Selection) -> None:
        self.lock = lock
        self.selection = selection
        self.files = files
        self.indexes = indexes
        self.folder = lock.path.rpartition("/")[0]
        self.problems = ProblemCollector()
        self.decisions: list[Decision] = []

    def declaration(self) -> Declaration:
        """All of the file.

        Raises:
            LadingError: with every problem.
        """
        lock = self.lock
        root = next((number for number, package in enumerate(lock.packages) if _is_root(package)), None)
        packages = []
        for number, package in enumerate(lock.packages):
            with self.problems.catching():
                if number != root:
                    packages.append(self._package(number, package))
        roots = self._roots(root)
        if root is not None:
            packages += self._project_itself(root)
        python = None
        if isinstance(lock.data.get("requires-python"), str):
            with self.problems.catching():
                python = specifier_request(
                    lock.data["requires-python"], lock.origin(), what="requires-python", example='requires-python = ">=3.10"'
                )
        self.problems.raise_if_any()
        itself = tuple(Need(name=one.pin.name or "") for one in packages[-1:] if one.pin.path == (self.folder or "."))
        return Declaration(
            format=name,
            path=lock.path,
            read=(lock.path,),
            python=python,
            locked=LockedSet(packages=tuple(packages), roots=(*roots, *itself)),
            decisions=tuple(self.decisions),
        )

    def _roots(self, root: int | None) -> tuple[Need, ...]:
        """What the project, or the script, needs."""
        manifest = self.lock.data.get("manifest", {})
        if root is not None:
            package = self.lock.packages[root]
            return (*_needs(package.get("dependencies", ())), *self._parts(package))
        if "requirements" in manifest:
            if self.selection:
                self.problems.add(*without_parts(self.selection, self.lock.path).problems)
            return tuple(_needs(manifest["requirements"]))
        members = ", ".join(manifest.get("members", ()))
        why = f"it is the lock of a workspace ({members}), and none of its members is this folder" if members else "it locks no project"
        self.problems.add(*not_a_lock(self.lock.path, why).problems)
        return ()

    def _parts(self, package: Mapping[str, Any]) -> Iterable[Need]:
        """What the group ``lading`` and the wanted extras and groups need."""
        groups = {canonical(group): items for group, items in package.get("dev-dependencies", {}).items()}
        extras = {canonical(extra): items for extra, items in package.get("optional-dependencies", {}).items()}
        named, optional = wanted_parts(self.selection, groups, extras, self.lock.path, self.problems)
        parts = [groups.get(_GROUP, ()), *(groups[name] for name in named), *(extras[name] for name in optional)]
        return [need for items in parts for need in _needs(items)]

    def _package(self, number: int, package: Mapping[str, Any]) -> LockedPackage:
        version = package.get("version")
        pin = self._pin(number, package, str(version) if version is not None else None)
        optional = package.get("optional-dependencies", {})
        needs = [*_needs(package.get("dependencies", ()))]
        needs += [replace(need, extra=canonical(extra)) for extra, items in optional.items() for need in _needs(items)]
        markers = tuple(str(marker) for marker in package.get("resolution-markers", ()))
        return LockedPackage(pin=pin, version=str(version) if version is not None else None, needs=tuple(needs), markers=markers)

    def _pin(self, number: int, package: Mapping[str, Any], version: str | None) -> Declared:
        origin = self.lock.origin(number)
        written = canonical(package["name"])
        source = package.get("source", {})
        raw = f"{written}=={version}" if version else written
        declared = Declared(raw=SecretText(raw), origin=origin, name=written, hashes=self.lock.hashes[number])
        place = Place(raw, origin, self.files, folder=self.folder)
        if "registry" in source:
            return indexed(declared, version, str(source["registry"]), place, self.indexes)
        if "git" in source:
            return at_commit(declared, *_git(str(source["git"])), place)
        if "url" in source:
            return at_url(declared, str(source["url"]), source.get("subdirectory"), place)
        for kind in ("path", "directory", "editable", "virtual"):
            if kind in source:
                return at_path(declared, str(source[kind]), place, editable=kind == "editable")
        raise not_a_lock(self.lock.path, f"{written} has no source that is known", origin)

    def _project_itself(self, root: int) -> list[LockedPackage]:
        """The project's own package, when uv installs it and it cannot be imported from the project's folder (a ``src`` layout)."""
        package = self.lock.packages[root]
        source = package.get("source", {})
        folder = self.folder or "."
        if "editable" not in source or not self.files.entries(f"{self.folder}/src".lstrip("/")):
            return []
        origin = self.lock.origin(root)
        written = canonical(package["name"])
        self.decisions.append(_installs_itself(written, folder, self.lock))
        try:
            pin = at_path(
                Declared(raw=SecretText(f"-e {folder}"), origin=origin, name=written),
                ".",
                Place(written, origin, self.files, folder=self.folder),
                editable=True,
            )
        except LadingError as error:
            self.problems.add(*error.problems)
            return []
        return [LockedPackage(pin=pin)]


def _is_root(package: Mapping[str, Any]) -> bool:
    source = package.get("source")
    return isinstance(source, dict) and "." in (source.get("editable"), source.get("virtual"), source.get("directory"))


def _needs(items: Iterable[Any]) -> Iterable[Need]:
    for item in items:
        if isinstance(item, dict) and isinstance(item.get("name"), str):
            version = item.get("version")
            extras = item.get("extra") or item.get("extras") or ()
            yield Need(
                name=canonical(item["name"]),
                extras=tuple(canonical(str(extra)) for extra in ([extras] if isinstance(extras, str) else extras)),
                specifier=f"=={version}" if version else "",
                marker=item.get("marker"),
            )


def _git(url: str) -> tuple[str, str, str | None]:
    """Uv's ``URL?rev=main&subdirectory=x#COMMIT`` as the repository, the commit and the folder in it."""
    parts = urlsplit(url)
    query = parse_qs(parts.query)
    bare = urlunsplit(parts._replace(query="", fragment=""))
    reference = next((query[key][0] for key in ("rev", "tag", "branch") if key in query), "")
    return bare, parts.fragment or reference, next(iter(query.get("subdirectory", ())), None)


def _installs_itself(written: str, folder: str, lock: LockText) -> Decision:
    return Decision(
        rule="project-installed",
        kind=Kind.CHOSEN,
        subject=written,
        asked=f"{lock.path} installs the project itself",
        chose=f"-e {folder}",
        because="its code is in src, where it can be imported only when it is installed",
        origin=lock.origin(),
    )
