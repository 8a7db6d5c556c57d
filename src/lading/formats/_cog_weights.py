"""``weights`` of cog.yaml: sets of files, each with a name, a folder in containers, and one or several sources.

Cog reads the same (``pkg/config``, ``pkg/model/weightsource``): names, targets and patterns are held to its rules, and addresses are made
normal as it does, so that one ``weights.lock`` serves both.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Sequence
from urllib.parse import parse_qsl, urlsplit, urlunsplit

from lading.formats._checks import Checker
from lading.formats._yaml import Entry, Map, Node, kind_of, shortened
from lading.formats._yaml import Sequence as YamlList
from lading.model.secrets import redact_urls
from lading.model.weights import Weight, WeightSource

_NAME = re.compile(r"[a-z0-9]+([._-][a-z0-9]+)*")
_REPOSITORY = re.compile(r"[\w.-]+/[\w.-]+")
_EXAMPLE = "Write, for example, uri: weights, uri: hf://org/model@v1 or uri: https://example.org/model.onnx."
_SIGNATURES = frozenset(
    ("x-amz-signature", "x-goog-signature", "signature", "sig", "token", "access_token", "api_key", "x-amz-security-token")
)
"""Parts of an address that let whoever has it in."""


def read_weights(check: Checker, entry: Entry | None) -> tuple[Weight, ...]:
    """The sets that a configuration names; problems are kept."""
    found: list[Weight] = []
    for item in check.items(entry, "weights"):
        weight = _weight(check, item)
        if weight is not None:
            _compare(check, weight, found, item.line)
            found.append(weight)
    return tuple(found)


def _weight(check: Checker, item: Node) -> Weight | None:
    if not isinstance(item, Map):
        what = f"Each item of weights must have the keys name, target and source, and this one is {kind_of(item)}."
        check.problem("wrong-type", item.line, what, instead="Write - name: ..., with target: and source: below.")
        return None
    check.known_keys(item, ("name", "target", "source"), "An item of weights")
    name = check.text(item.get("name"), "weights.name", any_scalar=True)
    target = check.text(item.get("target"), "weights.target")
    sources = _sources(check, item)
    for key, value in (("name", name), ("target", target)):
        if value is None and item.get(key) is None:
            check.problem("weights-incomplete", item.line, f"An item of weights has no {key}.", instead=f"Add {key}: ...")
    right = name is not None and target is not None and bool(sources)
    right &= _right_name(check, name, item) & _right_target(check, target, item)
    if not right or name is None or target is None:
        return None
    return Weight(name=name, target=posixpath.normpath(target), sources=sources, origin=check.origin(item.line))


def _right_name(check: Checker, name: str | None, item: Map) -> bool:
    if name is None or _NAME.fullmatch(name):
        return True
    line = _line(item, "name")
    what = f'"{shortened(name)}" is no name for weights.'
    why = "It is small letters and digits, with single dots, hyphens or underscores between them."
    check.problem("weights-name-invalid", line, what, why=why, instead="Write, for example, name: base-model.")
    return False


def _right_target(check: Checker, target: str | None, item: Map) -> bool:
    if target is None:
        return True
    normal = posixpath.normpath(target)
    if target.startswith("/") and not target.startswith("//") and normal != "/" and ".." not in target.split("/"):
        return True
    what = f'The target "{shortened(target)}" is no folder that weights can lie in.'
    why = "It must be absolute, and not the root." if normal != "/" else "It is the root of the whole image."
    check.problem("weights-target-invalid", _line(item, "target"), what, why=why, instead="Write, for example, target: /src/weights.")
    return False


def _compare(check: Checker, weight: Weight, others: Sequence[Weight], line: int) -> None:
    for other in others:
        if other.name == weight.name:
            what = f"Two items of weights have the name {weight.name} (the other is in line {other.origin.line})."
            check.problem("weights-twice", line, what, instead="Give each a name of its own.")
        one, two = f"{weight.target}/", f"{other.target}/"
        if one.startswith(two) or two.startswith(one):
            what = f"The targets of {other.name} and {weight.name} lie in each other: {other.target} and {weight.target}."
            check.problem("weights-targets-overlap", line, what, why="One would hide files of the other.", instead="Put them side by side.")


def _sources(check: Checker, item: Map) -> tuple[WeightSource, ...]:
    entry = item.get("source")
    if entry is None:
        check.problem(
            "weights-incomplete", item.line, "An item of weights has no source.", instead=_EXAMPLE.replace("Write", "Add source:", 1)
        )
        return ()
    nodes = entry.value.items if isinstance(entry.value, YamlList) else (entry.value,)
    if not nodes:
        check.problem("weights-incomplete", entry.line, "The list of sources is empty.", instead=_EXAMPLE)
    found = [_source(check, node) for node in nodes]
    return tuple(one for one in found if one is not None) if all(found) else ()


def _source(check: Checker, node: Node) -> WeightSource | None:
    if not isinstance(node, Map):
        what = f"A source of weights must have the key uri, and this one is {kind_of(node)}."
        check.problem("wrong-type", node.line, what, instead="Write source: with uri: ... below it, indented.")
        return None
    check.known_keys(node, ("uri", "include", "exclude"), "A source of weights")
    entry = node.get("uri")
    text = check.text(entry, "weights.source.uri")
    if entry is None or text is None:
        if entry is None:
            check.problem("weights-incomplete", node.line, "A source of weights has no uri.", instead=_EXAMPLE)
        return None
    uri = _normal(check, text.strip(), entry.value.line)
    include, exclude = _patterns(check, node, "include"), _patterns(check, node, "exclude")
    return WeightSource(uri=uri, include=include, exclude=exclude) if uri else None


def _patterns(check: Checker, node: Map, key: str) -> tuple[str, ...]:
    found = []
    for text, line in check.texts(node.get(key), f"weights.source.{key}"):
        if text.strip().startswith("!") or "\\" in text:
            what = f'The pattern "{shortened(text)}" has an exclamation mark at its start, or a backslash.'
            check.problem("weights-pattern-invalid", line, what, instead="Name what is wanted with include, and what is not with exclude.")
        else:
            found.append(text.strip())
    return tuple(sorted(found))


def _normal(check: Checker, text: str, line: int) -> str | None:
    scheme, separator, rest = text.partition("://")
    if not separator or scheme == "file":
        return _file(check, rest if separator else text, text, line)
    if scheme in ("hf", "huggingface"):
        return _hub(check, rest, text, line)
    if scheme in ("http", "https"):
        return _web(check, text, line)
    known = "A folder, hf:// and https:// are."
    check.problem("weights-source-unknown", line, f"{scheme}:// is no source that weights can come from.", why=known, instead=_EXAMPLE)
    return None


def _file(check: Checker, path: str, text: str, line: int) -> str | None:
    normal = posixpath.normpath(path) if path else "."
    if normal.startswith("/"):
        return f"file://{'/' + normal.lstrip('/')}"
    if normal == ".":
        what = f'"{shortened(text)}" is the project itself.'
        check.problem("weights-source-invalid", line, what, instead="Put the weights into a folder of their own, and name it.")
        return None
    if normal == ".." or normal.startswith("../"):
        what, why = f"The weights {shortened(text)} lie outside of the project.", "The project must be readable on another machine."
        check.problem("file-outside-project", line, what, why=why, instead="Move them into the project, or write an absolute path.")
        return None
    return f"file://./{normal}"


def _hub(check: Checker, rest: str, text: str, line: int) -> str | None:
    repository, at, ref = rest.partition("@")
    if not _REPOSITORY.fullmatch(repository) or (at and not ref) or any(part in (".", "..") for part in ref.split("/")):
        what = f'"{shortened(text)}" names no repository of Hugging Face\'s hub.'
        check.problem(
            "weights-source-invalid", line, what, instead="Write hf://org/model, or hf://org/model@REF for a branch, tag or commit."
        )
        return None
    return f"hf://{repository}" if ref in ("", "main") else f"hf://{repository}@{ref}"


def _web(check: Checker, text: str, line: int) -> str | None:
    shown = redact_urls(text.partition("?")[0])
    try:
        parts = urlsplit(text)
        port_is_right = parts.port is None or parts.port > 0
    except ValueError:
        parts, port_is_right = urlsplit(""), False
    if not parts.hostname or not port_is_right or not posixpath.basename(parts.path):
        instead = "Write the address of one file: https://example.org/models/model.onnx."
        check.problem("weights-source-invalid", line, f"{shortened(shown)} is no address of a file.", instead=instead)
        return None
    secret = parts.username is not None or any(name.lower() in _SIGNATURES for name, _ in parse_qsl(parts.query, keep_blank_values=True))
    if secret:
        why = "It is written into weights.lock, which everybody who has the project can read."
        instead = "Give a password with a netrc file (--secret id=netrc,src=FILE); download what has a signed address, and name the folder."
        check.problem("weights-source-secret", line, f"The address {shortened(shown)} holds credentials.", why=why, instead=instead)
        return None
    return urlunsplit(parts._replace(scheme=parts.scheme.lower(), fragment=""))


def _line(item: Map, key: str) -> int:
    entry = item.get(key)
    return entry.value.line if entry else item.line
