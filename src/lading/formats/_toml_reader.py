"""Typed values from a TOML file: lists of requirements, texts and flags, each mistake with its line."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from lading.formats._place import Place
from lading.formats._requirement import read_pep508
from lading.formats._toml import Key, Toml
from lading.model.files import ProjectFiles
from lading.model.origin import Origin
from lading.model.problems import LadingError, Problem, ProblemCollector
from lading.model.requirements import Declared
from lading.model.secrets import redact_urls


class TomlReader:
    """Reads values below a path of keys, and keeps what is wrong with them. An absent or wrong value is an empty one."""

    def __init__(self, toml: Toml, files: ProjectFiles, problems: ProblemCollector | None = None) -> None:
        self.toml = toml
        self.files = files
        self.problems = problems or ProblemCollector()

    @property
    def folder(self) -> str:
        """The folder of the file: where its relative paths start."""
        return self.toml.path.rpartition("/")[0]

    def place(self, raw: str, *key: str | int) -> Place:
        """A value's place, to read a requirement from."""
        return Place(raw, self.toml.origin(*key), self.files, folder=self.folder)

    def table(self, *key: str) -> Mapping[str, Any]:
        """A table of keys."""
        value = self.toml.get(*key)
        if value is None or isinstance(value, dict):
            return value or {}
        self.wrong_type(key, "a table", f"[{'.'.join(key)}]")
        return {}

    def items(self, *key: str | int, value: Any = None) -> Iterator[tuple[Any, Key]]:
        """The items of a list with their keys. ``value`` is the list, where it does not stand below keys alone."""
        found = value if value is not None or not all(isinstance(part, str) for part in key) else self.toml.get(*map(str, key))
        if found is None:
            return
        if not isinstance(found, list):
            self.wrong_type(key, "a list", f"{key[-1]} = [...]")
            return
        for number, item in enumerate(found):
            yield item, (*key, number)

    def texts(self, *key: str) -> list[tuple[str, Key]]:
        """The items of a list of texts, with their keys."""
        found = []
        for item, at in self.items(*key):
            if isinstance(item, str):
                found.append((item, at))
            else:
                self.wrong_type(at[:-1], "a list of texts", f'{at[-2]} = ["..."]')
        return found

    def text(self, table: Mapping[str, Any], *key: str | int) -> str | None:
        """A text in a table; ``key`` is the whole path, its last part the key in the table."""
        value = table.get(str(key[-1]))
        if value is None or isinstance(value, str):
            return value
        self.wrong_type(key, "a text", f'{key[-1]} = "..."')
        return None

    def flag(self, table: Mapping[str, Any], *key: str | int) -> bool | None:
        """True or false in a table."""
        value = table.get(str(key[-1]))
        if value is None or isinstance(value, bool):
            return value
        self.wrong_type(key, "true or false", f"{key[-1]} = true")
        return None

    def requirements(self, *key: str) -> list[Declared]:
        """A list of PEP 508 requirements."""
        items = self.toml.get(*key)
        if items is not None and not isinstance(items, list):
            self.wrong_type(key, "a list of texts", f'{key[-1]} = ["numpy==2.0.0"]')
            return []
        return [declared for number, item in enumerate(items or ()) for declared in self.requirement(item, (*key, number))]

    def requirement(self, item: Any, key: Key) -> list[Declared]:
        """One PEP 508 requirement; a list without it when it is wrong."""
        origin = self.toml.origin(*key)
        if not isinstance(item, str):
            self.problem("wrong-type", origin, "Each dependency must be a text.", 'Write, for example, "numpy==2.0.0".')
            return []
        with self.problems.catching():
            if item.strip().startswith("-"):
                raise LadingError(_option(item, origin, self.toml.path))
            return [read_pep508(item, self.place(item, *key))]
        return []

    def wrong_type(self, key: Key, wanted: str, instead: str) -> None:
        """Keep the problem of a value of another type."""
        self.problem("wrong-type", self.toml.origin(*key), f"{dotted(key)} must be {wanted}.", f"Write {instead}.")

    def problem(self, rule: str, origin: Origin, what: str, instead: str, why: str | None = None) -> None:
        """Keep a problem."""
        self.problems.add(Problem(rule=rule, what=what, origin=origin, why=why, instead=instead))


def dotted(key: Key) -> str:
    """A path of keys as TOML writes it; numbers of list items are left out."""
    return ".".join(part for part in key if isinstance(part, str))


def _option(item: str, origin: Origin, path: str) -> Problem:
    return Problem(
        rule="option-in-pyproject",
        what=f"This is an option of pip, and {path.rpartition('/')[2]} lists requirements only: {redact_urls(item)}",
        origin=origin,
        instead="Use a requirements.txt for options.",
    )
