"""The image's bill of materials (CycloneDX 1.6, JSON): every Python, conda and system package, with its hash and where it came from."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping, Sequence
from urllib.parse import urlsplit

from lading.images.packages import Package
from lading.model.conda import CondaPackage

PATH = "opt/lading/share/sbom.cdx.json"
_NAMESPACE = uuid.UUID("8a3ffb7e-0a7b-5f0c-9d5b-3f1f6a1d7c11")


def make_sbom(
    title: str, packages: Sequence[Package], system: Iterable[tuple[str, str, str]], fingerprint: str, conda: Iterable[CondaPackage] = ()
) -> bytes:
    """The bill as text, the same for the same packages: its serial number follows from ``fingerprint``, and it has no time.

    ``system`` are (name, version, architecture) of Debian packages.
    """
    from cyclonedx.model import ExternalReference, ExternalReferenceType, HashAlgorithm, HashType, XsUri  # noqa: PLC0415 -- 0.3 s
    from cyclonedx.model.bom import Bom, BomMetaData  # noqa: PLC0415
    from cyclonedx.model.component import Component, ComponentType  # noqa: PLC0415
    from cyclonedx.output.json import JsonV1Dot6  # noqa: PLC0415
    from packageurl import PackageURL  # noqa: PLC0415

    def component(purl: PackageURL, place: str, found: Mapping[HashAlgorithm, str | None]) -> Component:
        hashes = [HashType(alg=algorithm, content=value) for algorithm, value in found.items() if value]
        remote = place if urlsplit(place).scheme in ("http", "https") else None
        references = [ExternalReference(type=ExternalReferenceType.DISTRIBUTION, url=XsUri(remote), hashes=hashes)] if remote else []
        return Component(
            name=purl.name,
            version=purl.version,
            type=ComponentType.LIBRARY,
            purl=purl,
            bom_ref=str(purl),
            hashes=hashes if not remote else [],
            external_references=references,
        )

    def python(package: Package) -> Component:
        purl = PackageURL("pypi", None, package.name, package.version, _qualifiers(package))
        return component(purl, package.place, {HashAlgorithm.SHA_256: package.sha256})

    def of_conda(package: CondaPackage) -> Component:
        qualifiers = {"build": package.build, "channel": package.channel.rpartition("/")[2], "subdir": package.subdir}
        purl = PackageURL("conda", None, package.name, package.version, qualifiers)
        return component(purl, package.url, {HashAlgorithm.SHA_256: package.sha256, HashAlgorithm.MD5: package.md5})

    def debian(name: str, version: str, architecture: str) -> Component:
        purl = PackageURL("deb", "debian", name, version, {"arch": architecture})
        return Component(name=name, version=version, type=ComponentType.LIBRARY, purl=purl, bom_ref=str(purl))

    components = [*map(python, packages), *map(of_conda, conda), *(debian(*one) for one in system)]
    image = Component(name=title, type=ComponentType.CONTAINER, bom_ref="image")
    bom = Bom(components=components, serial_number=uuid.uuid5(_NAMESPACE, fingerprint), metadata=BomMetaData(component=image))
    bom.register_dependency(image, components)
    bom.metadata.timestamp = None  # type: ignore[assignment] # a bill of the same things is the same bill
    return JsonV1Dot6(bom).output_as_string(indent=1).encode()


def _qualifiers(package: Package) -> dict[str, str] | None:
    if package.kind == "vcs":
        return {"vcs_url": f"git+{package.place.removeprefix('git+')}@{package.file.get('commit-id', '')}"}
    return None


def debian_packages(status: str) -> list[tuple[str, str, str]]:
    """Name, version and architecture of every installed package in the text of ``/var/lib/dpkg/status``."""
    found = []
    for paragraph in status.split("\n\n"):
        fields = dict(line.partition(": ")[::2] for line in paragraph.splitlines() if line[:1] not in ("", " "))
        if fields.get("Package") and "not-installed" not in fields.get("Status", ""):
            found.append((fields["Package"], fields.get("Version", ""), fields.get("Architecture", "")))
    return sorted(found)
