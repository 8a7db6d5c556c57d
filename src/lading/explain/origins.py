"""Which index each package of a lock came from."""

from __future__ import annotations

from lading.explain.style import Style
from lading.explain.text import count, wrap
from lading.model.lock import Lock

_NAMED = 12
"""Packages that are named for one index; of more, the number is said (`lading explain NAME` tells of each)."""


def render_origins(lock: Lock, style: Style) -> str:
    """The indexes with the packages that came from each, the one with the fewest first; nothing where no index is recorded."""
    found: dict[str, list[str]] = {}
    for package in lock.packages:
        if "index" in package:
            found.setdefault(str(package["index"]), []).append(str(package["name"]))
    if not found:
        return ""
    lines = [style.paint("Came from", "bold")]
    for index, names in sorted(found.items(), key=lambda one: (len(one[1]), one[0])):
        shown = ", ".join(sorted(names)) if len(names) <= _NAMED else count(len(names), "package")
        lines.append(wrap(f"{index}: {shown}", style, "  ", "    "))
    return "\n".join(lines)
