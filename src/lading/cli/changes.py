"""Changes to the user's files: shown first, then written after a yes, all of them or none."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from lading.cli.output import Output
from lading.edits.changes import Change
from lading.explain.text import count
from lading.model.origin import Origin
from lading.model.problems import LadingError, Problem


def add_consent(parser: argparse.ArgumentParser) -> None:
    """``--yes`` and ``--dry-run``."""
    parser.add_argument("-y", "--yes", action="store_true", help="write without asking")
    parser.add_argument("--dry-run", action="store_true", help="show what would change, and change nothing")


def write_changes(changes: Sequence[Change], root: Path, output: Output, *, yes: bool, dry_run: bool) -> bool:
    """Show the changes as a diff (on standard output, unless JSON is there) and write them; whether they were written.

    Raises:
        LadingError: if nobody can be asked and ``yes`` is not given, or a file cannot be written. Then none is.
    """
    if not output.as_json:
        output.data("\n".join(change.diff.rstrip("\n") for change in changes))
    if dry_run:
        output.say("Nothing was written (--dry-run).")
        return False
    if not yes and not _agreed(changes, output):
        output.say("Nothing was written.")
        return False
    _write_all(changes, root)
    output.say(f"Wrote {', '.join(change.path for change in changes)}.")
    return True


def _agreed(changes: Sequence[Change], output: Output) -> bool:
    if output.as_json or not sys.stdin.isatty() or not sys.stderr.isatty():
        raise LadingError(
            Problem(
                rule="confirmation-needed",
                what=f"{count(len(changes), 'file')} would change, and nobody is at a terminal to agree.",
                origin=Origin(changes[0].path),
                instead="Add --yes to write, or --dry-run to see the changes alone.",
            )
        )
    output.pause()
    print(f"Write {count(len(changes), 'file')}? [y/N] ", end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def _write_all(changes: Sequence[Change], root: Path) -> None:
    """Every file into a temporary one first, so that a full disk is met before anything changes."""
    aside: list[tuple[Path, Path, Change]] = []
    done: list[tuple[Path, Change]] = []
    try:
        for change in changes:
            path = (root / change.path).resolve()
            temporary = path.with_name(f".{path.name}.{os.getpid()}")
            aside.append((temporary, path, change))
            temporary.write_bytes(change.after)
            if path.exists():
                temporary.chmod(path.stat().st_mode & 0o7777)
        for temporary, path, change in aside:
            _must_be_unchanged(path, change)
            temporary.replace(path)
            done.append((path, change))
    except BaseException as error:
        _undo(done)
        if isinstance(error, OSError):
            raise LadingError(_not_written(error, aside[-1][2])) from error
        raise
    finally:
        for temporary, _, _ in aside:
            temporary.unlink(missing_ok=True)


def _undo(done: Sequence[tuple[Path, Change]]) -> None:
    for path, change in done:
        if change.before is None:
            path.unlink(missing_ok=True)
        else:
            path.write_bytes(change.before)


def _must_be_unchanged(path: Path, change: Change) -> None:
    if (path.read_bytes() if path.exists() else None) != change.before:
        raise LadingError(
            Problem(
                rule="file-changed-meanwhile",
                what=f"{change.path} was changed by somebody else meanwhile. Nothing was written.",
                origin=Origin(change.path),
                instead="Run the command again.",
            )
        )


def _not_written(error: OSError, change: Change) -> Problem:
    return Problem(
        rule="file-not-written",
        what=f"{change.path} cannot be written: {error.strerror}. Nothing was changed.",
        origin=Origin(change.path),
        instead="Make the file and its folder writable.",
    )
