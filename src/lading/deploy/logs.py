"""The logs of several replicas as one stream."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator, Sequence

from lading.model.problems import LadingError, Problem

Reader = Callable[[], Iterator[str]]


def in_turn(names: Sequence[str], readers: Sequence[Reader]) -> Iterator[str]:
    """The lines of several logs, one log after the other. Of one that cannot be had, a line says why.

    Raises:
        LadingError: if none can be had.
    """
    problems: list[Problem] = []
    for name, reader in zip(names, readers, strict=True):
        yield from _named(name, reader, problems)
    _check(names, problems)


def merged(names: Sequence[str], readers: Sequence[Reader]) -> Iterator[str]:
    """The lines of several logs as they come. Of one that cannot be had, a line says why.

    Raises:
        LadingError: if none can be had.
    """
    lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
    problems: list[Problem] = []

    def read(name: str, reader: Reader) -> None:
        try:
            for line in _named(name, reader, problems):
                lines.put(line)
        finally:
            lines.put(None)

    for name, reader in zip(names, readers, strict=True):
        threading.Thread(target=read, args=(name, reader), daemon=True).start()
    left = len(names)
    while left:
        line = lines.get()
        if line is None:
            left -= 1
        else:
            yield line
    _check(names, problems)


def _named(name: str, reader: Reader, problems: list[Problem]) -> Iterator[str]:
    try:
        for line in reader():
            yield f"[{name}] {line}"
    except LadingError as error:
        problems.append(error.problems[0])
        yield f"[{name}] {' '.join(filter(None, (error.problems[0].what, error.problems[0].why)))}"


def _check(names: Sequence[str], problems: Sequence[Problem]) -> None:
    if names and len(problems) == len(names):
        raise LadingError(*dict.fromkeys(problems))
