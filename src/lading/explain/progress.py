"""Events as lines, as JSON, or as a live bar: three reporters with one signature."""

from __future__ import annotations

import json
import threading
from typing import TextIO

from lading.explain.style import Style
from lading.model.events import Event, Phase, Reporter, silent


def make_reporter(mode: str, stream: TextIO, style: Style, *, verbose: bool = False) -> Reporter:
    """The reporter for ``--progress``: ``auto`` draws a bar on a terminal and prints lines elsewhere."""
    if mode == "quiet":
        return silent
    if mode == "json":
        return JsonReporter(stream)
    if mode == "auto" and stream.isatty() and style.colour:
        return BarReporter(stream, verbose=verbose)
    return PlainReporter(stream, style, verbose=verbose)


class PlainReporter:
    """One line when a step starts and one when it ends; the steps' own output only with ``-v``."""

    def __init__(self, stream: TextIO, style: Style, *, verbose: bool = False) -> None:
        self._stream, self._style, self._verbose = stream, style, verbose

    def __call__(self, event: Event) -> None:
        """See `Reporter`."""
        line = plain_line(event, verbose=self._verbose)
        if line is not None:
            print(line, file=self._stream, flush=True)


def plain_line(event: Event, *, verbose: bool) -> str | None:
    """The line that a plain log shows for an event, or None for nothing."""
    if event.phase is Phase.PROGRESS:
        return f"  {event.message}" if verbose and event.message else None
    if event.phase is Phase.OUTPUT:
        return event.message if verbose or event.step == "Predicting" else None
    if event.phase is Phase.STARTED:
        return f"{event.step} {event.message}".rstrip() if event.message else event.step
    return f"  {event.message}" if event.message else None


class JsonReporter:
    """Every event as one JSON object on a line."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def __call__(self, event: Event) -> None:
        """See `Reporter`."""
        record = {
            "step": event.step,
            "phase": str(event.phase),
            "message": event.message,
            "done": event.done,
            "total": event.total,
            "unit": event.unit,
        }
        present = {key: value for key, value in record.items() if value not in (None, "")}
        print(json.dumps({"event": present}), file=self._stream, flush=True)


class BarReporter:
    """A live line per step, drawn by rich; finished steps stay as plain lines."""

    def __init__(self, stream: TextIO, *, verbose: bool = False) -> None:
        from rich.console import Console  # noqa: PLC0415 -- 35 ms, only on a terminal that shows bars

        self._console = Console(file=stream, highlight=False, soft_wrap=True)
        self._verbose = verbose
        self._lock = threading.Lock()
        self._status: object | None = None
        self._step = ""
        self._stopped = False

    def __call__(self, event: Event) -> None:
        """See `Reporter`."""
        with self._lock:
            if self._stopped:
                return
            if event.phase is Phase.OUTPUT or (event.phase is Phase.PROGRESS and self._verbose and event.message):
                self._print(event)
            elif event.phase in (Phase.STARTED, Phase.PROGRESS):
                self._draw(event)
            else:
                self._finish(event)

    def _print(self, event: Event) -> None:
        line = plain_line(event, verbose=self._verbose)
        if line is not None:
            self._console.print(line, markup=False)

    def _draw(self, event: Event) -> None:
        from rich.status import Status  # noqa: PLC0415 -- see above

        text = f"{event.step} {event.message}".rstrip()
        if event.total:
            filled = int(20 * min(event.done or 0, event.total) / event.total)
            text = f"{event.step} {'━' * filled}{'╌' * (20 - filled)} {event.done or 0}/{event.total} {event.unit} {event.message}".rstrip()
        if isinstance(self._status, Status):
            self._status.update(_plain(text))
            return
        status = Status(_plain(text), console=self._console)
        status.start()
        self._status, self._step = status, event.step

    def _finish(self, event: Event) -> None:
        from rich.status import Status  # noqa: PLC0415 -- see above

        if isinstance(self._status, Status):
            self._status.stop()
        self._status = None
        mark = "x" if event.phase is Phase.FAILED else "✓"
        self._console.print(f"{mark} {event.step} {event.message}".rstrip(), markup=False)

    def close(self) -> None:
        """Take the live line off the terminal."""
        from rich.status import Status  # noqa: PLC0415 -- see above

        with self._lock:
            if isinstance(self._status, Status):
                self._status.stop()
            self._status = None

    def stop(self) -> None:
        """`close` for good: threads that were left running have nothing more to show."""
        self._stopped = True
        self.close()


def _plain(text: str) -> str:
    """Square brackets are markup to rich."""
    return text.replace("[", "\\[")
