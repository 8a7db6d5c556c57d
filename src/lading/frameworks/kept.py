"""Builds and locks: the build that was locked named in the decisions, and a lock as the only thing on the shelf.

Choosing from a lock keeps every build that it holds, and no page needs to be asked.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from packaging.version import InvalidVersion, Version

from lading.frameworks.companions import COMPANIONS
from lading.frameworks.files import wheel
from lading.frameworks.names import FAMILY
from lading.frameworks.offers import File, Listing, Offers, Page, Status
from lading.frameworks.places import asked_label, every_build
from lading.frameworks.torch import FROM_INDEX
from lading.model.decisions import Decision, Kind
from lading.model.lock import Lock
from lading.model.plan import Plan
from lading.model.records import replace


def offers_of(lock: Lock) -> Offers:
    """The locked wheels of torch's family, as the pages that list every build."""
    pages = {}
    for package in lock.packages:
        name = str(package["name"])
        files = _files(package) if name in FAMILY or name in COMPANIONS else ()
        if files:
            page = every_build(name, files[0].version)
            pages[page] = Listing(status=Status.READ, files=files)
            pages[Page(every_build(name).index, name)] = pages[page]
    return Offers(pages=pages)


def _files(package: Mapping[str, Any]) -> tuple[File, ...]:
    try:
        Version(str(package.get("version", "")))
    except InvalidVersion:
        return ()
    folder = asked_label(str(package.get("index", "")))
    found = []
    for one in package.get("wheels", ()):
        url = str(one.get("url", one.get("path", "")))
        file = wheel(str(one.get("name") or url.partition("#")[0].rpartition("/")[2]).replace("%2B", "+"), url, size=one.get("size"))
        if file is not None:
            found.append(file if file.folder or folder is None else replace(file, folder=folder))
    return tuple(found)


def name_build(decision: Decision, plan: Plan, lock: Lock) -> Decision:
    """A decision about a range with the build that was locked for it."""
    version = lock.versions.get(decision.subject)
    if decision.rule != FROM_INDEX or version is None:
        return decision
    return replace(decision, chose=f"{decision.subject}=={version}{_from(decision.subject, plan)}")


def brought_in(plan: Plan, lock: Lock) -> tuple[Decision, ...]:
    """What is said about members of torch's family that nobody here declares."""
    declared = {one.name for one in plan.requirements}
    found = [name for name in FAMILY if name in lock.versions and name not in declared]
    return tuple(_brought_in(name, plan, lock) for name in found)


def _brought_in(name: str, plan: Plan, lock: Lock) -> Decision:
    needed_by = sorted(
        str(package["name"]) for package in lock.packages if any(one.get("name") == name for one in package.get("dependencies", ()))
    )
    place = _from(name, plan)
    because = f"the build fits the target ({plan.target.accelerator}), though no line here names {name}"
    return Decision(
        rule="torch-brought-in",
        kind=Kind.CHOSEN,
        subject=name,
        asked=f"{name}, for {' and '.join(needed_by)}" if needed_by else f"{name}, for another package",
        chose=f"{name}=={lock.versions[name]}{place}",
        because=because if place else "the project says where packages come from, so it comes from there, in the build that is there",
        instead=f"{name}==VERSION among the requirements, or another build with --accelerator",
    )


def _from(name: str, plan: Plan) -> str:
    return next((f" from {index.url}" for index in plan.bound if name in index.packages), "")
