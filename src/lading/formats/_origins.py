"""Where a requirement comes from when another tool's table says so: a git repository, a URL, a folder."""

from __future__ import annotations

import re
from collections.abc import Mapping

from lading.formats._paths import joined
from lading.formats._place import Place
from lading.formats._requirement import read_direct
from lading.model.records import replace
from lading.model.requirements import Declared, Via
from lading.model.secrets import SecretUrl

_SCP = re.compile(r"([A-Za-z0-9_.-]+@[A-Za-z0-9_.-]+):(?!//)(.+)")


def from_git(declared: Declared, url: str, reference: str | None, subdirectory: str | None, place: Place) -> Declared:
    """The requirement, from a git repository at a branch, tag or commit.

    Raises:
        LadingError: if the address cannot be used.
    """
    short = _SCP.fullmatch(url)
    if short:
        url = f"ssh://{short[1]}/{short[2]}"
    target = url if url.startswith("git+") else f"git+{url}"
    target += f"@{reference}" if reference else ""
    return _at(declared, target + _fragment(subdirectory), place)


def from_url(declared: Declared, url: str, subdirectory: str | None, place: Place) -> Declared:
    """The requirement, from the URL of an archive.

    Raises:
        LadingError: if it is no URL.
    """
    return _at(declared, url + _fragment(subdirectory), place)


def from_path(declared: Declared, path: str, place: Place, *, editable: bool = False) -> Declared:
    """The requirement, from a folder or an archive; ``path`` is relative to the file that names it.

    Raises:
        LadingError: if nothing that can be installed is there.
    """
    found = _at(declared, joined(place.folder, path), place)
    return replace(found, editable=editable and found.via is Via.PATH)


def _fragment(subdirectory: str | None) -> str:
    return f"#subdirectory={subdirectory}" if subdirectory else ""


def _at(declared: Declared, target: str, place: Place) -> Declared:
    found = read_direct(declared.name, declared.extras, target, declared.marker, place)
    return replace(found, raw=declared.raw, origin=declared.origin, hashes=declared.hashes)


def with_credentials(url: str, prefix: str, name: str, environ: Mapping[str, str]) -> SecretUrl:
    """An index's URL with the user and password that variables hold for it by name (uv: ``UV_INDEX_<NAME>_USERNAME``).

    ``prefix`` is what stands before the name: ``UV_INDEX``, ``POETRY_HTTP_BASIC``.
    """
    stem = f"{prefix}_{re.sub(r'[^A-Za-z0-9]', '_', name).upper()}"
    user, password = environ.get(f"{stem}_USERNAME"), environ.get(f"{stem}_PASSWORD")
    scheme, separator, rest = url.partition("://")
    if not separator or "@" in rest.partition("/")[0] or (user is None and password is None):
        return SecretUrl(url)
    from urllib.parse import quote  # noqa: PLC0415 -- needed where credentials are, only

    secret = f":{quote(password, safe='')}" if password is not None else ""
    return SecretUrl(f"{scheme}://{quote(user or '', safe='')}{secret}@{rest}")
