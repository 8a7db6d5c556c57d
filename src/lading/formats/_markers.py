"""Markers put together: both, either, neither."""

from __future__ import annotations

import re

_TOKEN = re.compile(r"""\s*(\(|\)|"[^"]*"|'[^']*'|not\s+in\b|in\b|and\b|or\b|===|==|!=|<=|>=|~=|<|>|[A-Za-z_.]+)""")
_OPPOSITE = {"==": "!=", "!=": "==", "<": ">=", ">=": "<", ">": "<=", "<=": ">", "in": "not in", "not in": "in"}


def both(*markers: str | None) -> str | None:
    """All of the markers; those that are None always hold."""
    written = list(dict.fromkeys(marker for marker in markers if marker))
    if len(written) <= 1:
        return written[0] if written else None
    return " and ".join(f"({marker})" if _has_or(marker) else marker for marker in written)


def either(*markers: str | None) -> str | None:
    """At least one of the markers; None as soon as one always holds."""
    if not markers or any(marker is None for marker in markers):
        return None
    return " or ".join(dict.fromkeys(f"({marker})" if " and " in str(marker) else str(marker) for marker in markers))


def _has_or(marker: str) -> bool:
    return " or " in marker


def opposite(marker: str) -> str | None:
    """The marker that holds where this one does not; None where that cannot be written (``~=``, ``===``)."""
    tokens = [re.sub(r"\s+", " ", token) for token in _TOKEN.findall(marker)]
    try:
        return _any(tokens)
    except (IndexError, KeyError):
        return None


def _any(tokens: list[str]) -> str:
    """``a or b`` becomes ``not a and not b``."""
    parts = [_all(tokens)]
    while tokens and tokens[0] == "or":
        tokens.pop(0)
        parts.append(_all(tokens))
    return both(*parts) or ""


def _all(tokens: list[str]) -> str:
    parts = [_one(tokens)]
    while tokens and tokens[0] == "and":
        tokens.pop(0)
        parts.append(_one(tokens))
    return either(*parts) or ""


def _one(tokens: list[str]) -> str:
    first = tokens.pop(0)
    if first == "(":
        inner = _any(tokens)
        tokens.pop(0)
        return inner
    operator, second = tokens.pop(0), tokens.pop(0)
    return f"{first} {_OPPOSITE[operator]} {second}"
