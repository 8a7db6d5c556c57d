"""Checks that configurations share: types with a line, unknown keys with the likely one, references to predictors."""

from __future__ import annotations

import re
from collections.abc import Collection

from lading.formats._near import did_you_mean
from lading.formats._paths import joined, outside
from lading.formats._text import missing_file
from lading.formats._yaml import Entry, Map, Node, Scalar, Sequence, kind_of, shortened
from lading.model.files import ProjectFiles
from lading.model.origin import Origin
from lading.model.problems import Problem, ProblemCollector
from lading.model.project import PathRef
from lading.model.records import dataclass, field

_REFERENCE = re.compile(r"(?P<file>.+\.py):(?P<object>[^\W\d]\w*)")


@dataclass(frozen=True, slots=True)
class Checker:
    """Reads typed values from one configuration file, and keeps what is wrong with them.

    Every method answers None for a value that is absent, ``null`` or wrong; for a wrong one a problem is kept.
    """

    path: str
    files: ProjectFiles
    problems: ProblemCollector = field(default_factory=ProblemCollector)

    def origin(self, line: int) -> Origin:
        """A line of the file."""
        return Origin(self.path, line)

    def problem(self, rule: str, line: int, what: str, *, why: str | None = None, instead: str | None = None) -> None:
        """Keep a problem."""
        self.problems.add(Problem(rule=rule, what=what, origin=self.origin(line), why=why, instead=instead))

    def finish(self) -> None:
        """End the check.

        Raises:
            LadingError: with every problem, in the order of the file's lines.
        """
        self.problems.problems.sort(key=lambda problem: (problem.origin.line or 0) if problem.origin else 0)
        self.problems.raise_if_any()

    def wrong_type(self, entry: Entry, name: str, wanted: str, instead: str) -> None:
        """Keep the problem of a value of another type."""
        self.problem("wrong-type", entry.value.line, f"{name} must be {wanted}, and it is {kind_of(entry.value)}.", instead=instead)

    def known_keys(self, node: Map, known: Collection[str], where: str) -> None:
        """Keep a problem for each key that is not known."""
        for entry in node:
            if entry.key not in known:
                near = did_you_mean(entry.key, known)
                self.problem(
                    "unknown-key",
                    entry.line,
                    f'{where} has no key "{shortened(entry.key)}".',
                    instead=f"Did you mean {near}?" if near else f"Known keys: {', '.join(known)}.",
                )

    def section(self, entry: Entry | None, name: str) -> Map | None:
        """A map of keys."""
        if entry is None or _is_null(entry.value):
            return None
        if isinstance(entry.value, Map):
            return entry.value
        self.wrong_type(entry, name, "a map of keys", f"Write the keys of {name} below it, indented, each with a colon and a space.")
        return None

    def text(self, entry: Entry | None, name: str, *, any_scalar: bool = False) -> str | None:
        """A text; with ``any_scalar`` a number counts as its text, so that ``3.10`` stays ``3.10``."""
        if entry is None or _is_null(entry.value):
            return None
        value = entry.value
        if isinstance(value, Scalar) and (isinstance(value.value, str) or (any_scalar and not isinstance(value.value, bool))):
            return value.text
        self.wrong_type(entry, name, "a text", f'Write {entry.key}: "...".')
        return None

    def flag(self, entry: Entry | None, name: str) -> bool | None:
        """True or false."""
        if entry is None or _is_null(entry.value):
            return None
        if isinstance(entry.value, Scalar) and isinstance(entry.value.value, bool):
            return entry.value.value
        self.wrong_type(entry, name, "true or false", f"Write {entry.key}: true or {entry.key}: false.")
        return None

    def items(self, entry: Entry | None, name: str) -> tuple[Node, ...]:
        """The items of a list."""
        if entry is None or _is_null(entry.value):
            return ()
        if isinstance(entry.value, Sequence):
            return entry.value.items
        self.wrong_type(entry, name, "a list", f"Write each item of {name} on a line of its own, with a hyphen and a space before it.")
        return ()

    def texts(self, entry: Entry | None, name: str) -> list[tuple[str, int]]:
        """The items of a list of texts, with their lines."""
        found = []
        for item in self.items(entry, name):
            if isinstance(item, Scalar) and isinstance(item.value, str) and item.value.strip():
                found.append((item.value, item.line))
            else:
                self.problem(
                    "wrong-type",
                    item.line,
                    f"Each item of {name} must be a text, and this one is {kind_of(item)}.",
                    instead="Put quotes around the item, or remove it.",
                )
        return found

    def file(self, written: str, line: int, what: str) -> str | None:
        """The path of a file that must be there, relative to the project's root; ``written`` is relative to the configuration."""
        path = joined(self.path.rpartition("/")[0], written)
        if outside(path):
            self.problem(
                "file-outside-project",
                line,
                f"The {what} {written} is outside of the project.",
                why="The project must be readable on another machine, and in an image.",
                instead="Move the file into the project, and write its path relative to the project's folder.",
            )
            return None
        if self.files.read(path) is None:
            self.problems.add(missing_file(path, self.files, self.origin(line), what=what))
            return None
        return path

    def file_ref(self, entry: Entry | None, name: str, what: str) -> PathRef | None:
        """A file that a key names."""
        written = self.text(entry, name)
        if entry is None or written is None:
            return None
        path = self.file(written, entry.value.line, what)
        return PathRef(path, self.origin(entry.value.line)) if path else None

    def predictor(self, entry: Entry | None, name: str) -> tuple[str, str, int] | None:
        """``file.py:Name`` as the file, the object and the line."""
        written = self.text(entry, name)
        if entry is None or written is None:
            return None
        line = entry.value.line
        found = _REFERENCE.fullmatch(written.strip())
        if found is None:
            why = "There is no class or function after the file." if written.strip().endswith(".py") else None
            self.problem(
                "predictor-reference-invalid",
                line,
                f'{name} must be written file.py:Name, and it is "{shortened(written)}".',
                why=why,
                instead="Write, for example, predict.py:Predictor.",
            )
            return None
        path = self.file(found["file"], line, "predictor file")
        return (path, found["object"], line) if path else None


def _is_null(node: Node) -> bool:
    return isinstance(node, Scalar) and node.value is None
