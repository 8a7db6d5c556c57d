"""What an image is made of, gathered as values: what its bill of materials lists."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from lading import __version__
from lading.images.base import Base, facts_of
from lading.images.debian import fields_of
from lading.images.folders import Found
from lading.images.interpreters import Placed
from lading.images.media import Kind, Layer, canonical
from lading.images.packages import Package
from lading.images.recipe import WeightSet
from lading.images.store import Store
from lading.model.conda import CondaPackage
from lading.model.names import canonical as canonical_name
from lading.model.records import dataclass, field, replace

STATUS = "var/lib/dpkg/status"
_EACH = f"{STATUS}.d/"
_MADE_ELSEWHERE = (Kind.BASE, Kind.HIDDEN, Kind.SYSTEM, Kind.SCRIPT, Kind.STEPS)
"""Layers whose content no lock lists: it is looked for in them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Debian:
    """An installed Debian package. ``source`` is that which it was built from, empty where it has the same name and version."""

    name: str
    version: str
    architecture: str
    source: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Python:
    """A CPython that no package manager lists. ``libraries`` were copied with it: SHA-256 in hex by path."""

    version: str
    path: str
    libraries: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Records:
    """What layers say of what they hold: the files of `Base.files`, and distributions of Python, version by path without the suffix."""

    files: Mapping[str, str] = field(default_factory=dict)
    distributions: Mapping[str, str] = field(default_factory=dict)

    @property
    def debian(self) -> tuple[Debian, ...]:
        """Every installed package; what a layer above installed counts before what the status file says."""
        texts = [self.files.get(STATUS, ""), *(self.files[name] for name in sorted(self.files) if name.startswith(_EACH))]
        found = {(one.name, one.architecture): one for text in texts for one in debian_packages(text)}
        return tuple(found[key] for key in sorted(found))

    @property
    def python(self) -> tuple[tuple[str, str, str], ...]:
        """Folder, name and version of each distribution; not of those that Debian packages bring, which are listed as such."""
        parts = [(path.rpartition("/"), version) for path, version in sorted(self.distributions.items())]
        return tuple((f"/{folder}", canonical_name(name), version) for (folder, _, name), version in parts if "lib/python3/" not in folder)

    def without(self, folders: tuple[str, ...]) -> Records:
        """Without the distributions in some folders (``/opt/venv/``)."""
        kept = {path: version for path, version in self.distributions.items() if not f"/{path}".startswith(folders)}
        return replace(self, distributions=kept)


@dataclass(frozen=True, slots=True, kw_only=True)
class Inventory:
    """All of an image's parts. Packages stand beside the folder that they are in, ``system`` is ``os-release``."""

    title: str
    system: Mapping[str, str] = field(default_factory=dict)
    records: Records = field(default_factory=Records)
    pythons: tuple[Python, ...] = ()
    packages: tuple[tuple[str, Package], ...] = ()
    conda: tuple[tuple[str, CondaPackage], ...] = ()
    weights: tuple[WeightSet, ...] = ()
    files: tuple[Found, ...] = ()

    @property
    def facts(self) -> list[str]:
        """Everything that the bill depends on, as texts."""
        parts: list[Any] = [
            [self.title, __version__, dict(self.system)],
            [[one.name, one.version, one.architecture, one.source] for one in self.records.debian],
            list(self.records.python),
            [[one.version, one.path, dict(one.libraries)] for one in self.pythons],
            [[folder, one.name, one.version, one.kind, dict(one.file)] for folder, one in self.packages],
            [[folder, one.url, one.sha256, one.md5] for folder, one in self.conda],
            [[one.name, one.target, one.set_digest, *one.sources] for one in self.weights],
            [[one.path, one.size, one.sha256] for one in self.files],
        ]
        return [canonical(part).decode() for part in parts]


def records_of(layers: Iterable[Layer], store: Store) -> Records:
    """What the layers that were made elsewhere hold, those above hiding what whiteouts take away."""
    files: dict[str, str] = {}
    distributions: dict[str, str] = {}
    for layer in layers:
        if layer.kind not in _MADE_ELSEWHERE:
            continue
        facts = facts_of(layer, store)
        for found in (files, distributions):
            for path in [path for path in found if any(_is_in(path, gone) for gone in facts["gone"])]:
                del found[path]
        files |= facts["files"]
        distributions |= facts["distributions"]
    return Records(files=files, distributions=distributions)


def _is_in(path: str, gone: str) -> bool:
    """Whether a whiteout takes a path away: that of a folder, of a file, or of a distribution's record."""
    return path == gone or path.startswith(f"{gone}/") or re.fullmatch(rf"{re.escape(path)}-[^/]*\.(dist|egg)-info", gone) is not None


def debian_packages(status: str) -> list[Debian]:
    """Every installed package in the text of ``/var/lib/dpkg/status``, or of one package in ``status.d``, which need not say so."""
    found = []
    for paragraph in status.split("\n\n"):
        fields = fields_of(paragraph)
        if fields.get("Package") and fields.get("Status", "installed").split()[-1:] == ["installed"]:
            name, version = fields["Package"], fields.get("Version", "")
            found.append(Debian(name=name, version=version, architecture=fields.get("Architecture", ""), source=_source(fields)))
    return sorted(found, key=lambda one: (one.name, one.version, one.architecture))


def _source(fields: Mapping[str, str]) -> str:
    """``name`` or ``name@version``, as scanners write it; ``Source: glibc (2.36-9)`` in the record."""
    name, _, version = fields.get("Source", "").partition(" (")
    version = version.rstrip(")")
    if version and version != fields.get("Version"):
        return f"{name}@{version}"
    return name if name != fields.get("Package") else ""


def pythons_of(base: Base, placed: Sequence[Placed]) -> tuple[Python, ...]:
    """The interpreters that no package of the image brings: copied ones, and one that was compiled for the base (``/usr/local``)."""
    found: dict[str, Python] = {}
    for one in placed:
        folder = one.path.rpartition("/")[0].lstrip("/")
        if one.copied:
            found[one.path] = Python(version=one.version, path=one.path, libraries=one.libraries)
        elif folder in base.pythons.values() and folder != "usr/bin" and one.version == base.variables.get("PYTHON_VERSION"):
            found[one.path] = Python(version=one.version, path=one.path)
    return tuple(found[path] for path in sorted(found))
