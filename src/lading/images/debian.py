"""How Debian's records are written: what all who read them have in common."""

from __future__ import annotations


def fields_of(paragraph: str) -> dict[str, str]:
    """The fields of a control paragraph by name (deb-control(5)); of those of several lines the first."""
    return dict(line.partition(": ")[::2] for line in paragraph.splitlines() if line[:1] not in ("", " "))


def release_facts(text: str) -> dict[str, str]:
    """The facts of an ``os-release`` (os-release(5))."""
    return {name: value.strip("\"'") for name, _, value in (line.partition("=") for line in text.splitlines())}
