"""The day as of which packages are resolved: a date, a moment, or the last commit of the project's configuration."""

from __future__ import annotations

import re
import subprocess
from datetime import UTC, datetime
from pathlib import Path

from lading.model.origin import Origin
from lading.model.problems import LadingError, Problem

COMMIT = "commit"
FORGET = ("none", "now", "today")
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")
_OPTION = Origin("--as-of")


def moment_of(text: str, root: Path, paths: tuple[str, ...]) -> str | None:
    """The moment (RFC 3339, UTC) that ``--as-of`` names: the end of a day, the moment itself, or the last commit; None for ``none``.

    Args:
        text: ``2024-05-01``, ``2024-05-01T12:00:00Z``, ``commit``, or ``none``.
        root: The project's folder.
        paths: The files whose last commit counts: the configuration and the dependency files, relative to ``root``.

    Raises:
        LadingError: if it is none of these, lies in the future, or there is no commit.
    """
    if text.lower() in FORGET:
        return None
    moment = _last_commit(root, paths) if text.lower() == COMMIT else _parsed(text)
    if moment > datetime.now(UTC) and not _DATE.fullmatch(text):
        raise LadingError(_problem(f"{text} lies in the future.", "Name a day that has passed."))
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def _parsed(text: str) -> datetime:
    try:
        if _DATE.fullmatch(text):
            return datetime.fromisoformat(f"{text}T23:59:59+00:00")
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise LadingError(_problem(f'"{text}" is not a date.', "Write --as-of 2024-05-01, or --as-of commit.")) from error
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)


def _last_commit(root: Path, paths: tuple[str, ...]) -> datetime:
    command = ["git", "log", "-1", "--format=%cI", "--", *paths]
    try:
        done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    except OSError as error:
        raise LadingError(_problem(f"git cannot be started: {error.strerror}.", "Install git, or name the day.")) from error
    if done.returncode or not done.stdout.strip():
        why = "the folder is not in a git repository" if done.returncode else "they are in no commit yet"
        what = f"{', '.join(paths) or 'The project'} {'has' if len(paths) < 2 else 'have'} no last commit: {why}."
        raise LadingError(_problem(what, "Commit them, or name the day: --as-of 2024-05-01."))
    return datetime.fromisoformat(done.stdout.strip()).astimezone(UTC)


def _problem(what: str, instead: str) -> Problem:
    return Problem(rule="as-of-invalid", what=what, origin=_OPTION, instead=instead)
