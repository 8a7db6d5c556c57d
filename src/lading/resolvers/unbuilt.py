"""Packages that were found and cannot be used: builds, repositories and folders that fail."""

from __future__ import annotations

import posixpath
import re

from lading.model.origin import Origin
from lading.model.problems import ExitCode, Problem
from lading.resolvers.cases import Said

_TAIL = 40
"""Lines of a failed program's output that are shown."""

_ANSI = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
_GIT_AUTH = re.compile(
    r"could not read (?:Username|Password)|Authentication failed|Permission denied|terminal prompts disabled", re.IGNORECASE
)
_GIT_NETWORK = re.compile(
    r"unable to access|Could not resolve host|Connection (?:refused|timed out|reset)|unable to connect", re.IGNORECASE
)


def disk_full(said: Said) -> Problem:
    """The cache's or the temporary folder's disk is full."""
    return Problem(
        rule="disk-full",
        what="The disk is full.",
        why="uv could not write to its cache or to the temporary folder.",
        instead="Free some space (`uv cache prune` empties uv's cache of what is not used), or set UV_CACHE_DIR and TMPDIR to another disk.",
        code=ExitCode.RESOLUTION,
        detail=said.text,
    )


def build_failed(said: Said) -> Problem:
    """A source distribution's own build failed; its last lines of output tell why."""
    named = re.search(r"Failed to (?:download and )?build `(?P<name>[\w.-]+)(?P<version>==[^`]+)?", said.text)
    name = named["name"] if named else "a package"
    missing = re.search(r"ModuleNotFoundError: No module named '([\w.]+)'", said.text)
    advice = f"A module that the build needs is missing ({missing[1]}); the package may be too old for this Python. " if missing else ""
    return Problem(
        rule="build-failed",
        what=f"{name}{(named['version'] or '') if named else ''} has to be built from source, and its build failed.",
        origin=said.origin(name),
        why=f"There is no wheel that fits Python {said.case.plan.target.python} on {said.case.plan.target.platform}, or none is wanted.",
        instead=f"{advice}Ask for a version that has a wheel, another Python, or install what the build's output below asks for.",
        code=ExitCode.RESOLUTION,
        detail=_tail(said.text),
    )


def _tail(text: str) -> str:
    lines = _ANSI.sub("", text).splitlines()
    output = [number for number, line in enumerate(lines) if line.strip() in ("[stdout]", "[stderr]", "--- stderr", "--- stdout")]
    shown = lines[output[0] :] if output else lines
    shown = [line for line in shown if not line.startswith("hint: Build failures")]
    kept = shown[-_TAIL:]
    left_out = [f"... {len(shown) - len(kept)} lines before"] if len(kept) < len(shown) else []
    return "\n".join([*left_out, *(line.removeprefix(" " * 9) for line in kept)]).strip()


def hash_mismatch(said: Said) -> Problem:
    """A file that was downloaded is not the one that the index or the requirement declares."""
    return Problem(
        rule="hash-mismatch",
        what=f"A downloaded file of {said.found['name'].strip()} has another hash than the one declared for it.",
        origin=said.origin(said.found["name"].strip()),
        why="The file was changed on the server, damaged on the way, or the declared hash is wrong.",
        instead="Try again; if it stays so, tell whoever runs the index. Do not install the file.",
        code=ExitCode.RESOLUTION,
        detail=said.reasons,
    )


def git_failed(said: Said) -> Problem:
    """A git repository could not be read: no network, no right, no such branch, no such repository."""
    named = re.search(r"`(?P<name>[\w.-]+) @ (?P<url>git\+\S+)`", said.text)
    url = named["url"] if named else "the git repository"
    branch = re.search(r"failed to (?:fetch|find) (?:branch or tag|branch, tag, or commit|commit|tag|branch|ref)?\s*`([^`]+)`", said.text)
    if branch:
        why, instead, code = f"It has no branch, tag or commit {branch[1]}.", "Correct what stands after the @.", ExitCode.RESOLUTION
    elif _GIT_AUTH.search(said.text):
        why, code = "It asks for credentials; git is not allowed to prompt for them.", ExitCode.NETWORK
        instead = "Use an SSH URL with a key (git+ssh://git@...), or write the token as a variable: git+https://${GIT_TOKEN}@..."
    elif _GIT_NETWORK.search(said.text):
        why, instead, code = "Its server cannot be reached.", "Check the address and the network.", ExitCode.NETWORK
    else:
        why, instead, code = "git's own words are below.", "Check the repository's URL, and that git is installed.", ExitCode.RESOLUTION
    return Problem(
        rule="git-failed",
        what=f"{url} cannot be fetched.",
        origin=said.origin(named["name"] if named else None),
        why=why,
        instead=instead,
        code=code,
        detail=_tail(said.text),
    )


def path_missing(said: Said) -> Problem:
    """A folder or file that a requirement names is not there."""
    place = said.found["place"].strip()
    return Problem(
        rule="path-not-found",
        what=f"There is no {place}.",
        origin=_line_with_path(said, place),
        why="A requirement or --find-links names it; such paths start at the project's folder.",
        instead="Correct the path, or remove the line.",
        code=ExitCode.RESOLUTION,
    )


def _line_with_path(said: Said, place: str) -> Origin | None:
    wanted = posixpath.normpath(place)
    lines = said.case.plan.requirements
    return next((one.origin for one in lines if one.path and posixpath.normpath(one.path) == wanted), said.origin())


def no_project(said: Said) -> Problem:
    """A folder holds no Python project."""
    place = said.found["place"]
    return Problem(
        rule="no-python-project",
        what=f"{place} is no Python project.",
        origin=_line_with_path(said, place),
        why="There is no pyproject.toml and no setup.py in it.",
        instead="Name the folder that has one.",
        code=ExitCode.RESOLUTION,
    )


def no_subdirectory(said: Said) -> Problem:
    """A repository or an archive lacks the folder that the requirement names."""
    return Problem(
        rule="no-python-project",
        what=f"{said.found['source']} has no folder {said.found['place']}.",
        origin=said.origin(),
        why="The requirement names it as #subdirectory=.",
        instead="Correct the subdirectory, or the revision after the @.",
        code=ExitCode.RESOLUTION,
    )


def wrong_name(said: Said) -> Problem:
    """A requirement gives a package another name than the package itself has."""
    return Problem(
        rule="name-mismatch",
        what=f"What is required as {said.found['asked']} calls itself {said.found['found']}.",
        origin=said.origin(said.found["asked"]),
        why="The name before the @ (or after #egg=) must be the package's own.",
        instead=f"Write {said.found['found']} instead of {said.found['asked']}.",
        code=ExitCode.RESOLUTION,
    )


def not_parsed(said: Said) -> Problem:
    """Uv cannot read a requirement that Lading's own readers let pass."""
    return Problem(
        rule="requirement-invalid",
        what="uv cannot read one of the requirements.",
        origin=said.origin(),
        why="The place is marked below.",
        instead="Correct the requirement.",
        code=ExitCode.USAGE,
        detail=said.reasons,
    )


def no_python(said: Said) -> Problem:
    """The interpreter that was chosen is gone or does not run."""
    path = said.found["path"] or said.found["broken"]
    return Problem(
        rule="python-does-not-run",
        what=f"The Python at {path} {'is not there' if said.found['path'] else 'does not run'}.",
        why="Packages that come as source are built with it.",
        instead="Install it again, or name another one with --python.",
        code=ExitCode.USAGE,
        detail=said.reasons,
    )


def unknown_platform(said: Said) -> Problem:
    """Uv has no name for the target's platform."""
    return Problem(
        rule="platform-not-supported",
        what=f"Packages cannot be chosen for the platform {said.found['value']}.",
        why="uv, which resolves for Lading, does not know it.",
        instead="Use a name like x86_64-manylinux_2_28, aarch64-manylinux_2_28, aarch64-apple-darwin or x86_64-pc-windows-msvc.",
        code=ExitCode.USAGE,
    )
