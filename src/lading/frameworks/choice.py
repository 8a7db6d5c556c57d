"""What choosing builds starts from and what comes of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lading.frameworks.offers import Offers
from lading.model.decisions import Decision
from lading.model.markers import marker_holds
from lading.model.plan import BoundIndex
from lading.model.problems import Problem
from lading.model.records import dataclass, field
from lading.model.requirements import Declared, IndexOptions, Via
from lading.model.secrets import SecretUrl
from lading.model.target import Machine, Target

if TYPE_CHECKING:
    from packaging.version import Version

OF_MACHINE = frozenset({"gpu-not-here", "gpu-driver-too-old", "gpu-no-kernels"})
"""Rules of decisions about the machine at hand: they are shown, and stay out of the lock."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """For whom builds are chosen, and what there is to choose from.

    ``options`` are the project's own index options, ``bound`` the packages that it binds to an index, ``constraints`` its constraints. ``offers`` are the pages of indexes that were asked.
    ``explicit``: the accelerator was asked for, rather than found. ``machine`` has the driver and the GPUs of the machine at hand. ``mirror`` is
    the folder that PyTorch's indexes are reached under; ``off``: torch comes from the ordinary indexes.
    """

    target: Target
    options: IndexOptions = field(default_factory=IndexOptions)
    bound: tuple[BoundIndex, ...] = ()
    constraints: tuple[Declared, ...] = ()
    offers: Offers = field(default_factory=Offers)
    explicit: bool = False
    machine: Machine | None = None
    mirror: SecretUrl | None = None
    off: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """The requirements with builds completed, the indexes that packages are bound to, and why.

    ``scoped`` are indexes of the project's options that serve the packages bound to them alone from now on. ``label`` is the build of torch's
    family, where torch or a partner is declared and nobody else settled where it comes from.
    """

    requirements: tuple[Declared, ...]
    bound: tuple[BoundIndex, ...] = ()
    decisions: tuple[Decision, ...] = ()
    problems: tuple[Problem, ...] = ()
    scoped: tuple[SecretUrl, ...] = ()
    label: str | None = None

    def then(self, other: Choice) -> Choice:
        """This choice followed by another that started from its requirements."""
        return Choice(
            requirements=other.requirements,
            bound=(*self.bound, *other.bound),
            decisions=(*self.decisions, *other.decisions),
            problems=(*self.problems, *other.problems),
            scoped=(*self.scoped, *other.scoped),
            label=other.label or self.label,
        )


def applies(declared: Declared, target: Target) -> bool:
    """Whether a requirement holds on the target: its marker may be about another system or another Python."""
    return declared.marker is None or marker_holds(declared.marker, target)


def exact_version(declared: Declared) -> Version | None:
    """The version of a pin (``==1.11.0``, ``==1.11.0+cu113``), None for everything else: ranges, ``==1.*``, ``===``, URLs, several clauses."""
    if declared.via is not Via.INDEX or not declared.specifier.startswith("==") or declared.specifier.startswith("==="):
        return None
    from packaging.version import InvalidVersion, Version  # noqa: PLC0415 -- 10 ms, for those who declare a framework

    text = declared.specifier[2:].strip()
    try:
        return None if "," in text or text.endswith("*") else Version(text)
    except InvalidVersion:
        return None
