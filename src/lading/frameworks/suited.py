"""Which Pythons have wheels of the frameworks that a project pins: for choosing one where the project asks for none."""

from __future__ import annotations

from collections.abc import Iterable

from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.version import Version

from lading.frameworks import tensorflow
from lading.frameworks.choice import Context, exact_version
from lading.frameworks.consistency import pins_of, wish_of
from lading.frameworks.labels import CPU, index_label
from lading.frameworks.names import FAMILY, TENSORFLOW
from lading.frameworks.nearest import nearest_sets
from lading.frameworks.offers import Offers
from lading.frameworks.releases import release_of, releases
from lading.frameworks.shelf import Shelf
from lading.frameworks.tags import in_order, minor_of, spoken_pythons
from lading.model.problems import ExitCode, Problem
from lading.model.records import dataclass
from lading.model.requirements import Declared, Via
from lading.model.target import Target


@dataclass(frozen=True, slots=True)
class Suited:
    """The CPython minors that have wheels of everything named in ``because``, by the dated tables; ``declared`` is the first of these lines."""

    pythons: tuple[str, ...]
    because: str
    declared: Declared

    @property
    def specifier(self) -> str:
        """The minors as a specifier set."""
        numbers = [int(minor.split(".")[1]) for minor in self.pythons]
        holes = [f"!=3.{number}.*" for number in range(numbers[0], numbers[-1]) if number not in numbers]
        return ",".join([f">=3.{numbers[0]}", f"<3.{numbers[-1] + 1}", *holes])


def suited_pythons(requirements: Iterable[Declared]) -> Suited | None:
    """The Pythons that old pins and old ranges leave; None where they leave all, or contradict each other."""
    limits = [(one, minors) for one in requirements if (minors := _minors(one))]
    if not limits:
        return None
    common = set.intersection(*(set(minors) for _, minors in limits))
    if not common:
        return None
    named = " and ".join(dict.fromkeys(one.pep508 for one, _ in limits))
    pythons = tuple(in_order(common))
    return Suited(
        pythons, f"{named} {'has' if len(limits) == 1 else 'have'} wheels for Python {spoken_pythons(pythons)} alone", limits[0][0]
    )


def without_python(suited: Suited, requirements: Iterable[Declared], here: Iterable[str], accelerator: str) -> Problem:
    """None of the suited Pythons is there: what is (full versions, ``here``), and the nearest releases for it."""
    found = list(dict.fromkeys(minor_of(version) for version in here))
    newest = max(found, key=lambda minor: int(minor.split(".")[1]), default="3.11")
    pins = [pin for pin in pins_of(requirements) if pin.name in FAMILY]
    target = Target(python=f"{newest}.0", platform="x86_64-manylinux_2_28", accelerator=accelerator)
    if pins:
        sets = nearest_sets(wish_of(pins, Context(target=target)), Shelf(Offers(), target))
        near = next((f", or {one.spoken()}" for one in sets if one.python == newest), "")
    else:
        version = exact_version(suited.declared)
        near = tensorflow.nearest_for(version, newest) if version else ""
    return Problem(
        rule="python-with-wheels-missing",
        what=f"{suited.because}, and none of these Pythons is here.",
        origin=suited.declared.origin,
        why=f"Here: {spoken_pythons(found)}. A framework of this age cannot be built from source with the tools of today.",
        instead=f"Install Python {suited.pythons[-1]}{near}.",
        code=ExitCode.RESOLUTION,
    )


def _minors(declared: Declared) -> tuple[str, ...]:
    if declared.via is not Via.INDEX or declared.marker or declared.index or declared.find_links:
        return ()
    version = exact_version(declared)
    if declared.name in FAMILY:
        return _of_torch(str(declared.name), declared, version)
    if declared.name in TENSORFLOW:
        return _of_tensorflow(declared, version)
    return ()


def _of_torch(name: str, declared: Declared, version: Version | None) -> tuple[str, ...]:
    if version is not None:
        release = release_of(name, version)
        label = index_label(version.local) if version.local else CPU
        return release.pythons_of(name, label) if release and not release.inferred else ()
    known = [(Version(partner), row.pythons_of(name, CPU)) for row in releases() if (partner := row.partner(name))]
    return _of_range(declared, known)


def _of_tensorflow(declared: Declared, version: Version | None) -> tuple[str, ...]:
    if version is not None:
        return tensorflow.pythons_of(version)
    return _of_range(declared, [pair for row in tensorflow.rows() for pair in tensorflow.patches(row).items()])


def _of_range(declared: Declared, known: list[tuple[Version, tuple[str, ...]]]) -> tuple[str, ...]:
    """A range that leaves out the newest known release is about old ones alone: any of their Pythons will do."""
    try:
        allowed = SpecifierSet(declared.specifier)
    except InvalidSpecifier:
        return ()
    newest = max(version for version, _ in known)
    if not declared.specifier or allowed.contains(newest, prereleases=True):
        return ()
    return tuple({minor for version, minors in known if allowed.contains(version, prereleases=True) for minor in minors})
