"""Which Python fits what is pinned: each pin has files for some Pythons, and one Python must do for all."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from packaging.specifiers import SpecifierSet
from packaging.version import Version

from lading.frameworks.tags import in_order, minor_of, spoken_pythons
from lading.model.markers import marker_holds
from lading.model.origin import Origin
from lading.model.problems import ExitCode, Problem
from lading.model.records import dataclass, replace
from lading.model.requirements import Declared
from lading.model.target import PythonRequest, Target

MINORS = tuple(f"3.{minor}" for minor in range(6, 31))
OF_PYTHON = ("no-wheel-for-python", "python-does-not-fit", "build-failed")
"""Problems of resolving that another Python may cure."""

_NOWHERE = Origin("--python auto")
_USUAL = MINORS[: MINORS.index("3.13") + 1]
_LATE_PATCH = 30
"""A patch release that is late enough for every ``requires-python`` such as ``>=3.8.1``."""


def full(minor: str) -> str:
    """A late patch release of a minor version."""
    return f"{minor}.{_LATE_PATCH}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Support:
    """One pin with the Python minors that there are wheels for, and those for which it can be built from source."""

    declared: Declared
    wheels: frozenset[str]
    source: frozenset[str] = frozenset()

    def fits(self, minor: str, platform: str, *, built: bool) -> bool:
        """Whether the pin can be installed on a Python; with ``built`` from source too. One that its marker leaves out always can."""
        if minor in self.wheels or (built and minor in self.source):
            return True
        return self.declared.marker is not None and not _holds(self.declared.marker, minor, platform)

    @property
    def needs(self) -> str:
        """Its Pythons in words."""
        if self.wheels and self.source - self.wheels:
            return f"wheels for {_spoken(self.wheels)}, source for {_spoken(self.source)}"
        if self.wheels:
            return f"wheels for {_spoken(self.wheels)}"
        return f"source for {_spoken(self.source)}" if self.source else "no files for any Python"


def _spoken(minors: Iterable[str]) -> str:
    """``Python 3.8 to 3.11``, ``Python 3.8 and newer``, ``any Python``."""
    found = in_order(minors)
    if found[-1] != MINORS[-1]:
        return f"Python {spoken_pythons(found)}"
    return "any Python" if found[0] == MINORS[0] else f"Python {found[0]} and newer"


def _holds(marker: str, minor: str, platform: str) -> bool:
    return marker_holds(marker, Target(python=full(minor), platform=platform))


@dataclass(frozen=True, slots=True, kw_only=True)
class Fitting:
    """The minors that fit every pin, the oldest first; ``built``: some pins must be built from source for it."""

    minors: tuple[str, ...]
    built: bool = False


def fitting(supports: Sequence[Support], allowed: str, platform: str) -> Fitting:
    """The Pythons that fit: those for which every pin has a wheel, else those where every pin has at least its source.

    Args:
        supports: The pins.
        allowed: What the project asks for, as a specifier set.
        platform: The target's platform.
    """
    specifier = SpecifierSet(allowed)
    minors = [minor for minor in MINORS if _is_allowed(minor, specifier)]
    known = [minor for minor in minors if any(minor in support.wheels | support.source for support in supports)] or minors
    for built in (False, True):
        found = tuple(minor for minor in known if all(support.fits(minor, platform, built=built) for support in supports))
        if found:
            return Fitting(minors=found, built=built)
    return Fitting(minors=())


def _is_allowed(minor: str, specifier: SpecifierSet) -> bool:
    return any(specifier.contains(f"{minor}.{patch}", prereleases=True) for patch in range(_LATE_PATCH + 1))


def newest(found: Fitting, supports: Sequence[Support], here: Iterable[str], platform: str) -> PythonRequest | Problem:
    """The newest Python on this machine that fits everything, with the reason; or what stands in the way.

    ``here`` are the full versions of the Pythons that are here and that the project allows.
    """
    versions = sorted(here, key=Version, reverse=True)
    best = next((version for version in versions if minor_of(version) in found.minors), None)
    if best is None:
        return not_here(found, supports, versions) if found.minors else none_fits(supports, platform)
    minor = minor_of(best)
    count = len(supports)
    pins = "the pinned package" if count == 1 else f"all {count} pinned packages"
    how = "has files of" if found.built else "has wheels of"
    later = next((version for version in reversed(versions) if Version(version) > Version(best) and minor_of(version) != minor), None)
    against = _against(minor_of(later), supports, platform, built=found.built) if later else None
    ruled_out = f"; {against.declared.pep508} ({against.declared.origin}) rules out {minor_of(later)}" if later and against else ""
    because = f"it is the newest Python here that {how} {pins}{ruled_out}"
    origin = (against or supports[0]).declared.origin if supports else None
    return PythonRequest(specifier=f"=={minor}.*", text=because, origin=origin or _NOWHERE)


def _against(minor: str, supports: Sequence[Support], platform: str, *, built: bool) -> Support | None:
    return next((support for support in supports if not support.fits(minor, platform, built=built)), None)


def not_here(found: Fitting, supports: Sequence[Support], here: Sequence[str]) -> Problem:
    """A Python fits everything, and it is not on this machine."""
    narrowest = min(supports, key=lambda support: len(support.wheels | support.source))
    return Problem(
        rule="python-for-pins-missing",
        what=f"{_spoken(found.minors)} fits everything that is pinned, and none of them is here.",
        origin=narrowest.declared.origin,
        why=f"Here: {spoken_pythons({minor_of(version) for version in here})}. {narrowest.declared.pep508} has {narrowest.needs}.",
        instead=f"Install Python {_suggested(found)} (`uv python install {_suggested(found)}`), or change the pins below.",
        code=ExitCode.RESOLUTION,
        detail=_table(supports),
    )


def none_fits(supports: Sequence[Support], platform: str) -> Problem:
    """No Python fits everything: which comes closest, and the lines that stand in its way."""
    minor, against = _closest(supports, platform)
    lines = ", ".join(f"{support.declared.pep508} ({support.declared.origin})" for support in against)
    return Problem(
        rule="no-python-fits",
        what=f"No Python fits all {len(supports)} pins.",
        origin=against[0].declared.origin if against else None,
        why=f"Python {minor} comes closest; {lines} {'is' if len(against) == 1 else 'are'} not for it.",
        instead=f"Use Python {minor}, and another version of {' and '.join(str(support.declared.name) for support in against)}.",
        code=ExitCode.RESOLUTION,
        detail=_table(supports),
    )


def _closest(supports: Sequence[Support], platform: str) -> tuple[str, list[Support]]:
    def against(minor: str) -> list[Support]:
        return [support for support in supports if not support.fits(minor, platform, built=True)]

    return min(((minor, against(minor)) for minor in reversed(MINORS)), key=lambda pair: len(pair[1]))


def advised(problem: Problem, supports: Sequence[Support], target: Target) -> Problem:
    """A resolver's problem with a Python that would do, and the lines that are not for the target's; as it is, if they are not to blame."""
    found = advice(supports, target) if problem.rule in OF_PYTHON else None
    if found is None:
        return problem
    instead, lines = found
    return replace(problem, instead=instead, detail="\n".join(part for part in (lines, "", problem.detail) if part is not None))


def advice(supports: Sequence[Support], target: Target) -> tuple[str, str] | None:
    """The Pythons that would do and the lines that are not for the target's; None where the pins are not to blame."""
    minor = minor_of(target.python)
    against = [support for support in supports if not support.fits(minor, target.platform, built=True)]
    if not against:
        return None
    found = fitting(supports, "", target.platform)
    lines = "\n".join(f"{support.declared.origin}: {support.declared.pep508} has {support.needs}" for support in against)
    if found.minors:
        return f"{_spoken(found.minors)} satisfies every pin: --python {_suggested(found)}, or a .python-version file.", lines
    problem = none_fits(supports, target.platform)
    return f"No Python satisfies every pin. {problem.instead}", lines


def _suggested(found: Fitting) -> str:
    """A minor version that exists: pins that suit any newer Python too would suit one that is not there yet."""
    usual = [minor for minor in found.minors if minor in _USUAL]
    return usual[-1] if usual else found.minors[-1]


def _table(supports: Sequence[Support]) -> str:
    rows = [(support.declared.pep508, str(support.declared.origin), support.needs) for support in supports]
    widths = [max(len(row[column]) for row in rows) for column in range(2)]
    return "\n".join(f"{row[0]:{widths[0]}}  {row[1]:{widths[1]}}  {row[2]}" for row in rows)
