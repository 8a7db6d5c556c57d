"""What conda installs, told to uv: each of its Python packages is a wheel without files and without dependencies, at conda's version.

uv then takes it wherever anything needs it, whether or not the package index has that version, and explains what contradicts it; nothing
of it is downloaded. Its own dependencies are conda's business. Only where an extra of it is asked for does the package index say what
that extra means.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from lading.model.patterns import pattern
from lading.resolvers.places import file_url

_EXTRA = pattern(r"^warning: The package `(?P<name>[A-Za-z0-9._-]+)[^`]*` does not have an extra named `(?P<extra>[^`]+)`", re.MULTILINE)
_FOLDER = "provided"


def constraints(provides: Mapping[str, str], by_index: frozenset[str], folder: Path) -> str:
    """Lines for a constraints file; the wheels are written into ``folder``. ``by_index`` are left to the package index, at that version."""
    if not provides:
        return ""
    place = folder / _FOLDER
    place.mkdir()
    pinned = [f"{name}=={version}" for name, version in sorted(provides.items()) if name in by_index]
    wheels = [f"{name} @ {file_url(_wheel(name, version, place))}" for name, version in sorted(provides.items()) if name not in by_index]
    return "".join(f"{line}\n" for line in (*pinned, *wheels))


def _wheel(name: str, version: str, folder: Path) -> Path:
    import zipfile  # noqa: PLC0415 -- only beside conda

    stem = f"{name.replace('-', '_')}-{version}"
    info = f"{stem}.dist-info"
    files = {
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: lading\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(f"{path},sha256={_digest(text)},{len(text)}\n" for path, text in files.items())
    path = folder / f"{stem}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for inside, text in {**files, f"{info}/RECORD": f"{record}{info}/RECORD,,\n"}.items():
            archive.writestr(zipfile.ZipInfo(inside), text)
    return path


def _digest(text: str) -> str:
    import base64  # noqa: PLC0415 -- as above
    import hashlib  # noqa: PLC0415 -- as above

    return base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()


def asked_for_extras(stderr: str, provides: Mapping[str, str]) -> frozenset[str]:
    """The provided packages of which something asks for an extra."""
    return frozenset(found["name"] for found in _EXTRA.finditer(stderr) if found["name"] in provides)


def without(document: Mapping[str, Any], provides: Mapping[str, str]) -> tuple[dict[str, Any], tuple[tuple[str, str], ...]]:
    """Uv's document without the packages that conda provides, and which those were."""
    packages: Iterable[Mapping[str, Any]] = document.get("packages", ())
    shared = tuple(sorted((str(one["name"]), provides[str(one["name"])]) for one in packages if one["name"] in provides))
    kept = [one for one in packages if one["name"] not in provides]
    return {**document, "packages": kept}, shared
