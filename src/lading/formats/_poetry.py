"""``[tool.poetry]``: dependencies and sources in Poetry's own spelling (https://python-poetry.org/docs/pyproject/)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from lading.formats._markers import both, either
from lading.formats._origins import from_git, from_path, from_url, with_credentials
from lading.formats._place import Place
from lading.formats._poetry_versions import alternatives
from lading.formats._requirement import read_pep508
from lading.formats._toml import Key
from lading.formats._toml_reader import TomlReader, dotted
from lading.model.decisions import Decision, Kind
from lading.model.names import canonical
from lading.model.problems import LadingError, Problem
from lading.model.records import dataclass, field, replace
from lading.model.requirements import Declared, IndexOptions, Via
from lading.model.secrets import SecretText, SecretUrl
from lading.model.target import PythonRequest

_MAIN = ("tool", "poetry", "dependencies")
_DEV = ("tool", "poetry", "dev-dependencies")
_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?")
_PUBLIC = "pypi"


@dataclass(slots=True)
class PoetrySources:
    """Poetry's sources: the index options that follow from them, and each by its name in lower case."""

    options: IndexOptions = field(default_factory=IndexOptions)
    named: dict[str, SecretUrl | None] = field(default_factory=dict)
    decisions: tuple[Decision, ...] = ()


def read_sources(reader: TomlReader, environ: Mapping[str, str]) -> PoetrySources:
    """``[[tool.poetry.source]]``: primary sources replace the public registry unless it is one of them; explicit ones serve by name only."""
    found = PoetrySources(named={_PUBLIC: None})
    primary: list[SecretUrl | None] = []
    supplemental: list[SecretUrl] = []
    for item, key in reader.items("tool", "poetry", "source"):
        name = item.get("name") if isinstance(item, dict) else None
        url = item.get("url") if isinstance(item, dict) else None
        if not isinstance(name, str) or not (isinstance(url, str) or name.lower() == _PUBLIC):
            reader.problem(
                "index-invalid", reader.toml.origin(*key), "A source of Poetry needs a name and a url.", 'Add url = "https://...".'
            )
            continue
        place = with_credentials(url, "POETRY_HTTP_BASIC", name, environ) if isinstance(url, str) else None
        found.named[name.lower()] = place
        priority = _priority(item)
        if priority == "explicit":
            continue
        if priority == "supplemental" and place is not None:
            supplemental.append(place)
        else:
            primary.append(place)
    found.options = _options(primary, supplemental)
    if supplemental:
        found.decisions = (_searched_first(supplemental, reader),)
    return found


def _priority(source: Mapping[str, Any]) -> str:
    """The priority, with the words of Poetry before 1.5."""
    if source.get("secondary"):
        return "supplemental"
    words = {"default": "primary", "secondary": "supplemental"}
    priority = str(source.get("priority", "primary")).lower()
    return words.get(priority, priority)


def _options(primary: list[SecretUrl | None], supplemental: list[SecretUrl]) -> IndexOptions:
    """The public registry stays the default one, unless other primary sources take its place; then the last of them is."""
    urls = [url for url in primary if url is not None]
    if not urls or None in primary:
        return IndexOptions(extra_index_urls=tuple(dict.fromkeys((*urls, *supplemental))))
    return IndexOptions(index_url=urls[-1], extra_index_urls=tuple(dict.fromkeys((*urls[:-1], *supplemental))))


def _searched_first(supplemental: list[SecretUrl], reader: TomlReader) -> Decision:
    return Decision(
        rule="supplemental-source-first",
        kind=Kind.CHOSEN,
        subject="indexes",
        asked='priority = "supplemental"',
        chose=f"{', '.join(map(str, supplemental))} before the default index",
        because="a package that is on both is then never taken from the public one by mistake",
        origin=reader.toml.origin("tool", "poetry", "source"),
        instead='priority = "explicit", and source = "NAME" on the packages that come from there',
    )


def read_poetry(
    reader: TomlReader, sources: PoetrySources, groups: tuple[str, ...], optional: frozenset[str] = frozenset()
) -> list[Declared]:
    """The main dependencies, then those of ``groups``; optional ones are for extras, and are left out unless they are in ``optional``."""
    found: list[Declared] = []
    known = {canonical(name): name for name in reader.table("tool", "poetry", "group")}
    paths: list[tuple[str, ...]] = [
        _MAIN,
        *(("tool", "poetry", "group", known[group], "dependencies") for group in groups if group in known),
    ]
    paths += [_DEV] if "dev" in groups else []
    for path in paths:
        for name, value in reader.table(*path).items():
            if canonical(name) != "python" or path != _MAIN:
                found += _dependency(name, value, (*path, name), reader, sources, optional=optional)
    return found


def optional_of(reader: TomlReader, extras: list[str]) -> frozenset[str]:
    """The packages that ``[tool.poetry.extras]`` lists for these extras."""
    listed = reader.table("tool", "poetry", "extras")
    return frozenset(canonical(name) for extra in extras if extra in listed for name, _ in reader.texts("tool", "poetry", "extras", extra))


def enrich(requirements: list[Declared], reader: TomlReader, sources: PoetrySources) -> list[Declared]:
    """``[project] dependencies`` with what ``[tool.poetry.dependencies]`` adds to them: a source, a folder, a repository (Poetry 2)."""
    table = {canonical(name): (name, value) for name, value in reader.table(*_MAIN).items()}
    found = []
    for declared in requirements:
        name, value = table.get(declared.name or "", ("", None))
        if value is None or declared.via is not Via.INDEX:
            found.append(declared)
            continue
        for one in _dependency(name, value, (*_MAIN, name), reader, sources):
            marker = both(declared.marker, one.marker)
            specifier = ",".join(dict.fromkeys(part for part in (declared.specifier, one.specifier) if part))
            extras = tuple(dict.fromkeys((*declared.extras, *one.extras)))
            found.append(
                replace(one, specifier=specifier if one.via is Via.INDEX else "", extras=extras, marker=marker, origin=declared.origin)
            )
    return found


def without_effect(reader: TomlReader, requirements: list[Declared]) -> tuple[Decision, ...]:
    """What Poetry passes over: entries that [project] dependencies do not name."""
    names = {declared.name for declared in requirements}
    others = [name for name in reader.table(*_MAIN) if canonical(name) not in {*names, "python"}]
    if not others:
        return ()
    return (
        Decision(
            rule="poetry-entry-without-effect",
            kind=Kind.ADVICE,
            subject="tool.poetry.dependencies",
            asked=", ".join(others),
            chose="not installed",
            because="beside [project] dependencies, Poetry's table only adds to the packages that those name",
            origin=reader.toml.origin(*_MAIN, others[0]),
            instead="the package in [project] dependencies",
        ),
    )


def python_request(reader: TomlReader) -> PythonRequest | None:
    """``python`` among the main dependencies. Alternatives (``||``) become the range that spans them."""
    text = reader.table(*_MAIN).get("python")
    if isinstance(text, dict):
        text = text.get("version")
    if text is None:
        return None
    origin = reader.toml.origin(*_MAIN, "python")
    found = alternatives(text) if isinstance(text, str) else None
    if found is None or len(found) > 1:
        what = f'python = "{text}" is not a range that can be kept.'
        reader.problem("requires-python-invalid", origin, what, 'Write one range, for example python = ">=3.9,<3.13".')
        return None
    return PythonRequest(specifier=found[0], text=str(text), origin=origin)


def _dependency(
    name: str, value: Any, key: Key, reader: TomlReader, sources: PoetrySources, *, optional: frozenset[str] = frozenset()
) -> Iterator[Declared]:
    """One entry; a list of tables is several, each for other circumstances."""
    for number, item in enumerate(value if isinstance(value, list) else [value]):
        at = (*key, number) if isinstance(value, list) else key
        entry = {"version": item} if isinstance(item, str) else item
        if not isinstance(entry, dict):
            reader.wrong_type(at, "a version or a table", f'{name} = "^1.2"')
        elif not _NAME.fullmatch(name):
            reader.problem("requirement-invalid", reader.toml.origin(*at), f'"{name}" is not a name of a package.', "Correct the name.")
        elif not entry.get("optional") or canonical(name) in optional:
            with reader.problems.catching():
                yield _Entry(name, entry, at, reader, sources).read()


@dataclass(frozen=True, slots=True)
class _Entry:
    """One table of one dependency."""

    name: str
    entry: Mapping[str, Any]
    key: Key
    reader: TomlReader
    sources: PoetrySources

    def read(self) -> Declared:
        origin = self.reader.toml.origin(*self.key)
        raw = f"{self.name} = {_written(self.entry)}"
        place = Place(raw, origin, self.reader.files, folder=self.reader.folder)
        extras = tuple(str(extra) for extra in self.entry.get("extras") or ())
        declared = Declared(raw=SecretText(raw), origin=origin, name=canonical(self.name), extras=extras, marker=self._marker(place))
        subdirectory = self._text("subdirectory")
        if git := self._text("git"):
            reference = self._text("rev") or self._text("tag") or self._text("branch")
            return from_git(declared, git, reference, subdirectory, place)
        if url := self._text("url"):
            return from_url(declared, url, subdirectory, place)
        if path := self._text("path") or self._text("file"):
            return from_path(declared, path, place, editable=bool(self.entry.get("develop")))
        return self._indexed(declared)

    def _indexed(self, declared: Declared) -> Declared:
        declared = replace(declared, specifier=self._specifier())
        source = self._text("source")
        if source is None:
            return declared
        if source.lower() not in self.sources.named:
            raise self._error(
                f'names the source "{source}", which is not defined', "Add [[tool.poetry.source]] with that name and its url."
            )
        return replace(declared, index=self.sources.named[source.lower()])

    def _specifier(self) -> str:
        text = self._text("version") or "*"
        found = alternatives(text)
        if found is None:
            raise self._error(f'has the version "{text}", which Poetry does not know', 'Write, for example, "^1.2", "~1.2" or ">=1.2,<2".')
        if len(found) > 1:
            raise self._error(
                f'has the version "{text}": alternatives, which no installer but Poetry reads', 'Write one range, as ">=1,<3,!=2.0.*".'
            )
        return found[0]

    def _marker(self, place: Place) -> str | None:
        """``markers``, ``python`` and ``platform`` together."""
        written = [self._text("markers"), self._python(), self._platform()]
        together = both(*written)
        if together is None:
            return None
        return read_pep508(f"x ; {together}", place).marker

    def _python(self) -> str | None:
        text = self._text("python")
        if text is None:
            return None
        found = alternatives(text)
        if found is None:
            raise self._error(f'is for the Python "{text}", which is no version', 'Write, for example, python = ">=3.9".')
        return either(*(python_marker(specifier) for specifier in found))

    def _platform(self) -> str | None:
        text = self._text("platform")
        names = [name.strip() for name in text.split("|") if name.strip()] if text else []
        return either(*(f'sys_platform == "{name}"' for name in names)) if names else None

    def _text(self, key: str) -> str | None:
        value = self.entry.get(key)
        return value if isinstance(value, str) else None

    def _error(self, what: str, instead: str) -> LadingError:
        return LadingError(
            Problem(
                rule="poetry-dependency-invalid",
                what=f"{dotted(self.key)} {what}.",
                origin=self.reader.toml.origin(*self.key),
                instead=instead,
            )
        )


def python_marker(specifier: str) -> str | None:
    """A PEP 440 specifier for Python as a marker: ``>=3.8,<4.0`` as two comparisons."""
    parts = []
    for clause in specifier.split(","):
        found = re.fullmatch(r"(===|==|!=|<=|>=|~=|<|>)\s*([0-9.]+?)(\.\*)?", clause.strip())
        if found is None:
            continue
        operator, version, star = found.groups()
        variable = "python_full_version" if version.count(".") > 1 and not star else "python_version"
        parts.append(f'{variable} {operator} "{version}{(star or "") if version.count(".") == 0 else ""}"')
    return " and ".join(parts) or None


def _written(entry: Mapping[str, Any]) -> str:
    if set(entry) == {"version"}:
        return f'"{entry["version"]}"'
    return "{ " + ", ".join(f"{key} = {value!r}" for key, value in entry.items()) + " }"
