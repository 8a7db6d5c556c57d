"""``pyproject.toml``: PEP 621 dependencies, the PEP 735 group named ``lading``, and ``[tool.lading]``.

What other tools declare in their own tables and this version does not read (Poetry's dependencies, uv's sources and indexes, PDM's
sources) is refused when it would change what is installed; tables that concern development alone are none of our business.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from lading.formats._near import did_you_mean
from lading.formats._place import NO_VARIABLES, Place
from lading.formats._python import exact_request
from lading.formats._requirement import canonical, read_pep508
from lading.formats._together import conflicting_pins
from lading.formats._toml import Key, Toml, read_toml
from lading.model.files import ProjectFiles
from lading.model.origin import Origin
from lading.model.problems import LadingError, Problem, ProblemCollector
from lading.model.requirements import Declaration, Declared
from lading.model.secrets import redact_urls
from lading.model.target import PythonRequest

name = "pyproject.toml"

GROUP = "lading"
_SETTINGS = ("predict", "python")
_REFERENCE = re.compile(r".+\.py(:[^\W\d]\w*)?")
# uv's keys that change what is resolved. The rest (dev-dependencies, package, workspace members, cache-keys, ...) does not.
_UV = (
    "index",
    "index-url",
    "extra-index-url",
    "find-links",
    "no-index",
    "index-strategy",
    "override-dependencies",
    "constraint-dependencies",
    "build-constraint-dependencies",
    "exclude-dependencies",
    "prerelease",
    "resolution",
    "exclude-newer",
    "exclude-newer-package",
    "no-build",
    "no-build-package",
    "no-binary",
    "no-binary-package",
    "no-build-isolation",
    "no-build-isolation-package",
    "extra-build-dependencies",
    "extra-build-variables",
    "config-settings",
    "config-settings-package",
    "dependency-metadata",
)


@dataclass(frozen=True, slots=True)
class Settings:
    """``[tool.lading]``: the predictor as ``file.py:Name``, and the Python to run it on. ``origin`` is the predictor's line."""

    predict: str | None
    python: PythonRequest | None
    origin: Origin


def recognises(path: str) -> bool:
    """Whether a file's name is pyproject.toml."""
    return path.rsplit("/", 1)[-1] == name


def lading_settings(path: str, files: ProjectFiles) -> Settings:
    """Read ``[tool.lading]``.

    Raises:
        LadingError: for unknown keys and wrong values.
    """
    return _settings(read_toml(path, files))


def parse(path: str, files: ProjectFiles, environ: Mapping[str, str] = NO_VARIABLES) -> Declaration:  # noqa: ARG001 -- the seam's signature
    """Read what the project depends on. Variables are not expanded: no tool expands them in a pyproject.toml.

    Raises:
        LadingError: with every problem of the file.
    """
    toml = read_toml(path, files)
    reading = _Reading(toml, files)
    requirements = tuple(dict.fromkeys(reading.requirements()))
    python = reading.python()
    reading.refuse_unread(requirements)
    reading.problems.add(*conflicting_pins(requirements))
    reading.problems.raise_if_any()
    return Declaration(format=name, path=path, read=(path,), requirements=requirements, python=python)


class _Reading:
    """One pyproject.toml while it is read."""

    def __init__(self, toml: Toml, files: ProjectFiles) -> None:
        self.toml = toml
        self.files = files
        self.problems = ProblemCollector()

    def requirements(self) -> list[Declared]:
        """``project.dependencies``, then the group ``lading``."""
        self._table("project")
        if "dependencies" in self._strings("project", "dynamic"):
            self._dynamic()
        found = [*self._list(("project", "dependencies"))]
        groups = self._table("dependency-groups")
        named = {canonical(group): group for group in groups}
        if GROUP in named:
            found += self._group(named[GROUP], named, ())
        return found

    def python(self) -> PythonRequest | None:
        """``requires-python``, together with ``tool.lading.python`` if that is set."""
        wanted = None
        with self.problems.catching():
            wanted = _settings(self.toml).python
        required = self._requires_python()
        if wanted is None or required is None:
            return wanted or required
        specifier = f"{wanted.specifier},{required.specifier}"
        return PythonRequest(specifier=specifier, text=f"{wanted.text} and {required.text}", origin=wanted.origin)

    def refuse_unread(self, requirements: tuple[Declared, ...]) -> None:
        """Refuse what other tools' tables say about the dependencies."""
        self._refuse_poetry(requirements)
        self._refuse_uv(requirements)
        for key in (("tool", "pdm", "source"), ("tool", "pdm", "resolution")):
            if self.toml.get(*key):
                self._unread(key, "PDM")
        if self.toml.get("tool", "flit", "metadata") and not self.toml.get("project"):
            self._unread(("tool", "flit", "metadata"), "Flit")

    def _refuse_poetry(self, requirements: tuple[Declared, ...]) -> None:
        poetry = self.toml.get("tool", "poetry", "dependencies")
        if isinstance(poetry, dict) and (set(poetry) - {"python"} or not self.toml.get("project")):
            self._unread(("tool", "poetry", "dependencies"), "Poetry", "Move them to [project] dependencies, or write a requirements.txt.")
        if self.toml.get("tool", "poetry", "source") and requirements:
            self._unread(("tool", "poetry", "source"), "Poetry")

    def _refuse_uv(self, requirements: tuple[Declared, ...]) -> None:
        uv = self.toml.get("tool", "uv")
        for key in _UV if isinstance(uv, dict) else ():
            if uv.get(key) not in (None, [], {}, False):
                self._unread(("tool", "uv", key), "uv")
        sources = self.toml.get("tool", "uv", "sources")
        names = {declared.name for declared in requirements}
        for package in sources if isinstance(sources, dict) else ():
            if canonical(package) in names:
                self._unread(("tool", "uv", "sources", package), "uv", f"Write {package} @ URL in dependencies, or use a requirements.txt.")

    def _unread(self, key: Key, tool: str, instead: str | None = None) -> None:
        self.problems.add(
            Problem(
                rule="table-not-supported",
                what=f"{'.'.join(map(str, key))} is {tool}'s, and this version of Lading does not read it.",
                origin=self.toml.origin(*key),
                why="It changes what is installed, so it is not passed over.",
                instead=instead
                or "Write a requirements.txt with the options of pip that mean the same (--index-url, -c, --no-binary, ...).",
            )
        )

    def _dynamic(self) -> None:
        self.problems.add(
            Problem(
                rule="dependencies-dynamic",
                what="The dependencies are dynamic: the build backend works them out, and this version of Lading does not ask it.",
                origin=self.toml.origin("project", "dynamic"),
                instead="List them in [project] dependencies, or write a requirements.txt (which may say `.` to install the project).",
            )
        )

    def _requires_python(self) -> PythonRequest | None:
        text = self.toml.get("project", "requires-python")
        if text is None:
            return None
        origin = self.toml.origin("project", "requires-python")
        if not isinstance(text, str):
            self._wrong_type(("project", "requires-python"), "a text", 'requires-python = ">=3.10"')
            return None
        from packaging.specifiers import InvalidSpecifier, SpecifierSet  # noqa: PLC0415 -- see `_requirement`

        try:
            SpecifierSet(text)
        except InvalidSpecifier:
            what = f'requires-python "{text}" is not a version specifier.'
            instead = 'Write, for example, requires-python = ">=3.10,<3.13".'
            self.problems.add(Problem(rule="requires-python-invalid", what=what, origin=origin, instead=instead))
            return None
        return PythonRequest(specifier=re.sub(r"\s+", "", text), text=text, origin=origin)

    def _group(self, group: str, named: Mapping[str, str], chain: tuple[str, ...]) -> list[Declared]:
        """A dependency group with the groups that it includes."""
        key = ("dependency-groups", group)
        if group in chain:
            way = " → ".join([*chain, group])
            self._problem(
                "group-loop", self.toml.origin(*key), f"The dependency group {group} includes itself: {way}", "Remove one of them."
            )
            return []
        found: list[Declared] = []
        items = self.toml.get(*key)
        if not isinstance(items, list):
            self._wrong_type(key, "a list", f'{group} = ["numpy==2.0.0"]')
            return found
        for number, item in enumerate(items):
            if isinstance(item, dict):
                found += self._included(item, (*key, number), named, (*chain, group))
            else:
                found += self._requirement(item, (*key, number))
        return found

    def _included(self, item: Mapping[str, Any], key: Key, named: Mapping[str, str], chain: tuple[str, ...]) -> list[Declared]:
        wanted = item.get("include-group")
        if set(item) != {"include-group"} or not isinstance(wanted, str):
            self._problem("group-invalid", self.toml.origin(*key), "This item of the group is unknown.", 'Write {include-group = "name"}.')
            return []
        group = named.get(canonical(wanted))
        if group is None:
            near = did_you_mean(wanted, named.values())
            instead = f"Did you mean {near}?" if near else "Define the group in [dependency-groups]."
            self._problem("group-unknown", self.toml.origin(*key), f"There is no dependency group {wanted}.", instead)
            return []
        return self._group(group, named, chain)

    def _list(self, key: tuple[str, ...]) -> Iterator[Declared]:
        items = self.toml.get(*key)
        if items is not None and not isinstance(items, list):
            self._wrong_type(key, "a list of texts", f'{key[-1]} = ["numpy==2.0.0"]')
            return
        for number, item in enumerate(items or ()):
            yield from self._requirement(item, (*key, number))

    def _requirement(self, item: Any, key: Key) -> list[Declared]:
        origin = self.toml.origin(*key)
        if not isinstance(item, str):
            self._problem("wrong-type", origin, "Each dependency must be a text.", 'Write, for example, "numpy==2.0.0".')
            return []
        with self.problems.catching():
            if item.strip().startswith("-"):
                raise LadingError(_option(item, origin))
            return [read_pep508(item, Place(item, origin, self.files))]
        return []

    def _strings(self, *key: str) -> list[str]:
        value = self.toml.get(*key)
        return [item for item in value if isinstance(item, str)] if isinstance(value, list) else []

    def _table(self, key: str) -> Mapping[str, Any]:
        value = self.toml.get(key)
        if value is None or isinstance(value, dict):
            return value or {}
        self._wrong_type((key,), "a table", f"[{key}]")
        return {}

    def _wrong_type(self, key: Key, wanted: str, instead: str) -> None:
        self._problem("wrong-type", self.toml.origin(*key), f"{'.'.join(map(str, key))} must be {wanted}.", f"Write {instead}.")

    def _problem(self, rule: str, origin: Origin, what: str, instead: str) -> None:
        self.problems.add(Problem(rule=rule, what=what, origin=origin, instead=instead))


def _option(item: str, origin: Origin) -> Problem:
    return Problem(
        rule="option-in-pyproject",
        what=f"This is an option of pip, and pyproject.toml lists requirements only: {redact_urls(item)}",
        origin=origin,
        instead="Use a requirements.txt for options.",
    )


def _settings(toml: Toml) -> Settings:
    problems = ProblemCollector()
    table = toml.get("tool", "lading")
    key: Key = ("tool", "lading")
    if table is not None and not isinstance(table, dict):
        raise LadingError(
            Problem(rule="wrong-type", what="tool.lading must be a table.", origin=toml.origin(*key), instead="Write [tool.lading].")
        )
    table = table or {}
    problems.add(*(_unknown_setting(setting, toml) for setting in table if setting not in _SETTINGS))
    predict = _setting(toml, table, "predict", problems)
    if predict is not None and not _REFERENCE.fullmatch(predict):
        what = f'tool.lading.predict must be written file.py:Name, and it is "{predict}".'
        origin = toml.origin(*key, "predict")
        instead = 'Write predict = "predict.py:Predictor".'
        problems.add(Problem(rule="predictor-reference-invalid", what=what, origin=origin, instead=instead))
    python, request = _setting(toml, table, "python", problems), None
    if python is not None:
        with problems.catching():
            request = exact_request(python, toml.origin(*key, "python"), rule="python-version-invalid", what="tool.lading.python")
    problems.raise_if_any()
    return Settings(predict, request, toml.origin(*key, "predict"))


def _setting(toml: Toml, table: Mapping[str, Any], setting: str, problems: ProblemCollector) -> str | None:
    value = table.get(setting)
    if value is None or isinstance(value, str):
        return value
    origin = toml.origin("tool", "lading", setting)
    instead = f'Put it in quotes: {setting} = "{value}".'
    problems.add(Problem(rule="wrong-type", what=f"tool.lading.{setting} must be a text.", origin=origin, instead=instead))
    return None


def _unknown_setting(setting: str, toml: Toml) -> Problem:
    near = did_you_mean(setting, _SETTINGS)
    return Problem(
        rule="unknown-key",
        what=f"tool.lading has no key {setting}.",
        origin=toml.origin("tool", "lading", setting),
        instead=f"Did you mean {near}?" if near else f"Known keys: {', '.join(_SETTINGS)}.",
    )
