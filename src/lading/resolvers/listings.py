"""What package indexes list, asked before anything is chosen: PEP 503 and PEP 691 pages, pages of links, and core metadata.

Pages are asked in parallel, with short timeouts, and kept under ``LADING_HOME`` with what the server says about their age: a page that is still
fresh is not asked again, an older one is asked whether it has changed, and where the server is out of reach the older copy has to do.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import time
import urllib.error
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from email.message import Message
from html import unescape
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urljoin, urlsplit

from lading.frameworks.files import name_of, source, wheel
from lading.frameworks.offers import File, Listing, Offers, Page, Source, Status
from lading.model.records import dataclass
from lading.model.secrets import SecretUrl
from lading.resolvers.asking import FAILURES, ask
from lading.resolvers.pages import ACCEPT, authorization
from lading.resolvers.places import is_remote, local_path

TIMEOUT = 6.0
"""Seconds to wait for a server's next words."""

_FORMAT = 1
_LIMIT = 96 * 1024 * 1024
_FRESH = 600
"""Seconds that a page counts as fresh where the server does not say."""
_OLDEST = 30 * 24 * 3600
"""Seconds after which a copy is of no use any more."""
_ABSENT = (403, 404, 410)
"""PyTorch's index answers 403 for a page that is not there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Door:
    """How this machine reaches indexes.

    ``address`` maps an index's canonical address to the one to ask, credentials included; others are asked as they are. ``root`` is the folder
    that relative places start at, ``cache`` the one of copies.
    """

    address: Mapping[str, SecretUrl]
    root: Path
    cache: Path
    timeout: float = TIMEOUT

    def of(self, index: str) -> SecretUrl:
        """The address of an index: its own, or that of the nearest folder above it that has one."""
        folder = index
        while folder:
            if folder in self.address:
                return SecretUrl(self.address[folder].reveal().rstrip("/") + index[len(folder) :], self.address[folder].variables)
            folder = folder.rpartition("/")[0]
        return SecretUrl(index)


def fetch(pages: Sequence[Page], door: Door) -> Offers:
    """Ask for pages, all at once. Never raises: a page that cannot be read says why."""
    if not pages:
        return Offers()
    with ThreadPoolExecutor(max_workers=min(16, len(pages)), thread_name_prefix="listing") as pool:
        return Offers(pages=dict(zip(pages, pool.map(lambda page: _read(page, door), pages), strict=True)))


def _read(page: Page, door: Door) -> Listing:
    try:
        place = _place(page, door)
        urlsplit(place.reveal())
    except ValueError as error:  # a host in brackets that is no IPv6 address
        return Listing(status=Status.UNREACHABLE, why=str(error))
    if not is_remote(place.reveal()):
        return _read_folder(place, page, door)
    return _read_page(place, page, door)


def _read_page(place: SecretUrl, page: Page, door: Door) -> Listing:
    copy = _Copy.read(_copy_path(place, door))
    if copy is not None and copy.fresh_until > time.time():
        return _listing(copy, page)
    try:
        answer = _ask(place, copy, door)
    except urllib.error.HTTPError as error:
        with error:
            return _failed(error.code, copy, page)
    except FAILURES as error:
        return _out_of_reach(_reason(error), copy, page)
    _keep(answer, _copy_path(place, door))
    return _listing(answer, page)


def _place(page: Page, door: Door) -> SecretUrl:
    index = door.of(page.index)
    if page.kind == "links":
        return index
    if page.kind == "metadata":
        return _beside(f"{page.package}.metadata", index)
    return SecretUrl(f"{index.reveal().rstrip('/')}/{page.package}/", index.variables)


def _beside(url: str, index: SecretUrl) -> SecretUrl:
    """A file's address, with the credentials of the index that named it where both are on one host."""
    parts, own = urlsplit(url), urlsplit(index.reveal())
    if parts.netloc != own.netloc.rpartition("@")[2]:
        return SecretUrl(url)
    return SecretUrl(parts._replace(netloc=own.netloc).geturl(), index.variables)


# Asking


def _ask(place: SecretUrl, copy: _Copy | None, door: Door) -> _Copy:
    headers = {"Accept": ACCEPT, "User-Agent": "lading", **authorization(place), **(copy.conditions() if copy else {})}
    try:
        with ask(place.without_credentials(), headers, timeout=door.timeout) as answer:
            return _Copy(url=answer.url, body=_whole(answer), asked=time.time(), **_remembered(answer.headers))
    except urllib.error.HTTPError as error:
        if error.code != 304 or copy is None:
            raise
        with error:
            return _Copy(url=copy.url, body=copy.body, asked=time.time(), **{**copy.validators(), **_given(_remembered(error.headers))})


def _whole(answer: Any) -> str:
    """The answer's text; half a page must not pass for one.

    Raises:
        OSError: if it was cut short.
    """
    content: bytes = answer.read(_LIMIT)
    length = answer.headers.get("Content-Length", "")
    if length.isdigit() and len(content) < min(int(length), _LIMIT):
        raise OSError("the answer was cut short")
    return content.decode("utf-8", "replace")


def _remembered(headers: Message) -> dict[str, Any]:
    age = re.search(r"max-age=(\d+)", headers.get("Cache-Control", ""))
    lasting = "no-cache" not in headers.get("Cache-Control", "") and "no-store" not in headers.get("Cache-Control", "")
    seconds = min(int(age[1]), _OLDEST) if age else _FRESH
    return {
        "etag": headers.get("ETag"),
        "modified": headers.get("Last-Modified"),
        "fresh_until": time.time() + (seconds if lasting else 0),
    }


def _given(remembered: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in remembered.items() if value is not None}


def _reason(error: Exception) -> str:
    cause = error.reason if isinstance(error, urllib.error.URLError) else error
    text = (cause.strerror if isinstance(cause, OSError) else None) or str(cause) or type(cause).__name__
    return re.sub(r"^\[[^\]]*\]\s*", "", text).rstrip(".")


def _failed(status: int, copy: _Copy | None, page: Page) -> Listing:
    if status in _ABSENT:
        return Listing(status=Status.ABSENT)
    if status in (401, 407):
        return Listing(status=Status.UNREACHABLE, why="it asks for a user name and a password")
    return _out_of_reach(f"it answered {status}", copy, page)


def _out_of_reach(why: str, copy: _Copy | None, page: Page) -> Listing:
    if copy is None or time.time() - copy.asked > _OLDEST:
        return Listing(status=Status.UNREACHABLE, why=why)
    return _listing(copy, page, as_of=datetime.fromtimestamp(copy.asked, UTC).strftime("%Y-%m-%d"))


def from_copies(pages: Sequence[Page], door: Door) -> Offers:
    """Pages from their copies alone, whatever their age: nothing is asked."""
    made = {}
    for page in pages:
        place = _place(page, door)
        if is_remote(place.reveal()):
            made[page] = _out_of_reach("--offline", _Copy.read(_copy_path(place, door)), page)
        else:
            made[page] = _read_folder(place, page, door)
    return Offers(pages=made)


# Copies


@dataclass(frozen=True, slots=True, kw_only=True)
class _Copy:
    """A page as it was read. Times are seconds since 1970."""

    url: str
    body: str
    asked: float
    etag: str | None = None
    modified: str | None = None
    fresh_until: float = 0.0

    def conditions(self) -> dict[str, str]:
        """The headers that ask for the page only if it has changed."""
        if self.etag:
            return {"If-None-Match": self.etag}
        return {"If-Modified-Since": self.modified} if self.modified else {}

    def validators(self) -> dict[str, Any]:
        return {"etag": self.etag, "modified": self.modified}

    @classmethod
    def read(cls, path: Path) -> _Copy | None:
        """The copy at a path; None when there is none, or it is not as Lading writes it."""
        try:
            record = json.loads(path.read_text("utf-8"))
            if record.pop("format") != _FORMAT:
                return None
            return cls(**record)
        except (OSError, ValueError, TypeError, KeyError, AttributeError):
            return None


def _copy_path(place: SecretUrl, door: Door) -> Path:
    """One file per address and user: what one user may see is not shown to another."""
    user = urlsplit(place.reveal()).username or ""
    name = hashlib.sha256(f"{place.without_credentials()}\n{user}".encode()).hexdigest()[:32]
    return door.cache / f"{name}.json"


def _keep(copy: _Copy, path: Path) -> None:
    """Write a copy whole or not at all; a store that cannot be written costs the copy, and nothing else."""
    record = {
        "format": _FORMAT,
        "url": SecretUrl(copy.url).without_credentials(),
        "body": copy.body,
        "asked": copy.asked,
        "etag": copy.etag,
        "modified": copy.modified,
        "fresh_until": copy.fresh_until,
    }
    aside = path.with_name(f".{path.name}.{os.getpid()}.{hash(copy.body) & 0xFFFF}")
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            aside.write_text(json.dumps(record), "utf-8")
            aside.replace(path)
        finally:
            aside.unlink(missing_ok=True)


# Reading


def _listing(copy: _Copy, page: Page, as_of: str | None = None) -> Listing:
    if page.kind == "metadata":
        return Listing(status=Status.READ, requires=_requires(copy.body), as_of=as_of)
    found = [one for one in _files(copy.body, copy.url) if page.kind == "project" or name_of(one.filename) == page.package]
    return Listing(status=Status.READ, files=tuple(found), sources=tuple(_sources(copy.body, page.package)), as_of=as_of)


def _requires(text: str) -> tuple[str, ...]:
    head = text.replace("\r\n", "\n").partition("\n\n")[0]
    return tuple(line.partition(":")[2].strip() for line in head.splitlines() if line.lower().startswith("requires-dist:"))


def _files(body: str, url: str) -> Iterable[File]:
    entries = _json_entries(body) if body.lstrip().startswith("{") else _html_entries(body)
    for filename, href, facts in entries:
        place = urljoin(url, href).partition("#")[0]
        file = wheel(filename, SecretUrl(place).without_credentials(), **facts)
        if file is not None:
            yield file


def _sources(body: str, package: str) -> Iterable[Source]:
    entries = _json_entries(body) if body.lstrip().startswith("{") else _html_entries(body)
    for filename, _, facts in entries:
        if not filename.endswith(".whl") and not facts["yanked"]:
            found = source(filename, package, facts["requires_python"])
            if found is not None:
                yield found


_Entry = tuple[str, str, dict[str, Any]]


def _json_entries(body: str) -> Iterable[_Entry]:
    try:
        files = json.loads(body).get("files", ())
    except (ValueError, AttributeError):
        return
    for file in files:
        facts = {
            "size": file.get("size"),
            "requires_python": file.get("requires-python"),
            "yanked": bool(file.get("yanked")),
            "has_metadata": bool(file.get("core-metadata") or file.get("dist-info-metadata")),
            "sha256": file.get("hashes", {}).get("sha256"),
        }
        yield str(file.get("filename", "")), str(file.get("url", "")), facts


class _Links(HTMLParser):
    """The links of a page, each with its attributes and its text."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[dict[str, str | None], str]] = []
        self._inside = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "a":
            self.found.append((dict(attrs), ""))
            self._inside = True

    def handle_endtag(self, tag: str) -> None:
        self._inside = self._inside and tag != "a"

    def handle_data(self, data: str) -> None:
        if self._inside:
            attributes, text = self.found[-1]
            self.found[-1] = (attributes, text + data)


def _html_entries(body: str) -> Iterable[_Entry]:
    """PyTorch's page of links has folders in its texts (``cpu/torch-1.4.0...``); the file's name is the last part of the address."""
    parser = _Links()
    parser.feed(body)
    for attributes, text in parser.found:
        href = attributes.get("href") or ""
        filename = unquote(href.partition("#")[0].rpartition("/")[2]) or unescape(text).strip()
        facts = {
            "requires_python": attributes.get("data-requires-python"),
            "yanked": "data-yanked" in attributes,
            "has_metadata": bool(attributes.get("data-core-metadata") or attributes.get("data-dist-info-metadata")),
            "sha256": href.partition("#sha256=")[2] or None,
        }
        yield filename, href, facts


def _read_folder(place: SecretUrl, page: Page, door: Door) -> Listing:
    """A folder of wheels: the files themselves are the page."""
    folder = local_path(place.reveal(), door.root)
    if not folder.is_dir():
        return Listing(status=Status.ABSENT)
    found = [wheel(one.name, one.as_uri(), size=one.stat().st_size) for one in sorted(folder.iterdir()) if one.suffix == ".whl"]
    return Listing(status=Status.READ, files=tuple(one for one in found if one is not None and name_of(one.filename) == page.package))


# Sizes


def sizes(urls: Sequence[str], door: Door) -> dict[str, int]:
    """The sizes in bytes of files, by HEAD requests all at once; those that no server tells are left out."""
    if not urls:
        return {}
    with ThreadPoolExecutor(max_workers=min(16, len(urls)), thread_name_prefix="size") as pool:
        told = pool.map(lambda url: _size(url, door), urls)
        return {url: size for url, size in zip(urls, told, strict=True) if size is not None}


def _size(url: str, door: Door) -> int | None:
    if not is_remote(url):
        return None
    with_credentials = (place for address in door.address.values() if (place := _beside(url, address)).has_credentials)
    place = next(with_credentials, SecretUrl(url))
    headers = {"User-Agent": "lading", "Accept-Encoding": "identity", **authorization(place)}
    try:
        with ask(place.without_credentials(), headers, timeout=door.timeout, method="HEAD") as answer:
            length = answer.headers.get("Content-Length", "")
            return int(length) if length.isdigit() else None
    except FAILURES:
        return None
