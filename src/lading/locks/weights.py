"""``weights.lock``: what each set of weights was when it was imported, in Cog's format (version 1).

Cog's own packing (``digest``, ``layers``, ``sizeCompressed``, ``files[].layer``, ``envelopeFormat``) is kept for the sets that Cog imported
and that have not changed since, and left out otherwise: Cog makes it anew from the rest.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from lading.model.digests import is_sha256
from lading.model.origin import Origin
from lading.model.problems import ExitCode, LadingError, Problem
from lading.model.records import dataclass
from lading.model.weights import LOCK, LockedWeight, Weight, WeightFile, WeightSource, is_inside

_VERSION = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightsLock:
    """A lock that was read. ``raw`` is the document itself."""

    weights: tuple[LockedWeight, ...] = ()
    raw: Mapping[str, Any]

    def find(self, name: str) -> LockedWeight | None:
        """The set of a name."""
        return next((one for one in self.weights if one.name == name), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Drift:
    """A set whose lock does not say what the configuration says. ``kind`` is ``pending``, ``changed`` or ``orphaned``."""

    name: str
    kind: str
    detail: str


def read_lock(content: bytes | None, path: str = LOCK) -> WeightsLock:
    """Read a lock; None is one that holds nothing.

    Raises:
        LadingError: if it is damaged, or of another version.
    """
    if content is None:
        return WeightsLock(raw={})
    try:
        record = json.loads(content)
        if record.get("version") != _VERSION:
            raise LadingError(_unreadable(path, f"its version is {record.get('version')!r}, and this Lading reads version {_VERSION}"))
        return WeightsLock(weights=tuple(map(_weight, record["weights"])), raw=record)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        missing = isinstance(error, KeyError)
        raise LadingError(_unreadable(path, f"the key {error} is missing" if missing else str(error) or "it is no lock")) from error


def _weight(record: Mapping[str, Any]) -> LockedWeight:
    sources = record["sources"] if "sources" in record else [record["source"]]
    files = tuple(_file(one) for one in record["files"])
    if not sources or any(not 0 <= one.source < len(sources) for one in files):
        raise ValueError(f"{record['name']} names no source of a file")
    return LockedWeight(
        name=str(record["name"]),
        target=str(record["target"]),
        sources=tuple(
            WeightSource(uri=str(one["uri"]), include=tuple(one.get("include") or ()), exclude=tuple(one.get("exclude") or ()))
            for one in sources
        ),
        fingerprints=tuple(str(one["fingerprint"]) for one in sources),
        files=files,
        imported_at=str(sources[0].get("importedAt") or ""),
    )


def _file(record: Mapping[str, Any]) -> WeightFile:
    path, digest = str(record["path"]), str(record["digest"])
    if not is_inside(path):
        raise ValueError(f"the path {path!r} leads out of its folder")
    if not is_sha256(digest):
        raise ValueError(f"{path} has no SHA-256")
    return WeightFile(path=path, size=int(record["size"]), digest=digest, source=int(record.get("source", 0)))


def write_lock(weights: Iterable[LockedWeight], before: WeightsLock) -> bytes:
    """The lock as a file, with what Cog packed of the sets that are as before."""
    packed = {str(one.get("name")): one for one in before.raw.get("weights", ())}
    records = []
    for one in weights:
        same = _same(one, before.find(one.name))
        records.append(packed[one.name] if same else _record(one))
    further = {"envelopeFormat": before.raw["envelopeFormat"]} if before.raw.get("envelopeFormat") else {}
    return (json.dumps({"version": _VERSION, **further, "weights": records}, indent=2, ensure_ascii=False) + "\n").encode()


def _same(one: LockedWeight, other: LockedWeight | None) -> bool:
    """Whether two records say the same; when it was imported, and which other state of a source holds the same files, does not count."""
    if other is None or len(one.files) != len(other.files):
        return False
    files = sorted(one.files, key=lambda file: file.path) == sorted(other.files, key=lambda file: file.path)
    return files and (one.name, one.target, one.sources) == (other.name, other.target, other.sources)


def _record(one: LockedWeight) -> dict[str, Any]:
    sources = [
        {
            "uri": source.uri,
            "fingerprint": fingerprint,
            "include": list(source.include),
            "exclude": list(source.exclude),
            "importedAt": one.imported_at,
        }
        for source, fingerprint in zip(one.sources, one.fingerprints, strict=True)
    ]
    several = len(sources) > 1
    files = [
        {"path": file.path, "size": file.size, "digest": file.digest, **({"source": file.source} if several else {})}
        for file in sorted(one.files, key=lambda file: file.path)
    ]
    from_where = {"sources": sources} if several else {"source": sources[0]}
    return {"name": one.name, "target": one.target, **from_where, "setDigest": one.set_digest, "size": one.size, "files": files}


def drift(lock: WeightsLock, weights: Sequence[Weight]) -> list[Drift]:
    """Where a lock and a configuration do not say the same: in the order of the configuration, then what it does not name any more."""
    found = []
    for weight in weights:
        locked = lock.find(weight.name)
        if locked is None:
            found.append(Drift(name=weight.name, kind="pending", detail="it was never imported"))
        elif details := _differences(weight, locked):
            found.append(Drift(name=weight.name, kind="changed", detail="; ".join(details)))
    named = {weight.name for weight in weights}
    return found + [
        Drift(name=one.name, kind="orphaned", detail="the configuration does not name it any more")
        for one in lock.weights
        if one.name not in named
    ]


def _differences(weight: Weight, locked: LockedWeight) -> list[str]:
    found = []
    if weight.target != locked.target:
        found.append(f"target: {locked.target} -> {weight.target}")
    if len(weight.sources) != len(locked.sources):
        found.append(f"sources: {len(locked.sources)} -> {len(weight.sources)}")
    for old, new in zip(locked.sources, weight.sources, strict=False):
        for key in ("uri", "include", "exclude"):
            was, now = getattr(old, key), getattr(new, key)
            if was != now:
                found.append(f"{key}: {_shown(was)} -> {_shown(now)}")
    return found


def _shown(value: str | tuple[str, ...]) -> str:
    return value if isinstance(value, str) else f"[{', '.join(value)}]"


def _unreadable(path: str, why: str) -> Problem:
    return Problem(
        rule="weights-lock-unreadable",
        what=f"{path} cannot be read: {why}.",
        origin=Origin(path),
        instead="Take it from version control again, or write it anew: remove it, and run `lading weights import`.",
        code=ExitCode.LOCK,
    )
