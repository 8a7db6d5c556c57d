"""Colour, or none: the only place that knows escape codes."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from typing import TextIO

from lading.model.records import dataclass

_CODES = {"bold": "1", "dim": "2", "red": "31", "green": "32", "yellow": "33", "cyan": "36"}


@dataclass(frozen=True, slots=True)
class Style:
    """How text for one stream looks: with colour or without, and how many columns there are."""

    colour: bool = False
    width: int = 80

    def paint(self, text: str, *names: str) -> str:
        """``text`` in the named colours, or as it is where colour is off."""
        if not self.colour or not text:
            return text
        codes = ";".join(_CODES[name] for name in names)
        return f"\x1b[{codes}m{text}\x1b[0m"


def columns_of_terminal(environ: Mapping[str, str]) -> int | None:
    """How many columns the terminal has: what ``COLUMNS`` says, else the terminal itself; None where there is none.

    As `shutil.get_terminal_size` finds them, whose module loads every archive format.
    """
    said = environ.get("COLUMNS", "")
    if said.isdecimal() and int(said):
        return int(said)
    try:
        return os.get_terminal_size(sys.__stdout__.fileno() if sys.__stdout__ else 1).columns or None
    except (OSError, ValueError):
        return None


def style_for(stream: TextIO, environ: Mapping[str, str], *, no_color: bool = False, columns: int | None = None) -> Style:
    """The style of a stream: no colour off a terminal, with ``--no-color``, ``NO_COLOR`` or ``COG_NO_COLOR`` (any value), or ``TERM=dumb``."""
    terminal = stream.isatty()
    unwanted = no_color or environ.get("NO_COLOR") or environ.get("COG_NO_COLOR")
    colour = terminal and not unwanted and environ.get("TERM") != "dumb"
    return Style(colour=colour, width=max(30, min(columns or 100, 120)))
