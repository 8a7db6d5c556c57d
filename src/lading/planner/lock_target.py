"""A lock that fits this machine decides what is planned for, so that colleagues' machines agree on it."""

from __future__ import annotations

import re
from dataclasses import replace

from lading.model.lock import Lock
from lading.model.target import Target

_GLIBC = re.compile(r"(?P<arch>.+)-manylinux_2_(?P<minor>\d+)")


def adopt(host: Target, lock: Lock | None, accelerator: str) -> Target:
    """The target to plan for: this machine's, or the lock's where this machine can run what the lock holds.

    A lock made on an older glibc runs on a newer one; its accelerator holds unless the user named one.
    """
    if lock is None:
        return host
    platform = lock.target.get("platform", "")
    adopted = replace(host, platform=platform) if _runs(platform, host.platform) else host
    locked_accelerator = lock.target.get("accelerator")
    if accelerator == "auto" and locked_accelerator:
        adopted = replace(adopted, accelerator=locked_accelerator)
    return adopted


def _runs(locked: str, host: str) -> bool:
    """Whether files for platform ``locked`` run on ``host``."""
    if locked == host:
        return True
    theirs, ours = _GLIBC.fullmatch(locked), _GLIBC.fullmatch(host)
    return bool(theirs and ours and theirs["arch"] == ours["arch"] and int(theirs["minor"]) <= int(ours["minor"]))
