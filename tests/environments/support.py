"""What the store's tests share: locks made by hand from published files, and builders that are processes of their own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from lading.environments.interpreters import find_interpreters
from lading.locks.lockfile import write
from lading.model.environment import Environment
from lading.model.lock import Lock
from lading.model.target import Interpreter
from tests.support.index import LocalIndex
from tests.support.wheels import Archive, normalized

REPOSITORY = Path(__file__).resolve().parents[2]
FOUND = {one.minor: one for one in reversed(find_interpreters(os.environ)) if one.implementation == "cpython"}
"""This machine's CPythons by minor version, found before any test hides the user's home."""


def package(index: LocalIndex, archive: Archive, to: str = "simple", *, sha256: str | None = None) -> dict[str, Any]:
    """A published file as a package of a lock."""
    file = {"url": index.file_url(archive, to), "hashes": {"sha256": sha256 or archive.sha256}}
    kind = {"wheels": [file]} if archive.filename.endswith(".whl") else {"sdist": file}
    return {"name": normalized(archive.name), "version": archive.version, **kind}


def lock_of(*packages: Mapping[str, Any], python: str | None = None) -> Lock:
    """A lock of these packages."""
    document: dict[str, Any] = {"lock-version": "1.0", "created-by": "lading", "packages": list(packages)}
    if python:
        document["requires-python"] = python
    return Lock(document=document, fingerprint="f", target={})


def run_in(environment: Environment, code: str) -> str:
    """What a program prints in an environment."""
    done = subprocess.run([environment.python, "-c", code], capture_output=True, text=True, check=True, cwd="/")
    return done.stdout.strip()


def installed(environment: Environment) -> dict[str, str]:
    """Version by name of the distributions in an environment."""
    records = Path(environment.path).glob("lib/*/site-packages/*.dist-info")
    return dict(record.name.removesuffix(".dist-info").split("-") for record in records)


class Builder:
    """A process that builds one environment, with the texts of its events as they come."""

    def __init__(self, lock: Lock, interpreter: Interpreter, root: Path, *, before: Iterable[str] = (), **environ: str) -> None:
        job = {"lock": write(lock), "python": interpreter.path, "root": str(root)}
        command = [*before, sys.executable, "-m", "tests.environments.builder", json.dumps(job)]
        self.process = subprocess.Popen(
            command,
            cwd=REPOSITORY,
            env={**os.environ, **environ},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self.events: list[dict[str, Any]] = []

    def until(self, step: str, phase: str) -> None:
        """Wait for an event."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.events.append(json.loads(line))
            if self.events[-1].get("step") == step and self.events[-1].get("phase") == phase:
                return
        raise AssertionError(f"{self.events} and no {step} {phase}: {self.process.communicate()[1]}")

    def result(self) -> dict[str, Any]:
        """The last line: the environment, or the problems."""
        output, said = self.process.communicate()
        self.events += [json.loads(line) for line in output.splitlines()]
        assert self.events, said
        return self.events[-1]

    def steps(self) -> list[tuple[str, str]]:
        """Steps and phases, in order."""
        return [(event["step"], event["phase"]) for event in self.events if "step" in event]


def processes_about(place: Path) -> list[str]:
    """Command lines of running processes that mention a path."""
    found = []
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            text = file.read_bytes().replace(b"\0", b" ").decode(errors="replace")
            state = (file.parent / "stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            continue
        if str(place) in text and state not in "ZX":
            found.append(text)
    return found


def left_about(place: Path) -> list[str]:
    """Those of `processes_about` that stay: what was killed a moment ago takes another to end."""
    until = time.monotonic() + 20  # what waits for a silent server gives up after 30
    while (found := processes_about(place)) and time.monotonic() < until:
        time.sleep(0.05)
    return found
