"""Shell commands as far as they can be understood without running them: words, quotes, operators, redirections.

What a shell would compute (``$(...)``, pipes, loops) is not understood, and said to be so. Variables stay as written.
"""

from __future__ import annotations

import re

from lading.model.records import dataclass

_KEYWORDS = frozenset(
    {"if", "then", "else", "elif", "fi", "for", "while", "until", "do", "done", "case", "esac", "function", "{", "}", "!", "[["}
)
_ASSIGNMENT = re.compile(r"[A-Za-z_][A-Za-z0-9_]*=")
_OPERATOR = re.compile(r"&&|\|\||;;|[;|&\n()]|\d*(?:>>|>&|>\||<<-?|<&|<>|>|<)|&>>?")


@dataclass(frozen=True, slots=True)
class Redirection:
    """``>`` or another operator with its target. ``glued`` is the word that it stands right behind (``x`` in ``x>=1.2``)."""

    operator: str
    target: str
    glued: str = ""


@dataclass(frozen=True, slots=True)
class Command:
    """One simple command: variables set for it, its words, and its redirections. ``text`` is as written."""

    words: tuple[str, ...]
    assignments: tuple[str, ...] = ()
    redirections: tuple[Redirection, ...] = ()
    text: str = ""


class NotUnderstood(Exception):  # noqa: N818 -- it is an answer, not an error
    """What in a command cannot be understood without running it, in words."""


@dataclass(frozen=True, slots=True)
class _Token:
    text: str
    operator: bool
    start: int
    end: int


def commands(text: str) -> tuple[Command, ...]:
    """The simple commands of a command line or script, joined by ``&&``, ``;`` or new lines.

    Raises:
        NotUnderstood: for anything that needs a shell to know what is run.
    """
    found: list[Command] = []
    current: list[_Token] = []
    for token in [*_tokens(text), _Token(";", operator=True, start=len(text), end=len(text))]:
        if token.operator and token.text in ("&&", ";", "\n"):
            if current:
                found.append(_command(current, text))
            current = []
        elif token.operator and token.text in ("|", "||", "&", "(", ")", ";;"):
            raise NotUnderstood(f"`{token.text}` needs a shell")
        else:
            current.append(token)
    return tuple(found)


def _command(tokens: list[_Token], text: str) -> Command:
    words: list[str] = []
    assignments: list[str] = []
    redirections: list[Redirection] = []
    position = 0
    while position < len(tokens):
        token = tokens[position]
        if token.operator:
            target = tokens[position + 1] if position + 1 < len(tokens) else None
            if target is None or target.operator:
                raise NotUnderstood(f"`{token.text}` has no target")
            glued = words[-1] if words and tokens[position - 1].end == token.start and token.text[0] in "<>" else ""
            redirections.append(Redirection(token.text, target.text, glued))
            position += 1
        elif not words and _ASSIGNMENT.match(token.text):
            assignments.append(token.text)
        else:
            words.append(token.text)
        position += 1
    if words and words[0] in _KEYWORDS:
        raise NotUnderstood(f"`{words[0]}` needs a shell")
    return Command(tuple(words), tuple(assignments), tuple(redirections), text[tokens[0].start : tokens[-1].end])


def _tokens(text: str) -> list[_Token]:
    found: list[_Token] = []
    position = 0
    while position < len(text):
        character = text[position]
        if text.startswith(("\\\n", "\\\r\n"), position):
            position = text.index("\n", position) + 1
        elif character in " \t\r":
            position += 1
        elif character == "#":
            end = text.find("\n", position)
            position = len(text) if end < 0 else end
        elif operator := _OPERATOR.match(text, position):
            found.append(_Token(operator[0], operator=True, start=position, end=operator.end()))
            position = operator.end()
        else:
            word, end = _word(text, position)
            found.append(_Token(word, operator=False, start=position, end=end))
            position = end
    return found


def _word(text: str, start: int) -> tuple[str, int]:
    """One word, its quotes taken off, and where it ends."""
    parts: list[str] = []
    position = start
    while position < len(text) and text[position] not in " \t\r\n;|&()<>":
        character = text[position]
        if character == "`" or text.startswith("$(", position):
            raise NotUnderstood("a command in a command ($(...)) needs a shell")
        if character in "'\"":
            part, position = _quoted(text, position)
            parts.append(part)
        elif character == "\\":
            if text.startswith(("\\\n", "\\\r\n"), position):
                position = text.index("\n", position) + 1
                continue
            parts.append(text[position + 1 : position + 2])
            position += 2
        else:
            parts.append(character)
            position += 1
    return "".join(parts), position


def _quoted(text: str, start: int) -> tuple[str, int]:
    quote, parts, position = text[start], [], start + 1
    while position < len(text) and text[position] != quote:
        if quote == '"' and (text[position] == "`" or text.startswith("$(", position)):
            raise NotUnderstood("a command in a command ($(...)) needs a shell")
        if quote == '"' and text[position] == "\\" and text[position + 1 : position + 2] in ('"', "\\", "$", "`", "\n"):
            position += 1
            if text[position] == "\n":
                position += 1
                continue
        parts.append(text[position])
        position += 1
    if position >= len(text):
        raise NotUnderstood(f"a quote ({quote}) is not closed")
    return "".join(parts), position + 1
