"""An image's layers as a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


def table(layers: Sequence[Mapping[str, Any]], platform: str) -> str:
    """One line for each layer (as `Layer.as_json` gives them): what it is, its size in a registry and unpacked, and what it holds."""
    rows = [
        (str(layer["kind"]), size(layer["size"]), size(layer["unpacked"]) if layer["unpacked"] else "", str(layer["title"]))
        for layer in layers
    ]
    total = (platform, size(sum(layer["size"] for layer in layers)), "", f"{len(layers)} layers")
    widths = [max(len(row[column]) for row in (*rows, total, _HEAD)) for column in range(3)]
    return "\n".join(_line(row, widths) for row in (_HEAD, *rows, total))


_HEAD = ("layer", "size", "unpacked", "holds")


def _line(row: tuple[str, str, str, str], widths: Sequence[int]) -> str:
    kind, compressed, unpacked, title = row
    shown = title if len(title) <= 80 else f"{title[:79]}…"
    return f"  {kind:{widths[0]}}  {compressed:>{widths[1]}}  {unpacked:>{widths[2]}}  {shown}".rstrip()


def size(count: int) -> str:
    """A number of bytes for people: ``185 MB``, ``2.1 kB``."""
    if count < 1000:
        return f"{count} B"
    for unit in ("kB", "MB", "GB"):
        count_of = count / {"kB": 1e3, "MB": 1e6, "GB": 1e9}[unit]
        if count_of < 999.5 or unit == "GB":
            return f"{count_of:.1f} {unit}" if count_of < 9.95 else f"{count_of:.0f} {unit}"
    raise AssertionError("unreachable")
