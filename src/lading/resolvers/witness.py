"""What uv's log tells beside its lock: which package needs which, and which index each one was found on.

uv's pylock has neither. Both are in its log at a level that costs no measurable time; where a line is not as expected, less is known and
nothing else changes.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any
from urllib.parse import urlsplit

from lading.model.plan import Plan
from lading.model.records import dataclass, field
from lading.model.secrets import SecretUrl
from lading.resolvers.bindings import Binding
from lading.resolvers.places import is_remote

LOG_LEVELS = "uv_resolver::resolver=debug,uv_client::registry_client=trace"
"""The value of ``RUST_LOG`` that makes uv tell."""

_LINE = re.compile(r"(DEBUG|TRACE) ")
_NEED = re.compile(r"DEBUG Adding transitive dependency for (?P<who>[\w.-]+)[^=]*==(?P<version>[^:\s]+): (?P<what>[A-Za-z0-9][\w.-]*)")
_ASKED = re.compile(r"TRACE Fetching metadata for `(?P<name>[\w.-]+)` from `(?P<url>[^`]+)`")


@dataclass(frozen=True, slots=True)
class Witness:
    """What a log told. ``needs`` is by package name and version, ``pages`` by package name, in the order of asking."""

    needs: Mapping[tuple[str, str], frozenset[str]] = field(default_factory=dict)
    pages: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


def split(stderr: str) -> tuple[list[str], str]:
    """The log of uv, and everything else that it wrote. After its error begins nothing is log: a build's own output may look like it."""
    lines = stderr.splitlines(keepends=True)
    end = next((number for number, line in enumerate(lines) if line.startswith("error:")), len(lines))
    log = [line for line in lines[:end] if _LINE.match(line)]
    return log, "".join([*(line for line in lines[:end] if not _LINE.match(line)), *lines[end:]])


def read_log(log: Iterable[str]) -> Witness:
    """What the lines of a log tell."""
    needs: dict[tuple[str, str], set[str]] = {}
    pages: dict[str, list[str]] = {}
    for line in log:
        if need := _NEED.match(line):
            needs.setdefault((need["who"], need["version"]), set()).add(need["what"].rstrip("."))
        elif asked := _ASKED.match(line):
            pages.setdefault(asked["name"], []).append(asked["url"])
    return Witness(
        {who: frozenset(what) for who, what in needs.items()},
        {name: tuple(dict.fromkeys(urls)) for name, urls in pages.items()},
    )


def complete(packages: Iterable[Mapping[str, Any]], witness: Witness, places: Places) -> list[dict[str, Any]]:
    """Uv's packages with ``dependencies`` and ``index`` (PEP 751), as far as they are known."""
    completed = [dict(package) for package in packages]
    names = {str(package["name"]) for package in completed}
    for package in completed:
        name = str(package["name"])
        needs = _needs_of(package, witness) & names - {name}
        if needs:
            package["dependencies"] = [{"name": need} for need in sorted(needs)]
        index = places.of(package, witness.pages.get(name, ()))
        if index and is_remote(index):  # the standard has a URL there; a folder is named by the files' own paths
            package["index"] = index
    return completed


def _needs_of(package: Mapping[str, Any], witness: Witness) -> frozenset[str]:
    name, version = str(package["name"]), package.get("version")
    if version is not None:
        return witness.needs.get((name, str(version)), frozenset())
    return frozenset().union(*(what for (who, _), what in witness.needs.items() if who == name))


class Places:
    """The places where packages were looked for: indexes and pages of links, as URLs without credentials."""

    def __init__(self, plan: Plan, bound: Iterable[Binding], *, first_index: bool) -> None:
        options = plan.options
        self.first_index = first_index
        self.links = [_bare(url) for url in options.find_links]
        indexes = (*options.extra_index_urls, *((options.index_url,) if options.index_url else ()))
        self.indexes = {_bare(url).rstrip("/"): _bare(url) for url in indexes}
        self.bound: dict[str, str] = {}
        for binding in bound:
            self.bound.update(dict.fromkeys(binding.packages, _bare(binding.index.url)))

    def of(self, package: Mapping[str, Any], pages: tuple[str, ...]) -> str | None:
        """Where a package was found, None when that is not known or it did not come from an index."""
        files = [*package.get("wheels", ()), *([package["sdist"]] if "sdist" in package else ())]
        urls = [str(file["url"]) for file in files if "url" in file]
        if not urls:
            return None
        if owner := self.bound.get(str(package["name"])):
            return owner
        if (found := self._linked(urls[0])) and "upload-time" not in files[0]:
            return found
        asked = [self.indexes.get(index, index) for index in map(_index_of, pages)]
        if self.first_index or len(asked) <= 1:
            return asked[-1] if asked else None
        near = [index for index in asked if urlsplit(index).netloc == urlsplit(urls[0]).netloc]
        return max(near, key=lambda index: _common(index, urls[0]), default=None)

    def _linked(self, url: str) -> str | None:
        """The page of links that may hold a file: one above it, else one on the same host."""
        above = [page for page in self.links if url.startswith(page.rpartition("/")[0] + "/")]
        beside = [page for page in self.links if urlsplit(page).netloc == urlsplit(url).netloc]
        return next(iter([*above, *beside]), None)


def _bare(url: SecretUrl) -> str:
    return url.without_credentials()


@lru_cache(maxsize=64)
def _without_user(url: str) -> str:
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()  # the log masks the password, and shows the user


def _index_of(page: str) -> str:
    """The index whose page about a package this is: ``https://host/simple/flask/`` is on ``https://host/simple``."""
    return _without_user(page.rstrip("/").rpartition("/")[0])


def _common(first: str, second: str) -> int:
    return next(
        (number for number, pair in enumerate(zip(first, second, strict=False)) if pair[0] != pair[1]), min(len(first), len(second))
    )
