"""YAML as values that know their line: what configurations are checked on.

PyYAML reads the syntax; what a plain scalar means follows the YAML that Cog and Cortex were written for (go-yaml): ``1e-5`` is a number,
dates and ``1:30`` are texts, and the text of every scalar is kept, so that the version ``3.10`` does not become 3.1.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import yaml

from lading.formats._text import read_text
from lading.model.files import ProjectFiles
from lading.model.origin import Origin
from lading.model.patterns import pattern
from lading.model.problems import LadingError, Problem, ProblemCollector
from lading.model.records import dataclass
from lading.model.secrets import redact_urls

_PLAIN = "plain"
_TAG = "tag:yaml.org,2002:"
_MAX_NODES = 100_000
_MAX_DEPTH = 100
_NULLS = ("", "~", "null", "Null", "NULL")
_TRUE = re.compile(r"true|True|TRUE|yes|Yes|YES|on|On|ON")
_FALSE = re.compile(r"false|False|FALSE|no|No|NO|off|Off|OFF")
_INT = re.compile(r"[-+]?(0b[01_]+|0o[0-7_]+|0x[0-9a-fA-F_]+|[0-9][0-9_]*)")
_FLOAT = re.compile(r"[-+]?(\.[0-9][0-9_]*|[0-9][0-9_]*(\.[0-9_]*)?)([eE][-+]?[0-9]+)?")
_AFTER_A_TEXT = ("mapping values are not allowed", "could not find expected ':'", "expected '<document start>'", "expected <block end>")
_JOINED = pattern(r"(?:- )?([A-Za-z_][\w-]*):([^\s/:].*)")
_SPECIAL = {".inf": float("inf"), "+.inf": float("inf"), "-.inf": float("-inf"), ".nan": float("nan")}


@dataclass(frozen=True, slots=True)
class Scalar:
    """A single value. ``text`` is as written; ``value`` what it means: str, int, float, bool or None."""

    text: str
    value: str | int | float | bool | None
    line: int


@dataclass(frozen=True, slots=True)
class Sequence:
    """A list."""

    items: tuple[Node, ...]
    line: int


@dataclass(frozen=True, slots=True)
class Entry:
    """One key of a map with its value. ``line`` is the key's."""

    key: str
    value: Node
    line: int


@dataclass(frozen=True, slots=True)
class Map:
    """Keys and values in the order of the file; keys are texts."""

    entries: tuple[Entry, ...]
    line: int

    def get(self, key: str) -> Entry | None:
        """The entry of a key."""
        return next((entry for entry in self.entries if entry.key == key), None)

    def __iter__(self) -> Iterator[Entry]:
        return iter(self.entries)


Node = Scalar | Sequence | Map


class _Loader(yaml.SafeLoader):
    """Leaves the meaning of plain scalars to `_scalar`, which needs their text."""

    def resolve(self, kind: Any, value: Any, implicit: Any) -> str:  # noqa: ARG002 -- PyYAML's signature
        if kind is yaml.ScalarNode:
            return _PLAIN if implicit[0] else _TAG + "str"
        return _TAG + ("seq" if kind is yaml.SequenceNode else "map")


def read_yaml(path: str, files: ProjectFiles, problems: ProblemCollector) -> Node | None:
    """A YAML file's one document; None when the file holds nothing but comments.

    Args:
        path: The file, relative to the project's root.
        files: The project.
        problems: Takes what does not stop reading: duplicate keys, unknown tags.

    Raises:
        LadingError: for YAML that cannot be read.
    """
    text = read_text(path, files)
    loader = None
    try:
        loader = _Loader(text)
        root = loader.get_single_node()
    except yaml.YAMLError as error:
        raise LadingError(_syntax_problem(path, text, error)) from error
    except RecursionError as error:
        raise LadingError(_too_deep(path)) from error
    except (ValueError, OverflowError) as error:
        raise LadingError(_bad_escape(path, text, loader)) from error
    if root is None:
        return None
    return _Conversion(path, problems).convert(root, 0)


def _too_deep(path: str) -> Problem:
    what = f"{path} is nested more than {_MAX_DEPTH} levels deep."
    return Problem(rule="yaml-too-deep", what=what, origin=Origin(path, 1), instead="Close the brackets, or write the value flatter.")


def _bad_escape(path: str, text: str, loader: _Loader | None) -> Problem:
    line = loader.line + 1 if loader is not None else 1
    return Problem(
        rule="yaml-invalid",
        what=f"{path} cannot be read as YAML.",
        origin=Origin(path, min(line, text.count("\n") + 1)),
        why="An escape (\\x, \\u, \\U) in a quoted text names no character.",
        instead="Use single quotes, in which a backslash is just a backslash.",
    )


def _syntax_problem(path: str, text: str, error: yaml.YAMLError) -> Problem:
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    if mark is None:
        position = getattr(error, "position", 0)
        line = text[:position].count("\n") + 1 if isinstance(position, int) else 1
        return Problem(
            rule="yaml-invalid",
            what=f"{path} cannot be read as YAML.",
            origin=Origin(path, line),
            why="It holds a control character, which YAML does not allow.",
            instead="Delete the character.",
        )
    line = min(mark.line + 1, text.count("\n") + 1)
    said = str(getattr(error, "problem", None) or "")
    joined = _without_space(text, line) if any(one in said for one in _AFTER_A_TEXT) else None
    if joined is not None:
        line, written, instead = joined
        why = f"`{redact_urls(written)}` has no space after its colon, so it is a text and no key."
    else:
        why, instead = _explained(said, text, line)
    return Problem(rule="yaml-invalid", what=f"{path} cannot be read as YAML.", origin=Origin(path, line), why=why, instead=instead)


def _without_space(text: str, line: int) -> tuple[int, str, str] | None:
    """A key without a space after its colon (``gpu:true``) on the line, or the one that it continues: its line, its text and the fix."""
    lines = text.splitlines()[:line]
    for number in range(len(lines), 0, -1):
        written = lines[number - 1].strip()
        found = _JOINED.fullmatch(written)
        if found:
            return number, written, f"Write: {redact_urls(f'{found[1]}: {found[2]}')}"
        if number < line and written and not written.startswith("#"):
            return None
    return None


def _explained(problem: str, text: str, line: int) -> tuple[str, str]:
    lines = text.splitlines()
    written = lines[line - 1] if line <= len(lines) else ""
    if text.lstrip().startswith(('"""', "'''")):
        return "It begins with a docstring, which is Python's and not YAML's.", "Begin comments with #."
    if "'\\t'" in problem or written.startswith("\t"):
        return "A tab cannot indent YAML.", "Indent with spaces."
    if "mapping values are not allowed" in problem:
        return (
            "A colon followed by a space stands where no key can be.",
            "Check the indentation, and put quotes around a text that holds a colon.",
        )
    if "expected a single document" in problem:
        return "A second document begins here (---).", "Keep one document in the file."
    if "found undefined alias" in problem or "duplicate anchor" in problem:
        return f"YAML says: {problem}.", "Define the anchor (&name) once, before it is used (*name)."
    if "cannot start any token" in problem:
        return f"YAML says: {problem}.", "Put quotes around the text."
    return (
        f"YAML says: {problem}." if problem else "Its structure is broken.",
        "Check the indentation, the hyphens of lists and the quotes near this line.",
    )


class _Conversion:
    """PyYAML's nodes as ours. Aliases are shared, cycles and explosions refused."""

    def __init__(self, path: str, problems: ProblemCollector) -> None:
        self.path = path
        self.problems = problems
        self._done: dict[int, tuple[Node, int]] = {}
        self._open: set[int] = set()

    def convert(self, node: yaml.Node, depth: int) -> Node:
        """One node; see the class."""
        return self._sized(node, depth)[0]

    def _sized(self, node: yaml.Node, depth: int) -> tuple[Node, int]:
        """A node with the number of nodes in it, aliases counted each time."""
        key = id(node)
        if key in self._done:
            return self._done[key]
        if key in self._open or depth > _MAX_DEPTH:
            raise LadingError(self._cycle(node) if key in self._open else _too_deep(self.path))
        self._open.add(key)
        result = self._made(node, depth)
        self._open.discard(key)
        if result[1] > _MAX_NODES:
            raise LadingError(self._explosion(node))
        self._done[key] = result
        return result

    def _made(self, node: yaml.Node, depth: int) -> tuple[Node, int]:
        line = node.start_mark.line + 1
        self._check_tag(node, line)
        if isinstance(node, yaml.SequenceNode):
            items = [self._sized(item, depth + 1) for item in node.value]
            return Sequence(tuple(item for item, _ in items), line), 1 + sum(size for _, size in items)
        if isinstance(node, yaml.MappingNode):
            return self._map(node, line, depth)
        return _scalar(node, line), 1

    def _map(self, node: yaml.MappingNode, line: int, depth: int) -> tuple[Node, int]:
        own: dict[str, Entry] = {}
        merged: dict[str, Entry] = {}
        size = 1
        for key_node, value_node in node.value:
            value, value_size = self._sized(value_node, depth + 1)
            size += value_size
            if isinstance(key_node, yaml.ScalarNode) and key_node.value == "<<" and key_node.tag == _PLAIN:
                self._merge(value, merged)
            else:
                self._put(key_node, value, own)
        entries = {**{key: entry for key, entry in merged.items() if key not in own}, **own}
        return Map(tuple(entries.values()), line), size

    def _merge(self, value: Node, merged: dict[str, Entry]) -> None:
        for source in value.items if isinstance(value, Sequence) else (value,):
            if not isinstance(source, Map):
                self._problem("yaml-merge", source.line, "<< takes a map, or a list of maps.", "Write <<: *anchor.")
                continue
            for entry in source:
                merged.setdefault(entry.key, entry)

    def _put(self, key_node: yaml.Node, value: Node, own: dict[str, Entry]) -> None:
        line = key_node.start_mark.line + 1
        if not isinstance(key_node, yaml.ScalarNode):
            self._problem("yaml-key", line, "A key is a text, and this one is a list or a map.", "Put quotes around the key.")
            return
        key = str(key_node.value)
        if key in own:
            what = f'The key "{key}" is here twice; it is also on line {own[key].line}.'
            self._problem("yaml-duplicate-key", line, what, "Keep one of the two.")
            return
        own[key] = Entry(key, value, line)

    def _check_tag(self, node: yaml.Node, line: int) -> None:
        known = {_PLAIN, *(_TAG + kind for kind in ("str", "int", "float", "bool", "null", "seq", "map"))}
        if node.tag not in known:
            self._problem("yaml-tag", line, f"The tag {node.tag} is not read here.", "Remove the tag.")

    def _problem(self, rule: str, line: int, what: str, instead: str) -> None:
        self.problems.add(Problem(rule=rule, what=what, origin=Origin(self.path, line), instead=instead))

    def _cycle(self, node: yaml.Node) -> Problem:
        line = node.start_mark.line + 1
        return Problem(
            rule="yaml-cycle", what="An anchor holds an alias of itself.", origin=Origin(self.path, line), instead="Write the value out."
        )

    def _explosion(self, node: yaml.Node) -> Problem:
        line = node.start_mark.line + 1
        what = f"Written out, the aliases of this value have more than {_MAX_NODES} parts."
        return Problem(rule="yaml-too-large", what=what, origin=Origin(self.path, line), instead="Use fewer aliases.")


def _scalar(node: yaml.Node, line: int) -> Scalar:
    text = str(node.value)
    if node.tag == _TAG + "str":
        return Scalar(text, text, line)
    return Scalar(text, _meaning(text), line)


def _meaning(text: str) -> str | int | float | bool | None:
    if text in _NULLS:
        return None
    if _TRUE.fullmatch(text):
        return True
    if _FALSE.fullmatch(text):
        return False
    if text.lower() in _SPECIAL:
        return _SPECIAL[text.lower()]
    try:
        if _INT.fullmatch(text):
            return _integer(text.replace("_", ""))
        if _FLOAT.fullmatch(text):
            return float(text.replace("_", ""))
    except ValueError:  # more digits than Python converts, or 089
        return text
    return text


def _integer(text: str) -> int:
    """Numbers that begin with 0 are octal, as in YAML 1.1."""
    digits = text.lstrip("+-")
    if len(digits) > 1 and digits[0] == "0" and digits[1].isdigit():
        return int(text.replace(digits, f"0o{digits[1:]}"), 0)
    return int(text, 0)


def plain_value(node: Node) -> Any:
    """A node as Python data: what a predictor gets as its ``config``."""
    if isinstance(node, Scalar):
        return node.value
    if isinstance(node, Sequence):
        return [plain_value(item) for item in node.items]
    return {entry.key: plain_value(entry.value) for entry in node}


def kind_of(node: Node) -> str:
    """What a node is, in words for a message: ``a list``, ``a map``, ``the number 3``."""
    if isinstance(node, Sequence):
        return "a list"
    if isinstance(node, Map):
        return "a map of keys"
    if node.value is None:
        return "empty"
    if isinstance(node.value, bool):
        return f"the truth value {node.text}"
    return f"the number {node.text}" if isinstance(node.value, int | float) else f'the text "{shortened(node.text)}"'


def shortened(text: str, limit: int = 60) -> str:
    """A text on one line, credentials masked, cut to a length that fits into a message."""
    line = redact_urls(" ".join(text.split()))
    return line if len(line) <= limit else line[: limit - 1] + "…"
