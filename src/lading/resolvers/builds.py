"""What uv must know to build packages from source as the project says: further needs of a build, variables, settings, stages.

A package whose build must find the project's other packages (``no-build-isolation-package``) is built in isolation all the same, with
those packages, exactly as they were chosen, among its build requirements. So its build sees what it will run with, whatever is
installed elsewhere, and the lock says so.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from lading.locks.toml_text import dumps
from lading.model.build import ALL, BuildOptions, KnownMetadata
from lading.model.lock import Lock
from lading.model.names import canonical
from lading.model.patterns import pattern
from lading.model.records import dataclass, field
from lading.model.requirements import Declared
from lading.resolvers.lines import Vault, line
from lading.resolvers.places import file_url, is_remote, local_path


@dataclass(frozen=True, slots=True)
class Stage:
    """The packages of the first stage, as requirements that give exactly them, by name."""

    pins: Mapping[str, str] = field(default_factory=dict)


def of_second_stage(build: BuildOptions) -> frozenset[str]:
    """The packages that come after the others, because their builds need them or must match them."""
    return frozenset({*(name for name in build.no_isolation if name != ALL), *(package for package, _ in build.matching)})


_WRITTEN_NAME = pattern(r"""^\s*name\s*=\s*["']?(?P<name>[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?)["']?\s*,?\s*(?:#.*)?$""", re.MULTILINE)


def name_of(declared: Declared, root: Path) -> str | None:
    """A requirement's name; for a folder whose line names none, the one that its own files give it, as far as they tell without a build."""
    if declared.name or declared.path is None:
        return declared.name
    folder = local_path(declared.path, root)
    for file in ("pyproject.toml", "setup.cfg", "setup.py"):
        try:
            found = _WRITTEN_NAME.search((folder / file).read_text("utf-8", "replace"))
        except OSError:
            continue
        if found:
            return canonical(found["name"])
    return None


def stage_of(document: Mapping[str, Any], root: Path) -> Stage:
    """A first stage from uv's lock of it."""
    return Stage({str(package["name"]): _pinned(package, root) for package in document.get("packages", ()) if "directory" not in package})


def _pinned(package: Mapping[str, Any], root: Path) -> str:
    """One package as a requirement: by the address of its only file where it has one, else by version."""
    name = str(package["name"])
    if "vcs" in package:
        vcs = package["vcs"]
        return f"{name} @ git+{vcs.get('url') or file_url(local_path(str(vcs['path']), root))}@{vcs['commit-id']}"
    file = package.get("archive") or _only_wheel(package)
    if file is not None:
        url = str(file.get("url", ""))
        return f"{name} @ {url if is_remote(url) else file_url(local_path(str(file.get('path') or url), root))}"
    return f"{name}=={package['version']}"


def _only_wheel(package: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The wheel of a package whose version names a build: the index that has it is bound, and builds are not told of bound indexes."""
    wheels = package.get("wheels", ())
    return wheels[0] if len(wheels) == 1 and "+" in str(package.get("version", "")) else None


def build_table(build: BuildOptions, stage: Stage, root: Path, failing: frozenset[str] = frozenset()) -> dict[str, dict[str, Any]]:
    """What the lock must record of builds, by package: ``build-requires`` and ``build-variables``, as texts.

    ``failing`` are packages that turned out to need the others, where every package may (``no-build-isolation = true``).
    """
    pinned = frozenset(name for name in build.no_isolation if name != ALL) | failing
    matching = set(build.matching)
    requires: dict[str, list[str]] = {}
    for package, declared in build.requirements:
        pin = stage.pins.get(declared.name or "") if (package, declared.name) in matching else None
        requires.setdefault(package, []).append(pin or _text(declared, root))
    for package in pinned:
        requires.setdefault(package, []).extend(stage.pins[name] for name in sorted(stage.pins) if name != package)
    variables: dict[str, dict[str, str]] = {}
    for package, name, value in build.variables:
        variables.setdefault(package, {})[name] = value.reveal()
    table: dict[str, dict[str, Any]] = {}
    for package, lines in requires.items():
        table.setdefault(package, {})["build-requires"] = list(dict.fromkeys(lines))
    for package, values in variables.items():
        table.setdefault(package, {})["build-variables"] = values
    return table


def _text(declared: Declared, root: Path) -> str:
    vault = Vault()
    text = line(declared, root, vault)
    for name, value in vault.variables.items():
        text = text.replace(f"${{{name}}}", value)
    return text


def uv_toml(table: Mapping[str, Mapping[str, Any]], metadata: Iterable[KnownMetadata] = ()) -> str:
    """A configuration file of uv's for these builds; empty when there is nothing to say."""
    requires = {package: list(facts["build-requires"]) for package, facts in table.items() if facts.get("build-requires")}
    variables = {package: dict(facts["build-variables"]) for package, facts in table.items() if facts.get("build-variables")}
    known = [{**one.as_json(), "requires-dist": [declared.reveal() for declared in one.requires]} for one in metadata]
    settings = {"dependency-metadata": known, "extra-build-dependencies": requires, "extra-build-variables": variables}
    return dumps({key: value for key, value in settings.items() if value})


def of_lock(lock: Lock) -> str:
    """`uv_toml` for what a lock records of its packages' builds: what installing needs."""
    table = {str(package["name"]): package.get("tool", {}).get("lading", {}) for package in lock.packages}
    return uv_toml({package: facts for package, facts in table.items() if facts})


def settings_arguments(build: BuildOptions) -> Iterable[str]:
    """Settings for build backends, as arguments of uv."""
    for package, name, value in build.settings:
        if package == ALL:
            yield from ("--config-settings", f"{name}={value.reveal()}")
        else:
            yield from ("--config-settings-package", f"{package}:{name}={value.reveal()}")
