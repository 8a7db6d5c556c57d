"""The image's bill of materials (CycloneDX 1.6, JSON): everything that is in it, with hashes and where it came from.

Package URLs are as the purl specification and scanners write them, so that what is known of a package is found by it.
"""

from __future__ import annotations

import json
import uuid
from collections import defaultdict
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from lading import __version__
from lading.images.front import PREFIX
from lading.images.inventory import Debian, Inventory, Python
from lading.images.media import canonical
from lading.images.packages import Package
from lading.images.recipe import WeightSet
from lading.model.conda import CondaPackage
from lading.model.files import fold_hashes
from lading.model.secrets import SecretUrl

if TYPE_CHECKING:
    from cyclonedx.model.component import Component
    from packageurl import PackageURL

FORMAT = "2"
"""Another one makes the layer anew."""
_NAMESPACE = uuid.UUID("8a3ffb7e-0a7b-5f0c-9d5b-3f1f6a1d7c11")
_PLACE = "lading:path"
"""The property that says where in the image something lies."""


def make_sbom(inventory: Inventory) -> bytes:
    """The bill as text, the same for the same parts: its serial number follows from them, and it has no time."""
    from cyclonedx.model.bom import Bom, BomMetaData  # noqa: PLC0415 -- 0.3 s, for new bills alone
    from cyclonedx.model.component import Component, ComponentType  # noqa: PLC0415
    from cyclonedx.model.dependency import Dependency  # noqa: PLC0415
    from cyclonedx.model.tool import ToolRepository  # noqa: PLC0415
    from cyclonedx.output.json import JsonV1Dot6  # noqa: PLC0415

    image = Component(name=inventory.title, type=ComponentType.CONTAINER, bom_ref="image")
    components = _Components(inventory).all()
    maker = Component(name="lading", version=__version__, type=ComponentType.APPLICATION)
    metadata = BomMetaData(component=image, tools=ToolRepository(components=[maker]))
    bom = Bom(components=components, serial_number=uuid.uuid5(_NAMESPACE, fold_hashes(inventory.facts)), metadata=metadata)
    # All at once: `register_dependency` looks for each part among all the others.
    parts = [Dependency(ref=part.bom_ref) for part in components]
    bom.dependencies.update([Dependency(ref=image.bom_ref, dependencies=parts), *parts])
    bom.metadata.timestamp = None  # type: ignore[assignment] # a bill of the same things is the same bill
    return canonical(json.loads(JsonV1Dot6(bom).output_as_string()))


class _Components:
    """Each part once, however many folders it lies in."""

    def __init__(self, inventory: Inventory) -> None:
        self.inventory = inventory
        self.found: dict[str, Component] = {}
        self.places: dict[str, list[str]] = defaultdict(list)

    def all(self) -> list[Component]:
        from cyclonedx.model import Property  # noqa: PLC0415

        inventory = self.inventory
        for folder, package in inventory.packages:
            self._add(_python(package), folder)
        for folder, one in inventory.conda:
            self._add(_conda(one), folder)
        for folder, name, version in inventory.records.python:
            self._add(_distribution(name, version), folder)
        self._add(_distribution("lading", __version__), f"/{PREFIX}")
        for interpreter in inventory.pythons:
            self._add(_interpreter(interpreter), interpreter.path)
        for package_ in inventory.records.debian:
            self._add(_debian(package_, inventory.system), "")
        if inventory.system.get("ID"):
            self._add(_system(inventory.system), "")
        for weights in inventory.weights:
            self._add(_weights(weights), weights.target)
        for file in inventory.files:
            self._add(_file(f"/{file.path}", file.sha256), "")
        for ref, places in self.places.items():
            self.found[ref].properties.update(Property(name=_PLACE, value=place) for place in dict.fromkeys(places) if place)
        return list(self.found.values())

    def _add(self, component: Component, place: str) -> None:
        ref = str(component.bom_ref.value)
        self.found.setdefault(ref, component)
        self.places[ref].append(place)


def _library(purl: PackageURL, place: str = "", hashes: Mapping[str, str | None] | None = None) -> Component:
    """A package. Hashes are those of the file that was downloaded, and stand beside its address where it has one."""
    from cyclonedx.model import ExternalReference, ExternalReferenceType, HashAlgorithm, HashType, XsUri  # noqa: PLC0415
    from cyclonedx.model.component import Component, ComponentType  # noqa: PLC0415

    known = [HashType(alg=HashAlgorithm(name), content=value) for name, value in (hashes or {}).items() if value]
    remote = SecretUrl(place).without_credentials() if urlsplit(place).scheme in ("http", "https") else None
    references = [ExternalReference(type=ExternalReferenceType.DISTRIBUTION, url=XsUri(remote), hashes=known)] if remote else []
    return Component(
        name=purl.name,
        version=purl.version,
        type=ComponentType.LIBRARY,
        purl=purl,
        bom_ref=str(purl),
        hashes=[] if remote else known,
        external_references=references,
    )


def _purl(kind: str, namespace: str | None, name: str, version: str | None, qualifiers: Mapping[str, str] | None = None) -> PackageURL:
    from packageurl import PackageURL  # noqa: PLC0415

    return PackageURL(kind, namespace, name, version, {key: value for key, value in (qualifiers or {}).items() if value})


def _python(package: Package) -> Component:
    qualifiers = {}
    if package.kind == "vcs":
        qualifiers = {"vcs_url": f"git+{package.place.removeprefix('git+')}@{package.file.get('commit-id', '')}"}
    return _library(_purl("pypi", None, package.name, package.version, qualifiers), package.place, {"SHA-256": package.sha256})


def _distribution(name: str, version: str) -> Component:
    return _library(_purl("pypi", None, name, version))


def _conda(package: CondaPackage) -> Component:
    qualifiers = {"build": package.build, "channel": package.channel.rpartition("/")[2], "subdir": package.subdir}
    purl = _purl("conda", None, package.name, package.version, qualifiers)
    return _library(purl, package.url, {"SHA-256": package.sha256, "MD5": package.md5})


def _debian(package: Debian, system: Mapping[str, str]) -> Component:
    """With the distribution's own name and release: advisories of Ubuntu are not Debian's."""
    release = system.get("VERSION_ID") or system.get("VERSION_CODENAME")
    name = system.get("ID") or "debian"
    qualifiers = {"arch": package.architecture, "distro": f"{name}-{release}" if release else "", "upstream": package.source}
    return _library(_purl("deb", name, package.name, package.version, qualifiers))


def _system(facts: Mapping[str, str]) -> Component:
    from cyclonedx.model.component import Component, ComponentType  # noqa: PLC0415

    version = facts.get("VERSION_ID") or facts.get("VERSION_CODENAME") or None
    described = facts.get("PRETTY_NAME") or None
    return Component(name=facts["ID"], version=version, type=ComponentType.OPERATING_SYSTEM, bom_ref="system", description=described)


def _interpreter(python: Python) -> Component:
    from cyclonedx.model.component import Component, ComponentType  # noqa: PLC0415

    purl = _purl("generic", None, "python", python.version)
    return Component(
        name="python",
        version=python.version,
        type=ComponentType.APPLICATION,
        purl=purl,
        cpe=f"cpe:2.3:a:python:python:{python.version}:*:*:*:*:*:*:*",
        bom_ref=f"{purl}#{python.path}",
        components=[_file(path, digest) for path, digest in sorted(python.libraries.items())],
    )


def _weights(weights: WeightSet) -> Component:
    """A set as one part, whose version is the digest of all its files."""
    from cyclonedx.model import ExternalReference, ExternalReferenceType, XsUri  # noqa: PLC0415
    from cyclonedx.model.component import Component, ComponentType  # noqa: PLC0415

    remote = [uri for uri in weights.sources if urlsplit(uri).scheme in ("http", "https", "hf")]
    references = [
        ExternalReference(type=ExternalReferenceType.DISTRIBUTION, url=XsUri(SecretUrl(uri).without_credentials())) for uri in remote
    ]
    return Component(
        name=weights.name,
        version=weights.set_digest,
        type=ComponentType.DATA,
        bom_ref=f"weights:{weights.name}",
        external_references=references,
        components=[_file(f"/{one.path}", one.sha256) for one in weights.files],
    )


def _file(path: str, sha256: str) -> Component:
    from cyclonedx.model import HashAlgorithm, HashType  # noqa: PLC0415
    from cyclonedx.model.component import Component, ComponentType  # noqa: PLC0415

    hashes: list[Any] = [HashType(alg=HashAlgorithm.SHA_256, content=sha256)] if sha256 else []
    shown = path.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    return Component(name=shown, type=ComponentType.FILE, hashes=hashes, bom_ref=f"file:{shown}")
