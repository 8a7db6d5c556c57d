"""Did you mean."""

from __future__ import annotations

from collections.abc import Iterable


def did_you_mean(word: str, known: Iterable[str]) -> str | None:
    """The known word that is closest to a misspelt one, or None when nothing is close."""
    from difflib import get_close_matches  # noqa: PLC0415 -- needed for a message only

    words = list(known)
    folded = {name.replace("-", "_").lower(): name for name in words}
    close = get_close_matches(word.replace("-", "_").lower(), folded, n=1, cutoff=0.6)
    return folded[close[0]] if close else None
