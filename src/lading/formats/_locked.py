"""What a lock pins, as a requirement that installs exactly this."""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType

from lading.formats._origins import from_git, from_path, from_url
from lading.formats._paths import joined
from lading.formats._place import Place
from lading.model.records import replace
from lading.model.requirements import Declared
from lading.model.secrets import SecretUrl

NO_INDEXES: Mapping[str, SecretUrl] = MappingProxyType({})
_PUBLIC = re.compile(r"https?://(pypi\.org|pypi\.python\.org|files\.pythonhosted\.org)(/.*)?")
_HASH = re.compile(r"(sha256|sha384|sha512):[0-9a-f]+")


def indexed(
    declared: Declared, version: str | None, registry: str | None, place: Place, known: Mapping[str, SecretUrl] = NO_INDEXES
) -> Declared:
    """A version from an index. The public registry is this machine's default index; another one is bound to the package.

    ``known`` are indexes by their address without credentials and without a slash at its end: a lock names them so.

    Raises:
        LadingError: if the version is none.
    """
    if not version:
        raise place.error("lock-unreadable", f"{declared.name} has no version in {place.origin.path}.", instead="Let its tool lock again.")
    pinned = replace(declared, specifier=f"=={version}", hashes=known_hashes(declared.hashes))
    if registry is None or _PUBLIC.fullmatch(registry):
        return pinned
    if "://" not in registry:  # a folder of files, as uv writes it for find-links
        return replace(pinned, find_links=SecretUrl(joined(place.folder, registry)))
    return replace(pinned, index=known.get(bare(registry)) or place.url(registry))


def bare(url: str) -> str:
    """An index's address as locks and project files may both write it."""
    return SecretUrl(url).without_credentials().rstrip("/")


def known_hashes(hashes: tuple[str, ...]) -> tuple[str, ...]:
    """Those that an installer verifies; md5 alone proves nothing and is left out."""
    return tuple(value.lower() for value in hashes if _HASH.fullmatch(value.lower()))


def at_commit(declared: Declared, url: str, commit: str, subdirectory: str | None, place: Place) -> Declared:
    """A commit of a git repository.

    Raises:
        LadingError: if the address cannot be used.
    """
    return replace(from_git(declared, url, commit or None, subdirectory, place), hashes=())


def at_url(declared: Declared, url: str, subdirectory: str | None, place: Place) -> Declared:
    """An archive on a server.

    Raises:
        LadingError: if the address cannot be used.
    """
    return replace(from_url(declared, url, subdirectory, place), hashes=known_hashes(declared.hashes))


def at_path(declared: Declared, path: str, place: Place, *, editable: bool = False) -> Declared:
    """A folder or an archive; ``path`` is relative to the lock.

    Raises:
        LadingError: if nothing that can be installed is there.
    """
    found = from_path(declared, path, place, editable=editable)
    return replace(found, hashes=known_hashes(declared.hashes) if (found.path or "").endswith((".whl", ".gz", ".zip")) else ())
