"""Writing exact versions into the lines that declare ranges: the version alone changes, everything else on the line stays."""

from __future__ import annotations

import re
from collections.abc import Mapping

from lading.edits.changes import Change, Text
from lading.edits.yaml_places import Place, scalars_on_line
from lading.model.files import ProjectFiles
from lading.model.names import canonical

_SPACE = r"(?:[ \t]|\\\r?\n)"
_CLAUSE = r"(?:===|~=|==|!=|<=|>=|<|>)" + _SPACE + r"*[^\s,;()#\\'\"]+"
_REQUIREMENT = re.compile(
    rf"(?P<head>[ \t]*[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?(?:{_SPACE}*\[[^\]]*\])?)"
    rf"(?P<specifier>{_SPACE}*\(?{_SPACE}*{_CLAUSE}(?:{_SPACE}*,{_SPACE}*{_CLAUSE})*{_SPACE}*,?{_SPACE}*\)?|)"
    rf"(?=(?P<gap>{_SPACE}*)(?:$|[;#\r\n]|--?[A-Za-z]))"
)


def pinned(line: str, version: str) -> str | None:
    """A requirement's line with ``==version`` in place of its specifier; None when the line is not one that can be changed safely.

    Extras, marker, options, comment and line ends stay as they are; continuations within the specifier go with it.
    """
    found = _REQUIREMENT.match(line)
    if found is None:
        return None
    rest = line[found.end() :]
    written = found["specifier"]
    trailing = written[len(written.rstrip(" \t")) :]
    if "\\" in written and trailing:
        trailing = " "  # the indentation of a continuation that is gone
    return f"{found['head']}=={version}{trailing}{rest}"


def pin_requirements(path: str, content: bytes, pins: Mapping[int, str]) -> tuple[Change | None, tuple[int, ...]]:
    """Pin lines of a requirements file; the change (None: nothing to do), and the lines that cannot be changed.

    Args:
        path: The file.
        content: Its content.
        pins: The version for each line, by the number of the requirement's first line, counted from 1.
    """
    source = Text.of(path, content)
    lines = source.text.splitlines(keepends=True)
    left = []
    for number, version in sorted(pins.items(), reverse=True):
        logical = "".join(lines[number - 1 : _end(lines, number)])
        new = pinned(logical, version)
        if new is None:
            left.append(number)
        else:
            lines[number - 1 : _end(lines, number)] = [new]
    text = "".join(lines)
    return (source.changed(text, content) if text != source.text else None), tuple(sorted(left))


def _end(lines: list[str], first: int) -> int:
    """Where the logical line that begins at ``first`` ends."""
    end = first
    while end < len(lines) and lines[end - 1].rstrip("\r\n").endswith("\\"):
        end += 1
    return end


def pin_yaml(path: str, content: bytes, pins: Mapping[int, list[tuple[str, str]]]) -> tuple[Change | None, tuple[int, ...]]:
    """Pin items of a list in a YAML file: by line, the name and the version of each requirement on it."""
    source = Text.of(path, content)
    edits: list[tuple[Place, str]] = []
    left = []
    for number, wanted in pins.items():
        places = scalars_on_line(source.text, number)
        for name, version in wanted:
            found = [
                (place, new) for place in places if _is_about(place.value, name) and (new := pinned(source.text[place.inner], version))
            ]
            if len(found) == 1:
                edits.append(found[0])
            else:
                left.append(number)
    text = replaced(source.text, [(place.inner, new) for place, new in edits])
    return (source.changed(text, content) if text != source.text else None), tuple(sorted(left))


def pin_strings(path: str, content: bytes, pins: Mapping[int, list[tuple[str, str]]]) -> tuple[Change | None, tuple[int, ...]]:
    """Pin requirements that are quoted strings of a TOML file (``dependencies = ["numpy>=1"]``), by line."""
    source = Text.of(path, content)
    lines = source.text.splitlines(keepends=True)
    left = []
    for number, wanted in pins.items():
        for name, version in wanted:
            new = _in_strings(lines[number - 1], name, version)
            if new is None:
                left.append(number)
            else:
                lines[number - 1] = new
    text = "".join(lines)
    return (source.changed(text, content) if text != source.text else None), tuple(sorted(left))


_STRING = re.compile(r"\"(?P<double>[^\"\\\n]*)\"|'(?P<single>[^'\n]*)'")


def _in_strings(line: str, name: str, version: str) -> str | None:
    found = [
        match for match in _STRING.finditer(line) if _is_about(match[0][1:-1], name) and not line[match.end() :].lstrip().startswith("=")
    ]
    if len(found) != 1 or (new := pinned(found[0][0][1:-1], version)) is None:
        return None
    return line[: found[0].start() + 1] + new + line[found[0].end() - 1 :]


def _is_about(text: str, name: str) -> bool:
    found = re.match(r"\s*([A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?)", text)
    return found is not None and canonical(found[1]) == name


def replaced(text: str, edits: list[tuple[slice, str]]) -> str:
    """A text with parts replaced, by their places in the original."""
    for place, new in sorted(edits, key=lambda edit: edit[0].start, reverse=True):
        text = text[: place.start] + new + text[place.stop :]
    return text


def kind_of(path: str, config: str | None, files: ProjectFiles) -> str:
    """How a file is changed: ``yaml``, ``toml``, ``requirements``, or nothing that can be."""
    name = path.rsplit("/", 1)[-1]
    if path == config or name.endswith((".yaml", ".yml")):
        return "yaml" if path == config else ""
    if name == "pyproject.toml":
        return "toml"
    return "requirements" if name.endswith((".txt", ".in")) and files.read(path) is not None else ""
