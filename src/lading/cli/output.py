"""Standard output is data, standard error is talk."""

from __future__ import annotations

import io
import json
import os
import sys
from collections.abc import Iterable, Sequence
from typing import Any

from lading.explain.progress import make_reporter
from lading.explain.style import Style, columns_of_terminal, style_for
from lading.model.decisions import Decision, Kind
from lading.model.events import Reporter
from lading.model.problems import Problem

STDOUT = "standard output"


class Output:
    """Where one run's data and talk go."""

    def __init__(
        self, *, as_json: bool = False, quiet: bool = False, verbose: int = 0, no_color: bool = False, progress: str = "auto"
    ) -> None:
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, io.TextIOWrapper):
                # What a terminal's encoding lacks (or half a surrogate in a model's text) is shown as an escape, and never stops us.
                stream.reconfigure(errors="backslashreplace")
        columns = columns_of_terminal(os.environ)
        self.as_json, self.quiet, self.verbose = as_json, quiet, verbose
        self.out_style: Style = style_for(sys.stdout, os.environ, no_color=no_color, columns=columns)
        self.talk_style: Style = style_for(sys.stderr, os.environ, no_color=no_color, columns=columns)
        mode = "quiet" if quiet and progress == "auto" else progress
        self.reporter: Reporter = make_reporter(mode, sys.stderr, self.talk_style, verbose=verbose > 0)

    def data(self, text: str) -> None:
        """A line (or several) of data."""
        try:
            print(text)
        except OSError as error:
            raise OSError(error.errno, error.strerror, STDOUT) from error

    def json(self, record: Any) -> None:
        """Data as JSON."""
        unicode = (sys.stdout.encoding or "").lower().replace("-", "").startswith("utf")
        self.data(json.dumps(record, indent=2, ensure_ascii=not unicode))

    def say(self, text: str) -> None:
        """Talk, unless ``-q``."""
        if not self.quiet:
            self.pause()
            print(text, file=sys.stderr, flush=True)

    def decisions(self, decisions: Iterable[Decision], *, kept: bool = True) -> None:
        """The decisions the user should know of, at normal verbosity."""
        shown = [decision for decision in decisions if kept or decision.kind is not Kind.KEPT]
        if shown:
            from lading.explain.text import render_decisions

            self.say(render_decisions(shown, self.talk_style))

    def problems(self, problems: Sequence[Problem]) -> None:
        """All problems: on standard error, or as JSON data with ``--json``. Shown even with ``-q``."""
        self.pause()
        if self.as_json:
            code = problems[0].code
            self.json({"error": code.name.lower(), "exit_code": int(code), "problems": [problem.as_json() for problem in problems]})
        else:
            from lading.explain.text import render_problems

            print(render_problems(problems, self.talk_style), file=sys.stderr, flush=True)

    def stop(self) -> None:
        """`pause` for good."""
        getattr(self.reporter, "stop", self.pause)()

    def pause(self) -> None:
        """Take a live progress line away before something else is printed."""
        close = getattr(self.reporter, "close", None)
        if close is not None:
            close()
