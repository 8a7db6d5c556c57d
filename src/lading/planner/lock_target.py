"""A lock that fits this machine decides what is planned for, so that colleagues' machines agree on it."""

from __future__ import annotations

from lading.model.lock import Lock
from lading.model.records import replace
from lading.model.target import Target
from lading.planner.platforms import runs_on


def adopt(host: Target, lock: Lock | None, accelerator: str) -> Target:
    """The target to plan for: this machine's, or the lock's where this machine can run what the lock holds.

    A lock made on an older glibc runs on a newer one; its accelerator holds unless the user named one.
    """
    if lock is None:
        return host
    platform = lock.target.get("platform", "")
    adopted = replace(host, platform=platform) if runs_on(platform, host.platform) else host
    locked_accelerator = lock.target.get("accelerator")
    if accelerator == "auto" and locked_accelerator:
        adopted = replace(adopted, accelerator=locked_accelerator)
    return adopted
