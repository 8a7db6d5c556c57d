"""Which Pythons a specifier allows, as PEP 440 means it, without a library for the usual cases."""

from __future__ import annotations

import re
from functools import cache
from operator import eq, ge, gt, le, lt, ne
from typing import TYPE_CHECKING

from lading.model.patterns import pattern

if TYPE_CHECKING:
    from packaging.specifiers import SpecifierSet

_RELEASE = pattern(r"\d{1,9}(?:\.\d{1,9})*")
_PYTHON = pattern(r"(\d{1,9}(?:\.\d{1,9})*)(?:(a|b|rc)(\d{1,9}))?")
_CLAUSE = pattern(r"\s*(==|!=|>=|<=|>|<)\s*(\d{1,9}(?:\.\d{1,9})*)(\.\*)?\s*")
_STAGES = {"a": 0, "b": 1, "rc": 2}
_COMPARES = {"==": eq, "!=": ne, ">=": ge, "<=": le, ">": gt, "<": lt}


def allows(specifier: str, version: str) -> bool:
    """Whether a specifier set (``==3.11.*``, ``>=3.9,<3.13``; empty: any) allows a full version, pre-releases among them.

    Clauses of plain numbers are compared here; for whatever else PEP 440 knows, `packaging` is asked, which takes 10 ms to import.

    Raises:
        ValueError: if the specifier is none.
    """
    if not specifier.strip():
        return True
    clauses = [_CLAUSE.fullmatch(clause) for clause in specifier.split(",") if clause.strip()]
    if not _RELEASE.fullmatch(version) or not all(clause and _is_plain(clause) for clause in clauses):
        return _set_of(specifier).contains(version, prereleases=True)
    return all(clause is None or _holds(clause, version) for clause in clauses)


def order(version: str) -> tuple[int, ...]:
    """A key that sorts versions of Python: its numbers, then those of the pre-release (``3.13.0rc1`` comes before ``3.13.0``)."""
    found = _PYTHON.match(version)
    if found is None:
        return ()
    numbers = _numbers(found[1])
    stage = (_STAGES[found[2]], int(found[3])) if found[2] else (len(_STAGES), 0)
    return (*numbers, *([0] * (3 - len(numbers))), *stage)


def is_final(version: str) -> bool:
    """Whether a version of Python is no pre-release."""
    found = _PYTHON.match(version)
    return found is not None and found[2] is None


def _is_plain(clause: re.Match[str]) -> bool:
    return clause[3] is None or clause[1] in ("==", "!=")


def _holds(clause: re.Match[str], version: str) -> bool:
    wanted, given = _numbers(clause[2]), _numbers(version)
    if clause[3] is not None:
        # 3.10.* is about as many numbers as are written.
        return bool(_COMPARES[clause[1]]((*given, *([0] * len(wanted)))[: len(wanted)], wanted))
    return bool(_COMPARES[clause[1]](_without_zeros(given), _without_zeros(wanted)))


def _numbers(release: str) -> tuple[int, ...]:
    return tuple(int(part) for part in release.split("."))


def _without_zeros(release: tuple[int, ...]) -> tuple[int, ...]:
    """3.10 and 3.10.0 are the same version."""
    while release and release[-1] == 0:
        release = release[:-1]
    return release


@cache
def _set_of(specifier: str) -> SpecifierSet:
    from packaging.specifiers import SpecifierSet  # noqa: PLC0415 -- see `allows`

    return SpecifierSet(specifier)
