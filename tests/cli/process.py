"""The command line as a process of its own: ``python -m lading``."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Finished:
    """What a process has printed, and its exit status."""

    code: int
    out: str
    err: str

    @property
    def data(self) -> Any:
        """Standard output as JSON."""
        return json.loads(self.out)


def run_lading(*words: str | Path | bytes, cwd: Path, env: Mapping[str, str] | None = None, stdin: str = "") -> Finished:
    """Run ``python -m lading WORDS`` in a folder."""
    done = subprocess.run(
        [sys.executable, "-m", "lading", *words],
        cwd=cwd,
        env={**os.environ, **(env or {})},
        input=stdin.encode(),
        capture_output=True,
        timeout=60,
        check=False,
    )
    out, err = done.stdout.decode(), done.stderr.decode()
    assert "Traceback" not in out + err, out + err
    return Finished(done.returncode, out, err)
