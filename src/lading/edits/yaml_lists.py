"""Lists in a YAML text: their items with the comments around them, and how to take items out or put some in."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

import yaml

from lading.edits.yaml_places import entry
from lading.model.records import dataclass

_COMMENT = re.compile(r"#[^\n]*")
_STRANGE_BREAKS = re.compile("\r(?!\n)|[\x85\u2028\u2029]")


class CannotEdit(Exception):  # noqa: N818 -- it is an answer, not an error
    """Why a list cannot be changed with the rest of the file kept, in words."""


@dataclass(frozen=True, slots=True)
class Item:
    """One item: its node, the comments that stand above it on lines of their own (an empty text for an empty line), and the one beside it."""

    node: yaml.Node
    above: tuple[str, ...]
    beside: str


@dataclass(frozen=True, slots=True)
class Listing:
    """A list that is the value of a key. ``first`` and ``last`` are its lines, the key's included, counted from 0.

    ``comment`` stands beside the key, ``below`` are comments within the list that follow its last item.
    """

    key: str
    indent: str
    first: int
    last: int
    items: tuple[Item, ...]
    flow: bool
    comment: str
    below: tuple[str, ...]


def listing(text: str, parent: yaml.Node, key: str) -> Listing | None:
    """The list under a key, None when the key is not there or holds nothing.

    Raises:
        CannotEdit: if its lines cannot be told from those around it.
    """
    found = entry(parent, key)
    if found is None or (isinstance(found[1], yaml.ScalarNode) and not found[1].value):
        return None
    name, value = found
    if not isinstance(value, yaml.SequenceNode):
        raise CannotEdit(f"{key} is no list")
    if _STRANGE_BREAKS.search(text):
        raise CannotEdit("the file has unusual line breaks")
    start = text.rfind("\n", 0, name.start_mark.index) + 1
    indent = text[start : name.start_mark.index]
    if indent.strip() or getattr(parent, "flow_style", False):
        raise CannotEdit(f"{key} does not stand on a line of its own")
    end = value.end_mark.index if value.flow_style else max([_end(text, item) for item in value.value], default=name.end_mark.index)
    if _has_anchors(text, start, end):
        raise CannotEdit(f"{key} has anchors (&) or aliases (*)")
    return _assembled(text, name, value, end)


def _assembled(text: str, name: yaml.ScalarNode, value: yaml.SequenceNode, end: int) -> Listing:
    comment, above = _comments(text[name.end_mark.index : value.value[0].start_mark.index if value.value else end])
    items: list[Item] = []
    for number, node in enumerate(value.value):
        begin = _end(text, node)
        following = value.value[number + 1] if number + 1 < len(value.value) else None
        stop = following.start_mark.index if following else _line_end(text, end) if not value.flow_style else end
        beside, next_above = _comments(text[begin:stop])
        items.append(Item(node, tuple(above), beside))
        above = next_above
    if value.flow_style and not comment:
        comment = _comments(text[end : _line_end(text, end)])[0]
    return Listing(
        key=str(name.value),
        indent=text[text.rfind("\n", 0, name.start_mark.index) + 1 : name.start_mark.index],
        first=name.start_mark.line,
        last=text.count("\n", 0, max(end - 1, 0)),
        items=tuple(items),
        flow=bool(value.flow_style),
        comment=comment,
        below=tuple(one for one in above if one),
    )


def _end(text: str, node: yaml.Node) -> int:
    """Where an item's own text ends: PyYAML's end of a block lies behind the white space that follows."""
    end = node.end_mark.index
    return len(text[:end].rstrip()) if not isinstance(node, yaml.ScalarNode) or node.style in ("|", ">") else end


def _line_end(text: str, position: int) -> int:
    end = text.find("\n", position)
    return len(text) if end < 0 else end


def _comments(gap: str) -> tuple[str, list[str]]:
    """The comment on the first line of what stands between two items, and the comments and empty lines below it."""
    first, *rest = gap.split("\n")
    beside = _COMMENT.search(first)
    above = []
    for line in rest[:-1] if rest else []:
        found = _COMMENT.search(line)
        above.append(found[0].rstrip() if found else "")
    return (beside[0].rstrip() if beside else ""), above


def _has_anchors(text: str, start: int, end: int) -> bool:
    events = yaml.parse(text, Loader=yaml.SafeLoader)
    marked = (event for event in events if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None))
    return any(event.start_mark is not None and start <= event.start_mark.index < end for event in marked)


def lines_of(text: str) -> list[str]:
    """A text's lines with their ends, as YAML counts them."""
    return re.findall(r"[^\n]*\n|[^\n]+", text)


def without_items(text: str, found: Listing, gone: Sequence[Item]) -> list[tuple[int, int, str]]:
    """The edits (first line, line after the last, new text) that take items out of a block list; the whole key when none is left.

    Raises:
        CannotEdit: for a list in brackets of which some items stay.
    """
    if len(gone) == len(found.items):
        return [(found.first, found.last + 1, "")]
    if found.flow:
        raise CannotEdit(f"{found.key} is written in brackets")
    return list(_item_edits(text, gone))


def _item_edits(text: str, gone: Sequence[Item]) -> Iterator[tuple[int, int, str]]:
    for item in gone:
        first = item.node.start_mark.line
        last = text.count("\n", 0, max(_end(text, item.node) - 1, 0))
        own = [number for number, one in enumerate(reversed(item.above), start=1) if one]
        contiguous = 0
        while contiguous + 1 in own:
            contiguous += 1
        yield first - contiguous, last + 1, ""


def with_items(text: str, found: Listing, added: Sequence[str]) -> list[tuple[int, int, str]]:
    """The edits that put texts at the end of a list, written as its last item is.

    Raises:
        CannotEdit: for a list in brackets that runs over several lines.
    """
    newline = "\r\n" if "\r\n" in text else "\n"
    lines = lines_of(text)
    if found.flow:
        if found.first != found.last:
            raise CannotEdit(f"{found.key} is written in brackets over several lines")
        line = lines[found.first]
        closing = line.rindex("]", 0, line.rfind("#") if "#" in line else len(line))
        before = line[:closing].rstrip()
        separator = "" if before.endswith(("[", ",")) else ", "
        return [(found.first, found.first + 1, before + separator + ", ".join(f'"{one}"' for one in added) + line[closing:])]
    last = found.items[-1].node
    start = lines[last.start_mark.line]
    dash = start[: last.start_mark.column]
    quote = getattr(last, "style", None) if getattr(last, "style", None) in ("'", '"') else ""
    end = lines[found.last]
    broken = "" if end.endswith("\n") else newline
    return [(found.last + 1, found.last + 1, broken + "".join(f"{dash}{quote}{one}{quote}{newline}" for one in added))]


def edited(text: str, edits: Sequence[tuple[int, int, str]]) -> str:
    """A text with lines replaced; edits are (first line, line after the last, new text), counted from 0, and do not overlap."""
    lines = lines_of(text)
    for first, last, new in sorted(edits, reverse=True):
        lines[first:last] = [new] if new else []
    return "".join(lines)
