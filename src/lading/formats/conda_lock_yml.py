"""``conda-lock.yml``: conda-lock's unified lock (version 1), for every platform that it holds."""

from __future__ import annotations

import re
from collections.abc import Mapping

from lading.formats._checks import Checker
from lading.formats._conda_locked import conda_file, damaged, items_of, pinned, text_of
from lading.formats._place import NO_VARIABLES
from lading.formats._together_conda import python_request
from lading.formats._yaml import Map, read_yaml
from lading.model.conda import ChannelUrl, CondaDependencies, MatchSpec
from lading.model.decisions import Decision, Kind
from lading.model.files import ProjectFiles
from lading.model.origin import Origin
from lading.model.problems import LadingError
from lading.model.requirements import Declaration, Declared

name = "conda-lock.yml"

_FILE_NAME = re.compile(r"(.+\.)?conda-lock\.ya?ml")


def recognises(path: str) -> bool:
    """Whether a file's name is conda-lock's."""
    return _FILE_NAME.fullmatch(path.rsplit("/", 1)[-1]) is not None


def parse(path: str, files: ProjectFiles, environ: Mapping[str, str] = NO_VARIABLES) -> Declaration:  # noqa: ARG001 -- the seam's signature
    """Read conda-lock's lock: the packages of the main category.

    Raises:
        LadingError: with every problem of the file.
    """
    check = Checker(path, files)
    root = read_yaml(path, files, check.problems)
    packages = items_of(root, "package") if isinstance(root, Map) else ()
    if not isinstance(root, Map) or text_of(root, "version") not in ("", "1") or not packages:
        raise LadingError(
            *check.problems.problems, damaged(check, 1, "It has no version 1 and no list of packages.", "conda-lock", "conda-lock lock")
        )
    main = [package for package in packages if text_of(package, "category") in ("", "main")]
    conda, pip = _packages(check, main)
    check.finish()
    left_out = len(packages) - len(main)
    return Declaration(
        format=name,
        path=path,
        read=(path,),
        requirements=tuple(pip),
        python=python_request(conda),
        conda=CondaDependencies(specs=tuple(conda), channels=_channels(root), alone=True, explicit=True),
        decisions=(_left_out(left_out, path),) if left_out else (),
    )


def _channels(root: Map) -> tuple[ChannelUrl, ...]:
    entry = root.get("metadata")
    metadata = entry.value if entry and isinstance(entry.value, Map) else Map((), root.line)
    return tuple(ChannelUrl(text_of(channel, "url")) for channel in items_of(metadata, "channels") if text_of(channel, "url"))


def _packages(check: Checker, packages: list[Map]) -> tuple[list[MatchSpec], list[Declared]]:
    conda: list[MatchSpec] = []
    pip: list[Declared] = []
    platforms = {text_of(package, "platform") for package in packages}
    shared = _same_everywhere(packages, platforms)
    for package in packages:
        origin, platform = check.origin(package.line), text_of(package, "platform")
        entry = package.get("hash")
        hashes = entry.value if entry and isinstance(entry.value, Map) else Map((), package.line)
        if text_of(package, "manager") == "pip":
            pip.append(
                _pip(package, hashes, origin, None if (text_of(package, "name"), text_of(package, "version")) in shared else [platform])
            )
            continue
        spec = conda_file(
            text_of(package, "url"),
            origin,
            platform,
            md5=text_of(hashes, "md5"),
            sha256=text_of(hashes, "sha256"),
            version=text_of(package, "version"),
        )
        if spec is None:
            check.problems.add(damaged(check, package.line, "A package has no URL of a conda package.", "conda-lock", "conda-lock lock"))
        else:
            conda.append(spec)
    return conda, list({(one.name, one.specifier, one.marker): one for one in reversed(pip)}.values())[::-1]


def _same_everywhere(packages: list[Map], platforms: set[str]) -> set[tuple[str, str]]:
    """The pip packages that are locked in one version and one file on every platform."""
    found: dict[tuple[str, str], tuple[set[str], set[str]]] = {}
    for package in packages:
        key = (text_of(package, "name"), text_of(package, "version"))
        seen = found.setdefault(key, (set(), set()))
        seen[0].add(text_of(package, "platform"))
        seen[1].add(text_of(package, "url"))
    return {key for key, (on, urls) in found.items() if on == platforms and len(urls) == 1}


def _pip(package: Map, hashes: Map, origin: Origin, platforms: list[str] | None) -> Declared:
    return pinned(text_of(package, "name"), text_of(package, "version"), origin, platforms, sha256=text_of(hashes, "sha256"))


def _left_out(count: int, path: str) -> Decision:
    return Decision(
        rule="conda-lock-categories",
        kind=Kind.ADVICE,
        subject=path,
        asked=f"{count} packages of other categories than main",
        chose="they are not installed",
        because="conda-lock keeps packages for development in categories of their own",
        origin=Origin(path),
        instead="them in the main category",
    )
