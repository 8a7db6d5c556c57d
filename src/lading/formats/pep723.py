"""The ``# /// script`` block of a Python file (PEP 723): the dependencies of a predictor that is one file."""

from __future__ import annotations

import re
from collections.abc import Mapping

from lading.formats._place import NO_VARIABLES
from lading.formats._python import specifier_request
from lading.formats._text import read_text
from lading.formats._together import conflicting_pins
from lading.formats._toml import Toml
from lading.formats._toml_reader import TomlReader
from lading.formats._uv_table import from_sources, read_uv_table
from lading.model.files import ProjectFiles
from lading.model.origin import Origin
from lading.model.problems import LadingError, Problem
from lading.model.requirements import Declaration

name = "script metadata"

# The standard's own pattern.
_BLOCK = re.compile(r"(?m)^# /// (?P<type>[a-zA-Z0-9-]+)$\s(?P<content>(^#(| .*)$\s)+)^# ///$")
_MARK = b"# /// script"


def recognises(path: str) -> bool:
    """Whether a file is one that may hold a block."""
    return path.endswith(".py")


def declares(path: str, files: ProjectFiles) -> bool:
    """Whether a file has a block."""
    content = files.read(path)
    return content is not None and _MARK in content and bool(_blocks(content.decode("utf-8", "replace")))


def parse(path: str, files: ProjectFiles, environ: Mapping[str, str] = NO_VARIABLES) -> Declaration:
    """Read the block: ``dependencies``, ``requires-python`` and ``[tool.uv]``.

    Raises:
        LadingError: if there is no block or more than one, with every problem in it.
    """
    text = read_text(path, files, coding_line=True).replace("\r\n", "\n")
    blocks = _blocks(text)
    if len(blocks) != 1:
        raise LadingError(_not_one(path, [text.count("\n", 0, block.start()) + 1 for block in blocks]))
    toml = Toml(path, _as_toml(text, blocks[0]))
    reader = TomlReader(toml, files)
    uv = read_uv_table(reader, environ)
    requirements = tuple(dict.fromkeys(from_sources(reader.requirements("dependencies"), reader, uv)))
    python = None
    required = reader.text(toml.data, "requires-python")
    if required is not None:
        with reader.problems.catching():
            python = specifier_request(
                required, toml.origin("requires-python"), what="requires-python", example='requires-python = ">=3.10"'
            )
    reader.problems.add(*conflicting_pins(requirements))
    reader.problems.raise_if_any()
    return Declaration(
        format=name,
        path=path,
        read=(path,),
        requirements=requirements,
        constraints=uv.constraints,
        overrides=uv.overrides,
        excludes=uv.excludes,
        options=uv.options,
        build=uv.build or None,
        exclude_newer=uv.exclude_newer,
        python=python,
        decisions=uv.decisions,
    )


def _blocks(text: str) -> list[re.Match[str]]:
    return [found for found in _BLOCK.finditer(text.replace("\r\n", "\n") + "\n") if found["type"] == "script"]


def _as_toml(text: str, block: re.Match[str]) -> str:
    """The block's content with as many lines before it as the file has, so that lines count as in the file."""
    lines = block["content"].splitlines()
    content = "\n".join(line[2:] if line.startswith("# ") else line[1:] for line in lines)
    return "\n" * (text.count("\n", 0, block.start("content"))) + content + "\n"


def _not_one(path: str, lines: list[int]) -> Problem:
    if not lines:
        return Problem(
            rule="script-block-missing",
            what=f"{path} has no complete `# /// script` block.",
            origin=Origin(path, 1),
            instead="Write # /// script, then # dependencies = [...], then # ///.",
        )
    return Problem(
        rule="script-block-twice",
        what=f"{path} has {len(lines)} `# /// script` blocks (lines {', '.join(map(str, lines))}).",
        origin=Origin(path, lines[1]),
        why="The standard (PEP 723) allows one.",
        instead="Keep one of them.",
    )
