"""Asking an interpreter what it is, once; remembered in the store by its file's identity."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterable, Mapping
from typing import Any

from lading.environments.home import home
from lading.model.records import dataclass

# Old enough for every Python that an environment can be made for, and silent about everything else.
_QUESTION = """
import json, os, struct, sys, sysconfig
info = sys.version_info
level = {"alpha": "a", "beta": "b", "candidate": "rc"}.get(info[3], "")
version = "%d.%d.%d" % info[:3] + (level + str(info[4]) if level else "")
base = getattr(sys, "_base_executable", None) or sys.executable
if sys.prefix != sys.base_prefix and os.path.realpath(base).startswith(os.path.realpath(sys.prefix) + os.sep):
    base = os.path.join(sys.base_prefix, "bin", "python%d.%d" % info[:2])
try:
    libc = os.confstr("CS_GNU_LIBC_VERSION") or ""
except (AttributeError, ValueError, OSError):
    libc = ""
print(json.dumps({
    "executable": os.path.realpath(base),
    "version": version,
    "implementation": sys.implementation.name,
    "base_prefix": os.path.realpath(sys.base_prefix),
    "soabi": sysconfig.get_config_var("SOABI") or "",
    "platform": sysconfig.get_platform(),
    "libc": libc,
    "bits": 8 * struct.calcsize("P"),
    "free_threaded": bool(sysconfig.get_config_var("Py_GIL_DISABLED")),
}))
"""

_CACHE = "interpreters.json"
_FORMAT = 1
_AT_ONCE = 8
_SECONDS = 20.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Probed:
    """What an interpreter says about itself.

    ``executable`` is the real path of the base interpreter (never one inside a virtual environment), ``platform`` is sysconfig's name,
    ``libc`` is ``glibc 2.36`` or empty, ``bits`` the size of a pointer.
    """

    executable: str
    version: str
    implementation: str
    base_prefix: str
    soabi: str
    platform: str
    libc: str
    bits: int
    free_threaded: bool

    @property
    def release(self) -> tuple[int, ...]:
        """Major and minor version as numbers."""
        return tuple(int(part) for part in self.version.split(".")[:2])


def probe(paths: Iterable[str], environ: Mapping[str, str] | None = None) -> dict[str, Probed]:
    """Ask each interpreter, several at a time; answers by path. One that does not run or does not answer is left out.

    Answers are kept in the store by real path, size and modification time, so each interpreter runs once until it changes.
    """
    known = _load(environ)
    answers: dict[str, Probed] = {}
    unknown: dict[str, str] = {}
    for path in dict.fromkeys(paths):
        identity = _identity(path)
        if identity in known:
            answers[path] = known[identity]
        elif identity:
            unknown[path] = identity
    fresh = _ask(list(unknown))
    if fresh:
        _store({**known, **{unknown[path]: answer for path, answer in fresh.items()}}, environ)
    return {**answers, **fresh}


def _identity(path: str) -> str:
    real = os.path.realpath(path)
    try:
        status = os.stat(real)
    except OSError:
        return ""
    return f"{path}\0{real}\0{status.st_size}\0{status.st_mtime_ns}"


def _ask(paths: list[str]) -> dict[str, Probed]:
    answers: dict[str, Probed] = {}
    for start in range(0, len(paths), _AT_ONCE):
        running = [(path, process) for path in paths[start : start + _AT_ONCE] if (process := _start(path))]
        for path, process in running:
            answer = _answer(process)
            if answer is not None:
                answers[path] = answer
    return answers


def _start(path: str) -> subprocess.Popen[str] | None:
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "__PYVENV"))}
    command = [path, "-I", "-c", _QUESTION]
    try:
        return subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environ, cwd="/"
        )
    except OSError:
        return None


def _answer(process: subprocess.Popen[str]) -> Probed | None:
    try:
        output, _ = process.communicate(timeout=_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        return None
    return _parse(output.strip().rpartition("\n")[2]) if process.returncode == 0 else None


def _parse(line: str) -> Probed | None:
    try:
        return Probed(**json.loads(line))
    except (ValueError, TypeError):
        return None


def _load(environ: Mapping[str, str] | None) -> dict[str, Probed]:
    try:
        with open(os.path.join(home(environ), _CACHE), encoding="utf-8") as stream:
            content: Any = json.load(stream)
        if content["format"] != _FORMAT:
            return {}
        return {identity: Probed(**record) for identity, record in content["interpreters"].items()}
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return {}


def _store(known: Mapping[str, Probed], environ: Mapping[str, str] | None) -> None:
    """Keep the answers; a store that cannot be written costs the next run some milliseconds, no more."""
    import tempfile  # noqa: PLC0415 -- only when something is new
    from dataclasses import asdict  # noqa: PLC0415 -- as above

    folder = home(environ)
    content = {"format": _FORMAT, "interpreters": {identity: asdict(answer) for identity, answer in known.items()}}
    try:
        os.makedirs(folder, exist_ok=True)
        descriptor, aside = tempfile.mkstemp(prefix=f".{_CACHE}-", dir=folder)
        with open(descriptor, "w", encoding="utf-8") as stream:
            json.dump(content, stream)
        os.replace(aside, os.path.join(folder, _CACHE))
    except OSError:
        return
