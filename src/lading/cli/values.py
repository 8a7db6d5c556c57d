"""What the values of options are read with: the numbers, sizes and addresses that several verbs take."""

from __future__ import annotations

import argparse
import math

TYPE_CHECKING = False  # typing's own constant, without importing typing
if TYPE_CHECKING:
    from collections.abc import Callable

_MOST = 100_000
_UNITS = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30}


def count_from(least: int) -> Callable[[str], int]:
    """How a number of things is read, of which there must be ``least``."""

    def count(text: str) -> int:
        if not (text.isascii() and text.isdigit() and least <= int(text) <= _MOST):
            raise argparse.ArgumentTypeError(f'"{text}" is no whole number from {least} on')
        return int(text)

    return count


def size(text: str) -> int:
    """Bytes: ``500M``, ``2G``.

    Raises:
        argparse.ArgumentTypeError: if it is none.
    """
    number, unit = (text[:-1], text[-1:].lower()) if text[-1:].lower() in tuple("kmg") else (text, "")
    if not (number.isascii() and number.isdigit() and 0 < int(number) < 1 << 40):
        raise argparse.ArgumentTypeError(f'"{text}" is no size; write 500M or 2G')
    return int(number) * _UNITS[unit]


def seconds(text: str) -> float:
    """A time above 0.

    Raises:
        argparse.ArgumentTypeError: if it is none.
    """
    try:
        found = float(text)
    except ValueError:
        found = math.nan
    if not 0 < found < math.inf:
        raise argparse.ArgumentTypeError(f'"{text}" is no number of seconds above 0')
    return found


def web(text: str) -> str:
    """An address of the web.

    Raises:
        argparse.ArgumentTypeError: if it is none.
    """
    if not text.startswith(("http://", "https://")):
        raise argparse.ArgumentTypeError(f'"{text}" is no http:// or https:// URL')
    return text
