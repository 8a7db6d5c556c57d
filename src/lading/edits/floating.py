"""Which of the user's lines float, and the version that a lock gives each of them."""

from __future__ import annotations

from collections.abc import Iterable

from lading.model.lock import Lock
from lading.model.markers import marker_holds
from lading.model.plan import Plan
from lading.model.records import dataclass
from lading.model.requirements import Declared


@dataclass(frozen=True, slots=True)
class Pin:
    """A line that floats, with the version to write. Without a version, ``because`` says why there is none."""

    declared: Declared
    version: str | None
    because: str = ""


def pins(requirements: Iterable[Declared], plan: Plan, lock: Lock) -> tuple[Pin, ...]:
    """A pin for every requirement that floats.

    A build label that Lading chose (``+cpu``) is left out of the version, so that the same pin holds for every accelerator. A line
    whose marker is false for the target was not resolved and gets no version.
    """
    chosen = {package for index in plan.bound if not index.name.startswith("line-") for package in index.packages}
    return tuple(_pin(declared, plan, lock, chosen) for declared in requirements if declared.name and not declared.is_pinned)


def _pin(declared: Declared, plan: Plan, lock: Lock, chosen: set[str]) -> Pin:
    name = declared.name or ""
    if declared.marker and not marker_holds(declared.marker, plan.target, declared.extras):
        return Pin(declared, None, f"its marker ({declared.marker}) is false for Python {plan.target.python} on {plan.target.platform}")
    found = {str(package["version"]) for package in lock.packages if package["name"] == name and "version" in package}
    if len(found) != 1:
        return Pin(declared, None, f"the lock has {len(found)} versions of it" if found else "it is not in the lock")
    version = found.pop()
    return Pin(declared, version.partition("+")[0] if name in chosen and declared.index is None else version)
