"""``lading install`` where nothing changed: answered before anything heavy is imported."""

from __future__ import annotations

import os
import sys

_FLAGS = ("-q", "--quiet", "-v", "--verbose", "--no-color", "--locked", "--offline")
_VALUES = {
    "-C": "directory",
    "--directory": "directory",
    "-f": "file",
    "--file": "file",
    "--python": "python",
    "--accelerator": "accelerator",
    "--progress": "progress",
}


def nothing_to_do(words: list[str]) -> bool:
    """Whether this is an ``install`` of an unchanged project; prints the environments then.

    Only plain words are understood here: whatever is unusual (or wrong) takes the long way, which explains it.
    """
    chosen = _parse(words)
    if chosen is None:
        return False
    from lading.environments.stamp import find_fresh

    folder = os.path.realpath(os.path.join(chosen.get("directory", "."), chosen.get("project", ".")))  # noqa: PTH118 -- no pathlib here
    python = chosen.get("python") or os.environ.get("UV_PYTHON") or ""
    stamp = find_fresh(folder, (chosen.get("file", ""), python, chosen.get("accelerator", "auto")))
    if stamp is None:
        _begin_ahead(folder, chosen, python)
        return False
    for path in stamp.environments.values():
        print(path)
    if not chosen.get("quiet"):
        print("Nothing to do: the project is unchanged since its environment was built.", file=sys.stderr)
    return True


def _begin_ahead(folder: str, chosen: dict[str, str], python: str) -> None:
    """Where this project was never installed with plain options, its lock (if there is one) is likely what will be installed."""
    from lading.environments.stamp import stamp_path

    plain = not python and chosen.keys() <= {"directory", "project", "progress", "quiet"}
    if not plain or os.path.exists(stamp_path(folder, ("", "", "auto"))):  # noqa: PTH110 -- see above
        return
    from lading.environments.ahead import begin

    begin(folder)


def _parse(words: list[str]) -> dict[str, str] | None:
    chosen: dict[str, str] = {}
    rest = iter(words)
    verb = False
    for word in rest:
        if word in _VALUES:
            chosen[_VALUES[word]] = next(rest, "")
        elif word in _FLAGS:
            chosen.update({"quiet": "yes"} if word in ("-q", "--quiet") else {})
        elif not verb and word == "install":
            verb = True
        elif verb and not word.startswith("-") and "project" not in chosen:
            chosen["project"] = word
        else:
            return None
    return chosen if verb else None
