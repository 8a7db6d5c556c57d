"""Poetry's spelling of versions, as PEP 440 has it (https://python-poetry.org/docs/dependency-specification/)."""

from __future__ import annotations

import re

_VERSION = r"v?[0-9]+(?:\.[0-9]+)*(?:[-_.]?(?:a|b|c|rc|alpha|beta|pre|preview|post|rev|r|dev)[-_.]?[0-9]*)*(?:\+[A-Za-z0-9.]+)?"
_CLAUSE = re.compile(rf"(\^|~=|~|===|==|=|!=|<=|>=|<|>)?\s*({_VERSION})(\.\*)?")
_ANY = ("*", "", "x", "*.*")


def alternatives(text: str) -> list[str] | None:
    """A constraint as PEP 440 specifiers of which one must hold (``>=1,<2 || >=3`` has two); None if it is no constraint."""
    found = []
    for part in re.split(r"\|\|?", text.strip()):
        specifier = _conjunction(part.strip())
        if specifier is None:
            return None
        found.append(specifier)
    return found


def _conjunction(text: str) -> str | None:
    if text in _ANY:
        return ""
    clauses: list[str] = []
    rest = text
    while rest:
        found = _CLAUSE.match(rest)
        if found is None:
            return None
        clauses += _clause(found[1] or "", found[2].removeprefix("v"), star=bool(found[3]))
        rest = re.sub(r"^\s*,?\s*", "", rest[found.end() :])
        if rest and rest[0] not in "^~=!<>0123456789v":
            return None
    return ",".join(clauses)


def _clause(operator: str, version: str, *, star: bool) -> list[str]:
    if operator == "^":
        return [f">={version}", f"<{_after_caret(version)}"]
    if operator == "~":
        return [f">={version}", f"<{_after_tilde(version)}"]
    if star and operator in ("", "=", "==", "!="):
        return [f"{'!=' if operator == '!=' else '=='}{version}.*"]
    return [f"{operator if operator not in ('', '=') else '=='}{version}"]


def _release(version: str) -> list[int]:
    found = re.match(r"[0-9]+(?:\.[0-9]+)*", version)
    return [int(part[:18]) for part in found[0].split(".")] if found else [0]


def _after_caret(version: str) -> str:
    """The next version that changes the leftmost part that is not zero."""
    parts = _release(version)
    position = next((number for number, part in enumerate(parts) if part), len(parts) - 1)
    return ".".join(str(part) for part in [*parts[:position], parts[position] + 1])


def _after_tilde(version: str) -> str:
    parts = _release(version)
    return str(parts[0] + 1) if len(parts) == 1 else f"{parts[0]}.{parts[1] + 1}"
