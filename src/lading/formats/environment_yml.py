"""``environment.yml``: a conda environment with its channels and its pip part, as ``conda env create`` reads it.

``prefix`` names a place on the machine that exported the file and has no effect; ``name`` neither, as Lading names its environments itself.
Channels are those of the file, the first one strongest. The lines below ``pip:`` are a requirements file: options, ``-r``, ``-e .`` included.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from lading.formats._checks import Checker
from lading.formats._included import Reading
from lading.formats._line import Reader
from lading.formats._logical import LogicalLine
from lading.formats._matchspec import read_spec
from lading.formats._place import NO_VARIABLES, Place, expand
from lading.formats._together import conflicting_pins, missing_hashes
from lading.formats._together_conda import python_request
from lading.formats._yaml import Entry, Map, Node, Scalar, Sequence, kind_of, read_yaml
from lading.model.conda import ChannelUrl, CondaDependencies, MatchSpec, redact_conda
from lading.model.decisions import Decision, Kind
from lading.model.files import ProjectFiles
from lading.model.problems import LadingError, Problem
from lading.model.requirements import Declaration
from lading.model.secrets import Secret

name = "environment.yml"

_KEYS = ("name", "channels", "dependencies", "prefix", "variables", "platforms", "channel_priority", "category")
_PRIORITIES = ("strict", "flexible", "disabled")
_FILE_NAME = re.compile(r"(.*[-_.])?(environment|conda)([-_.].*)?\.ya?ml", re.IGNORECASE)


def recognises(path: str) -> bool:
    """Whether a file's name says that it is a conda environment."""
    last = path.rsplit("/", 1)[-1]
    return _FILE_NAME.fullmatch(last) is not None and "lock" not in last


def parse(path: str, files: ProjectFiles, environ: Mapping[str, str] = NO_VARIABLES) -> Declaration:
    """Read a conda environment with its pip part.

    Args:
        path: The file, relative to the project's root.
        files: The project.
        environ: The variables for ``${NAME}`` in channels and in the pip part.

    Raises:
        LadingError: with every problem of the file and of the requirements files that it includes.
    """
    reading = _Reading(Checker(path, files), environ)
    root = read_yaml(path, files, reading.check.problems)
    if not isinstance(root, Map):
        raise LadingError(_not_a_map(reading.check, root))
    return reading.read(root)


def _not_a_map(check: Checker, root: Node | None) -> Problem:
    return Problem(
        rule="config-not-a-map",
        what=f"{check.path} is empty."
        if root is None
        else f"{check.path} must hold keys such as dependencies:, and it is {kind_of(root)}.",
        origin=check.origin(root.line if root else 1),
        instead="Write dependencies: and below it one package a line, each with a hyphen.",
    )


@dataclass(slots=True)
class _Reading:
    """One environment.yml while it is read."""

    check: Checker
    environ: Mapping[str, str]
    specs: list[MatchSpec] = field(default_factory=list)
    decisions: list[Decision] = field(default_factory=list)
    pip: Reading = field(init=False)

    def __post_init__(self) -> None:
        self.pip = Reading(Reader(self.check.files, self.environ), problems=self.check.problems)

    def read(self, root: Map) -> Declaration:
        """All of the file.

        Raises:
            LadingError: with every problem.
        """
        check = self.check
        check.known_keys(root, _KEYS, check.path)
        channels, alone = self._channels(root.get("channels"))
        for item in check.items(root.get("dependencies"), "dependencies"):
            with check.problems.catching():
                self._dependency(item)
        variables = self._variables(root.get("variables"))
        self._without_effect(root)
        requirements = tuple(dict.fromkeys(self.pip.requirements))
        options = self.pip.lines.options.frozen()
        problems, decisions = missing_hashes(requirements, required=options.require_hashes)
        check.problems.add(*conflicting_pins(requirements), *problems)
        conda = CondaDependencies(
            specs=tuple(dict.fromkeys(self.specs)),
            channels=channels,
            alone=alone,
            priority=self._priority(root.get("channel_priority")),
            variables=variables,
        )
        check.problems.raise_if_any()
        return Declaration(
            format=name,
            path=check.path,
            read=tuple(dict.fromkeys((check.path, *self.pip.read))),
            requirements=requirements,
            constraints=tuple(dict.fromkeys(self.pip.constraints)),
            options=options,
            python=python_request(conda.specs),
            conda=conda,
            decisions=tuple(dict.fromkeys((*self.decisions, *self.pip.lines.options.decisions, *decisions))),
        )

    def _channels(self, entry: Entry | None) -> tuple[tuple[ChannelUrl, ...], bool]:
        found, alone = [], False
        for text, line in self.check.texts(entry, "channels"):
            if text.strip() == "nodefaults":
                alone = True
                continue
            place = Place(text, self.check.origin(line), self.check.files)
            with self.check.problems.catching():
                expanded, place = expand(text.strip(), place, self.environ)
                found.append(ChannelUrl(expanded, place.variables, place.origin))
        return tuple(dict.fromkeys(found)), alone

    def _dependency(self, item: Node) -> None:
        if isinstance(item, Map):
            for entry in item:
                self._section(entry)
        elif isinstance(item, Scalar) and item.text.strip() and not isinstance(item.value, bool | None):
            origin = self.check.origin(item.line)
            self.specs.append(read_spec(re.sub(r"\s+#.*$", "", item.text), origin, self.check.files, self.environ))
        else:
            what = f"Each item of dependencies must be a package or pip:, and this one is {kind_of(item)}."
            self.check.problem("wrong-type", item.line, what, instead="Write one package a line, or pip: with a list below it.")

    def _section(self, entry: Entry) -> None:
        if entry.key != "pip":
            what = f'Below dependencies there is no section "{entry.key}".'
            self.check.problem("unknown-key", entry.line, what, instead="pip: is the only one; write packages as plain items.")
            return
        for item in self.check.items(entry, "pip"):
            if not isinstance(item, Scalar) or not item.text.strip() or item.value is None:
                what = f"Each item of pip must be a requirement, and this one is {kind_of(item)}."
                self.check.problem("wrong-type", item.line, what, instead="Put quotes around the line.")
                continue
            text = re.sub(r"(^|\s+)#.*$", "", item.text).strip()
            with self.check.problems.catching():
                if text:
                    self.pip.line(LogicalLine(item.line, text, item.text), self.check.origin(item.line), constraint=False, chain=())

    def _variables(self, entry: Entry | None) -> tuple[tuple[str, Secret], ...]:
        found = []
        for one in self.check.section(entry, "variables") or ():
            value = one.value
            if isinstance(value, Sequence | Map) or not re.fullmatch(r"[A-Za-z_]\w*", one.key):
                what = f"The variable {one.key} must have one value, and it is {kind_of(value)}."
                self.check.problem("wrong-type", one.line, what, instead="Write NAME: value.")
            else:
                found.append((one.key, Secret("" if value.value is None else value.text)))
        return tuple(found)

    def _priority(self, entry: Entry | None) -> str | None:
        text = self.check.text(entry, "channel_priority", any_scalar=True)
        if entry is not None and text is not None and text not in _PRIORITIES:
            self.check.problem("wrong-value", entry.line, f"channel_priority is {text}.", instead=f"Write one of {', '.join(_PRIORITIES)}.")
            return None
        return text

    def _without_effect(self, root: Map) -> None:
        entry = root.get("prefix")
        if entry is not None:
            self.decisions.append(
                Decision(
                    rule="conda-prefix-ignored",
                    kind=Kind.ADVICE,
                    subject="prefix",
                    asked=f"prefix: {redact_conda(entry.value.text) if isinstance(entry.value, Scalar) else kind_of(entry.value)}",
                    chose="an environment in Lading's store",
                    because="the key names a folder of the machine that exported the file",
                    origin=self.check.origin(entry.line),
                    instead="the file without prefix",
                )
            )
