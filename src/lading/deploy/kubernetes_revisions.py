"""The revisions of a deployment on Kubernetes: snapshots of its objects in ControllerRevisions, which any cluster has.

A Deployment's own history covers its pods alone. A snapshot has every object (Secrets by their names: their values stay in the Secrets), so
going back brings back what a revision took away. It is packed, as etcd takes objects up to 1.5 MB.
"""

from __future__ import annotations

import base64
import gzip
import json
import uuid
from collections.abc import Iterable, Mapping
from typing import Any

from lading.deploy.engine import Revision
from lading.deploy.kubernetes_shape import NAME, PREFIX, Object, labels, object_name

STATE = f"{PREFIX}/state"
LIVE, FAILED, PENDING = "live", "failed", "pending"
_IMAGE = f"{PREFIX}/image"
_ATTEMPT = f"{PREFIX}/attempt"
KEPT = 10
"""Revisions that are kept."""


def snapshot(name: str, number: int, image: str, objects: Iterable[Mapping[str, Any]], namespace: str | None) -> Object:
    """The ControllerRevision of some objects, another one each time (`attempt_of`)."""
    kept = [one if one["kind"] != "Secret" else {**one, "stringData": None} for one in objects]
    packed = base64.b64encode(gzip.compress(json.dumps(kept, default=str).encode(), mtime=0)).decode()
    said = {_IMAGE: image, _ATTEMPT: uuid.uuid4().hex}
    metadata: Object = {"name": f"{name}-{number}", "labels": {**labels(name), STATE: PENDING}, "annotations": said}
    if namespace:
        metadata["namespace"] = namespace
    return {"apiVersion": "apps/v1", "kind": "ControllerRevision", "metadata": metadata, "revision": number, "data": {"objects": packed}}


def objects_of(revision: Mapping[str, Any]) -> list[Object]:
    """The objects of a snapshot; a Secret has its metadata alone."""
    found: list[Object] = json.loads(gzip.decompress(base64.b64decode(revision["data"]["objects"])))
    return found


def numbered(objects: Iterable[Mapping[str, Any]], number: int) -> list[Object]:
    """Objects as a revision sends them: a Job has the revision's number in its name, so that one that is asked for again runs again."""
    found = []
    for one in objects:
        metadata = dict(one["metadata"])
        if one["kind"] == "Job":
            metadata["name"] = object_name(metadata["name"], str(number))
        found.append({**one, "metadata": metadata})
    return found


def served_by(revision: Mapping[str, Any]) -> list[Object]:
    """The objects of a snapshot that are sent to go back to it: its Jobs have run, and nobody asks for them again."""
    return [one for one in objects_of(revision) if one["kind"] != "Job"]


def image_of(revision: Mapping[str, Any]) -> str:
    """The image of a snapshot."""
    return str((revision["metadata"].get("annotations") or {}).get(_IMAGE) or "")


def attempt_of(revision: Mapping[str, Any]) -> str:
    """What tells one try to make a revision from all others."""
    return str((revision["metadata"].get("annotations") or {}).get(_ATTEMPT) or "")


def state_of(revision: Mapping[str, Any]) -> str:
    """Whether a revision was served (live), was not (failed), or is on its way (pending)."""
    return str((revision["metadata"].get("labels") or {}).get(STATE) or PENDING)


def in_order(found: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Snapshots by their numbers."""
    return sorted(found, key=lambda one: int(one["revision"]))


def current_of(found: Iterable[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    """The newest snapshot that did not fail."""
    return next((one for one in reversed(in_order(found)) if state_of(one) != FAILED), None)


def as_revisions(name: str, found: Iterable[Mapping[str, Any]]) -> tuple[Revision, ...]:
    """Snapshots for people; those that failed are left out."""
    kept = [one for one in in_order(found) if state_of(one) != FAILED]
    return tuple(
        Revision(
            name=name,
            number=int(one["revision"]),
            digest=image_of(one),
            created=one["metadata"].get("creationTimestamp"),
            current=one is kept[-1],
        )
        for one in kept
    )


def selector_of(name: str) -> str:
    """What chooses the objects of a deployment."""
    return f"{NAME}={name}"


def key_of(obj: Mapping[str, Any]) -> tuple[str, str]:
    """Kind and name."""
    return str(obj["kind"]), str(obj["metadata"]["name"])
