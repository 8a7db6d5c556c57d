"""``lading diff OLD NEW``: two locks compared in words: what was added, removed and changed, and why."""

from __future__ import annotations

import argparse
from pathlib import Path

from lading.cli.options import add_json
from lading.cli.output import Output
from lading.locks.lockfile import read
from lading.locks.story import render_story, tell
from lading.model.lock import Lock
from lading.model.origin import Origin
from lading.model.problems import LadingError, Problem

_DEFAULT = "pylock.lading.toml"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """See `lading.cli.run.Verb`."""
    parser.add_argument("old", metavar="OLD", help="a lock file, or the folder of a project that has one")
    parser.add_argument("new", metavar="NEW", nargs="?", default=_DEFAULT, help=f"the other one (default: {_DEFAULT})")
    add_json(parser)


def run(arguments: argparse.Namespace, output: Output) -> int:
    """See `lading.cli.run.Verb`. The exit status is 0 whether or not they differ."""
    folder = Path(arguments.directory or ".")
    story = tell(_lock(folder, arguments.old), _lock(folder, arguments.new))
    if output.as_json:
        output.json({"old": arguments.old, "new": arguments.new, **story.as_json()})
    else:
        output.data(render_story(story, output.out_style))
    return 0


def _lock(folder: Path, named: str) -> Lock:
    path = folder / named
    if path.is_dir():
        path, named = path / _DEFAULT, f"{named.rstrip('/')}/{_DEFAULT}"
    try:
        text = path.read_bytes().decode("utf-8", "replace")
    except OSError as error:
        raise LadingError(
            Problem(
                rule="file-not-found",
                what=f"{named} cannot be read: {error.strerror}.",
                origin=Origin(named),
                instead="Name two lock files. An earlier one is in version control: `git show HEAD:pylock.lading.toml > old.toml`.",
            )
        ) from error
    return read(text, named, validate=False)
