"""What an environment's name in the store is made from: everything that its content depends on, and nothing else."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lading.environments.sources import content_digest
from lading.model.files import fold_hashes
from lading.model.lock import Lock
from lading.model.origin import Origin
from lading.model.plan import Plan
from lading.model.problems import LadingError, Problem
from lading.model.records import dataclass
from lading.model.target import Interpreter

FORMAT = "1"
"""Another one makes every environment be built anew: to be raised when they are built in another way."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """``name`` is the environment's in the store.

    ``checkout`` is the project's folder for an environment that holds packages of it, and ``family`` is then the same
    for every state of their sources.
    """

    name: str
    family: str | None = None
    checkout: str | None = None


def make_key(lock: Lock, interpreter: Interpreter, root: Path, plan: Plan) -> Key:
    """The key of a lock's environment for an interpreter on this machine.

    Where files come from does not count when their hashes are known, nor do Lading's own records in the lock. Packages that are
    folders count with their place and their sources' content; editable ones with what describes the package.

    Raises:
        LadingError: if a source of such a package cannot be read.
    """
    checkout = os.path.realpath(root) if lock.has_local_packages else None
    facts = {
        "format": FORMAT,
        "python": [os.path.realpath(interpreter.path), interpreter.version, interpreter.implementation],
        **_conda_facts(lock, plan),
        "machine": _machine(),
        "packages": [_package(package) for package in lock.packages],
        "binary": [sorted(plan.options.no_binary), sorted(plan.options.only_binary)],
        "checkout": checkout,
    }
    text = json.dumps(facts, sort_keys=True)
    family = _name(interpreter, [text])
    if checkout is None:
        return Key(name=family)
    return Key(name=_name(interpreter, [text, *_digests(lock, root)]), family=family, checkout=checkout)


def _conda_facts(lock: Lock, plan: Plan) -> dict[str, Any]:
    """Conda's files with their hashes, the interpreter among them, and the variables that the prefix holds."""
    if lock.conda is None:
        return {}
    variables = plan.conda.variables if plan.conda else ()
    return {
        "python": ["conda", lock.conda.python],
        "conda": sorted([package.file_name, package.sha256 or package.md5] for package in lock.conda.packages),
        "variables": sorted([name, value.reveal()] for name, value in variables),
    }


def _name(interpreter: Interpreter, parts: list[str]) -> str:
    return f"py{interpreter.minor.replace('.', '')}-{fold_hashes(parts)[:32]}"


def _machine() -> list[str]:
    """A home may be shared between machines, and a wheel is chosen by the C library's version."""
    try:
        libc = os.confstr("CS_GNU_LIBC_VERSION") or ""
    except (AttributeError, ValueError, OSError):
        libc = ""
    return [sys.platform, os.uname().machine, libc]


def _package(package: Mapping[str, Any]) -> dict[str, Any]:
    kept = {key: package[key] for key in ("name", "version", "marker", "vcs", "directory", "tool") if key in package}
    files = [*(package[key] for key in ("archive", "sdist") if key in package), *package.get("wheels", ())]
    if "archive" in package:
        kept["archive"] = package["archive"].get("url")  # recorded in the environment: `direct_url.json`
    return {**kept, "files": sorted(_file(file) for file in files)}


def _file(file: Mapping[str, Any]) -> str:
    place = str(file.get("url") or file.get("path") or file.get("name") or "")
    hashes = sorted(f"{algorithm}:{value}" for algorithm, value in file.get("hashes", {}).items())
    return " ".join([place.rpartition("/")[2] if hashes else place, str(file.get("subdirectory", "")), *hashes])


def _digests(lock: Lock, root: Path) -> list[str]:
    folders = {str(package["directory"]["path"]): bool(package["directory"].get("editable")) for package in local_packages(lock)}
    try:
        return [f"{path} {content_digest(str(root / path), metadata_only=editable)}" for path, editable in sorted(folders.items())]
    except OSError as error:
        raise LadingError(_unreadable(error)) from error


def local_packages(lock: Lock) -> list[Mapping[str, Any]]:
    """The packages that are folders."""
    return [package for package in lock.packages if "directory" in package]


def _unreadable(error: OSError) -> Problem:
    return Problem(
        rule="file-unreadable",
        what=f"{error.filename} cannot be read: {error.strerror}.",
        origin=Origin(str(error.filename)),
        why="It is a source of a package that the environment holds.",
        instead="Give the user that runs Lading the right to read it.",
    )
