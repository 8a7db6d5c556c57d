"""``pixi.toml``: the dependencies of pixi's default environment, those of single platforms and those of the package index included."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from lading.formats._conda_locked import marker_for
from lading.formats._matchspec import read_spec
from lading.formats._place import NO_VARIABLES
from lading.formats._together_conda import python_request
from lading.formats._toml import Key, Toml, read_toml
from lading.model.conda import ChannelUrl, CondaDependencies, MatchSpec
from lading.model.decisions import Decision, Kind
from lading.model.files import ProjectFiles
from lading.model.names import canonical
from lading.model.origin import Origin
from lading.model.problems import LadingError, Problem, ProblemCollector
from lading.model.records import dataclass, field, replace
from lading.model.requirements import Declaration, Declared, IndexOptions, Via
from lading.model.secrets import Secret, SecretText, SecretUrl

name = "pixi.toml"

_CONDA_KEYS = ("version", "build", "build-number", "channel", "subdir", "md5", "sha256", "url")
_PLATFORMS = {"linux": ("linux-64", "linux-aarch64"), "osx": ("osx-64", "osx-arm64"), "win": ("win-64",)}
_ELSEWHERE = ("feature", "environments", "host-dependencies", "build-dependencies", "run-dependencies", "constraints", "package")
_PYPI_OPTIONS = ("index-url", "extra-index-urls", "find-links")


def recognises(path: str) -> bool:
    """Whether a file's name is that of pixi's project file."""
    return path.rsplit("/", 1)[-1] == name


def parse(path: str, files: ProjectFiles, environ: Mapping[str, str] = NO_VARIABLES) -> Declaration:
    """Read pixi's project file: the default feature.

    Raises:
        LadingError: with every problem of the file.
    """
    reading = _Reading(read_toml(path, files), files, environ)
    reading.dependencies((), None)
    target = reading.toml.get("target")
    for selector in target if isinstance(target, dict) else ():
        reading.dependencies(("target", selector), _PLATFORMS.get(selector, (selector,)) if selector != "unix" else None)
    conda = reading.conda()
    reading.problems.raise_if_any()
    return Declaration(
        format=name,
        path=path,
        read=(path,),
        requirements=tuple(reading.pip),
        options=reading.options(),
        python=python_request(conda.specs),
        conda=conda,
        decisions=tuple(reading.decisions()),
    )


@dataclass(slots=True)
class _Reading:
    """One pixi.toml while it is read."""

    toml: Toml
    files: ProjectFiles
    environ: Mapping[str, str]
    specs: list[MatchSpec] = field(default_factory=list)
    pip: list[Declared] = field(default_factory=list)
    problems: ProblemCollector = field(default_factory=ProblemCollector)

    def dependencies(self, above: tuple[str, ...], platforms: tuple[str, ...] | None) -> None:
        """The dependencies of one table, for some platforms or for all."""
        for package, value, key in self._table(*above, "dependencies"):
            with self.problems.catching():
                spec = self._spec(package, value, key)
                self.specs += [replace(spec, platform=platform) for platform in platforms] if platforms else [spec]
        for package, value, key in self._table(*above, "pypi-dependencies"):
            with self.problems.catching():
                self.pip.append(replace(self._pypi(package, value, key), marker=marker_for(platforms)))

    def _table(self, *key: str) -> Iterator[tuple[str, Any, Key]]:
        table = self.toml.get(*key)
        if table is not None and not isinstance(table, dict):
            self.problems.add(self._problem(key, f"{'.'.join(key)} must be a table.", f"Write [{'.'.join(key)}]."))
            return
        for package, value in (table or {}).items():
            yield package, value, (*key, package)

    def _spec(self, package: str, value: Any, key: Key) -> MatchSpec:
        origin = self.toml.origin(*key)
        if isinstance(value, str):
            return read_spec(_bare(package, value), origin, self.files, self.environ, raw=f'{package} = "{value}"')
        if not isinstance(value, dict) or set(value) - set(_CONDA_KEYS):
            unread = ", ".join(sorted(set(value) - set(_CONDA_KEYS))) if isinstance(value, dict) else type(value).__name__
            what = f"{package} is asked for in a way that is not read here: {unread}."
            raise LadingError(self._problem(key, what, 'Write NAME = "VERSION", or a table with version, build and channel.'))
        keys = {one.replace("-", "_"): str(text) for one, text in value.items() if one not in ("version", "channel")}
        inside = ",".join(f'{one}="{text}"' for one, text in keys.items())
        channel = f"{value['channel']}::" if "channel" in value else ""
        text = f"{channel}{_bare(package, str(value.get('version', '*')))}{f'[{inside}]' if inside else ''}"
        return read_spec(text, origin, self.files, self.environ)

    def _pypi(self, package: str, value: Any, key: Key) -> Declared:
        origin, raw = self.toml.origin(*key), SecretText(f"{package} = {value!r}")
        if isinstance(value, str):
            return Declared(raw=raw, origin=origin, name=canonical(package), specifier=_specifier(value))
        if not isinstance(value, dict):
            raise LadingError(self._problem(key, f"{package} must be a version or a table.", 'Write NAME = ">=1.2".'))
        extras = tuple(sorted(str(extra) for extra in _list_of(value.get("extras"))))
        found = Declared(
            raw=raw, origin=origin, name=canonical(package), specifier=_specifier(str(value.get("version", "*"))), extras=extras
        )
        if "path" in value:
            return replace(found, via=Via.PATH, specifier="", name=None, path=str(value["path"]), editable=bool(value.get("editable")))
        if "git" in value:
            revision = value.get("rev") or value.get("tag") or value.get("branch")
            url = f"git+{value['git']}{f'@{revision}' if revision else ''}"
            subdirectory = f"#subdirectory={value['subdirectory']}" if "subdirectory" in value else ""
            return replace(found, via=Via.VCS, specifier="", url=SecretUrl(url + subdirectory))
        if "url" in value:
            return replace(found, via=Via.URL, specifier="", url=SecretUrl(str(value["url"])))
        return replace(found, index=SecretUrl(str(value["index"]))) if "index" in value else found

    def conda(self) -> CondaDependencies:
        """The conda part."""
        head = _table_of(self.toml.get("workspace")) or _table_of(self.toml.get("project"))
        table = "workspace" if self.toml.get("workspace") else "project"
        named = [str(channel.get("channel", "") if isinstance(channel, dict) else channel) for channel in _list_of(head.get("channels"))]
        places = [self.toml.origin(table, "channels", number) for number in range(len(named))]
        priority = head.get("channel-priority")
        variables = self.toml.get("activation", "env")
        return CondaDependencies(
            specs=tuple(dict.fromkeys(self.specs)),
            channels=tuple(ChannelUrl(channel, (), place) for channel, place in zip(named, places, strict=True) if channel),
            alone=True,
            priority=str(priority) if priority in ("strict", "disabled") else None,
            variables=tuple((str(one), Secret(str(text))) for one, text in variables.items()) if isinstance(variables, dict) else (),
        )

    def options(self) -> IndexOptions:
        """The indexes of ``[pypi-options]``."""
        table = _table_of(self.toml.get("pypi-options"))
        return IndexOptions(
            index_url=SecretUrl(str(table["index-url"])) if "index-url" in table else None,
            extra_index_urls=tuple(SecretUrl(str(url)) for url in _list_of(table.get("extra-index-urls"))),
            find_links=tuple(
                SecretUrl(str(place.get("url") or place.get("path")))
                for place in map(_table_of, _list_of(table.get("find-links")))
                if place
            ),
        )

    def decisions(self) -> Iterator[Decision]:
        """What the file says beside the default feature."""
        found: list[tuple[str, ...]] = [(key,) for key in _ELSEWHERE if self.toml.get(key)]
        found += [("activation", "scripts")] if self.toml.get("activation", "scripts") else []
        found += [("pypi-options", key) for key in _table_of(self.toml.get("pypi-options")) if key not in _PYPI_OPTIONS]
        if found:
            yield self._without_effect(
                found,
                because="the default feature's dependencies are installed, and nothing beside them",
                instead="what the predictor needs below [dependencies] and [pypi-dependencies]",
            )
        if self.toml.get("system-requirements"):
            yield self._without_effect(
                [("system-requirements",)],
                because="what the machine has is the target's: its GPU, its C library",
                instead="--accelerator and --platform, or CONDA_OVERRIDE_CUDA and its like",
            )

    def _without_effect(self, keys: list[tuple[str, ...]], *, because: str, instead: str) -> Decision:
        return Decision(
            rule="pixi-tables-not-used",
            kind=Kind.ADVICE,
            subject=self.toml.path,
            asked=", ".join(".".join(key) for key in keys),
            chose="no effect",
            because=because,
            origin=self.toml.origin(*keys[0]),
            instead=instead,
        )

    def _problem(self, key: Key, what: str, instead: str) -> Problem:
        origin: Origin = self.toml.origin(*key)
        return Problem(rule="wrong-type", what=what, origin=origin, instead=instead)


def _table_of(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _list_of(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _bare(package: str, version: str) -> str:
    version = version.strip()
    if version in ("", "*"):
        return package
    return f"{package} {version}"


def _specifier(version: str) -> str:
    version = version.strip().replace(" ", "")
    if version in ("", "*"):
        return ""
    return f"=={version}" if re.match(r"\d", version) else version
