"""What a ``.proto`` file says of its package and services: enough to check an API's ``protobuf_path`` before anything is compiled.

Follows the lexical part and the ``package``, ``service`` and ``rpc`` statements of the protocol buffers language (proto2, proto3); all else
is stepped over, and left to ``protoc``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from lading.model.cortex import Method
from lading.model.records import dataclass

_TOKENS = re.compile(
    r"""(?P<comment>//[^\n]*|/\*.*?\*/)|(?P<text>"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*')|(?P<name>\.?[A-Za-z_][\w.]*)|(?P<sign>[^\s\w])|\w+""",
    re.DOTALL,
)


@dataclass(frozen=True, slots=True)
class Service:
    """A service with its methods."""

    name: str
    methods: tuple[Method, ...]


@dataclass(frozen=True, slots=True)
class Proto:
    """A ``.proto`` file. ``package`` is empty where none is declared."""

    package: str
    services: tuple[Service, ...]


def read_proto(text: str) -> Proto:
    """Read a file's text. What is no protocol buffers language gives an empty result: ``protoc`` says what is wrong with it."""
    tokens = list(_tokens(text))
    package, services, depth, at = "", [], 0, 0
    while at < len(tokens):
        word = tokens[at]
        depth += (word == "{") - (word == "}")
        if depth == 0 and word == "package" and at + 1 < len(tokens):
            package = tokens[at + 1]
        if depth == 0 and word == "service" and at + 2 < len(tokens) and tokens[at + 2] == "{":
            end = _end(tokens, at + 2)
            services.append(Service(tokens[at + 1], tuple(_methods(tokens[at + 3 : end]))))
            at = end
        at += 1
    return Proto(package, tuple(services))


def _tokens(text: str) -> Iterator[str]:
    """The words and signs, without comments and texts."""
    return (found.group() for found in _TOKENS.finditer(text) if found.lastgroup in ("name", "sign"))


def _end(tokens: list[str], opening: int) -> int:
    """Where the brace that opens at ``opening`` is closed."""
    depth = 0
    for at in range(opening, len(tokens)):
        depth += (tokens[at] == "{") - (tokens[at] == "}")
        if depth == 0:
            return at
    return len(tokens)


def _methods(words: list[str]) -> Iterator[Method]:
    for at, word in enumerate(words):
        if word != "rpc" or at + 2 >= len(words) or words[at + 2] != "(":
            continue
        rest = words[at + 2 :]
        asked = rest[1 : rest.index(")")] if ")" in rest else []
        told = rest[rest.index("returns") + 2 :] if "returns" in rest else []
        # `stream` is also a fine name of a message.
        yield Method(name=words[at + 1], takes_stream=len(asked) > 1, gives_stream=")" in told and told.index(")") > 1)
