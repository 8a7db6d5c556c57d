"""Files that a lock names at places which this machine's settings, not the project, led to."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import urlsplit

from lading.model.decisions import Decision, Kind
from lading.model.lock import Lock
from lading.model.requirements import IndexOptions
from lading.model.secrets import SecretUrl

RULE = "locked-through-mirror"


def mirrored(lock: Lock, machine: Iterable[tuple[str, SecretUrl]], project: IndexOptions) -> tuple[Decision, ...]:
    """One advice for each place of ``machine`` (a setting's name and its address) that files of the lock lie at.

    An index whose files lie elsewhere (the public registry's) leads to the same addresses from every machine, and is not told of.
    """
    own = {_host(url) for url in (*project.extra_index_urls, *project.find_links, *([project.index_url] if project.index_url else ()))}
    found: dict[str, tuple[str, SecretUrl, list[str]]] = {}
    for setting, url in machine:
        host = _host(url)
        names = [str(package["name"]) for package in lock.packages if host and host not in own and host in _hosts(package)]
        if names:
            found.setdefault(host, (setting, url, names))
    return tuple(_decision(setting, url, names) for setting, url, names in found.values())


def _host(url: SecretUrl) -> str:
    return urlsplit(url.without_credentials()).netloc


def _hosts(package: Mapping[str, Any]) -> set[str]:
    """The hosts of the files that came from an index; what a line names by its URL is the project's own word."""
    files = (*package.get("wheels", ()), *([package["sdist"]] if "sdist" in package else ()))
    return {urlsplit(str(file.get("url", ""))).netloc for file in files}


def _decision(setting: str, url: SecretUrl, names: list[str]) -> Decision:
    place = url.without_credentials()
    some = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
    return Decision(
        rule=RULE,
        kind=Kind.ADVICE,
        subject="indexes",
        asked=f"{place}, which {setting} of this machine names",
        chose=f"the lock names files there: {some}",
        because="a lock names each file where it was found; whoever installs from it must reach that place, "
        "and the project does not say so",
        instead=f"--index-url {place} in the project, if everybody is to use it; or `lading lock --upgrade` where {setting} is not set",
    )
