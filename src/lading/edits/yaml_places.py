"""Where things stand in a YAML text: from PyYAML's own marks, so that a part can be replaced and the rest stays as it is."""

from __future__ import annotations

from collections.abc import Iterator

import yaml

from lading.model.records import dataclass


@dataclass(frozen=True, slots=True)
class Place:
    """A scalar in a text: its value, and where it stands. ``inner`` is without the quotes."""

    value: str
    whole: slice
    inner: slice
    line: int


def scalar_place(node: yaml.ScalarNode) -> Place:
    """The place of a scalar; for a plain one ``inner`` is the whole."""
    start, end = node.start_mark.index, node.end_mark.index
    quoted = 1 if node.style in ("'", '"') else 0
    return Place(str(node.value), slice(start, end), slice(start + quoted, end - quoted), node.start_mark.line + 1)


def root_of(text: str) -> yaml.Node | None:
    """The document's node, None when there is none or the text is no YAML."""
    try:
        return yaml.compose(text, Loader=yaml.SafeLoader)
    except (yaml.YAMLError, ValueError, RecursionError):
        return None


def scalars_on_line(text: str, number: int) -> list[Place]:
    """Every scalar of the document that begins on a line, counted from 1."""
    root = root_of(text)
    return [scalar_place(node) for node in _scalars(root, set()) if node.start_mark.line + 1 == number] if root else []


def _scalars(node: yaml.Node, seen: set[int]) -> Iterator[yaml.ScalarNode]:
    if id(node) in seen:
        return
    seen.add(id(node))
    if isinstance(node, yaml.ScalarNode):
        yield node
    elif isinstance(node, yaml.SequenceNode):
        for item in node.value:
            yield from _scalars(item, seen)
    elif isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            yield from _scalars(key, seen)
            yield from _scalars(value, seen)


def entry(node: yaml.Node | None, key: str) -> tuple[yaml.ScalarNode, yaml.Node] | None:
    """A key of a map with its value."""
    if not isinstance(node, yaml.MappingNode):
        return None
    return next(((name, value) for name, value in node.value if isinstance(name, yaml.ScalarNode) and name.value == key), None)
