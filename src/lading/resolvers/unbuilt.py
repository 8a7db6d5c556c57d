"""Packages that were found and cannot be used: builds, repositories and folders that fail."""

from __future__ import annotations

import re

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
    owner = next((one for one in said.case.plan.requirements if one.path and one.path.rstrip("/").removeprefix("./") in place), None)
    return Problem(
        rule="path-not-found",
        what=f"There is no {place}.",
        origin=owner.origin if owner else None,
        why="A requirement or --find-links names it; such paths start at the project's folder.",
        instead="Correct the path, or remove the line.",
        code=ExitCode.RESOLUTION,
    )


def no_project(said: Said) -> Problem:
    """A folder or repository holds no Python project."""
    return Problem(
        rule="no-python-project",
        what="A requirement names a folder that holds no Python project.",
        origin=said.origin(),
        why="There is no pyproject.toml and no setup.py in it.",
        instead="Name the folder that has one; in a repository with #subdirectory=FOLDER.",
        code=ExitCode.RESOLUTION,
        detail=said.reasons,
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
