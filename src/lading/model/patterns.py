"""Regular expressions that are compiled when they are first used.

Compiling one takes 0.1 to 0.8 ms, and most of those that a module knows are for what a run does not meet.
"""

from __future__ import annotations

import re
from typing import Any, cast


def pattern(text: str, flags: int = 0) -> re.Pattern[str]:
    """As `re.compile`, for patterns of the product itself: a mistake in one shows at its first use. Its methods are all that may be used."""
    return cast("re.Pattern[str]", _Pattern(text, flags))


class _Pattern:
    def __init__(self, text: str, flags: int) -> None:
        self._text, self._flags = text, flags

    def __getattr__(self, name: str) -> Any:
        """A method of the compiled pattern, kept as an attribute so that the next use finds it at once."""
        found = getattr(re.compile(self._text, self._flags), name)
        setattr(self, name, found)
        return found

    def __repr__(self) -> str:
        return f"pattern({self._text!r})"
