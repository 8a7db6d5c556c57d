"""One call of uv: a generated project folder and a command line.

uv binds a package to an index by ``[tool.uv.sources]`` alone, and only for packages that the project itself names; so bound packages
stand in the generated ``pyproject.toml`` by name, and every requirement stands in ``requirements.txt`` as it was declared.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from lading.locks.toml_text import dumps
from lading.model.plan import Plan
from lading.model.records import dataclass, field, replace
from lading.model.requirements import Declared
from lading.resolvers.bindings import Binding
from lading.resolvers.builds import Stage, build_table, name_of, settings_arguments, uv_toml
from lading.resolvers.lines import Vault, config_settings, line
from lading.resolvers.places import checked_path, file_url, is_remote
from lading.resolvers.provided import constraints

PROJECT_NAME = "this-project"
"""uv says it where it means the user's own requirements."""

OUTPUT = "pylock.toml"
_CONFIG = "uv.toml"
_GLIBC_LEVELS = (17, 28, *range(31, 41))
"""The glibc levels (2.x) that uv has names for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """What one call of uv depends on, beside the plan.

    ``named`` are the bound packages that the generated project names: those that a requirement names, and those
    that turned out to be demanded by another package. ``previous`` is the text of a lock whose versions are preferred.
    ``as_of`` is the moment after which nothing was uploaded, as RFC 3339; ``undated`` are packages whose index tells no dates.
    ``provided`` are packages that conda installs, with their versions; of those in ``by_index`` the index says what their extras mean.
    ``aside`` are packages that are left for the second stage, ``stage`` is the first one when it is done, ``failing`` are packages
    whose build turned out to need it.
    """

    uv: str
    python: str
    root: Path
    bound: tuple[Binding, ...]
    named: frozenset[str]
    offline: bool
    upgrade: bool | frozenset[str]
    cache_dir: Path | None
    previous: str | None
    left_out: frozenset[str]
    strategy: str = "first-index"
    as_of: str | None = None
    undated: frozenset[str] = frozenset()
    provided: Mapping[str, str] = field(default_factory=dict)
    by_index: frozenset[str] = frozenset()
    aside: frozenset[str] = frozenset()
    stage: Stage = field(default_factory=Stage)
    failing: frozenset[str] = frozenset()


def prepare(plan: Plan, call: Call, folder: Path) -> tuple[list[str], dict[str, str]]:
    """Write the generated project into ``folder``; the command line, and the variables that its URLs refer to.

    Raises:
        LadingError: for a requirement that cannot be kept: a place outside of the project, an option or a version control
            that uv does not know.
    """
    vault = Vault()

    def lines(declared: Iterable[Declared]) -> str:
        return "".join(f"{line(one, call.root, vault)}\n" for one in declared)

    files = {
        "pyproject.toml": _pyproject(plan, call),
        "requirements.txt": lines(_asked(plan, call)),
        "constraints.txt": lines(plan.constraints) + constraints(call.provided, call.by_index, folder),
        "overrides.txt": lines(plan.overrides),
        "excludes.txt": "".join(f"{name}\n" for name in _excluded(plan, call)),
        "build-constraints.txt": lines(plan.build.constraints),
        _CONFIG: uv_toml(build_table(plan.build, call.stage, call.root, call.failing), plan.build.metadata),
    }
    if call.previous is not None:
        files[OUTPUT] = call.previous
    for name, text in files.items():
        if not text and name not in ("requirements.txt", _CONFIG):
            continue
        (folder / name).write_text(text, encoding="utf-8", newline="\n")
    return [call.uv, "pip", "compile", *_frame(plan, call, folder), *_options(plan, call)], vault.variables


def _asked(plan: Plan, call: Call) -> tuple[Declared, ...]:
    """The requirements of this stage. Where builds are told of by name, uv must know the names of folders before it builds them."""
    if not plan.build:
        return plan.requirements
    named = [replace(declared, name=name_of(declared, call.root)) for declared in plan.requirements]
    return tuple(declared for declared in named if declared.name not in call.aside)


def _excluded(plan: Plan, call: Call) -> list[str]:
    return sorted({*plan.excludes, *call.aside})


def _pyproject(plan: Plan, call: Call) -> str:
    sources = {package: {"index": binding.name} for binding in call.bound for package in sorted(binding.packages)}
    project = {"name": PROJECT_NAME, "version": "0", "dependencies": sorted(_dependencies(plan, call.named - call.aside))}
    tables = [_index_table(binding, call.root) for binding in call.bound]
    return dumps({"project": project, "tool": {"uv": {"sources": sources, "index": tables}}})


def _dependencies(plan: Plan, named: frozenset[str]) -> Iterable[str]:
    """Bound packages by name, under the markers of their own lines; one that only others demand stands without."""
    for package in named:
        lines = [declared for declared in plan.requirements if declared.name == package]
        yield from {f"{package} ; {declared.marker}" if declared.marker else package for declared in lines} or {package}


def _index_table(binding: Binding, root: Path) -> dict[str, str | bool]:
    place = binding.index.url.without_credentials()
    if not is_remote(place):
        place = file_url(checked_path(place, root, ", ".join(sorted(binding.packages))))
    table: dict[str, str | bool] = {"name": binding.name, "url": place, "explicit": True}
    return {**table, "format": "flat"} if binding.index.kind == "find-links" else table


def uv_platform(platform: str) -> str:
    """The name that uv has for a platform; a glibc level that uv has no name for becomes the next lower one that it has."""
    found = re.fullmatch(r"(x86_64|aarch64)-manylinux_2_(\d+)", platform)
    if not found:
        return platform
    level = max((level for level in _GLIBC_LEVELS if level <= int(found[2])), default=_GLIBC_LEVELS[0])
    return f"{found[1]}-manylinux_2_{level}"


def _frame(plan: Plan, call: Call, folder: Path) -> Iterable[str]:
    yield from ("--project", str(folder), "--no-config", "--no-header", "--no-python-downloads", "--color", "never")
    yield from ("--python", call.python, "--python-version", plan.target.python)
    yield from ("--python-platform", uv_platform(plan.target.platform), "--index-strategy", call.strategy)
    yield from ("-o", str(folder / OUTPUT), str(folder / "pyproject.toml"))
    # uv warns of files without a line.
    yield from (str(folder / "requirements.txt"),) if _asked(plan, call) else ()
    yield from (str(call.root / path) for path in plan.dynamic)
    for flag, name, wanted in (
        ("--constraints", "constraints.txt", plan.constraints or call.provided),
        ("--overrides", "overrides.txt", plan.overrides),
        ("--excludes", "excludes.txt", _excluded(plan, call)),
        ("--build-constraints", "build-constraints.txt", plan.build.constraints),
        ("--config-file", _CONFIG, bool(plan.build)),
    ):
        yield from (flag, str(folder / name)) if wanted else ()


def _options(plan: Plan, call: Call) -> Iterable[str]:
    options = plan.options
    flags = (
        ("--offline", call.offline),
        ("--upgrade", call.upgrade is True),
        ("--no-index", options.no_index),
        ("--no-deps", plan.complete),
    )
    yield from (flag for flag, wanted in flags if wanted)
    yield from ("--prerelease", "allow") if options.pre else ()
    yield from ("--cache-dir", str(call.cache_dir)) if call.cache_dir else ()
    yield from ("--exclude-newer", call.as_of) if call.as_of else ()
    settings = [f"{declared.name}:{name}={value}" for declared in plan.requirements for name, value in config_settings(declared)]
    for flag, values in (
        ("--no-binary", options.no_binary),
        ("--only-binary", options.only_binary),
        ("--allow-insecure-host", options.trusted_hosts),
        ("--find-links", _links(plan, call)),
        ("--upgrade-package", sorted(call.upgrade) if isinstance(call.upgrade, frozenset) else ()),
        ("--config-settings-package", settings),
        ("--exclude-newer-package", [f"{name}=false" for name in sorted(call.undated)] if call.as_of else ()),
    ):
        for value in values:
            yield from (flag, value)
    yield from settings_arguments(plan.build)


def _links(plan: Plan, call: Call) -> Iterable[str]:
    """Places for ``--find-links`` that hold no credentials; the others go by environment variable."""
    for url in plan.options.find_links:
        place = url.reveal()
        if not url.has_credentials and place not in call.left_out:
            yield place if is_remote(place) else str(checked_path(place, call.root, "--find-links"))
