"""``lading init``: a starter project that works at once."""

from __future__ import annotations

import argparse
import os
from importlib import resources
from pathlib import Path

from lading.cli.options import add_json
from lading.cli.output import Output
from lading.model.origin import Origin
from lading.model.problems import LadingError, Problem

STYLES = ("cog", "cortex", "plain")
_ASK = {
    "cog": "lading predict -i name=World",
    "cortex": """lading predict --json '{"name": "World"}'""",
    "plain": "lading predict -i name=World",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """See `lading.cli.run.Verb`."""
    parser.add_argument("folder", nargs="?", metavar="FOLDER", help="where to write it (default: here); made if it does not exist")
    parser.add_argument("--style", choices=STYLES, default="cog", help="whose conventions to follow (default: cog)")
    add_json(parser)


def run(arguments: argparse.Namespace, output: Output) -> int:
    """See `lading.cli.run.Verb`."""
    folder = Path(arguments.directory or ".") / (arguments.folder or ".")
    templates = _templates(arguments.style)
    existing = [name for name in sorted(templates) if os.path.lexists(folder / name)]
    if existing:
        raise LadingError(*(_exists(name) for name in existing))
    _write(folder, templates)
    if output.as_json:
        output.json({"folder": str(folder), "style": arguments.style, "files": sorted(templates)})
        return 0
    for name in sorted(templates):
        output.data(str(folder / name))
    there = "" if folder.resolve() == Path.cwd() else f"cd {folder}, then "
    output.say(f"Next: {there}`{_ASK[arguments.style]}`, or `lading serve`.")
    return 0


def _templates(style: str) -> dict[str, str]:
    folder = resources.files("lading.cli") / "templates" / style
    # A template's name ends in .txt, so that no tool takes it for a part of Lading.
    return {one.name.removesuffix(".txt"): one.read_text(encoding="utf-8") for one in folder.iterdir() if one.name.endswith(".txt")}


def _exists(name: str) -> Problem:
    return Problem(
        rule="init-exists",
        what=f"{name} is already here, and nothing is overwritten.",
        origin=Origin(name),
        instead="Name another folder: `lading init my-model`.",
    )


def _write(folder: Path, templates: dict[str, str]) -> None:
    """Write all files, or none: what was written before a failure is taken away again."""
    made: list[Path] = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in templates.items():
            with (folder / name).open("x", encoding="utf-8", newline="\n") as stream:
                made.append(folder / name)
                stream.write(text)
    except OSError as error:
        for path in made:
            path.unlink(missing_ok=True)
        raise LadingError(
            Problem(
                rule="init-not-written", what=f"{folder} cannot be written: {error.strerror}.", instead="Name a folder you may write to."
            )
        ) from error
