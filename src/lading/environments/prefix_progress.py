"""What py-rattler tells while it installs: as events, and whether it still gets on."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable
from itertools import count

from lading.model.events import Event, Phase, Reporter

STEP = "Installing conda packages"
_LOOK = 0.5


async def watched(installing: Awaitable[None], progress: Progress, patience: float) -> None:
    """Wait for the installation, as long as something is heard of its downloads: py-rattler itself would wait for ever.

    Raises:
        TimeoutError: if nothing was heard for ``patience`` seconds.
    """
    task = asyncio.ensure_future(installing)
    try:
        while not task.done():
            await asyncio.wait({task}, timeout=min(_LOOK, patience))
            if not task.done() and progress.is_stalled(patience):
                raise TimeoutError(f"nothing was received for {patience:g} seconds")
        task.result()
    finally:
        if not task.done():
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task


class Progress:
    """py-rattler's progress as events: bytes while downloading, packages while linking.

    It has those of py-rattler's hooks that something is made of: each that is there costs a call for every package.
    """

    def __init__(self, reporter: Reporter, total: int, python_is_there: Callable[[], None], *, step: str = STEP) -> None:
        self._reporter, self._total, self._linked, self._step = reporter, total, 0, step
        self._bytes: dict[int, tuple[int, int]] = {}
        self._python_is_there, self._python = python_is_there, -1
        self._downloads = count()
        self._open: set[int] = set()
        self._heard = time.monotonic()

    def is_stalled(self, patience: float) -> bool:
        """Whether a download has begun and nothing was heard of it, or of anything, for ``patience`` seconds."""
        return bool(self._open) and time.monotonic() - self._heard > patience

    def begin_again(self) -> None:
        """Count the packages from the first one."""
        self._linked = 0
        self._open.clear()

    def report(self, phase: Phase, message: str, **counts: int | str) -> None:
        """Tell of the step."""
        self._reporter(Event(step=self._step, phase=phase, message=message, **counts))  # type: ignore[arg-type] # the counts of an event

    def on_download_progress(self, download_idx: int, progress: int, total: int | None) -> None:
        """A part of a file has come."""
        self._heard = time.monotonic()
        self._bytes[download_idx] = (progress, total or 0)
        done, whole = (sum(pair[part] for pair in self._bytes.values()) for part in (0, 1))
        self.report(Phase.PROGRESS, "downloading", done=done, total=max(done, whole), unit="bytes")

    def on_link_start(self, operation: int, package_name: str) -> int:
        """A package begins to be linked."""
        self.report(Phase.PROGRESS, package_name, done=self._linked, total=self._total, unit="packages")
        self._python = operation if package_name == "python" else self._python
        return operation

    def on_link_complete(self, index: int) -> None:
        """A package is linked."""
        self._linked += 1
        if index == self._python:
            self._python_is_there()

    def on_download_start(self, _cache_entry: int) -> int:
        """A file begins to be downloaded."""
        download = next(self._downloads)
        self._heard = time.monotonic()
        self._open.add(download)
        return download

    def on_download_completed(self, download_idx: int) -> None:
        """A file is here."""
        self._heard = time.monotonic()
        self._open.discard(download_idx)
