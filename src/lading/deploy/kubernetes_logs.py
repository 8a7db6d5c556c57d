"""The logs of several pods as one stream."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator, Sequence


def merged(names: Sequence[str], readers: Sequence[Callable[[], Iterator[str]]]) -> Iterator[str]:
    """The lines of several logs as they come."""
    lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()

    def read(name: str, reader: Callable[[], Iterator[str]]) -> None:
        try:
            for line in reader():
                lines.put(f"[{name}] {line}")
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
