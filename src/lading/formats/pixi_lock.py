"""``pixi.lock``: pixi's lock (versions 5 to 7), its ``default`` environment, for every platform that it holds."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from lading.formats._checks import Checker
from lading.formats._conda_locked import conda_file, damaged, items_of, marker_for, pinned, text_of
from lading.formats._place import NO_VARIABLES
from lading.formats._together_conda import python_request
from lading.formats._yaml import Map, Sequence, read_yaml
from lading.model.conda import ChannelUrl, CondaDependencies, MatchSpec
from lading.model.files import ProjectFiles
from lading.model.problems import LadingError
from lading.model.records import replace
from lading.model.requirements import Declaration, Declared, IndexOptions, Via
from lading.model.secrets import SecretText, SecretUrl

name = "pixi.lock"

_VERSIONS = ("5", "6", "7")
_WHEEL = re.compile(r"(?P<name>[A-Za-z0-9_.]+)-(?P<version>[^-]+)-.+\.whl")
_COMMAND = ("pixi", "pixi lock")


def recognises(path: str) -> bool:
    """Whether a file's name is that of pixi's lock."""
    return path.rsplit("/", 1)[-1] == name


def parse(path: str, files: ProjectFiles, environ: Mapping[str, str] = NO_VARIABLES) -> Declaration:  # noqa: ARG001 -- the seam's signature
    """Read pixi's lock.

    Raises:
        LadingError: with every problem of the file.
    """
    check = Checker(path, files)
    root = read_yaml(path, files, check.problems)
    default = _default(root) if isinstance(root, Map) and text_of(root, "version") in _VERSIONS else None
    if not isinstance(root, Map) or default is None:
        raise LadingError(
            *check.problems.problems,
            damaged(check, 1, f"It has none of the versions {', '.join(_VERSIONS)}, or no environment named default.", *_COMMAND),
        )
    conda, pip = _packages(check, root, default)
    check.finish()
    channels = tuple(ChannelUrl(text_of(channel, "url")) for channel in items_of(default, "channels") if text_of(channel, "url"))
    return Declaration(
        format=name,
        path=path,
        read=(path,),
        requirements=tuple(pip),
        options=_options(default),
        python=python_request(conda),
        conda=CondaDependencies(specs=tuple(conda), channels=channels, alone=True, explicit=True),
    )


def _default(root: Map) -> Map | None:
    entry = root.get("environments")
    environments = entry.value if entry and isinstance(entry.value, Map) else None
    found = environments.get("default") if environments else None
    return found.value if found and isinstance(found.value, Map) else None


def _options(default: Map) -> IndexOptions:
    entry = default.get("indexes")
    urls = (
        [text for item in entry.value.items if (text := getattr(item, "text", ""))] if entry and isinstance(entry.value, Sequence) else []
    )
    public = [url for url in urls if "pypi.org" not in url]
    return IndexOptions(extra_index_urls=tuple(SecretUrl(url) for url in public))


def _packages(check: Checker, root: Map, default: Map) -> tuple[list[MatchSpec], list[Declared]]:
    known = {_place(package): package for package in items_of(root, "packages")}
    conda: list[MatchSpec] = []
    pip: dict[str, tuple[Map, list[str]]] = {}
    platforms = []
    for platform, entries in _by_platform(default):
        platforms.append(platform)
        for entry in entries:
            kind, place = ("conda", text_of(entry, "conda")) if text_of(entry, "conda") else ("pypi", text_of(entry, "pypi"))
            package = known.get(place)
            if package is None:
                check.problems.add(damaged(check, entry.line, f"{kind} {ChannelUrl(place)} is not in its list of packages.", *_COMMAND))
            elif kind == "conda":
                _add_conda(check, conda, package, place, platform)
            else:
                pip.setdefault(place, (package, []))[1].append(platform)
    return conda, [_pypi(check, package, place, on, len(platforms)) for place, (package, on) in pip.items()]


def _place(package: Map) -> str:
    return text_of(package, "conda") or text_of(package, "pypi") or text_of(package, "url") or text_of(package, "path")


def _by_platform(default: Map) -> Iterator[tuple[str, list[Map]]]:
    entry = default.get("packages")
    for platform in entry.value if entry and isinstance(entry.value, Map) else ():
        if isinstance(platform.value, Sequence):
            yield platform.key, [item for item in platform.value.items if isinstance(item, Map)]


def _add_conda(check: Checker, conda: list[MatchSpec], package: Map, url: str, platform: str) -> None:
    spec = conda_file(url, check.origin(package.line), platform, md5=text_of(package, "md5"), sha256=text_of(package, "sha256"))
    if spec is None:
        why = f"{ChannelUrl(url)} is no conda package that can be downloaded; packages that pixi builds itself are not installed here."
        check.problems.add(damaged(check, package.line, why, *_COMMAND))
    else:
        conda.append(spec)


def _pypi(check: Checker, package: Map, place: str, platforms: list[str], total: int) -> Declared:
    on = None if len(platforms) == total else platforms
    origin, package_name = check.origin(package.line), text_of(package, "name")
    if place.startswith((".", "/")):
        editable = text_of(package, "editable") == "true"
        return Declared(raw=SecretText(place), origin=origin, via=Via.PATH, path=place, editable=editable, marker=marker_for(on))
    if place.startswith("git+"):
        found = pinned(package_name, text_of(package, "version") or "0", origin, on)
        return replace(found, via=Via.VCS, specifier="", url=SecretUrl(place))
    wheel = _WHEEL.fullmatch(place.rpartition("/")[2])
    version = text_of(package, "version") or (wheel["version"] if wheel else "")
    return pinned(package_name or (wheel["name"] if wheel else place), version, origin, on, sha256=text_of(package, "sha256"))
