"""What a running server says: lines for a person, or one JSON object per line (``LOG_FORMAT=json``).

A thread of its own writes them, so that a terminal or a log collector that stops reading never stops the event loop. At most
`_WAITING` lines wait; beyond that they are dropped and counted.
"""

from __future__ import annotations

import json
import os
import queue
import sys
import threading
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, TextIO

from lading.model.events import Event, Phase, Reporter, silent

_LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40}
_NAMES = {**{level: level for level in _LEVELS}, "trace": "debug", "warn": "warning", "off": "error"}  # Rust's and Cog's
_WAITING = 10_000
_SHORT = 12


class ServiceLog:
    """Takes what happens while serving.

    With ``stream``, every line is a JSON object on it; without, lines go to the reporter as events of the step "Predicting"
    (the model's own output) and "Serving" (everything else). ``level`` is ``debug``, ``info``, ``warning`` or ``error``.
    """

    def __init__(self, reporter: Reporter = silent, stream: TextIO | None = None, level: str = "info") -> None:
        self._reporter, self._stream = reporter, stream
        self._least = _LEVELS.get(level.lower(), 20)
        self._lines: queue.SimpleQueue[Event | str | None] = queue.SimpleQueue()
        self._dropped = 0
        self._partial: dict[tuple[str, str, str], str] = {}
        self._thread: threading.Thread | None = None
        self.tee: Callable[[str, str], None] | None = None
        """Hears what each API's model prints, whatever is shown."""
        self.alarm: Callable[[str, BaseException | None], None] | None = None
        """Hears of every error of the service itself, whatever is shown: what happened, and the exception if there is one."""

    @classmethod
    def from_environment(cls, reporter: Reporter, environ: Mapping[str, str] | None = None) -> ServiceLog:
        """As ``LOG_FORMAT`` (``json``, ``console``) says, and `level_of`."""
        variables = os.environ if environ is None else environ
        stream = sys.stderr if variables.get("LOG_FORMAT", "").lower() == "json" else None
        return cls(reporter, stream, level_of(variables))

    def wants(self, level: str) -> bool:
        """Whether lines of this level are shown."""
        return _LEVELS[level] >= self._least

    def say(self, level: str, message: str, *, error: BaseException | None = None, alarm: str | None = None, **facts: Any) -> None:
        """Something happened to the service itself. ``error`` is for `alarm` alone, which hears ``alarm`` in place of a model's own words."""
        if self.alarm is not None and level == "error":
            self.alarm(alarm or message, error)
        if not self.wants(level):
            return
        if self._stream is not None:
            self._put(_json_line(level, message, facts))
        else:
            phase = Phase.FAILED if _LEVELS[level] >= _LEVELS["warning"] else Phase.FINISHED
            self._put(Event(step="Serving", phase=phase, message=message))

    def report(self, event: Event, *, alarm: str | None = None) -> None:
        """Pass an event on in its order among the lines. Of one that failed, `alarm` hears ``alarm`` in place of a model's own words."""
        if self.alarm is not None and event.phase is Phase.FAILED and event.message:
            self.alarm(alarm or event.message, None)
        if self._stream is None:
            self._put(event)
        elif event.message:
            level = "error" if event.phase is Phase.FAILED else "info"
            self._put(_json_line(level, event.message, {"step": event.step, "phase": str(event.phase)}))

    def model(self, api: str, prediction: str, text: str, source: str) -> None:
        """The model printed something, during a prediction (its id) or outside of any (empty). Shown line by line."""
        if self.tee is not None:
            self.tee(api, text)
        if not self.wants("info"):
            return
        key = (api, prediction, source)
        *lines, rest = (self._partial.pop(key, "") + text).split("\n")
        for line in lines:
            self._model_line(key, line)
        if rest:
            self._partial[key] = rest

    def end(self, api: str, prediction: str) -> None:
        """No more text of this prediction will come: show a last line that has no line feed."""
        if self._partial:
            for source in ("stdout", "stderr"):
                rest = self._partial.pop((api, prediction, source), None)
                if rest:
                    self._model_line((api, prediction, source), rest)

    def _model_line(self, key: tuple[str, str, str], line: str) -> None:
        api, prediction, source = key
        if self._stream is not None:
            self._put(_json_line("info", line, {"api": api, "prediction": prediction or None, "source": source}))
        elif prediction:
            self._put(Event(step="Predicting", phase=Phase.OUTPUT, message=f"[{printable(prediction[:_SHORT])}] {line}"))
        else:
            self._put(Event(step="Setting up", phase=Phase.OUTPUT, message=f"[{api}] {line}"))

    def _put(self, line: Event | str) -> None:
        if self._lines.qsize() >= _WAITING:
            self._dropped += 1
            return
        if self._thread is None:
            self._thread = threading.Thread(target=self._write, name="service-log", daemon=True)
            self._thread.start()
        if self._dropped:
            dropped, self._dropped = self._dropped, 0
            self.say("warning", f"{dropped} log lines were left out: they were not read fast enough")
        self._lines.put(line)

    def _write(self) -> None:
        while (line := self._lines.get()) is not None:
            try:
                if isinstance(line, Event):
                    self._reporter(line)
                elif self._stream is not None:
                    print(line, file=self._stream, flush=True)
            except (OSError, ValueError):
                # The reader of our log went away. Serving goes on.
                self._reporter, self._stream = silent, None

    def close(self) -> None:
        """Write what waits, for at most two seconds."""
        if self._thread is not None:
            self._lines.put(None)
            self._thread.join(2)
            self._thread = None


def level_of(variables: Mapping[str, str]) -> str:
    """The level of ``LADING_LOG_LEVEL``, else of ``RUST_LOG``, else of ``COG_LOG_LEVEL``, as in Cog; what is no level is passed over.

    Of ``RUST_LOG`` (``info,coglet=debug``) what it says of Cog's server counts, else what it says of everything; not of other programs.
    """
    asked = (variables.get("LADING_LOG_LEVEL"), _of_rust(variables.get("RUST_LOG", "")), variables.get("COG_LOG_LEVEL"))
    return next((_NAMES[level.lower()] for level in asked if level and level.lower() in _NAMES), "info")


def _of_rust(directives: str) -> str | None:
    levels = {"": ""}
    for directive in directives.split(","):
        target, equals, level = directive.strip().rpartition("=")
        levels[target if equals else ""] = level
    return levels.get("coglet") or levels[""] or None


def printable(text: str) -> str:
    """A client's text as one harmless line: control characters are escaped."""
    return "".join(character if character.isprintable() else character.encode("unicode_escape").decode() for character in text)


def _json_line(level: str, message: str, facts: Mapping[str, Any]) -> str:
    record = {"time": datetime.now(UTC).isoformat(timespec="milliseconds"), "level": level, "message": message}
    record.update({name: value for name, value in facts.items() if value is not None})
    return json.dumps(record, ensure_ascii=False, default=str)
