"""pip's options as they stand in a requirements file: which there are, and how a line is split into them.

The grammar is optparse's, which pip uses: ``-rFILE``, ``-r FILE``, ``--requirement=FILE``, ``--requirement FILE``, and any
unambiguous beginning of a long name.
"""

from __future__ import annotations

import re

_WITH_VALUE = {
    "-i": "index-url",
    "--index-url": "index-url",
    "--pypi-url": "index-url",
    "--extra-index-url": "extra-index-url",
    "-f": "find-links",
    "--find-links": "find-links",
    "-r": "requirement",
    "--requirement": "requirement",
    "-c": "constraint",
    "--constraint": "constraint",
    "-e": "editable",
    "--editable": "editable",
    "--no-binary": "no-binary",
    "--only-binary": "only-binary",
    "--trusted-host": "trusted-host",
    "--use-feature": "use-feature",
    "--all-releases": "all-releases",
    "--only-final": "only-final",
    "--hash": "hash",
    "-C": "config-settings",
    "--config-settings": "config-settings",
    "--config-setting": "config-settings",
    "--global-option": "global-option",
}
_FLAGS = {
    "--no-index": "no-index",
    "--pre": "pre",
    "--prefer-binary": "prefer-binary",
    "--require-hashes": "require-hashes",
    "--no-require-hashes": "no-require-hashes",
}
_LONG = [name for name in (*_WITH_VALUE, *_FLAGS) if name.startswith("--")]

Option = tuple[str, str]


class OptionError(ValueError):
    """Options that pip would refuse. ``word`` is the offending one; the text is the reason, a sentence."""

    def __init__(self, word: str, reason: str) -> None:
        self.word = word
        super().__init__(reason)


def split_line(line: str) -> tuple[str, str]:
    """A logical line as its requirement and its options; either may be empty.

    The options begin with the first word that starts with ``-``, as for pip. A tab separates words as a space does.
    """
    if "-" not in line:
        return line, ""
    start = 0
    for word in line.replace("\t", " ").split(" "):
        if word.startswith("-"):
            return line[:start].strip(), line[start:].strip()
        start += len(word) + 1
    return line, ""


def parse_options(text: str) -> tuple[list[Option], list[str]]:
    """Options by their long name with their value (empty for flags), and the words that belong to no option.

    Raises:
        OptionError: for an unknown or ambiguous option, a missing or surplus value, or unbalanced quotes.
    """
    words = _words(text)
    options: list[Option] = []
    others: list[str] = []
    while words:
        word = words.pop(0)
        if word == "--":
            others += words
            break
        if word.startswith("--"):
            options.append(_long(word, words))
        elif word.startswith("-") and len(word) > 1:
            options.append(_short(word, words))
        else:
            others.append(word)
    return options, others


def _words(text: str) -> list[str]:
    """A shell's words. Without quotes and backslashes they lie between spaces, which is found ten times faster."""
    if not any(character in text for character in "'\"\\"):
        return [word for word in re.split(r"[ \t\r\n]+", text) if word]
    import shlex  # noqa: PLC0415 -- needed for quotes only

    try:
        return shlex.split(text)
    except ValueError as error:
        raise OptionError(text, f"Its quotes do not match ({str(error).lower()}).") from error


def _long(word: str, rest: list[str]) -> Option:
    written, equals, value = word.partition("=")
    name = _full_name(written)
    if name in _FLAGS:
        if equals:
            raise OptionError(word, f"{name} takes no value.")
        return _FLAGS[name], ""
    return _WITH_VALUE[name], value if equals else _next(written, rest)


def _full_name(written: str) -> str:
    if written in _WITH_VALUE or written in _FLAGS:
        return written
    fitting = [name for name in _LONG if name.startswith(written)]
    if not fitting:
        raise OptionError(written, f"pip reads no option {written} in a requirements file.")
    meanings = {_WITH_VALUE.get(name, name) for name in fitting}
    if len(meanings) > 1:
        raise OptionError(written, f"{written} could be {' or '.join(sorted(fitting))}.")
    return fitting[0]


def _short(word: str, rest: list[str]) -> Option:
    name, value = word[:2], word[2:]
    if name not in _WITH_VALUE:
        raise OptionError(word, f"pip reads no option {name} in a requirements file.")
    return _WITH_VALUE[name], value or _next(name, rest)


def _next(name: str, rest: list[str]) -> str:
    if not rest:
        raise OptionError(name, f"{name} needs a value.")
    return rest.pop(0)
