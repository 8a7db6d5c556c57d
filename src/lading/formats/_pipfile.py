"""Entries of a Pipfile and of its lock: a version, or a table that says where a package comes from."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from lading.formats._markers import both
from lading.formats._origins import from_git, from_path, from_url
from lading.formats._place import Place, expand
from lading.formats._requirement import read_pep508
from lading.model.names import canonical
from lading.model.records import dataclass, field, replace
from lading.model.requirements import Declared, IndexOptions
from lading.model.secrets import SecretText, SecretUrl

_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?")
_MARKERS = (
    "os_name",
    "sys_platform",
    "platform_machine",
    "platform_python_implementation",
    "platform_release",
    "platform_system",
    "platform_version",
    "python_version",
    "python_full_version",
    "implementation_name",
    "implementation_version",
)
_PUBLIC = "https://pypi.org/simple"


@dataclass(slots=True)
class PipenvSources:
    """Pipenv's indexes: the first is the default one, the others serve the packages that name them.

    ``search_all``: packages that name none are searched on all of them (``install_search_all_sources``).
    """

    urls: list[SecretUrl] = field(default_factory=list)
    named: dict[str, SecretUrl] = field(default_factory=dict)
    search_all: bool = False

    def add(self, name: str, url: str, place: Place, environ: Mapping[str, str]) -> None:
        """Add a source, with the variables in its URL expanded.

        Raises:
            LadingError: for a variable that is not set.
        """
        text, place = expand(re.sub(r"\$([A-Z][A-Z0-9_]*)", r"${\1}", url), place, environ)
        found = place.url(text)
        self.urls.append(found)
        if name:
            self.named[name] = found

    def options(self) -> IndexOptions:
        """The index options that follow; the public registry as the first source is this machine's default index."""
        if not self.urls:
            return IndexOptions()
        first, *others = self.urls
        public = first.reveal().rstrip("/") == _PUBLIC
        return IndexOptions(
            index_url=None if public else first,
            extra_index_urls=tuple(dict.fromkeys(others)) if self.search_all else (),
        )

    def bound(self, name: str) -> SecretUrl | None:
        """The index that a package names; None where that is the default one anyway."""
        url = self.named.get(name)
        return url if url is not None and self.urls and url != self.urls[0] else None


def read_entry(name: str, value: Any, place: Place, sources: PipenvSources) -> Declared:
    """One entry of ``[packages]``, or of the lock's ``default``.

    Raises:
        LadingError: if it is not one that Pipenv reads.
    """
    entry = {"version": value} if isinstance(value, str) else value
    if not isinstance(entry, dict) or not _NAME.fullmatch(name):
        raise place.error("requirement-invalid", f"This is not a requirement: {place.shown}", instead=f'Write {name} = "==1.2.3".')
    extras = f"[{','.join(str(extra) for extra in entry.get('extras') or ())}]" if entry.get("extras") else ""
    conditions = [f"{key} {entry[key]}" for key in _MARKERS if isinstance(entry.get(key), str)]
    marker = both(*([str(entry["markers"])] if entry.get("markers") else []), *conditions)
    base = read_pep508(f"{name}{extras}{f' ; {marker}' if marker else ''}", place)
    declared = replace(base, raw=SecretText(place.raw), name=canonical(name), hashes=tuple(str(one) for one in entry.get("hashes") or ()))
    return _placed(declared, entry, place, sources)


def _placed(declared: Declared, entry: Mapping[str, Any], place: Place, sources: PipenvSources) -> Declared:
    if git := entry.get("git"):
        reference = entry.get("ref")
        return from_git(declared, str(git), str(reference) if reference else None, entry.get("subdirectory"), place)
    if local := entry.get("path"):
        return from_path(declared, str(local), place, editable=bool(entry.get("editable")))
    if file := entry.get("file") or entry.get("uri"):
        if "://" not in str(file):
            return from_path(declared, str(file), place)
        return from_url(declared, str(file), entry.get("subdirectory"), place)
    for other in ("hg", "svn", "bzr"):
        if other in entry:
            raise place.error(
                "vcs-not-supported", f"Lading installs from git only, and this is {other}: {place.shown}", instead="Use a git mirror."
            )
    return _indexed(declared, entry, place, sources)


def _indexed(declared: Declared, entry: Mapping[str, Any], place: Place, sources: PipenvSources) -> Declared:
    version = str(entry.get("version") or "*").strip()
    index = entry.get("index")
    if index is not None and sources.urls and str(index) not in sources.named:
        raise place.error(
            "index-unknown",
            f'{declared.name} names the index "{index}", which is not defined.',
            instead=f'Add [[source]] with name = "{index}" and its url.',
        )
    url = sources.bound(str(index)) if index is not None else None
    if version == "*":
        return replace(declared, index=url)
    text = version if version[:1] in "<>=!~" else f"=={version}"
    return replace(declared, specifier=read_pep508(f"{declared.name}{text}", place).specifier, index=url)
