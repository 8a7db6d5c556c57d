"""``[tool.uv]`` in pyproject.toml: the standard place for what a requirements file cannot say about builds."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping

import tomli_w

from lading.edits.changes import Change, Text
from lading.model.records import dataclass

PATH = "pyproject.toml"
_HEADER = re.compile(r"^\[tool\.uv\][ \t]*(?:#.*)?\r?\n", re.MULTILINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class UvSettings:
    """What is to be set. ``variables`` are (package, name, value) for the packages' builds."""

    no_isolation: tuple[str, ...] = ()
    excluded: tuple[str, ...] = ()
    variables: tuple[tuple[str, str, str], ...] = ()

    def __bool__(self) -> bool:
        return bool(self.no_isolation or self.excluded or self.variables)

    def lists(self) -> dict[str, list[str]]:
        """The keys of ``[tool.uv]`` itself."""
        pairs = (("no-build-isolation-package", self.no_isolation), ("exclude-dependencies", self.excluded))
        return {key: list(names) for key, names in pairs if names}

    def tables(self) -> dict[str, dict[str, str]]:
        """The table ``[tool.uv.extra-build-variables]``."""
        found: dict[str, dict[str, str]] = {}
        for package, name, value in self.variables:
            found.setdefault(package, {})[name] = value
        return found


def taken(content: bytes | None, settings: UvSettings) -> tuple[str, ...]:
    """The keys that the file has already, so that somebody must settle by hand what they are to be."""
    try:
        document = tomllib.loads(content.decode("utf-8-sig")) if content else {}
    except (tomllib.TOMLDecodeError, UnicodeDecodeError):
        return ("everything: it is not valid TOML",)
    table = document.get("tool", {}).get("uv", {})
    wanted = [*settings.lists(), *(["extra-build-variables"] if settings.variables else [])]
    return tuple(key for key in wanted if not isinstance(table, Mapping) or key in table)


def write_settings(content: bytes | None, settings: UvSettings) -> Change:
    """The change of pyproject.toml (a new one, when ``content`` is None) that adds the settings; `taken` must be empty."""
    source = Text.of(PATH, content) if content is not None else Text(PATH, "")
    newline = source.newline
    own = [line for key, names in settings.lists().items() for line in _assigned({key: names})]
    table = settings.tables()
    more = ["[tool.uv.extra-build-variables]", *(line for package, values in table.items() for line in _inline(package, values))]
    text = source.text
    if own:
        found = _HEADER.search(text)
        block = "".join(f"{line}{newline}" for line in own)
        text = text[: found.end()] + block + text[found.end() :] if found else _appended(text, ["[tool.uv]", *own], newline)
    if table:
        text = _appended(text, more, newline)
    return source.changed(text, content)


def _assigned(value: Mapping[str, object]) -> Iterable[str]:
    ((key, names),) = value.items()
    assert isinstance(names, list)
    yield f"{key} = [{', '.join(_quoted(name) for name in names)}]"


def _inline(package: str, values: Mapping[str, str]) -> Iterable[str]:
    yield f"{_quoted(package) if not re.fullmatch(r'[A-Za-z0-9_-]+', package) else package} = {{ {', '.join(f'{name} = {_quoted(value)}' for name, value in values.items())} }}"


def _quoted(text: str) -> str:
    return tomli_w.dumps({"x": text}).removeprefix("x = ").rstrip("\n")


def _appended(text: str, lines: list[str], newline: str) -> str:
    if text and not text.endswith("\n"):
        text += newline
    return text + (newline if text else "") + "".join(f"{line}{newline}" for line in lines)
