"""What a node's server writes into its log: standard error, of which an engine makes one."""

from __future__ import annotations

import sys

from lading.model.events import Event, Phase


def write_event(event: Event) -> None:
    """A `Reporter` for a log: what came of each step, and what it printed, but no progress."""
    if event.message and event.phase in (Phase.OUTPUT, Phase.FINISHED, Phase.FAILED):
        write_line(event.message if event.phase is Phase.OUTPUT else f"{event.step}: {event.message}")


def write_line(text: str) -> None:
    """A line that is there at once."""
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()
