"""What activating a conda prefix does to a process's variables: conda's own ones, the environment's, and its packages' scripts.

The order is conda's: ``CONDA_PREFIX`` and ``PATH``, then ``etc/conda/env_vars.d/*.json`` and the environment's own variables
(``conda-meta/state``), then ``etc/conda/activate.d/*.sh`` in the order of their names, in one shell.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping

from lading.model.problems import ExitCode, LadingError, Problem
from lading.model.records import dataclass, field

_SCRIPTS = os.path.join("etc", "conda", "activate.d")
_VARIABLES = os.path.join("etc", "conda", "env_vars.d")
_STATE = os.path.join("conda-meta", "state")
_LEAKS = ("PYTHONHOME", "PYTHONPATH", "VIRTUAL_ENV", "VIRTUAL_ENV_PROMPT", "__PYVENV_LAUNCHER__")
_OF_SHELL = frozenset({"_", "PWD", "OLDPWD", "SHLVL"})
_SHELLS = ("/bin/bash", "/usr/bin/bash", "/usr/local/bin/bash", "/bin/sh")
_SOURCE = 'for script in "$@"; do . "$script" >&2; done; exec env -0'
_PATIENCE = 120.0


@dataclass(frozen=True, slots=True)
class Activation:
    """Variables that activating sets, and those that it takes away."""

    variables: Mapping[str, str] = field(default_factory=dict)
    removed: tuple[str, ...] = ()


def is_prefix(place: str) -> bool:
    """Whether an environment is a conda prefix."""
    return os.path.isdir(os.path.join(place, "conda-meta"))


def outside(environ: Mapping[str, str]) -> dict[str, str]:
    """The variables without those that another environment which is active has set."""
    return {name: value for name, value in environ.items() if name not in _LEAKS and not name.startswith(("CONDA_", "_CE_"))}


def activation(place: str, environ: Mapping[str, str]) -> Activation:
    """What activating the conda prefix ``place`` changes in ``environ``; nothing for an environment of another kind.

    Raises:
        LadingError: if the scripts do not come to an end.
    """
    if not is_prefix(place):
        return Activation()
    base = outside(environ)
    activated = {**base, **_own(place, base), **_declared(place)}
    scripts = _scripts(place)
    after = _sourced(scripts, activated, place) if scripts else activated
    changed = {name: value for name, value in after.items() if environ.get(name) != value}
    return Activation(changed, tuple(sorted(name for name in environ if name not in after)))


def _own(place: str, environ: Mapping[str, str]) -> dict[str, str]:
    path = os.path.join(place, "bin") + os.pathsep + environ.get("PATH", os.defpath)
    return {"CONDA_PREFIX": place, "CONDA_DEFAULT_ENV": place, "CONDA_SHLVL": "1", "PATH": path}


def _declared(place: str) -> dict[str, str]:
    """The variables of packages, then the environment's own."""
    found: dict[str, str] = {}
    for name in _names(os.path.join(place, _VARIABLES), ".json"):
        found |= _texts(_json(os.path.join(place, _VARIABLES, name)))
    state = _json(os.path.join(place, _STATE)).get("env_vars", {})
    return found | _texts(state if isinstance(state, dict) else {})


def _json(path: str) -> dict[str, object]:
    try:
        with open(path, encoding="utf-8") as stream:
            found = json.load(stream)
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _texts(found: Mapping[str, object]) -> dict[str, str]:
    return {name: str(value) for name, value in found.items()}


def _scripts(place: str) -> list[str]:
    folder = os.path.join(place, _SCRIPTS)
    return [os.path.join(folder, name) for name in _names(folder, ".sh")]


def _names(folder: str, suffix: str) -> list[str]:
    try:
        return sorted(name for name in os.listdir(folder) if name.endswith(suffix))
    except OSError:
        return []


def _sourced(scripts: list[str], environ: Mapping[str, str], place: str) -> dict[str, str]:
    """The variables after a shell has read the scripts. What they print is talk; that one fails ends nothing, as in conda."""
    shell = next((one for one in _SHELLS if os.path.exists(one)), "sh")
    command = [shell, "-c", _SOURCE, shell, *scripts]
    try:
        done = subprocess.run(
            command, env=dict(environ), capture_output=True, stdin=subprocess.DEVNULL, timeout=_PATIENCE, check=False, cwd=place
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise LadingError(_failed(scripts, str(error))) from error
    if done.returncode:
        raise LadingError(_failed(scripts, done.stderr.decode("utf-8", "replace")))
    pairs = (entry.partition("=") for entry in done.stdout.decode("utf-8", "surrogateescape").split("\0") if "=" in entry)
    found = {name: value for name, _, value in pairs}
    kept = {name: value for name, value in environ.items() if name in _OF_SHELL}
    return {**{name: value for name, value in found.items() if name not in _OF_SHELL and not name.startswith("BASH_FUNC_")}, **kept}


def _failed(scripts: list[str], said: str) -> Problem:
    return Problem(
        rule="conda-activation-failed",
        what=f"The environment cannot be activated: {', '.join(os.path.basename(script) for script in scripts)} did not come to an end.",
        why="These scripts of conda packages set the variables that the packages need.",
        instead="Remove the package that brings the script, or use another version of it.",
        code=ExitCode.BUILD,
        detail=said.strip() or None,
    )
