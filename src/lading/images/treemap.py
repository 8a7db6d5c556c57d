"""A treemap: rectangles whose areas are the values, as square as possible (Bruls, Huizing, van Wijk: Squarified Treemaps, 2000)."""

from __future__ import annotations

from collections.abc import Sequence

from lading.model.records import dataclass


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle, in whatever unit the whole has."""

    x: float
    y: float
    width: float
    height: float

    @property
    def area(self) -> float:
        """Width times height."""
        return self.width * self.height


def squarify(values: Sequence[float], box: Box) -> list[Box]:
    """A rectangle for each value (above 0, the largest first), which together fill ``box``."""
    total = sum(values)
    if total <= 0:
        return []
    areas = [value * box.area / total for value in values]
    boxes: list[Box] = []
    rest, at = box, 0
    while at < len(areas):
        end = at + 1
        short = min(rest.width, rest.height)
        while end < len(areas) and _worst(areas[at : end + 1], short) <= _worst(areas[at:end], short):
            end += 1
        row, rest = _lay(areas[at:end], rest)
        boxes += row
        at = end
    return boxes


def _worst(areas: Sequence[float], side: float) -> float:
    """The most oblong of a row's rectangles."""
    total = sum(areas)
    if total <= 0 or side <= 0:
        return float("inf")
    return max(max(side * side * area / (total * total), total * total / (side * side * area)) if area else 1.0 for area in areas)


def _lay(areas: Sequence[float], box: Box) -> tuple[list[Box], Box]:
    """A row along the shorter side, and what is left.

    Lengths are shares of the side: what is left for the smallest has been rounded, and would not fit if it were divided by its area.
    """
    total = sum(areas)
    if box.width >= box.height:
        depth = min(total / box.height, box.width) if box.height else 0.0
        row, y = [], box.y
        for area in areas:
            length = box.height * area / total if total else 0.0
            row.append(Box(box.x, y, depth, length))
            y += length
        return row, Box(box.x + depth, box.y, box.width - depth, box.height)
    depth = min(total / box.width, box.height) if box.width else 0.0
    row, x = [], box.x
    for area in areas:
        length = box.width * area / total if total else 0.0
        row.append(Box(x, box.y, length, depth))
        x += length
    return row, Box(box.x, box.y + depth, box.width, box.height - depth)
