"""uv's pylock made fit to travel: relative paths, the declared hashes enforced, nothing that varies from run to run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from lading.model.build import ALL
from lading.model.origin import Origin
from lading.model.plan import Plan
from lading.model.problems import ExitCode, LadingError, Problem
from lading.model.requirements import Declared
from lading.model.secrets import SecretUrl, redact_urls
from lading.resolvers.lines import config_settings
from lading.resolvers.places import is_remote, relative
from lading.resolvers.witness import Places, Witness, complete

_Table = dict[str, Any]
NOTHING: Mapping[str, Mapping[str, Any]] = MappingProxyType({})


def finish(
    document: Mapping[str, Any],
    plan: Plan,
    root: Path,
    witness: Witness,
    places: Places,
    *,
    builds: Mapping[str, Mapping[str, Any]] = NOTHING,
) -> _Table:
    """The lock's document from uv's, with what its log told of it.

    Upload times go (not every index tells them), and ``requires-python`` is the minor version that was resolved for, as
    uv's own would refuse a colleague's earlier patch version.

    Raises:
        LadingError: if no file of a package has a hash that its requirement allows.
    """
    completed = complete(document.get("packages", ()), witness, places)
    names = {str(package["name"]) for package in completed}
    settings: dict[str, dict[str, str]] = {}
    for declared in plan.requirements:
        if declared.options and declared.name in names:
            settings.setdefault(declared.name or "", {}).update(config_settings(declared))
    packages = [_finished(package, plan, root, builds, settings.get(str(package["name"]), {})) for package in completed]
    with_hashes = [one for one in (*plan.requirements, *plan.constraints) if one.hashes]
    problems = [problem for package in packages for problem in _keep_allowed(package, plan, with_hashes)]
    if problems:
        raise LadingError(*problems)
    minor = ".".join(plan.target.python.split(".")[:2])
    packages.sort(key=lambda package: (str(package["name"]), str(package.get("version", ""))))
    return {"lock-version": document["lock-version"], "created-by": "lading", "requires-python": f"=={minor}.*", "packages": packages}


def _finished(package: _Table, plan: Plan, root: Path, builds: Mapping[str, Mapping[str, Any]], settings: Mapping[str, str]) -> _Table:
    for key in ("vcs", "directory", "archive", "sdist"):
        if key in package:
            package[key] = _located(package[key], root)
    if "wheels" in package:
        package["wheels"] = [_located(wheel, root) for wheel in package["wheels"]]
    own = _build_facts(package, plan, builds, dict(settings))
    return {**package, "tool": {"lading": own}} if own else package


def _build_facts(package: _Table, plan: Plan, builds: Mapping[str, Mapping[str, Any]], settings: dict[str, str]) -> _Table:
    """What building the package takes, where it can come as source."""
    name = str(package["name"])
    if not ({"sdist", "vcs", "directory", "archive"} & package.keys()):
        return {"config-settings": settings} if settings else {}
    settings |= {key: value.reveal() for owner, key, value in plan.build.settings if owner in (ALL, name)}
    facts: _Table = dict(builds.get(name, {}))
    if "build-requires" in facts:
        facts["build-requires"] = [redact_urls(text) for text in facts["build-requires"]]
    return {**facts, **({"config-settings": settings} if settings else {})}


def _located(file: Mapping[str, Any], root: Path) -> _Table:
    located = {key: value for key, value in file.items() if key not in ("upload-time", "path", "url")}
    if "path" in file:
        return {"path": relative(str(file["path"]), root), **located}
    url = str(file["url"])
    return {"url": SecretUrl(url).without_credentials(), **located} if is_remote(url) else {"path": relative(url, root), **located}


def _keep_allowed(package: _Table, plan: Plan, with_hashes: Iterable[Declared]) -> Iterable[Problem]:
    """Keep the files whose hash was declared, where hashes were declared; a problem when none is left."""
    declared = [one for one in with_hashes if _is_about(one, package)]
    if not declared:
        if plan.options.require_hashes:
            yield _hash_missing(package, plan)
        return
    allowed = {value.lower() for one in declared for value in one.hashes}
    found = [file for file in _files(package) if not _spelled(file) & allowed]
    if "archive" in package and found:
        yield _hash_mismatch(package, declared[0], found)
        return
    wheels = [wheel for wheel in package.get("wheels", ()) if _spelled(wheel) & allowed]
    sdist = package["sdist"] if "sdist" in package and _spelled(package["sdist"]) & allowed else None
    if not wheels and not sdist and "archive" not in package:
        yield _hash_mismatch(package, declared[0], found)
    for key, value in (("wheels", wheels), ("sdist", sdist)):
        package.pop(key, None)
        if value:
            package[key] = value


def _is_about(declared: Declared, package: Mapping[str, Any]) -> bool:
    if declared.name:
        return bool(declared.name == package["name"])
    url = package.get("archive", {}).get("url")
    return declared.url is not None and declared.url.without_credentials().partition("#")[0] == url


def _files(package: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [*(package[key] for key in ("archive", "sdist") if key in package), *package.get("wheels", ())]


def _spelled(file: Mapping[str, Any]) -> set[str]:
    return {f"{algorithm}:{value}".lower() for algorithm, value in file.get("hashes", {}).items()}


def _hash_mismatch(package: Mapping[str, Any], declared: Declared, found: Iterable[Mapping[str, Any]]) -> Problem:
    seen = sorted(spelled for file in found for spelled in _spelled(file))
    named = f"{package['name']} {package.get('version', '')}".strip()
    return Problem(
        rule="hash-mismatch",
        what=f"No file of {named} has a hash that {declared.origin} allows.",
        origin=declared.origin,
        why="The line declares hashes, and what the index offers for this Python and platform has others."
        if seen
        else "The line declares hashes, and a folder or a repository has none to compare.",
        instead="If you trust the files, declare their hashes; otherwise find out who changed them.",
        code=ExitCode.RESOLUTION,
        detail="\n".join([f"allowed: {', '.join(declared.hashes)}", *(f"offered: {value}" for value in seen)]),
    )


def _hash_missing(package: Mapping[str, Any], plan: Plan) -> Problem:
    origin: Origin | None = next((one.origin for one in plan.requirements if one.name == package["name"]), None)
    named = f"{package['name']} {package.get('version', '')}".strip()
    offered = [f"--hash={value}" for file in _files(package) for value in sorted(_spelled(file))]
    return Problem(
        rule="hash-missing",
        what=f"{named} is needed and has no hash.",
        origin=origin,
        why="--require-hashes asks for one on every package, those that others need included.",
        instead=f"Add the line: {package['name']}=={package.get('version', 'VERSION')} {offered[0]}"
        if offered
        else "Use a released file instead of a folder or a repository, or drop --require-hashes.",
        code=ExitCode.RESOLUTION,
        detail="\n".join(offered) or None,
    )


def preferences(document: Mapping[str, Any]) -> _Table:
    """A lock as uv reads it for its versions: the packages of indexes alone."""
    kept = [
        {key: package[key] for key in ("name", "version", "sdist", "wheels") if key in package}
        for package in document.get("packages", ())
        if "version" in package and ("wheels" in package or "sdist" in package)
    ]
    return {"lock-version": "1.0", "created-by": "lading", "packages": kept}
