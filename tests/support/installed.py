"""Distributions that are installed beside these tests, as wheels again: real packages, compiled modules and all, without the internet."""

from __future__ import annotations

import base64
import hashlib
import io
import zipfile
from dataclasses import replace
from importlib.metadata import Distribution, distribution
from pathlib import Path

from tests.support.wheels import Archive


def repack(name: str) -> Archive:
    """The wheel that a distribution was installed from, or one that installs the same."""
    dist = distribution(name)
    content = {
        path: data for path, data in _files(dist) if not path.endswith((".pyc", "/RECORD", "/INSTALLER", "/REQUESTED", "/direct_url.json"))
    }
    info = next(path.split("/")[0] for path in content if path.endswith(".dist-info/METADATA"))
    wheel = content[f"{info}/WHEEL"].decode()
    tags = [line.partition(": ")[2] for line in wheel.splitlines() if line.startswith("Tag: ")]
    pythons, abis, platforms = (".".join(dict.fromkeys(tag.split("-")[part] for tag in tags)) for part in range(3))
    content[f"{info}/RECORD"] = _record(content, info)
    filename = f"{info.removesuffix('.dist-info')}-{pythons}-{abis}-{platforms}.whl"
    metadata = content[f"{info}/METADATA"]
    return Archive(dist.metadata["Name"], dist.version, filename, _zipped(content), dist.metadata["Requires-Python"], metadata)


def for_arm(archive: Archive) -> Archive:
    """The wheel under the name of another platform: for builds that put it somewhere and never run it."""
    stem, _, _ = archive.filename.removesuffix(".whl").rpartition("-")
    return replace(archive, filename=f"{stem}-manylinux_2_17_aarch64.whl")


def _files(dist: Distribution) -> list[tuple[str, bytes]]:
    found = []
    for path in dist.files or ():
        place = Path(str(dist.locate_file(path)))
        if not str(path).startswith("..") and place.is_file():
            found.append((str(path), place.read_bytes()))
    return found


def _record(content: dict[str, bytes], info: str) -> bytes:
    lines = [
        f"{path},sha256={base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b'=').decode()},{len(data)}"
        for path, data in content.items()
    ]
    return "\n".join([*lines, f"{info}/RECORD,,", ""]).encode()


def _zipped(content: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for path, data in sorted(content.items()):
            info = zipfile.ZipInfo(path, (2020, 1, 1, 0, 0, 0))
            info.external_attr = (0o755 if path.endswith(".so") else 0o644) << 16
            info.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(info, data)
    return buffer.getvalue()
