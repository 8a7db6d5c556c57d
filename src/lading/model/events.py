"""Work that is happening: what progress bars and plain log lines are drawn from."""

from __future__ import annotations

from enum import StrEnum
from typing import Protocol

from lading.model.records import dataclass


class Phase(StrEnum):
    """Where a step is."""

    STARTED = "started"
    PROGRESS = "progress"
    OUTPUT = "output"
    FINISHED = "finished"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One thing that happened in one step.

    ``step`` is the step in the -ing form ("Resolving", "Installing"). ``done`` and ``total`` count ``unit``
    ("packages", "bytes"); ``total`` is None when unknown. OUTPUT carries a line of a child's or the model's output.
    """

    step: str
    phase: Phase
    message: str = ""
    done: int | None = None
    total: int | None = None
    unit: str = ""


class Reporter(Protocol):
    """Whoever listens to events."""

    def __call__(self, event: Event) -> None:
        """Take one event; must not raise."""


def silent(event: Event) -> None:
    """A `Reporter` that listens to nothing."""
