"""The Pythons on this machine: found, asked once what they are, and chosen from.

uv's own discovery is not used: it misses pyenv's versions (other than the selected one) and, left alone, starts a download.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable, Iterator, Mapping

from lading.environments.probe import Probed, probe
from lading.model.events import Event, Phase, Reporter
from lading.model.origin import Origin
from lading.model.problems import ExitCode, LadingError, Problem
from lading.model.pythons import allows, is_final, order
from lading.model.target import Interpreter

OLDEST = (3, 6)  # what uv makes environments for
STEP = "Finding Python"

_NAME = re.compile(r"python(3(\.\d+)?)?")
_CONDA_ROOTS = ("miniconda3", "anaconda3", "miniforge3", "mambaforge", "micromamba")


def find_interpreters(environ: Mapping[str, str], reporter: Reporter | None = None) -> tuple[Interpreter, ...]:
    """Every Python that an environment can be made with, newest first, each installation once.

    Looked at, in this order (which decides what ``found_by`` says): the running one, PATH (without pyenv's shims), pyenv, uv's
    managed Pythons, conda, ``/usr/local/bin``, ``/usr/bin`` and ``/opt/python*``. Left out: those that do not run, those older than 3.6, debug and
    free-threaded builds, for which hardly any wheel exists.
    """
    candidates: dict[str, str] = {}
    for path, found_by in _candidates(environ):
        candidates.setdefault(os.path.realpath(path), found_by)
    if reporter:
        reporter(Event(step=STEP, phase=Phase.STARTED))
    answers = probe(candidates, environ)
    interpreters = _distinct((answers[path], found_by) for path, found_by in candidates.items() if path in answers)
    if reporter:
        reporter(Event(step=STEP, phase=Phase.FINISHED, message=f"{len(interpreters)} found"))
    return interpreters


def running_one(specifier: str, environ: Mapping[str, str]) -> Interpreter | None:
    """The Python that Lading runs on, where `choose_interpreter` would take it whatever else is found: then nothing need be looked for."""
    path = os.path.realpath(_running())
    answer = probe([path], environ).get(path)
    found = _distinct([(answer, "running")]) if answer else ()
    for one in found:
        if one.implementation == "cpython" and is_final(one.version) and _is_allowed(specifier, one.version):
            return one
    return None


def _is_allowed(specifier: str, version: str) -> bool:
    try:
        return allows(specifier, version)
    except ValueError:
        return False


def probe_named(path: str, environ: Mapping[str, str] | None = None) -> Interpreter:
    """The interpreter at a path that the user named; for one in a virtual environment, the Python that it was made with.

    Raises:
        LadingError: if there is none, it does not run, or it is too old.
    """
    place = os.path.abspath(os.path.expanduser(path))
    if os.path.isdir(place):
        place = os.path.join(place, "bin", "python")
    if not os.path.exists(place):
        raise LadingError(_named_problem("python-not-found", f"There is no Python at {path}.", "Nothing is there."))
    answer = probe([place], environ).get(place)
    if answer is None:
        why = "It does not run, or does not answer as a Python of version 3 does."
        raise LadingError(_named_problem("python-not-usable", f"{path} is not a Python that works.", why))
    if answer.release < OLDEST:
        why = "Environments are made for Python 3.6 and newer."
        raise LadingError(_named_problem("python-too-old", f"{path} is Python {answer.version}.", why))
    return _interpreter(answer, "named")


def _named_problem(rule: str, what: str, why: str) -> Problem:
    return Problem(
        rule=rule,
        what=what,
        origin=Origin("--python"),
        why=why,
        instead="Name an interpreter's file, such as --python /usr/bin/python3.11, or a version, such as --python 3.11.",
        code=ExitCode.RESOLUTION,
    )


def choose_interpreter(specifier: str, found: Iterable[Interpreter], asked_by: Origin | None) -> Interpreter:
    """The interpreter to use: the one Lading runs on if its minor version is allowed, else the newest stable one that is.

    CPython wins over other implementations, and a version that is not final is taken only when nothing else fits.

    Args:
        specifier: What is allowed: a PEP 440 specifier set, or a version (``3.10`` allows any 3.10, ``3.10.4`` that one); empty: anything.
        found: The interpreters to choose from.
        asked_by: Who asks for it.

    Raises:
        LadingError: if none fits, or the specifier cannot be understood.
    """
    candidates = tuple(found)
    allowed = _as_specifier(specifier, asked_by)
    fitting = [one for one in candidates if allows(allowed, one.version)]
    if not fitting:
        raise LadingError(_not_found(specifier, candidates, asked_by))
    return max(fitting, key=_preference)


def _preference(interpreter: Interpreter) -> tuple[bool, bool, bool, bool, tuple[int, ...]]:
    version = order(interpreter.version)
    running = version[:2] == sys.version_info[:2]
    return (
        interpreter.implementation == "cpython",
        is_final(interpreter.version),
        running,
        running and interpreter.found_by == "running",
        version,
    )


def _as_specifier(specifier: str, asked_by: Origin | None) -> str:
    text = specifier.strip()
    if text[:1].isdigit():
        text = f"=={text}.*" if text.count(".") < 2 else f"=={text}"
    try:
        allows(text, "3.0")
    except ValueError as error:
        raise LadingError(
            Problem(
                rule="python-version-invalid",
                what=f'"{specifier}" is not a Python version.',
                origin=asked_by,
                why="A version is 3.11 or 3.11.7, and a range is >=3.9,<3.12.",
                instead="Write 3.11.",
            )
        ) from error
    return text


def _not_found(specifier: str, found: tuple[Interpreter, ...], asked_by: Origin | None) -> Problem:
    asked = _spoken(specifier)
    here = ", ".join(f"{one.version} ({one.path})" for one in found) or "none"
    by = f"{asked_by} asks for it. " if asked_by else ""
    return Problem(
        rule="python-not-found",
        what=f"No Python {asked} was found on this machine.",
        origin=asked_by,
        why=f"{by}The Pythons that were found: {here}.",
        instead=f"Install one with {_ways_to_get(_suggestion(specifier))}, or name an interpreter: --python /path/to/python.",
        code=ExitCode.RESOLUTION,
    )


def _spoken(specifier: str) -> str:
    """``==3.10.*`` is said as 3.10."""
    exact = re.fullmatch(r"===?\s*([\w.]+?)(\.\*)?", specifier.strip())
    return exact[1] if exact else specifier.strip()


def _ways_to_get(version: str) -> str:
    release = order(version)
    minor = ".".join(str(part) for part in release[:2])
    uv = f"`uv python install {version}`, " if release[:2] >= (3, 8) else ""
    return f"{uv}`pyenv install {version}` or your system's package manager (`apt install python{minor}`)"


def _suggestion(specifier: str) -> str:
    """A version to install: the one that was asked for, or the newest minor version that a range allows."""
    spoken = _spoken(specifier)
    if spoken[:1].isdigit():
        return spoken
    minors = [minor for minor in range(14, 5, -1) if any(allows(specifier, f"3.{minor}.{patch}") for patch in (0, 20))]
    return f"3.{minors[0]}" if minors else "3.12"


def _distinct(answers: Iterable[tuple[Probed, str]]) -> tuple[Interpreter, ...]:
    """Each installation once: the same executable, or the same version under the same prefix, is the same Python."""
    distinct: dict[tuple[str, str], Interpreter] = {}
    executables: set[str] = set()
    for answer, found_by in answers:
        if answer.release < OLDEST or answer.free_threaded or _is_debug(answer) or answer.executable in executables:
            continue
        executables.add(answer.executable)
        distinct.setdefault((answer.base_prefix, answer.version), _interpreter(answer, found_by))
    return tuple(sorted(distinct.values(), key=lambda one: order(one.version), reverse=True))


def _is_debug(answer: Probed) -> bool:
    return bool(re.match(r"cpython-\d+d", answer.soabi))


def _interpreter(answer: Probed, found_by: str) -> Interpreter:
    return Interpreter(path=answer.executable, version=answer.version, implementation=answer.implementation, found_by=found_by)


def _running() -> str:
    return getattr(sys, "_base_executable", None) or sys.executable


def _candidates(environ: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    user = environ.get("HOME") or os.path.expanduser("~")
    yield _running(), "running"
    pyenv = environ.get("PYENV_ROOT") or os.path.join(user, ".pyenv")
    shims = os.path.realpath(os.path.join(pyenv, "shims"))
    for folder in environ.get("PATH", os.defpath).split(os.pathsep):
        if os.path.isabs(folder) and os.path.realpath(folder) != shims:
            yield from _in_folder(folder, "PATH")
    yield from _in_prefixes(os.path.join(pyenv, "versions"), "pyenv")
    data = environ.get("XDG_DATA_HOME") or os.path.join(user, ".local", "share")
    yield from _in_prefixes(environ.get("UV_PYTHON_INSTALL_DIR") or os.path.join(data, "uv", "python"), "uv")
    yield from _conda(environ, user)
    for folder in ("/usr/local/bin", "/usr/bin"):
        yield from _in_folder(folder, "system")
    for name in _names("/opt"):
        if name.startswith("python"):
            yield from _in_folder(f"/opt/{name}/bin", "system")
            yield from _in_prefixes(f"/opt/{name}", "system")


def _conda(environ: Mapping[str, str], user: str) -> Iterator[tuple[str, str]]:
    named = environ.get("CONDA_PREFIX")
    if named:
        yield from _in_folder(os.path.join(named, "bin"), "conda")
    for root in (*(os.path.join(user, name) for name in _CONDA_ROOTS), "/opt/conda"):
        yield from _in_folder(os.path.join(root, "bin"), "conda")
        yield from _in_prefixes(os.path.join(root, "envs"), "conda")


def _in_prefixes(folder: str, found_by: str) -> Iterator[tuple[str, str]]:
    for name in _names(folder):
        yield from _in_folder(os.path.join(folder, name, "bin"), found_by)


def _in_folder(folder: str, found_by: str) -> Iterator[tuple[str, str]]:
    """The Pythons in one ``bin`` folder, the most exact names first; ``python`` alone may be Python 2 and is asked only when it stands alone."""
    names = sorted((name for name in _names(folder) if _NAME.fullmatch(name)), key=len, reverse=True)
    for name in names[:-1] if names[-1:] == ["python"] and len(names) > 1 else names:
        path = os.path.join(folder, name)
        if os.access(path, os.X_OK) and not _is_python_2(path) and not _is_script(path):
            yield path, found_by


def _is_python_2(path: str) -> bool:
    """A ``python`` that stands alone may be Python 2, which would be asked anew each time, as it has no answer."""
    return os.path.basename(os.path.realpath(path)).startswith("python2")


def _names(folder: str) -> list[str]:
    try:
        return sorted(os.listdir(folder))
    except OSError:
        return []


def _is_script(path: str) -> bool:
    """Version managers put scripts in the place of interpreters; running them asks the manager, not a Python."""
    try:
        with open(path, "rb") as stream:
            return stream.read(2) == b"#!"
    except OSError:
        return True
