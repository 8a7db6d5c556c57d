"""The builds of a plan as a short table: package, asked, chosen, build, size to download against the other build's, and why."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from packaging.specifiers import SpecifierSet
from packaging.version import Version

from lading.frameworks.choice import exact_version
from lading.frameworks.companions import COMPANIONS
from lading.frameworks.consistency import asked_of_torch
from lading.frameworks.labels import CPU, cuda_first, cuda_version, index_label, spoken
from lading.frameworks.names import FAMILY, PARTNERS
from lading.frameworks.offers import File, Offers, Page
from lading.frameworks.places import asked_label
from lading.frameworks.releases import agrees
from lading.frameworks.shelf import Shelf
from lading.model.decisions import Decision
from lading.model.lock import Lock
from lading.model.plan import Plan
from lading.model.records import dataclass, replace
from lading.model.requirements import Declared
from lading.model.target import Target

_ABOUT_BUILDS = frozenset(
    {
        "torch-build-chosen",
        "torch-build-kept",
        "torch-index-chosen",
        "torch-brought-in",
        "torch-companion-ordinary",
        "tensorflow-build-chosen",
        "tensorflow-build-kept",
        "jax-build-chosen",
        "jax-build-kept",
        "build-by-name",
        "frameworks-want-different-cuda",
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sized:
    """A build with its wheel: ``url`` is where its size can be asked, ``size`` in bytes, None while it is not known."""

    build: str
    url: str | None = None
    size: int | None = None

    def as_json(self) -> dict[str, Any]:
        """The record as JSON data."""
        return {"build": self.build, "size": self.size}


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One package with several builds. ``other`` is the same release's build for the CPU, or for the newest CUDA, to compare with.

    ``beside`` are the bytes of NVIDIA's libraries that are locked with it, None before there is a lock.
    """

    package: str
    asked: str
    chosen: str
    build: Sized
    other: Sized | None = None
    beside: int | None = None
    because: str = ""

    def urls(self) -> tuple[str, ...]:
        """The wheels whose size is not known yet."""
        return tuple(one.url for one in (self.build, self.other) if one is not None and one.url and one.size is None)

    def with_sizes(self, sizes: Mapping[str, int]) -> Row:
        """The row with the sizes that servers told."""
        return replace(self, build=_sized(self.build, sizes), other=_sized(self.other, sizes) if self.other else None)

    def as_json(self) -> dict[str, Any]:
        """The record as JSON data."""
        return {
            "package": self.package,
            "asked": self.asked,
            "chosen": self.chosen,
            **self.build.as_json(),
            "other": self.other.as_json() if self.other else None,
            "nvidia_libraries": self.beside,
            "because": self.because,
        }


def _sized(one: Sized, sizes: Mapping[str, int]) -> Sized:
    return replace(one, size=sizes.get(one.url)) if one.url and one.size is None else one


def build_rows(plan: Plan, offers: Offers, lock: Lock | None) -> tuple[Row, ...]:
    """A row for every decision about a build; sizes as far as pages and the lock tell them."""
    shelf = Shelf(offers, plan.target)
    found = [decision for decision in plan.decisions if decision.rule in _ABOUT_BUILDS]
    return tuple(_row(decision, plan, shelf, lock) for decision in found)


def _row(decision: Decision, plan: Plan, shelf: Shelf, lock: Lock | None) -> Row:
    name = _package(decision)
    declared = next((one for one in plan.requirements if one.name == name), None)
    label = _label(name, declared, plan)
    version = _version(name, plan, label, shelf, lock)
    of_family = name in FAMILY or name in COMPANIONS
    file = shelf.build(name, version, label) if of_family and version and label else None
    locked = _locked_file(name, lock)
    build = Sized(build=_spoken(name, label, declared), url=file.url if file else None, size=locked or (file.size if file else None))
    return Row(
        package=name,
        asked=decision.asked.removesuffix(" beside torch"),
        chosen=_chosen(name, version, declared, label if of_family else None),
        build=build,
        other=_other(name, version, label, shelf) if of_family and version and label else None,
        beside=_nvidia(lock) if label and label != CPU and name == "torch" else None,
        because=_short(decision.because),
    )


_TWINS = {
    "tensorflow": "tensorflow-cpu",
    "tensorflow-cpu": "tensorflow",
    "tensorflow-gpu": "tensorflow",
    "onnxruntime": "onnxruntime-gpu",
    "onnxruntime-gpu": "onnxruntime",
    "paddlepaddle": "paddlepaddle-gpu",
    "paddlepaddle-gpu": "paddlepaddle",
}
"""Packages whose other build is a package too."""


def registry_pages(rows: Iterable[Row], index: str) -> tuple[Page, ...]:
    """The pages of the ordinary index that tell sizes which PyTorch's do not: of packages that come from there, and of their twins."""
    names = [row.package for row in rows if row.build.size is None and row.build.url is None]
    return tuple(dict.fromkeys(Page(index.rstrip("/"), name) for one in names for name in (one, _TWINS.get(one)) if name))


def with_registry(row: Row, offers: Offers, index: str, target: Target) -> Row:
    """The row with the sizes that the ordinary index tells."""
    version = row.chosen.partition("==")[2].partition(" ")[0]
    if row.build.size is not None or row.build.url is not None or not version:
        return row
    own, twin = (_sized_on(offers, index, name, version, target) for name in (row.package, _TWINS.get(row.package)))
    other = replace(twin, build=_TWINS[row.package]) if twin else row.other
    return replace(row, build=replace(own, build=row.build.build) if own else row.build, other=other)


def _sized_on(offers: Offers, index: str, name: str | None, version: str, target: Target) -> Sized | None:
    files = offers.files(Page(index.rstrip("/"), name)) if name else None
    fitting = [one for one in files or () if str(one.version) == version and one.fits(target)]
    return Sized(build="", url=fitting[0].url, size=fitting[0].size) if fitting else None


def _package(decision: Decision) -> str:
    """The distribution that a decision ended with: tensorflow-cpu for a decision about tensorflow."""
    if decision.rule == "frameworks-want-different-cuda":
        return decision.subject
    head = decision.chose.partition(" from ")[0].partition("[")[0]
    for mark in ("=", "<", ">", "~", "!", " ", ";"):
        head = head.partition(mark)[0]
    return head.strip() or decision.subject


def _label(name: str, declared: Declared | None, plan: Plan) -> str | None:
    version = exact_version(declared) if declared else None
    if version is not None and version.local:
        return index_label(version.local)
    bound = next((index.url.reveal() for index in plan.bound if name in index.packages), None)
    return asked_label(bound) if bound else None


def _version(name: str, plan: Plan, label: str | None, shelf: Shelf, lock: Lock | None) -> Version | None:
    """The version that is locked or pinned, else the newest that the range and the pin of torch allow."""
    if lock is not None and name in lock.versions:
        return Version(lock.versions[name])
    declared = next((one for one in plan.requirements if one.name == name), None)
    torch = next((version for one in plan.requirements if one.name == "torch" and (version := exact_version(one))), None)
    exact = exact_version(declared) if declared else None
    if exact is not None or label is None:
        return exact
    allowed = SpecifierSet(declared.specifier if declared else "")
    releases = {one.release for one in shelf.files(name) or () if one.label == label and one.fits(shelf.target)}
    fitting = sorted((one for one in releases if allowed.contains(one)), reverse=True)
    return next((one for one in fitting if torch is None or _goes_with(name, one, torch, shelf)), None)


def _goes_with(name: str, version: Version, torch: Version, shelf: Shelf) -> bool:
    asked = asked_of_torch(name, version, shelf) if name in PARTNERS else None
    return asked is None or agrees(asked, torch)


def _chosen(name: str, version: Version | None, declared: Declared | None, label: str | None) -> str:
    if version is None:
        return declared.pep508 if declared else name
    local = f"+{label}" if label and version.local is None and declared is not None and exact_version(declared) is None else ""
    return f"{name}=={version}{local}"


def _spoken(name: str, label: str | None, declared: Declared | None) -> str:
    if label:
        return spoken(label)
    extras = ", ".join(declared.extras) if declared else ""
    return f"with {extras}" if extras else "CPU" if name.endswith("-cpu") else "as the index has it"


def _other(name: str, version: Version, label: str, shelf: Shelf) -> Sized | None:
    """The build to compare with: CUDA's newest for a CPU build, the CPU's for a CUDA build."""
    builds: dict[str, File] = shelf.labels(name, version) or {}
    others = [one for one in cuda_first(builds) if (cuda_version(one) if label == CPU else one == CPU)]
    return Sized(build=spoken(others[0]), url=builds[others[0]].url, size=builds[others[0]].size) if others else None


def _locked_file(name: str, lock: Lock | None) -> int | None:
    package = next((one for one in lock.packages if one["name"] == name), None) if lock else None
    sizes = [wheel.get("size") for wheel in package.get("wheels", ())] if package else []
    return int(sizes[0]) if len(sizes) == 1 and sizes[0] is not None else None


def _nvidia(lock: Lock | None) -> int | None:
    if lock is None:
        return None
    sizes = [
        wheel.get("size", 0)
        for one in lock.packages
        if str(one["name"]).startswith(("nvidia-", "cuda-"))
        for wheel in one.get("wheels", ())[:1]
    ]
    return sum(sizes) if sizes else None


def _short(because: str) -> str:
    """The reason itself, without what it stands on."""
    return because.partition("; ")[0].partition(", and this index has")[0].partition(". It ")[0]
