"""The command line, run in this process: as fast as a function, with everything but the process's start."""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lading.cli.run import run


@dataclass(frozen=True)
class Ran:
    """What a command has printed, and its exit status."""

    code: int
    out: str
    err: str

    @property
    def data(self) -> Any:
        """Standard output as JSON."""
        return json.loads(self.out)

    @property
    def problem(self) -> Any:
        """The one problem of a ``--json`` run."""
        (problem,) = self.data["problems"]
        return problem


def lading(*words: str | Path) -> Ran:
    """Run ``lading WORDS``."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = run([str(word) for word in words])
    return Ran(code, out.getvalue(), err.getvalue())


def write_files(folder: Path, files: Mapping[str, str | bytes]) -> Path:
    """Write a project's files; returns its folder."""
    for path, content in files.items():
        place = folder / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content.encode() if isinstance(content, str) else content)
    return folder
