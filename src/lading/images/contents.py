"""What is in an image: bytes by layer and by the distribution that they belong to. Works for any image, whoever made it."""

from __future__ import annotations

import csv
import json
import re
import tarfile
from collections import defaultdict
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from lading.images.media import Image, Layer
from lading.images.store import Store
from lading.images.unpacked import open_entries
from lading.model.records import dataclass

_FORMAT = "4"
_RECORD = re.compile(r"(?P<site>(?:.+/)?(?:site|dist)-packages)/(?P<info>[^/]+)\.dist-info/RECORD")
_LIST = re.compile(r"var/lib/dpkg/info/(?P<name>[^/:]+)(?::\w+)?\.list")
_CONDA = re.compile(r"(?P<prefix>.+)/conda-meta/[^/]+\.json")
_LIBRARY = re.compile(r"opt/python/.*|(?:.+/)?lib/python3\.\d+/(?!(?:site|dist)-packages/).*")
"""Python's own, of which no record tells: copied, or compiled for the base."""
_SORTS = {
    "tests": re.compile(r".*/tests?/.*"),
    "caches": re.compile(r"(root/\.cache|home/[^/]+/\.cache|var/cache|var/lib/apt/lists|tmp)/.*"),
    "static libraries": re.compile(r".*\.a"),
    "headers": re.compile(r"(?:usr/include|opt/[^/]+/include|.*-packages/[^/]+/include)/.*"),
    "documentation": re.compile(r"usr/share/(doc|man|info|locale)/.*"),
    "CUDA": re.compile(
        r"(?:.*-packages/nvidia/.*|usr/local/cuda[^/]*/.*|.*/lib(?:cudart|cublas|cublasLt|cudnn|cufft|curand|cusolver|cusparse|nccl|nvrtc)[\w.-]*\.so.*)"
    ),
}
"""Sorts of files that an image may do without, by their paths."""


@dataclass(frozen=True, slots=True)
class Share:
    """Bytes of one owner in one layer; ``sorts`` are those of them that an image may do without, by sort."""

    layer: Layer
    owner: str
    bytes: int
    sorts: Mapping[str, int]


def contents(image: Image, store: Store) -> list[Share]:
    """Everything in the image, the largest first. What was found in a layer is kept.

    Raises:
        LadingError: if a layer is not in the store, or cannot be read.
    """
    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(lambda layer: _layer(image, layer, store), image.layers))
    # Bytecode is in layers of its own, whose records of packages are in other layers.
    tops = {top: owner for one in found for top, owner in one["tops"].items()}
    shares = [
        Share(layer, tops.get(owner, owner), int(record["bytes"]), record["sorts"])
        for layer, one in zip(image.layers, found, strict=True)
        for owner, record in one["owners"].items()
    ]
    return sorted(shares, key=lambda share: (-share.bytes, share.owner))


def _layer(image: Image, layer: Layer, store: Store) -> dict[str, Any]:
    key = f"{_FORMAT}-{layer.descriptor.digest.removeprefix('sha256:')}"
    known = store.note("contents", key)
    if known is None:
        known = _scan(image, layer)
        store.keep_note("contents", key, known)
    found: dict[str, Any] = known
    return found


def _scan(image: Image, layer: Layer) -> dict[str, Any]:
    sizes: dict[str, int] = {}
    owners: dict[str, str] = {}
    with open_entries(image.blobs, layer.descriptor) as archive:
        for entry in archive:
            name = entry.name.removeprefix("./").strip("/")
            if entry.isfile():
                sizes[name] = entry.size
                owners.update(_owned(archive, entry, name))
    found: dict[str, dict[str, Any]] = defaultdict(lambda: {"bytes": 0, "sorts": defaultdict(int)})
    for name, size in sizes.items():
        record = found[_owner(name, owners)]
        record["bytes"] += size
        for sort, pattern in _SORTS.items():
            if pattern.fullmatch(name):
                record["sorts"][sort] += size
    tops = {_top(path): owner for path, owner in owners.items() if _top(path) and "dist-info" not in path}
    return {"owners": {owner: {"bytes": record["bytes"], "sorts": dict(record["sorts"])} for owner, record in found.items()}, "tops": tops}


def _owned(archive: tarfile.TarFile, entry: tarfile.TarInfo, name: str) -> Iterable[tuple[str, str]]:
    """Which files a record of pip's, conda's or dpkg's claims."""
    record, listed, linked = _RECORD.fullmatch(name), _LIST.fullmatch(name), _CONDA.fullmatch(name)
    content = archive.extractfile(entry) if record or listed or linked else None
    if content is None:
        return []
    if linked:
        return _linked(linked["prefix"], content.read())
    lines = content.read().decode("utf-8", "replace").splitlines()
    if record:
        owner = record["info"].rpartition("-")[0].replace("_", "-").lower()
        return [(f"{record['site']}/{row[0]}", owner) for row in csv.reader(lines) if row]
    assert listed is not None
    return [(_merged(line.strip("/")), listed["name"]) for line in lines]


def _linked(prefix: str, content: bytes) -> Iterable[tuple[str, str]]:
    try:
        record = json.loads(content)
        return [(f"{prefix}/{path}", str(record["name"])) for path in record["files"]]
    except (ValueError, KeyError, TypeError):
        return []


def _merged(path: str) -> str:
    return f"usr/{path}" if path.startswith(("bin/", "sbin/", "lib/", "lib64/")) else path


def _owner(name: str, owners: Mapping[str, str]) -> str:
    """By a record, else the package's folder, else the top of the path."""
    known = owners.get(name)
    if known:
        return known
    top = _top(name)
    if top:
        return top
    if _LIBRARY.fullmatch(name):
        return "python"
    parts = name.split("/")
    if len(parts) < 3:
        return f"/{parts[0]}"
    # Below some the second folder says little: /var/lib/apt, /usr/local/cuda, /root/.cache/huggingface.
    deep = parts[0] in ("var", "root") or parts[:2] == ["usr", "local"]
    return "/" + "/".join(parts[: 1 if parts[0] == "src" else min(3, len(parts) - 1) if deep else 2])


def _top(name: str) -> str:
    """The package's folder or module; empty outside of Python's packages."""
    site = re.match(r"(?:.+/)?(?:site|dist)-packages/(?P<top>[^/]+)", name)
    return site["top"].partition("-")[0].partition(".")[0].removesuffix("_libs").replace("_", "-").lower() if site else ""


def by_owner(shares: Iterable[Share]) -> dict[str, int]:
    """Bytes of each owner, over all layers."""
    found: dict[str, int] = defaultdict(int)
    for share in shares:
        found[share.owner] += share.bytes
    return dict(found)
