"""Which items a claim gives out: one rule for every store."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

CRASHES = 3
"""An item over which its worker or its server ended so often is at fault itself, and fails."""
SPENT = f"its worker or its server ended {CRASHES} times while it was worked on"
"""The error of an item that is given out no more."""


@dataclass(frozen=True, slots=True)
class Open:
    """An item that can be leased. ``run_out``: somebody had it who says nothing any more; ``lost`` counts the times before."""

    number: int
    run_out: bool
    crashes: int
    lost: int


def sort_out(found: Sequence[Open], *, alone: bool) -> tuple[list[int], list[int]]:
    """The numbers of the items to lease, and of those that fail since they are spent.

    Many items are leased where a server ends, and one of them may be why (it took all of the memory, say). Which one shows when each is
    worked on by itself: such an item is given out alone, to who works on nothing else (``alone``), and the ones behind it wait.
    """
    given: list[int] = []
    spent: list[int] = []
    for one in found:
        lost = one.lost + one.run_out
        if one.crashes + lost >= CRASHES:
            spent.append(one.number)
        elif not lost:
            given.append(one.number)
        else:
            return ((given or [one.number]) if alone else given), spent
    return given, spent
