"""What the user must change before Lading can go on."""

from __future__ import annotations

from collections.abc import Iterable
from enum import IntEnum
from typing import Any

from lading.model.origin import Origin
from lading.model.records import dataclass


class ExitCode(IntEnum):
    """The process's exit status, one per class of failure."""

    OK = 0
    MODEL = 1
    USAGE = 2
    RESOLUTION = 3
    LOCK = 4
    NETWORK = 5
    BUILD = 6
    DEPLOY = 7
    INTERRUPTED = 130


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """Something the user must change: what, where, why, and what to write instead.

    ``rule`` is a stable kebab-case id. ``detail`` holds supporting text of several lines (a resolver's reasons,
    a traceback of the user's own code); it is shown below the message.
    """

    rule: str
    what: str
    origin: Origin | None = None
    why: str | None = None
    instead: str | None = None
    code: ExitCode = ExitCode.USAGE
    detail: str | None = None

    def as_json(self) -> dict[str, Any]:
        """The record as JSON data; keys without a value are left out."""
        record = {
            "rule": self.rule,
            "what": self.what,
            "origin": str(self.origin) if self.origin else None,
            "why": self.why,
            "instead": self.instead,
            "code": self.code.name.lower(),
            "exit_code": int(self.code),
            "detail": self.detail,
        }
        return {key: value for key, value in record.items() if value is not None}


class LadingError(Exception):
    """Carries every problem of a run, so that the user sees all of them at once.

    The exit code is that of the first problem.
    """

    def __init__(self, *problems: Problem) -> None:
        if not problems:
            raise ValueError("a LadingError needs at least one problem")
        self.problems = problems
        super().__init__("; ".join(problem.what for problem in problems))

    @property
    def exit_code(self) -> ExitCode:
        """The exit code of the first problem."""
        return self.problems[0].code


class ProblemCollector:
    """Gathers problems, so that a reader can go on after the first and report all of them.

    ``with collector.catching(): ...`` absorbs a `LadingError`; `raise_if_any` ends the collection.
    """

    def __init__(self) -> None:
        self.problems: list[Problem] = []

    def add(self, *problems: Problem) -> None:
        """Remember problems for later."""
        self.problems.extend(problems)

    def catching(self) -> _Catching:
        """A context that absorbs a `LadingError` and keeps its problems."""
        return _Catching(self)

    def raise_if_any(self) -> None:
        """Raise a `LadingError` with everything that was gathered, each problem once.

        Raises:
            LadingError: if there is at least one problem.
        """
        unique: Iterable[Problem] = dict.fromkeys(self.problems)
        problems = tuple(unique)
        if problems:
            raise LadingError(*problems)


class _Catching:
    def __init__(self, collector: ProblemCollector) -> None:
        self.collector = collector

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> bool:
        if isinstance(error, LadingError):
            self.collector.add(*error.problems)
            return True
        return False
