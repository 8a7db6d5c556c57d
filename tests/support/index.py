"""A real package index on loopback: HTML and JSON pages, metadata files, passwords, and the ways an index can misbehave."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import socket
import subprocess
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote, unquote

from tests.support.ports import free_port
from tests.support.wheels import Archive, normalized, sdist, wheel

_JSON = "application/vnd.pypi.simple.v1+json"
_HTML = "application/vnd.pypi.simple.v1+html"
_UPLOADED = "2024-01-01T00:00:00Z"


@dataclass(frozen=True)
class Request:
    """One request the index has answered. `path` is without the host; `user` is the user name that was sent."""

    method: str
    path: str
    status: int
    user: str | None = None


@dataclass(frozen=True)
class Published:
    """One file on one index."""

    archive: Archive
    yanked: str | None = None
    upload_time: str = _UPLOADED


@dataclass
class SubIndex:
    """One named index of the server, with its files and its ways to misbehave.

    `parts` are names of other indexes whose files are listed here as well, each at its own place: PyTorch's index of every label is such
    a one. With `etags` pages can be asked whether they have changed; `max_age` (seconds) says how long they count as fresh.
    Requests for files are redirected to the index that `files_at` names, on the same server.
    """

    name: str
    files: list[Published] = field(default_factory=list)
    credentials: tuple[str, str] | None = None
    status: int | None = None
    delay: float = 0.0
    hashes: bool = True
    metadata: bool = True
    json: bool = True
    wrong_hashes: bool = False
    folder: Path | None = None
    etags: bool = False
    max_age: int | None = None
    parts: list[str] = field(default_factory=list)
    files_at: str | None = None


class LocalIndex:
    """Several package indexes on one port of 127.0.0.1.

    ``index.url`` is the main one (named ``simple``); ``index.url_of("cpu")`` another, made at first use. ``index.add`` publishes a
    wheel, ``index.add_sdist`` a source distribution, ``index.publish`` any `Archive`. ``index["cpu"]`` has the switches:
    ``credentials``, ``status`` (answer everything with it), ``delay`` (seconds), ``hashes``, ``metadata``, ``json``, ``wrong_hashes``.
    ``index.requests`` is the log; ``index.arrived`` is set as soon as the first request has come, before any delay.
    """

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.arrived = threading.Event()
        self.closing = threading.Event()
        self._indexes: dict[str, SubIndex] = {"simple": SubIndex("simple")}
        self._server = _Server(self)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()

    def stop(self) -> None:
        """Close the port; from here on the index is unreachable."""
        self.closing.set()
        if self._thread.is_alive():
            self._server.shutdown()
            self._thread.join()
        self._server.close_all()

    def __getitem__(self, name: str) -> SubIndex:
        return self._indexes.setdefault(name, SubIndex(name))

    @property
    def host(self) -> str:
        """Host and port."""
        return f"127.0.0.1:{self._server.server_address[1]}"

    @property
    def url(self) -> str:
        """The main index."""
        return self.url_of("simple")

    def url_of(self, name: str, *, user: str | None = None, password: str | None = None) -> str:
        """The URL of one index; with `user` (and `password`) they are written into it."""
        self[name]
        secret = "" if password is None else f":{quote(password, safe='')}"
        userinfo = "" if user is None else f"{quote(user, safe='')}{secret}@"
        return f"http://{userinfo}{self.host}/{name}/"

    def links_of(self, name: str = "simple") -> str:
        """A flat page with links to every file of one index, for ``--find-links``."""
        self[name]
        return f"http://{self.host}/links/{name}/"

    def file_url(self, archive: Archive, to: str = "simple") -> str:
        """Where one published file is."""
        return f"http://{self.host}/files/{to}/{quote(archive.filename)}"

    def protect(self, name: str, user: str, password: str) -> str:
        """Put one index and its files under basic auth; the URL without credentials."""
        self[name].credentials = (user, password)
        return self.url_of(name)

    def add(self, name: str, version: str, *, to: str = "simple", yanked: str | None = None, **options: Any) -> Archive:
        """Publish a wheel; `options` are those of `tests.support.wheels.wheel`."""
        return self.publish(wheel(name, version, **options), to=to, yanked=yanked)

    def add_sdist(self, name: str, version: str, *, to: str = "simple", yanked: str | None = None, **options: Any) -> Archive:
        """Publish a source distribution; `options` are those of `tests.support.wheels.sdist`."""
        return self.publish(sdist(name, version, **options), to=to, yanked=yanked)

    def publish(self, archive: Archive, *, to: str = "simple", yanked: str | None = None, upload_time: str = _UPLOADED) -> Archive:
        """Put a file on an index."""
        self[to].files.append(Published(archive, yanked, upload_time))
        return archive

    def share(self, name: str, folder: Path, *, git: bool = False) -> str:
        """Serve a folder's files as they are; with `git` it is a repository (its ``.git``) that git can clone from the URL."""
        if git:
            subprocess.run(["git", "update-server-info"], cwd=folder, check=True)
        self[name].folder = folder
        return self.url_of(name)

    @property
    def paths(self) -> list[str]:
        """The paths that were asked for, in order."""
        return [request.path for request in self.requests]


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256  # uv opens many connections at once; those that find no room would wait a second
    block_on_close = False

    def __init__(self, index: LocalIndex) -> None:
        self.index = index
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        super().__init__(("127.0.0.1", free_port()), _Handler)  # nobody else's either once this has stopped

    def get_request(self) -> tuple[socket.socket, Any]:
        connection, address = super().get_request()
        with self._lock:
            self._open.add(connection)
        return connection, address

    def shutdown_request(self, request: Any) -> None:
        with self._lock:
            self._open.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hangs up is no news."""

    def close_all(self) -> None:
        self.server_close()
        with self._lock:
            for connection in self._open:
                try:
                    connection.shutdown(socket.SHUT_RDWR)
                except OSError:
                    continue


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Server

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  (the base class's name)
        """The index keeps its own log."""

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        path = unquote(self.path.partition("?")[0])
        kind, parts = _kind_of([part for part in path.split("/") if part])
        name = self._index_of(parts)
        sub = self.server.index._indexes.get(name)
        if sub is None:
            return self._answer(404, "text/plain", b"no such index")
        parts = parts[name.count("/") + 1 :]
        self.server.index.arrived.set()
        self.server.index.closing.wait(sub.delay)
        if sub.status is not None:
            return self._answer(sub.status, "text/plain", b"the index is not well")
        if sub.credentials and self._sent_credentials() != sub.credentials:
            return self._answer(401, "text/plain", b"who are you?", {"WWW-Authenticate": f'Basic realm="{name}"'})
        if sub.folder is not None:
            return self._shared(sub.folder.joinpath(*parts))
        if kind == "files" and sub.files_at:
            return self._answer(302, "text/plain", b"over there", {"Location": f"/files/{sub.files_at}/{quote(parts[-1])}"})
        if kind == "files":
            return self._file(sub, parts[-1])
        if kind == "links" or (parts and parts[0].endswith(".html")):
            return self._answer(200, "text/html", _page(f"Files of {name}", [_link(*one) for one in self._listed(sub)]))
        return self._project_page(sub, parts[0]) if parts else self._root_page(sub)

    def _index_of(self, parts: list[str]) -> str:
        """The name of the index that a path is in: names may have slashes, and the longest one counts."""
        names = ["/".join(parts[:end]) for end in range(len(parts), 0, -1)]
        return next((name for name in names if name in self.server.index._indexes), "")

    def _listed(self, sub: SubIndex) -> list[tuple[SubIndex, Published]]:
        subs = [sub, *(self.server.index._indexes[name] for name in sub.parts)]
        return [(one, published) for one in subs for published in one.files]

    def _sent_credentials(self) -> tuple[str, str] | None:
        scheme, _, encoded = self.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "basic":
            return None
        user, _, password = base64.b64decode(encoded).decode().partition(":")
        return user, password

    def _root_page(self, sub: SubIndex) -> None:
        names = sorted({normalized(published.archive.name) for _, published in self._listed(sub)})
        if self._wants_json(sub):
            self._answer_json({"meta": {"api-version": "1.1"}, "projects": [{"name": name} for name in names]})
        else:
            self._answer(200, _HTML, _page("Simple index", [f'<a href="/{sub.name}/{name}/">{name}</a>' for name in names]))

    def _project_page(self, sub: SubIndex, name: str) -> None:
        files = [(one, published) for one, published in self._listed(sub) if normalized(published.archive.name) == normalized(name)]
        if not files:
            self._answer(404, "text/plain", b"no such project")
        elif self._wants_json(sub):
            versions = sorted({published.archive.version for _, published in files})
            listed = [_file_entry(*one) for one in files]
            page = {"meta": {"api-version": "1.1"}, "name": normalized(name), "versions": versions, "files": listed}
            self._answer_page(sub, _JSON, json.dumps(page).encode())
        else:
            self._answer_page(sub, _HTML, _page(f"Links for {name}", [_link(*one) for one in files]))

    def _answer_page(self, sub: SubIndex, content_type: str, body: bytes) -> None:
        """A page, or with `etags` the word that it has not changed."""
        headers = {} if sub.max_age is None else {"Cache-Control": f"max-age={sub.max_age}"}
        if sub.etags:
            headers["ETag"] = f'"{hashlib.sha256(body).hexdigest()[:16]}"'
            if self.headers.get("If-None-Match") == headers["ETag"]:
                return self._answer(304, content_type, b"", headers)
        return self._answer(200, content_type, body, headers)

    def _wants_json(self, sub: SubIndex) -> bool:
        return sub.json and _JSON in self.headers.get("Accept", "")

    def _file(self, sub: SubIndex, filename: str) -> None:
        for published in sub.files:
            archive = published.archive
            if filename == archive.filename:
                return self._answer(200, "application/octet-stream", archive.content, _FOREVER)
            if sub.metadata and archive.metadata is not None and filename == f"{archive.filename}.metadata":
                return self._answer(200, "application/octet-stream", archive.metadata, _FOREVER)
        return self._answer(404, "text/plain", b"no such file")

    def _shared(self, file: Path) -> None:
        if file.is_file():
            return self._answer(200, "application/octet-stream", file.read_bytes())
        return self._answer(404, "text/plain", b"no such file")

    def _answer_json(self, data: Any) -> None:
        self._answer(200, _JSON, json.dumps(data).encode())

    def _answer(self, status: int, content_type: str, body: bytes, headers: dict[str, str] | None = None) -> None:
        status, body, headers = self._ranged(status, body, headers or {})
        credentials = self._sent_credentials()
        # Before anything is sent: who has got an answer without a body looks here at once.
        self.server.index.requests.append(Request(self.command, self.path, status, credentials[0] if credentials else None))
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        for key, value in headers.items():
            self.send_header(key, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _ranged(self, status: int, body: bytes, headers: dict[str, str]) -> tuple[int, bytes, dict[str, str]]:
        wanted = self.headers.get("Range", "")
        if status != 200 or not wanted.startswith("bytes="):
            return status, body, headers
        first, _, last = wanted.removeprefix("bytes=").partition("-")
        start = int(first) if first else max(0, len(body) - int(last))
        end = min(int(last), len(body) - 1) if first and last else len(body) - 1
        return 206, body[start : end + 1], {**headers, "Content-Range": f"bytes {start}-{end}/{len(body)}"}


def _kind_of(parts: list[str]) -> tuple[str, list[str]]:
    """What is asked for (``files``, ``links`` or a page), and the path within that."""
    return (parts[0], parts[1:]) if parts[:1] in (["files"], ["links"]) and len(parts) > 1 else ("page", parts)


_FOREVER = {"Cache-Control": "max-age=365000000, immutable, public", "Accept-Ranges": "bytes"}


def _digest(sub: SubIndex, published: Published) -> str:
    return "0" * 64 if sub.wrong_hashes else published.archive.sha256


def _file_entry(sub: SubIndex, published: Published) -> dict[str, Any]:
    archive = published.archive
    entry: dict[str, Any] = {
        "filename": archive.filename,
        "url": f"/files/{sub.name}/{quote(archive.filename)}",
        "hashes": {"sha256": _digest(sub, published)} if sub.hashes else {},
        "size": len(archive.content),
        "upload-time": published.upload_time,
        "yanked": False if published.yanked is None else published.yanked or True,
    }
    if archive.requires_python:
        entry["requires-python"] = archive.requires_python
    if sub.metadata and archive.metadata is not None:
        entry["core-metadata"] = True
    return entry


def _link(sub: SubIndex, published: Published) -> str:
    archive = published.archive
    fragment = f"#sha256={_digest(sub, published)}" if sub.hashes else ""
    attributes = [f'href="/files/{sub.name}/{quote(archive.filename)}{fragment}"']
    attributes += [f'data-requires-python="{html.escape(archive.requires_python)}"'] if archive.requires_python else []
    attributes += [f'data-yanked="{html.escape(published.yanked)}"'] if published.yanked is not None else []
    attributes += ['data-core-metadata="true"'] if sub.metadata and archive.metadata is not None else []
    return f"<a {' '.join(attributes)}>{archive.filename}</a>"


def _page(title: str, links: Sequence[str]) -> bytes:
    body = "<br>\n".join(links)
    return f"<!DOCTYPE html><html><head><title>{html.escape(title)}</title></head><body>\n{body}\n</body></html>".encode()
