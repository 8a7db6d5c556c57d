"""From a file's bytes to text, as pip and Python decode it: byte order marks, coding lines, UTF-8."""

from __future__ import annotations

import codecs
import re

from lading.model.files import ProjectFiles
from lading.model.origin import Origin
from lading.model.problems import LadingError, Problem
from lading.model.secrets import redact_urls

# UTF-32 first: its little-endian mark begins with UTF-16's.
_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_CODING = re.compile(rb"coding[:=]\s*([-\w.]+)")
# Codecs that Python lists but that no text file is written in; some of them warn or always fail.
_NOT_FOR_TEXT = frozenset({"unicode_escape", "raw_unicode_escape", "undefined", "idna", "punycode", "unicode-escape", "raw-unicode-escape"})


def read_text(path: str, files: ProjectFiles, *, coding_line: bool = False) -> str:
    """A file's text, without its byte order mark.

    Args:
        path: The file, relative to the project's root.
        files: The project.
        coding_line: Whether ``# -*- coding: NAME -*-`` in the first two lines counts, as it does for pip.

    Raises:
        LadingError: if there is no such file, or its bytes are not the text that they say they are.
    """
    content = files.read(path)
    if content is None:
        raise LadingError(missing_file(path, files, Origin(path)))
    return decode(path, content, coding_line=coding_line)


def decode(path: str, content: bytes, *, coding_line: bool = False) -> str:
    """Decode a file's bytes; see `read_text`.

    Raises:
        LadingError: naming the line of the first byte that does not fit.
    """
    for mark, encoding in _MARKS:
        if content.startswith(mark):
            return _decoded(path, content[len(mark) :], encoding, "its byte order mark says so")
    declared = _coding_line(content) if coding_line else None
    if declared:
        return _decoded(path, content, declared, "its coding line says so")
    return _decoded(path, content, "utf-8", "nothing says otherwise")


def _coding_line(content: bytes) -> str | None:
    for line in content.split(b"\n", 2)[:2]:
        found = _CODING.search(line) if line.startswith(b"#") else None
        if found:
            return found[1].decode("ascii", "replace")
    return None


def _decoded(path: str, content: bytes, encoding: str, because: str) -> str:
    if encoding.lower() in _NOT_FOR_TEXT:
        raise LadingError(_unknown_encoding(path, encoding))
    try:
        text = content.decode(encoding)
    except LookupError as error:
        raise LadingError(_unknown_encoding(path, encoding)) from error
    except ValueError as error:
        raise LadingError(_undecodable(path, content, encoding, because, error)) from error
    if "\0" in text:
        line = text[: text.index("\0")].count("\n") + 1
        raise LadingError(
            Problem(
                rule="not-text",
                what=f"{path} holds NUL characters, so it is not plain text (read as {encoding}, as {because}).",
                origin=Origin(path, line),
                why="A UTF-16 file that lost its byte order mark looks like this, and so does a binary file.",
                instead="Save the file as UTF-8.",
            )
        )
    return text


def _unknown_encoding(path: str, encoding: str) -> Problem:
    return Problem(
        rule="encoding-unknown",
        what=f'{path} declares the encoding "{encoding}", which is no text encoding that Python knows.',
        origin=Origin(path, 1),
        instead="Save the file as UTF-8 and remove the coding line.",
    )


def _undecodable(path: str, content: bytes, encoding: str, because: str, error: ValueError) -> Problem:
    start = error.start if isinstance(error, UnicodeDecodeError) else 0
    return Problem(
        rule="encoding-wrong",
        what=f"{path} is not valid {encoding}.",
        origin=Origin(path, content[:start].count(b"\n") + 1),
        why=f"It was read as {encoding}, because {because}; the byte at position {start} does not fit.",
        instead="Save the file as UTF-8, or name its encoding in the first line: # -*- coding: latin-1 -*-",
    )


def missing_file(path: str, files: ProjectFiles, origin: Origin, *, what: str = "file") -> Problem:
    """The problem of a file that is named and not there, with the likely reason: a submodule, a folder, a backslash.

    Args:
        path: The path that was looked for, relative to the project's root.
        files: The project.
        origin: The line that names it.
        what: What it is to the reader: ``requirements file``.
    """
    shown = redact_urls(path)  # a URL on a line of its own may have been taken for a path
    submodule = _submodule_of(path, files)
    if submodule:
        return Problem(
            rule="submodule-not-checked-out",
            what=f"The {what} {shown} is in the git submodule {submodule}, which is not checked out.",
            origin=origin,
            instead=f"Run: git submodule update --init {submodule}",
        )
    if files.is_folder(path):
        return Problem(
            rule="file-not-found",
            what=f"The {what} {shown} is a folder.",
            origin=origin,
            instead=f"Name a file in it, as {shown.rstrip('/')}/NAME.",
        )
    slashed = path.replace("\\", "/")
    if slashed != path and files.read(slashed) is not None:
        return Problem(
            rule="file-not-found",
            what=f"The {what} {shown} does not exist.",
            origin=origin,
            why="Paths are written with / here.",
            instead=f"Write {redact_urls(slashed)}.",
        )
    return Problem(
        rule="file-not-found",
        what=f"The {what} {shown} does not exist.",
        origin=origin,
        instead="Correct the path or create the file.",
    )


def _submodule_of(path: str, files: ProjectFiles) -> str | None:
    """The submodule's folder that holds ``path``, if git lists one and nothing is in it."""
    content = files.read(".gitmodules")
    if content is None:
        return None
    folders = re.findall(r"^\s*path\s*=\s*(.+?)\s*$", content.decode("utf-8", "replace"), re.MULTILINE)
    inside = (folder for folder in folders if path.startswith(folder.rstrip("/") + "/") and not files.entries(folder))
    return next(inside, None)
