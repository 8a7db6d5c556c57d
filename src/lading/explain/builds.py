"""The table of builds: what `lading plan` begins with, to be read in five seconds."""

from __future__ import annotations

from collections.abc import Sequence

from lading.explain.style import Style
from lading.explain.text import wrap
from lading.frameworks.rows import Row, Sized

_TITLES = ("package", "asked", "chosen", "build", "download", "why")
_LEAST_REASON = 24


def render_builds(rows: Sequence[Row], style: Style) -> str:
    """One line per package with several builds, and below, how large the other build would be. Nothing without such packages."""
    if not rows:
        return ""
    cells = [_cells(row) for row in rows]
    widths = [max(len(line[column]) for line in (_TITLES, *cells)) for column in range(len(_TITLES) - 1)]
    room = style.width - sum(widths) - 2 * len(widths) - 2
    if room < _LEAST_REASON:
        lines = [line for row in cells for line in _stacked(row, style)]
    else:
        lines = [style.paint(_line(_TITLES, widths, style), "dim"), *(_line(row, widths, style) for row in cells)]
    compared = [wrap(text, style, "  ", "    ") for row in rows if (text := _compared(row))]
    return "\n".join([style.paint("Builds", "bold"), *lines, *compared])


def _cells(row: Row) -> tuple[str, ...]:
    return (row.package, row.asked, row.chosen, row.build.build, _download(row), row.because)


def _download(row: Row) -> str:
    size = megabytes(row.build.size) if row.build.size is not None else "?"
    return f"{size} + {megabytes(row.beside)}" if row.beside else size


def _line(cells: Sequence[str], widths: Sequence[int], style: Style) -> str:
    start = "  " + "".join(f"{cell:{width}}  " for cell, width in zip(cells, widths, strict=False))
    return (start + wrap(cells[-1], style, " " * len(start)).lstrip()).rstrip()


def _stacked(cells: Sequence[str], style: Style) -> list[str]:
    """For narrow terminals: the package, and below it what else there is to say."""
    pairs = zip(_TITLES[1:], cells[1:], strict=True)
    return [f"  {cells[0]}", *(wrap(f"{title}: {cell}", style, "    ", "      ") for title, cell in pairs if cell)]


def _compared(row: Row) -> str:
    if row.other is None or row.build.size is None or row.other.size is None:
        return ""
    sizes = [_spoken(one) for one in (row.build, row.other)]
    beside = f" and {megabytes(row.beside)} of NVIDIA's libraries" if row.beside else ", NVIDIA's libraries aside"
    cuda_is_first = row.build.build != "CPU"
    return f"{row.package} is {sizes[0]}{beside if cuda_is_first else ''}, and {sizes[1]}{'' if cuda_is_first else beside}."


def _spoken(one: Sized) -> str:
    return f"{megabytes(one.size or 0)} to download for {one.build}"


def megabytes(size: int) -> str:
    """A size for people: ``192 MB``, ``2.4 GB``, ``13 kB``."""
    for unit, step in (("GB", 1_000_000_000), ("MB", 1_000_000), ("kB", 1_000)):
        if size >= step:
            number = size / step
            return f"{number:.1f} {unit}" if number < 10 else f"{number:.0f} {unit}"
    return f"{size} B"
