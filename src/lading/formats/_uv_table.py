"""``[tool.uv]``: what uv's own table says about indexes, sources, overrides and builds (https://docs.astral.sh/uv/reference/settings/).

It is the standard place for what ``requirements.txt`` cannot say, so all of its keys that change what is installed are read, or refused.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from lading.formats._markers import both, opposite
from lading.formats._origins import from_git, from_path, from_url, with_credentials
from lading.formats._paths import joined, normal
from lading.formats._place import Place
from lading.formats._text import decode
from lading.formats._toml import Key
from lading.formats._toml_reader import TomlReader
from lading.model.build import ALL, BuildOptions, KnownMetadata
from lading.model.decisions import Decision, Kind
from lading.model.names import canonical
from lading.model.problems import LadingError, Problem
from lading.model.records import dataclass, field, replace
from lading.model.requirements import Declared, IndexOptions, Via
from lading.model.secrets import SecretText, SecretUrl
from lading.model.selection import DEFAULT, Selection

_UV: Key = ("tool", "uv")
_NOT_READ = {
    "resolution": ("highest",),
    "prerelease": ("allow", "if-necessary-or-explicit"),
    "fork-strategy": ("requires-python", "fewest"),
}
"""Keys whose other values would lead to other versions than Lading chooses, with the values that do not."""
_REFUSED = ("exclude-newer-package", "no-sources-package")


@dataclass(slots=True)
class UvTable:
    """What ``[tool.uv]`` says. ``indexes`` are by their name."""

    options: IndexOptions = field(default_factory=IndexOptions)
    indexes: dict[str, SecretUrl] = field(default_factory=dict)
    flat: frozenset[str] = frozenset()
    overrides: tuple[Declared, ...] = ()
    constraints: tuple[Declared, ...] = ()
    excludes: tuple[str, ...] = ()
    build: BuildOptions = field(default_factory=BuildOptions)
    exclude_newer: str | None = None
    decisions: tuple[Decision, ...] = ()
    selection: Selection = DEFAULT


def read_uv_table(reader: TomlReader, environ: Mapping[str, str], selection: Selection = DEFAULT) -> UvTable:
    """Read ``[tool.uv]``; problems go to the reader's collection. A source for an extra or a group counts where that is wanted."""
    table = reader.table("tool", "uv")
    found = UvTable(selection=selection)
    if not table:
        return found
    _refuse(table, reader)
    _indexes(table, reader, environ, found)
    found.overrides = tuple(reader.requirements("tool", "uv", "override-dependencies"))
    found.constraints = tuple(reader.requirements("tool", "uv", "constraint-dependencies"))
    found.excludes = _names(reader, "exclude-dependencies")
    found.build = _build(table, reader)
    found.exclude_newer = reader.text(table, *_UV, "exclude-newer")
    found.decisions = _decisions(table, reader)
    return found


def _refuse(table: Mapping[str, Any], reader: TomlReader) -> None:
    for key, harmless in _NOT_READ.items():
        if key in table and table[key] not in harmless:
            reader.problems.add(_unread(reader, (*_UV, key), f'Remove it, or write {key} = "{harmless[0]}".'))
    for key in _REFUSED:
        if table.get(key):
            reader.problems.add(_unread(reader, (*_UV, key), None))


def _unread(reader: TomlReader, key: Key, instead: str | None) -> Problem:
    return Problem(
        rule="table-not-supported",
        what=f"{'.'.join(map(str, key))} is uv's, and this version of Lading does not read it.",
        origin=reader.toml.origin(*key),
        why="It changes what is installed, so it is not passed over.",
        instead=instead or "Remove it; what it says can often be pinned: NAME==VERSION in the dependencies.",
    )


def _indexes(table: Mapping[str, Any], reader: TomlReader, environ: Mapping[str, str], found: UvTable) -> None:
    """Indexes in uv's order: those of the list, then ``extra-index-url``, then the default one."""
    default: SecretUrl | None = None
    extra: list[SecretUrl] = []
    flat: list[SecretUrl] = []
    for item, key in reader.items(*_UV, "index"):
        if not isinstance(item, dict) or not isinstance(item.get("url"), str):
            reader.problem("index-invalid", reader.toml.origin(*key), "An index of [tool.uv] has no url.", 'Write url = "https://...".')
            continue
        name = str(item.get("name", ""))
        url = _located(with_credentials(item["url"], "UV_INDEX", name, environ) if name else SecretUrl(item["url"]), reader)
        is_flat = item.get("format") == "flat"
        if name:
            found.indexes[name] = url
            found.flat |= {name} if is_flat else set()
        if item.get("explicit"):
            continue
        if item.get("default"):
            default = url
        else:
            (flat if is_flat else extra).append(url)
    index = reader.text(table, *_UV, "index-url")
    extra += [_located(SecretUrl(url), reader) for url, _ in reader.texts(*map(str, _UV), "extra-index-url")]
    flat += [_located(SecretUrl(url), reader) for url, _ in reader.texts(*map(str, _UV), "find-links")]
    no_build, no_binary = reader.flag(table, *_UV, "no-build"), reader.flag(table, *_UV, "no-binary")
    found.options = IndexOptions(
        index_url=default or (_located(SecretUrl(index), reader) if index else None),
        extra_index_urls=tuple(dict.fromkeys(extra)),
        find_links=tuple(dict.fromkeys(flat)),
        no_index=reader.flag(table, *_UV, "no-index") or False,
        pre=table.get("prerelease") == "allow",
        only_binary=(ALL,) if no_build else _names(reader, "no-build-package"),
        no_binary=(ALL,) if no_binary else _names(reader, "no-binary-package"),
    )


def _located(url: SecretUrl, reader: TomlReader) -> SecretUrl:
    """A folder as a path relative to the project's root; a URL as it is."""
    text = url.reveal()
    return url if "://" in text or text.startswith("/") else SecretUrl(joined(reader.folder, text))


def _names(reader: TomlReader, key: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(canonical(name.strip()) for name, _ in reader.texts("tool", "uv", key)))


def _build(table: Mapping[str, Any], reader: TomlReader) -> BuildOptions:
    everything = reader.flag(table, *_UV, "no-build-isolation")
    requirements: list[tuple[str, Declared]] = []
    matching: list[tuple[str, str]] = []
    for package, key in _packages(reader, "extra-build-dependencies"):
        for item, at in reader.items(*key):
            text, match = (item.get("requirement"), item.get("match-runtime")) if isinstance(item, dict) else (item, False)
            declared = reader.requirement(text, at)
            requirements += [(package, one) for one in declared]
            matching += [(package, one.name) for one in declared if match and one.name]
    return BuildOptions(
        no_isolation=(ALL,) if everything else _names(reader, "no-build-isolation-package"),
        requirements=tuple(requirements),
        matching=tuple(matching),
        constraints=tuple(reader.requirements("tool", "uv", "build-constraint-dependencies")),
        variables=tuple(_values(reader, "extra-build-variables")),
        settings=(*_settings(ALL, reader.table("tool", "uv", "config-settings")), *_values(reader, "config-settings-package")),
        metadata=tuple(_metadata(reader)),
    )


def _metadata(reader: TomlReader) -> Iterable[KnownMetadata]:
    """``dependency-metadata``: what packages need, so that they need not be built to find out."""
    for item, key in reader.items(*_UV, "dependency-metadata"):
        if not isinstance(item, dict) or not isinstance(item.get("name"), str):
            reader.problem(
                "wrong-type", reader.toml.origin(*key), "Each dependency-metadata names a package.", 'Write name = "flash-attn".'
            )
            continue
        requires = [
            one for text, at in reader.items(*key, "requires-dist", value=item.get("requires-dist")) for one in reader.requirement(text, at)
        ]
        extras = [str(extra) for extra, _ in reader.items(*key, "provides-extra", value=item.get("provides-extra"))]
        yield KnownMetadata(
            name=canonical(item["name"]),
            version=reader.text(item, *key, "version"),
            requires=tuple(requires),
            requires_python=reader.text(item, *key, "requires-python"),
            extras=tuple(canonical(extra) for extra in extras),
        )


def _packages(reader: TomlReader, key: str) -> Iterable[tuple[str, tuple[str, ...]]]:
    for package in reader.table("tool", "uv", key):
        yield canonical(package), ("tool", "uv", key, package)


def _values(reader: TomlReader, key: str) -> Iterable[tuple[str, str, SecretText]]:
    for package, path in _packages(reader, key):
        yield from _settings(package, reader.table(*path))


def _settings(package: str, values: Mapping[str, Any]) -> Iterable[tuple[str, str, SecretText]]:
    for name, value in values.items():
        for one in value if isinstance(value, list) else [value]:
            yield package, name, SecretText(str(one).lower() if isinstance(one, bool) else str(one))


def _decisions(table: Mapping[str, Any], reader: TomlReader) -> tuple[Decision, ...]:
    strategy = table.get("index-strategy")
    if strategy in (None, "first-index"):
        return ()
    return (
        Decision(
            rule="index-strategy-not-kept",
            kind=Kind.CHOSEN,
            subject="indexes",
            asked=f"index-strategy = {strategy!r}",
            chose="the first index that has a package provides it; the others are searched for versions that it lacks",
            because="otherwise a public package could take the place of a private one of the same name",
            origin=reader.toml.origin(*_UV, "index-strategy"),
            instead="[tool.uv.sources] NAME = { index = ... } for each package that must come from one index",
        ),
    )


def from_sources(requirements: Iterable[Declared], reader: TomlReader, uv: UvTable) -> list[Declared]:
    """The requirements with what ``[tool.uv.sources]`` says of where each comes from. Several sources of one are several requirements."""
    sources = {canonical(name): name for name in reader.table("tool", "uv", "sources")}
    found: list[Declared] = []
    for declared in requirements:
        written = sources.get(declared.name or "")
        if written is None or declared.via is not Via.INDEX:
            found.append(declared)
        else:
            with reader.problems.catching():
                found += _Sources(reader, uv, declared, written).all()
    return found


@dataclass(frozen=True, slots=True)
class _Sources:
    """What ``[tool.uv.sources]`` says of one requirement; ``written`` is the key."""

    reader: TomlReader
    uv: UvTable
    declared: Declared
    written: str

    @property
    def key(self) -> Key:
        return ("tool", "uv", "sources", self.written)

    def all(self) -> list[Declared]:
        """One requirement for each source that may apply, and one without a source for the circumstances that none names."""
        value = self.reader.toml.get("tool", "uv", "sources", self.written)
        listed = value if isinstance(value, list) else [value]
        found: list[Declared] = []
        remaining: str | None = None
        for number, source in enumerate(listed):
            at = (*self.key, number) if isinstance(value, list) else self.key
            if not isinstance(source, dict):
                raise self._error(at, "is not a table", 'Write { index = "..." } or { git = "..." }.')
            if not self._is_wanted(source):
                continue  # for an extra or a group alone that is not installed
            marker = source.get("marker")
            found.append(self._one(source, at, both(self.declared.marker, _spelled(marker))))
            if marker is None:
                return found
            others = opposite(str(marker))
            if others is None:
                raise self._error(at, f'has the marker "{marker}", whose opposite cannot be written', "Use ==, !=, <, <=, > or >= in it.")
            remaining = both(remaining, _spelled(others))
        rest = replace(self.declared, marker=both(self.declared.marker, remaining))
        return [*found, rest]

    def _is_wanted(self, source: Mapping[str, Any]) -> bool:
        wanted = self.uv.selection
        return all(
            canonical(str(source[key])) in names
            for key, names in (("extra", wanted.extra_names), ("group", wanted.group_names))
            if key in source
        )

    def _one(self, source: Mapping[str, Any], at: Key, marker: str | None) -> Declared:
        declared = replace(self.declared, marker=marker)
        raw = f"{self.declared.raw.reveal()} with [tool.uv.sources] {self.written}"
        place = Place(raw, self.reader.toml.origin(*at), self.reader.files, folder=self.reader.folder)
        subdirectory = source.get("subdirectory")
        if "index" in source:
            return self._from_index(declared, str(source["index"]), at)
        if "git" in source:
            reference = next((str(source[key]) for key in ("rev", "tag", "branch") if source.get(key)), None)
            return from_git(declared, str(source["git"]), reference, subdirectory, place)
        if "url" in source:
            return from_url(declared, str(source["url"]), subdirectory, place)
        if "path" in source:
            return from_path(declared, str(source["path"]), place, editable=bool(source.get("editable")))
        if source.get("workspace"):
            return from_path(declared, self._member(at), place, editable=True)
        raise self._error(at, "names no index, git, url, path or workspace", 'Write, for example, { git = "https://..." }.')

    def _from_index(self, declared: Declared, name: str, at: Key) -> Declared:
        url = self.uv.indexes.get(name)
        if url is None:
            raise self._error(at, f'names the index "{name}", which is not defined', f'Add [[tool.uv.index]] with name = "{name}" and url.')
        kind = "find_links" if name in self.uv.flat else "index"
        return replace(declared, find_links=url) if kind == "find_links" else replace(declared, index=url)

    def _member(self, at: Key) -> str:
        """The folder of the workspace's member that has the package's name."""
        for item, _ in self.reader.items("tool", "uv", "workspace", "members"):
            for folder in self._matching(str(item)):
                content = self.reader.files.read(f"{joined(self.reader.folder, folder)}/pyproject.toml")
                if content is not None and self.declared.name == _project_name(folder, content):
                    return folder
        raise self._error(at, "is a member of a workspace that is not in this folder", 'Write { path = "../FOLDER" } with its folder.')

    def _matching(self, pattern: str) -> list[str]:
        """The folders that a member's pattern names: ``packages/*`` or one folder."""
        stem, star, rest = normal(pattern).partition("*")
        if not star:
            return [stem]
        folder = stem.rstrip("/")
        inside = self.reader.files.entries(joined(self.reader.folder, folder) if folder else self.reader.folder)
        return [f"{folder}/{name.rstrip('/')}{rest}".lstrip("/") for name in inside if name.endswith("/")]

    def _error(self, at: Key, what: str, instead: str) -> LadingError:
        return LadingError(
            Problem(
                rule="uv-source-invalid",
                what=f"The source of {self.written} {what}.",
                origin=self.reader.toml.origin(*at),
                instead=instead,
            )
        )


def _spelled(marker: Any) -> str | None:
    return str(marker).replace("'", '"') if marker else None


def _project_name(folder: str, content: bytes) -> str | None:
    import tomllib  # noqa: PLC0415 -- for workspaces only

    try:
        data = tomllib.loads(decode(f"{folder}/pyproject.toml", content))
    except (ValueError, LadingError):
        return None
    project = data.get("project")
    name = project.get("name") if isinstance(project, dict) else None
    return canonical(name) if isinstance(name, str) else None
