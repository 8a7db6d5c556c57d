"""``pyproject.toml``: PEP 621 dependencies, the PEP 735 group named ``lading``, and the tables of uv, Poetry, PDM and setuptools.

All that changes what is installed is read, or refused; what is for development alone is none of our business.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from lading.formats._near import did_you_mean
from lading.formats._optional import Extras, without_parts, written_names
from lading.formats._pdm import read_pdm
from lading.formats._place import NO_VARIABLES
from lading.formats._poetry import enrich, optional_of, python_request, read_poetry, read_sources, without_effect
from lading.formats._python import exact_request, specifier_request
from lading.formats._setuptools import read_listed
from lading.formats._together import conflicting_pins
from lading.formats._toml import Key, Toml, read_toml
from lading.formats._toml_reader import TomlReader
from lading.formats._uv_table import from_sources, read_uv_table
from lading.model.decisions import Decision, Kind
from lading.model.files import ProjectFiles
from lading.model.names import canonical
from lading.model.origin import Origin
from lading.model.problems import LadingError, Problem, ProblemCollector
from lading.model.records import dataclass, replace
from lading.model.requirements import Declaration, Declared
from lading.model.selection import DEFAULT, Asked, Selection
from lading.model.target import PythonRequest

name = "pyproject.toml"

GROUP = "lading"
_SETTINGS = ("predict", "python", "source", "torch-index", "extras", "groups")
_REFERENCE = re.compile(r".+\.py(:[^\W\d]\w*)?")
_OPTIONAL = ("project", "optional-dependencies")
_OLD_GROUPS = (("tool", "pdm", "dev-dependencies"),)
_DEV = (("tool", "uv", "dev-dependencies"), ("tool", "poetry", "dev-dependencies"))
_DYNAMIC = ("tool", "setuptools", "dynamic", "dependencies")


@dataclass(frozen=True, slots=True)
class Settings:
    """``[tool.lading]``: the predictor as ``file.py:Name``, the Python to run it on, the dependency file that counts, and its parts.

    ``origin`` is the predictor's line, ``source_origin`` the dependency file's.
    """

    predict: str | None
    python: PythonRequest | None
    origin: Origin
    source: str | None = None
    source_origin: Origin | None = None
    selection: Selection = DEFAULT


def recognises(path: str) -> bool:
    """Whether a file's name is pyproject.toml."""
    return path.rsplit("/", 1)[-1] == name


def lading_settings(path: str, files: ProjectFiles) -> Settings:
    """Read ``[tool.lading]``.

    Raises:
        LadingError: for unknown keys and wrong values.
    """
    return _settings(read_toml(path, files))


def declares(path: str, files: ProjectFiles) -> bool:
    """Whether the file declares dependencies, even none; one that only configures tools does not.

    Raises:
        LadingError: if it is no TOML.
    """
    toml = read_toml(path, files)
    groups = toml.get("dependency-groups")
    has_group = isinstance(groups, dict) and any(canonical(group) == GROUP for group in groups)
    return has_group or toml.get("project") is not None or toml.get("tool", "poetry", "dependencies") is not None


def parse(path: str, files: ProjectFiles, environ: Mapping[str, str] = NO_VARIABLES, selection: Selection = DEFAULT) -> Declaration:
    """Read what the project depends on.

    Args:
        path: The file, relative to the project's root.
        files: The project.
        environ: Credentials of indexes by name (``UV_INDEX_<NAME>_PASSWORD``, ``POETRY_HTTP_BASIC_<NAME>_PASSWORD``), and the variables
            in the URLs of PDM's sources. Nothing else is expanded: no tool does so in a pyproject.toml.
        selection: The extras and groups that are wanted.

    Raises:
        LadingError: with every problem of the file.
    """
    reading = _Reading(TomlReader(read_toml(path, files), files), environ, selection)
    declaration = reading.declaration(path)
    reading.reader.problems.add(*conflicting_pins(declaration.requirements))
    reading.reader.problems.raise_if_any()
    return declaration


def with_uv_settings(declaration: Declaration, path: str, files: ProjectFiles, environ: Mapping[str, str]) -> Declaration:
    """The declaration of another file with what ``[tool.uv]`` says beside it: of builds, overrides, indexes and sources.

    It is where uv too looks for what a requirements file cannot say (a package whose build needs torch, an index for one package).

    Raises:
        LadingError: with every problem of the table.
    """
    reader = TomlReader(read_toml(path, files), files)
    if not reader.table("tool", "uv"):
        return declaration
    uv = read_uv_table(reader, environ)
    requirements = tuple(from_sources(declaration.requirements, reader, uv))
    reader.problems.raise_if_any()
    build = uv.build.merged(declaration.build) if declaration.build else uv.build
    return replace(
        declaration,
        read=declaration.read if declares(path, files) else tuple(dict.fromkeys((*declaration.read, path))),
        requirements=requirements,
        constraints=(*declaration.constraints, *uv.constraints),
        overrides=(*declaration.overrides, *uv.overrides),
        excludes=tuple(dict.fromkeys((*declaration.excludes, *uv.excludes))),
        options=uv.options.merged(declaration.options),
        build=build or None,
        exclude_newer=declaration.exclude_newer or uv.exclude_newer,
        decisions=(*declaration.decisions, *uv.decisions, _settings_used(declaration, reader)),
    )


def _of_pixi(reader: TomlReader) -> tuple[Decision, ...]:
    """What pixi would install beside the project's own dependencies, which is not read here: its lock and its own file are."""
    tables = [key for key in ("dependencies", "pypi-dependencies", "target", "feature") if reader.table("tool", "pixi", key)]
    if not tables:
        return ()
    return (
        Decision(
            rule="pixi-tables-not-used",
            kind=Kind.ADVICE,
            subject=name,
            asked=", ".join(f"tool.pixi.{key}" for key in tables),
            chose="no effect",
            because="pixi's dependencies are read in a pixi.lock and in a pixi.toml",
            origin=reader.toml.origin("tool", "pixi", tables[0]),
            instead="the pixi.lock beside it, which `pixi lock` writes, or a pixi.toml with the same tables",
        ),
    )


def _settings_used(declaration: Declaration, reader: TomlReader) -> Decision:
    keys = sorted(reader.table("tool", "uv"))
    return Decision(
        rule="uv-settings-used",
        kind=Kind.KEPT,
        subject=reader.toml.path,
        asked=f"[tool.uv]: {', '.join(keys)}",
        chose=f"they hold for {declaration.path or 'what is declared'}",
        because="it is the standard place for what a requirements file cannot say about builds, overrides and indexes",
        origin=reader.toml.origin("tool", "uv"),
    )


def python_of(path: str, files: ProjectFiles) -> PythonRequest | None:
    """The Python that the file asks for, whether or not it is the source of the dependencies.

    Raises:
        LadingError: if it cannot be read.
    """
    reading = _Reading(TomlReader(read_toml(path, files), files), NO_VARIABLES)
    found = reading.python()
    reading.problems.raise_if_any()
    return found


class _Reading:
    """One pyproject.toml while it is read."""

    def __init__(self, reader: TomlReader, environ: Mapping[str, str], selection: Selection = DEFAULT) -> None:
        self.reader = reader
        self.selection = selection
        self.toml = reader.toml
        self.problems = reader.problems
        self.environ = environ
        self.decisions: list[Decision] = []
        self.read = [reader.toml.path]
        self.dynamic = False

    def declaration(self, path: str) -> Declaration:
        """All of the file."""
        poetry = read_sources(self.reader, self.environ)
        uv = read_uv_table(self.reader, self.environ, self.selection)
        extras = self._extras()
        written = [*self._project(), *(one for extra in extras for one in self._extra(extra))]
        if self._is_poetrys():
            groups = (GROUP, *self.selection.group_names)
            written += read_poetry(self.reader, poetry, groups, optional_of(self.reader, extras))
        elif self.reader.table("tool", "poetry", "dependencies"):
            self.decisions += without_effect(self.reader, written)
            written = enrich(written, self.reader, poetry)
        written += self._groups()
        requirements = tuple(dict.fromkeys(from_sources(written, self.reader, uv)))
        pdm = read_pdm(self.reader, list(requirements), self.environ)
        self._refuse_flit()
        if self.dynamic and self.selection:
            self.problems.add(*without_parts(self.selection, path).problems)
        return Declaration(
            format=name,
            path=path,
            read=tuple(dict.fromkeys(self.read)),
            requirements=requirements,
            constraints=uv.constraints,
            overrides=(*uv.overrides, *pdm.overrides),
            excludes=tuple(dict.fromkeys((*uv.excludes, *pdm.excludes))),
            options=poetry.options.merged(pdm.options).merged(uv.options),
            bound=pdm.bound,
            build=uv.build or None,
            exclude_newer=uv.exclude_newer,
            python=self.python(),
            dynamic=self.dynamic,
            decisions=(*self.decisions, *poetry.decisions, *uv.decisions, *_of_pixi(self.reader)),
        )

    def _extras(self) -> list[str]:
        """The extras that are wanted, as they are written."""
        known = (*self.reader.table(*_OPTIONAL), *self.reader.table("tool", "poetry", "extras"))
        with self.problems.catching():
            return written_names(self.selection.extras, known, "extra", self.toml.path)
        return []

    def _extra(self, extra: str) -> list[Declared]:
        itself = canonical(str(self.toml.get("project", "name") or ""))
        extras = Extras(
            path=self.toml.path,
            itself=itself,
            written=tuple(self.reader.table(*_OPTIONAL)),
            read=lambda one: self.reader.requirements(*_OPTIONAL, one),
        )
        return extras.requirements(extra, self.problems)

    def _project(self) -> list[Declared]:
        """``project.dependencies``, or where setuptools takes them from when they are dynamic."""
        self.reader.table("project")
        if "dependencies" not in self._dynamic_keys() or self._is_poetrys():
            return self.reader.requirements("project", "dependencies")
        listed = self.reader.table(*_DYNAMIC)
        named = listed.get("file")
        paths = [named] if isinstance(named, str) else named
        if not isinstance(paths, list) or not all(isinstance(path, str) for path in paths):
            self.dynamic = True
            return []
        self.read += [f"{self.reader.folder}/{path}".lstrip("/") for path in paths]
        with self.problems.catching():
            return read_listed(paths, self.toml.origin(*_DYNAMIC), self.reader.files)
        return []

    def _is_poetrys(self) -> bool:
        """Whether Poetry's table declares the dependencies, rather than adding to those of [project]."""
        if self.toml.get("tool", "poetry", "dependencies") is None:
            return False
        return self.toml.get("project", "dependencies") is None

    def python(self) -> PythonRequest | None:
        """``requires-python`` (or Poetry's ``python``), together with ``tool.lading.python`` if that is set."""
        wanted = None
        with self.problems.catching():
            wanted = _settings(self.toml).python
        required = self._requires_python() or python_request(self.reader)
        if wanted is None or required is None:
            return wanted or required
        specifier = f"{wanted.specifier},{required.specifier}"
        return PythonRequest(specifier=specifier, text=f"{wanted.text} and {required.text}", origin=wanted.origin)

    def _refuse_flit(self) -> None:
        key = ("tool", "flit", "metadata")
        if self.toml.get(*key) and not self.toml.get("project"):
            self.reader.problem(
                "table-not-supported",
                self.toml.origin(*key),
                "tool.flit.metadata is Flit's, and this version of Lading does not read it.",
                "Move it to [project]: Flit itself has done so since version 3.2.",
                "It changes what is installed, so it is not passed over.",
            )

    def _requires_python(self) -> PythonRequest | None:
        text = self.toml.get("project", "requires-python")
        if text is None:
            return None
        origin = self.toml.origin("project", "requires-python")
        if not isinstance(text, str):
            self.reader.wrong_type(("project", "requires-python"), "a text", 'requires-python = ">=3.10"')
            return None
        with self.problems.catching():
            return specifier_request(text, origin, what="requires-python", example='requires-python = ">=3.10,<3.13"')
        return None

    def _groups(self) -> list[Declared]:
        """The group named ``lading``, and uv's ``default-groups`` other than ``dev``."""
        named = {canonical(group): group for group in self.reader.table("dependency-groups")}
        default = self.toml.get("tool", "uv", "default-groups")
        wanted = [group for group in default if isinstance(group, str)] if isinstance(default, list) else []
        if default == "all":
            wanted = list(named)
        self._must_be_known(named)
        unasked = [GROUP, *(canonical(group) for group in wanted if canonical(group) != "dev")]
        chosen = dict.fromkeys([*unasked, *self.selection.group_names])
        found = [declared for group in chosen if group in named for declared in self._group(named[group], named, ())]
        for table in _OLD_GROUPS:
            old = {canonical(group): group for group in self.reader.table(*table)}
            for group in self.selection.group_names:
                found += self.reader.requirements(*table, old[group]) if group in old else []
        if "dev" in self.selection.group_names:
            found += self.reader.requirements("tool", "uv", "dev-dependencies")
        return found

    def _must_be_known(self, named: Mapping[str, str]) -> None:
        """A problem for each group that is wanted, and that no table defines."""
        known = [*named.values(), *self.reader.table("tool", "poetry", "group")]
        known += [group for table in _OLD_GROUPS for group in self.reader.table(*table)]
        known += ["dev"] if any(self.toml.get(*table) is not None for table in _DEV) else []
        with self.problems.catching():
            written_names(self.selection.groups, known, "group", self.toml.path)

    def _group(self, group: str, named: Mapping[str, str], chain: tuple[str, ...]) -> list[Declared]:
        """A dependency group with the groups that it includes."""
        key = ("dependency-groups", group)
        if group in chain:
            way = " → ".join([*chain, group])
            self.reader.problem(
                "group-loop", self.toml.origin(*key), f"The dependency group {group} includes itself: {way}", "Remove one of them."
            )
            return []
        found: list[Declared] = []
        items = self.toml.get(*key)
        if not isinstance(items, list):
            self.reader.wrong_type(key, "a list", f'{group} = ["numpy==2.0.0"]')
            return found
        for number, item in enumerate(items):
            if isinstance(item, dict):
                found += self._included(item, (*key, number), named, (*chain, group))
            else:
                found += self.reader.requirement(item, (*key, number))
        return found

    def _included(self, item: Mapping[str, Any], key: Key, named: Mapping[str, str], chain: tuple[str, ...]) -> list[Declared]:
        wanted = item.get("include-group")
        if set(item) != {"include-group"} or not isinstance(wanted, str):
            self.reader.problem(
                "group-invalid", self.toml.origin(*key), "This item of the group is unknown.", 'Write {include-group = "name"}.'
            )
            return []
        group = named.get(canonical(wanted))
        if group is None:
            near = did_you_mean(wanted, named.values())
            instead = f"Did you mean {near}?" if near else "Define the group in [dependency-groups]."
            self.reader.problem("group-unknown", self.toml.origin(*key), f"There is no dependency group {wanted}.", instead)
            return []
        return self._group(group, named, chain)

    def _dynamic_keys(self) -> list[str]:
        value = self.toml.get("project", "dynamic")
        return [item for item in value if isinstance(item, str)] if isinstance(value, list) else []


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
    source = _setting(toml, table, "source", problems)
    selection = Selection(extras=_names(toml, table, "extras", problems), groups=_names(toml, table, "groups", problems))
    problems.raise_if_any()
    return Settings(predict, request, toml.origin(*key, "predict"), source, toml.origin(*key, "source") if source else None, selection)


def _names(toml: Toml, table: Mapping[str, Any], setting: str, problems: ProblemCollector) -> Asked:
    """A list of names of extras or groups."""
    value = table.get(setting, [])
    origin = toml.origin("tool", "lading", setting)
    if isinstance(value, list) and all(isinstance(one, str) for one in value):
        return tuple((canonical(one), origin) for one in value)
    what = f"tool.lading.{setting} must be a list of names."
    problems.add(Problem(rule="wrong-type", what=what, origin=origin, instead=f'Write {setting} = ["gpu"].'))
    return ()


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
