"""The nearest consistent set: torch, its partners, Python, CUDA and driver that go together, as close as can be to what was asked."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from packaging.version import Version

from lading.frameworks.gpus import driver_floor
from lading.frameworks.labels import CPU, cuda_up_to, cuda_version, spoken
from lading.frameworks.names import PARTNERS
from lading.frameworks.releases import Release, releases
from lading.frameworks.shelf import Shelf
from lading.frameworks.tags import minor_of, spoken_pythons
from lading.model.records import dataclass, field

_CHANGED_TORCH, _CHANGED_PARTNER, _CHANGED_PYTHON, _CHANGED_BUILD = 3.0, 2.0, 2.5, 1.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What was asked: versions (None: not said), the label of a pin (None: any), the Python, and the accelerator."""

    torch: Version | None
    partners: Mapping[str, Version] = field(default_factory=dict)
    label: str | None = None
    python: str
    accelerator: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsistentSet:
    """Versions that go together. ``pythons`` are the CPython minors that all of them have wheels for; ``python`` the one to use."""

    torch: str
    label: str
    partners: tuple[tuple[str, str], ...]
    pythons: tuple[str, ...]
    python: str
    cost: float

    @property
    def pins(self) -> str:
        """``torch==2.1.0+cu121 torchvision==0.16.0``."""
        return " ".join([f"torch=={self.torch}+{self.label}", *(f"{name}=={version}" for name, version in self.partners)])

    def spoken(self) -> str:
        """The set in one line: pins, Pythons, CUDA, driver."""
        floor = driver_floor(self.label)
        driver = f", NVIDIA driver {floor} or newer" if floor else ""
        return f"{self.pins} (Python {spoken_pythons(self.pythons)}, {spoken(self.label)}{driver})"

    def as_json(self) -> dict[str, object]:
        """The set as JSON data."""
        return {
            "torch": f"{self.torch}+{self.label}",
            **dict(self.partners),
            "python": list(self.pythons),
            "cuda": ".".join(map(str, cuda_version(self.label) or ())) or None,
            "driver": driver_floor(self.label),
        }


def nearest_sets(wish: Wish, shelf: Shelf) -> tuple[ConsistentSet, ...]:
    """At most two sets: the one with the fewest changes, and if that one changes the Python or the build, the nearest that keeps both."""
    found = sorted((one for row in releases() for one in _of_release(row, wish, shelf)), key=lambda one: (one.cost, _newest_first(one)))
    if not found:
        return ()
    best = found[0]
    python = minor_of(wish.python)
    if best.python == python and _keeps_build(best, wish):
        return (best,)
    kept = next((one for one in found if one.python == python and _keeps_build(one, wish)), None)
    return (best,) if kept is None else (best, kept)


def _newest_first(one: ConsistentSet) -> tuple[int, ...]:
    return tuple(-part for part in Version(one.torch).release)


def _keeps_build(one: ConsistentSet, wish: Wish) -> bool:
    return one.label == wish.label if wish.label else one.label in cuda_up_to([one.label], wish.accelerator)


def _of_release(row: Release, wish: Wish, shelf: Shelf) -> Iterable[ConsistentSet]:
    labels = [label for label in _labels(row, shelf) if label == CPU or cuda_version(label)]
    partners = tuple((name, version) for name in PARTNERS if (version := _partner(row, name, wish)) is not None)
    for label in labels:
        pythons = _pythons(row, label, [name for name, _ in partners], shelf)
        if pythons:
            yield _set(row, label, partners, pythons, wish)


def _labels(row: Release, shelf: Shelf) -> list[str]:
    listed = shelf.release("torch", row.version)
    return list(dict.fromkeys(one.label for one in listed if one.label)) if listed else list(row.labels)


def _partner(row: Release, name: str, wish: Wish) -> str | None:
    """The partner's version: what was asked if it goes with the release, else the release's own. torchtext only where it was asked for."""
    asked = wish.partners.get(name)
    if asked is not None and row.goes_with(name, asked):
        return asked.public
    return row.partner(name) if name != "torchtext" or asked is not None else None


def _pythons(row: Release, label: str, partners: list[str], shelf: Shelf) -> tuple[str, ...]:
    listed = shelf.pythons("torch", row.version, label)
    minors = tuple(listed) if listed else row.pythons_of("torch", label)
    for name in partners:
        limit = row.pythons_of(name, label)
        minors = tuple(minor for minor in minors if minor in limit)
    return minors


def _set(row: Release, label: str, partners: tuple[tuple[str, str], ...], pythons: tuple[str, ...], wish: Wish) -> ConsistentSet:
    wanted = minor_of(wish.python)
    python = wanted if wanted in pythons else min(pythons, key=lambda minor: abs(_number(minor) - _number(wanted)))
    cost = _CHANGED_PYTHON * (python != wanted) + 0.01 * abs(_number(python) - _number(wanted))
    if wish.torch is not None and row.version != Version(wish.torch.public):
        cost += _CHANGED_TORCH + _distance(row.version, wish.torch)
    own = dict(partners)
    cost += sum(_CHANGED_PARTNER for name, version in wish.partners.items() if Version(own.get(name, "0")) != Version(version.public))
    cost += _build_cost(label, wish)
    return ConsistentSet(torch=str(row.version), label=label, partners=partners, pythons=pythons, python=python, cost=cost)


def _build_cost(label: str, wish: Wish) -> float:
    """Nothing for the label asked for, little for a slightly older CUDA, more for one that the target does not have."""
    asked = wish.label or wish.accelerator
    if label == asked:
        return 0.0
    if wish.label is None and cuda_version(asked) and label in cuda_up_to([label], asked):
        return 0.1 + 0.001 * abs(_cuda(label) - _cuda(asked))
    return _CHANGED_BUILD + 0.001 * abs(_cuda(label) - _cuda(asked)) + (1.0 if CPU in (label, asked) else 0.0)


def _cuda(label: str) -> int:
    version = cuda_version(label)
    return version[0] * 10 + version[1] if version else 0


def _number(minor: str) -> int:
    return int(minor.split(".")[1])


def _distance(one: Version, other: Version) -> float:
    """Less than one for any two releases: how many known releases lie between them."""
    between = [row for row in releases() if min(one, other) < row.version <= max(one, other)]
    return len(between) / (len(releases()) + 1)
