"""Whether a built environment is what its lock names: uv's word alone is not taken for it."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Self

from lading.environments.ahead import QUESTION
from lading.model.lock import Lock
from lading.model.names import canonical
from lading.model.problems import ExitCode, LadingError, Problem
from lading.model.target import Interpreter

_DIST_INFO = re.compile(r"(?P<name>.+?)-(?P<version>[^-]+)\.dist-info")


class Question:
    """The environment's interpreter, asked who it is. It answers while the packages are installed, which costs no time of its own.

    ``words`` are its arguments: by default those that make it tell its version and its folder; with ``-V`` it tells the version alone.
    """

    def __init__(self, place: Path, *words: str) -> None:
        environ = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "__PYVENV"))}
        self._place = place
        self._failure = ""
        try:
            self._process: subprocess.Popen[str] | None = subprocess.Popen(
                [str(place / "bin" / "python"), *(words or ("-I", "-c", QUESTION))],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                env=environ,
                cwd=place,
            )
        except OSError as error:
            self._process, self._failure = None, error.strerror or "it is not there"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        if self._process is not None and self._process.returncode is None:
            self._process.kill()
            self._process.communicate()

    def differences(self, interpreter: Interpreter) -> list[str]:
        """What is wrong with the environment's interpreter, in words."""
        if self._process is None:
            return [f"its Python does not run: {self._failure}"]
        output, said = self._process.communicate()
        if self._process.returncode:
            last = said.strip().rpartition("\n")[2]
            return [f"its Python does not run: {last or f'it ended with status {self._process.returncode}'}"]
        return Answer(self._place, output).differences(interpreter)


class Answer:
    """What an environment's interpreter said of itself."""

    def __init__(self, place: Path, text: str) -> None:
        self._place = place
        last = text.rstrip("\n").rpartition("\n")[2]
        version = re.match(r"Python (\d+\.\d+\.\d+)", last)  # the answer to -V, which names no folder
        self._version, _, self._prefix = (version[1], "", str(place)) if version else last.partition(" ")

    def differences(self, interpreter: Interpreter) -> list[str]:
        """What is wrong with it, in words."""
        wanted = re.match(r"\d+\.\d+\.\d+", interpreter.version)
        if wanted and self._version != wanted[0]:
            return [f"its Python is {self._version}, not {interpreter.version}"]
        if os.path.realpath(self._prefix) != os.path.realpath(self._place):
            return [f"its Python takes {self._prefix} for its own folder"]
        return []


def verify(place: Path, lock: Lock, wrong: list[str]) -> None:
    """Compare the records of what is installed with the lock. ``wrong`` is what is wrong with the interpreter.

    Raises:
        LadingError: if anything is, or a package is missing, of another version or not in the lock.
    """
    reasons = [*wrong, *_differences(place, lock)]
    if reasons:
        raise LadingError(incomplete(reasons))


def _differences(place: Path, lock: Lock) -> Iterator[str]:
    here = dict(installed(place))
    locked = {canonical(str(package["name"])): package for package in lock.packages}
    for name in sorted(here.keys() - locked.keys()):
        yield f"{name} is installed and not in the lock"
    # A package may be in the lock several times, each for another environment that its marker describes.
    versions = {name: [str(one.get("version", "")) for one in lock.packages if canonical(str(one["name"])) == name] for name in locked}
    for name, package in locked.items():
        if name not in here:
            if "marker" not in package:
                yield f"{name} is missing"
        elif not any(same_version(version, here[name]) for version in versions[name]):
            yield f"{name} {here[name]} is installed, the lock has {versions[name][0]}"


def installed(place: Path) -> Iterator[tuple[str, str]]:
    """Name and version of every distribution whose record is complete."""
    for site in place.glob("lib/*/site-packages"):
        for name in os.listdir(site):
            found = _DIST_INFO.fullmatch(name)
            if found and os.path.exists(site / name / "RECORD") and os.path.exists(site / name / "METADATA"):
                yield canonical(found["name"]), found["version"]


def same_version(locked: str, installed: str) -> bool:
    """Whether a record's version is the lock's; a lock without one takes any."""
    if not locked or locked == installed:
        return True
    from packaging.version import InvalidVersion, Version  # noqa: PLC0415 -- mostly they are the same text

    try:
        return Version(locked) == Version(installed.replace("_", "-"))
    except InvalidVersion:
        return False


def incomplete(reasons: list[str]) -> Problem:
    """What is said of an environment that is not as it should be."""
    return Problem(
        rule="environment-incomplete",
        what="The environment that was built is not what the lock names.",
        why=f"{'; '.join(reasons)[:1].upper()}{'; '.join(reasons)[1:]}.",
        instead="Try again; if it stays so, clear uv's cache with `uv cache clean`.",
        code=ExitCode.BUILD,
    )
