"""A look at an index's own page, after a failure: what it answers and which versions it has. uv tells neither for a bound index."""

from __future__ import annotations

import base64
import json
import re
import urllib.error
from collections.abc import Iterable
from html import unescape
from urllib.parse import unquote, urlsplit

from packaging.utils import InvalidSdistFilename, InvalidWheelFilename, canonicalize_name, parse_sdist_filename, parse_wheel_filename
from packaging.version import Version

from lading.model.problems import ExitCode, Problem
from lading.model.records import dataclass
from lading.model.secrets import SecretUrl
from lading.resolvers.asking import FAILURES, ask
from lading.resolvers.netrcs import from_netrc

DEFAULT_INDEX = "https://pypi.org/simple"
"""Where packages come from when nobody says otherwise."""

ACCEPT = "application/vnd.pypi.simple.v1+json, application/vnd.pypi.simple.v1+html;q=0.2, text/html;q=0.1"
_LINK = re.compile(r"<a\b[^>]*>([^<]+)</a>", re.IGNORECASE)
_TIMEOUT = 10.0
_LIMIT = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Page:
    """What an index says about one package. ``status`` is None when it did not answer; ``versions`` are in ascending order."""

    url: SecretUrl
    status: int | None
    versions: tuple[str, ...] = ()

    @property
    def host(self) -> str:
        """Host and port of the index."""
        return urlsplit(self.url.without_credentials()).netloc


def look(url: SecretUrl, name: str, *, flat: bool = False) -> Page:
    """Ask an index about a package (``flat``: ``url`` is a page of links). Never raises: what cannot be read is not known."""
    place = url.without_credentials()
    try:
        address = place if flat else f"{place.rstrip('/')}/{canonicalize_name(name)}/"
        with ask(address, {"Accept": ACCEPT, **authorization(url)}, timeout=_TIMEOUT) as answer:
            return Page(url, answer.status, _versions(answer.read(_LIMIT).decode("utf-8", "replace"), name))
    except urllib.error.HTTPError as error:
        with error:
            return Page(url, error.code)
    except FAILURES:
        return Page(url, None)


def check_index(url: SecretUrl | None = None) -> Problem | None:
    """Whether a package index answers; None when it does. Without a URL, the default one is asked."""
    page = look(url or SecretUrl(DEFAULT_INDEX), "pip")
    if page.status is None:
        return Problem(
            rule="index-unreachable",
            what=f"{page.host or page.url} cannot be reached.",
            instead="Check the address and the network (proxies: HTTPS_PROXY; own certificates: SSL_CERT_FILE).",
            code=ExitCode.NETWORK,
        )
    if page.status in (401, 403, 407):
        return Problem(
            rule="index-asks-for-password",
            what=f"{page.host} asks for a user name and a password, or refused those it was given.",
            why=f"It answered {page.status}.",
            instead="Put the credentials into the index's URL as environment variables, or into ~/.netrc.",
            code=ExitCode.NETWORK,
        )
    return None


def authorization(url: SecretUrl) -> dict[str, str]:
    """The header that carries a URL's credentials, or those that ``.netrc`` has for its host; none without any."""
    parts = urlsplit(url.reveal())
    if parts.username is not None:
        pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
    elif found := from_netrc(parts.hostname or ""):
        pair = f"{found[0]}:{found[2] or ''}"
    else:
        return {}
    return {"Authorization": f"Basic {base64.b64encode(pair.encode()).decode()}"}


def _versions(text: str, name: str) -> tuple[str, ...]:
    found = {version for filename in _filenames(text) if (version := _version_of(filename, name))}
    return tuple(str(version) for version in sorted(found))


def _filenames(text: str) -> Iterable[str]:
    if text.lstrip().startswith("{"):
        return [str(file.get("filename", "")) for file in json.loads(text).get("files", ())]
    return [unescape(link).strip() for link in _LINK.findall(text)]


def _version_of(filename: str, name: str) -> Version | None:
    try:
        found, version = parse_wheel_filename(filename)[:2] if filename.endswith(".whl") else parse_sdist_filename(filename)
    except (InvalidWheelFilename, InvalidSdistFilename):
        return None
    return version if found == canonicalize_name(name) else None
