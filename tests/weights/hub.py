"""A small server that speaks the routes of Hugging Face's hub, and gives out single files."""

from __future__ import annotations

import hashlib
import json
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import parse_qs, unquote, urlsplit

LARGE = 1000
"""Files of this size (bytes) or more are kept apart from git, with a digest of their own, as with git-lfs."""


@dataclass
class Hub:
    """Repositories by name: each has commits (a digest of its files) by ref. Every request is kept, with the token that came with it.

    ``token`` is needed for everything, where it is set; ``cut`` breaks each download after so many bytes, once; ``stall`` sends so many bytes
    of each and no more as long as it is set; ``page`` is how many files one page lists; ``says`` is what it says of large files, by path, in place
    of what is so.
    """

    repositories: dict[str, dict[str, dict[str, bytes]]] = field(default_factory=dict)
    singles: dict[str, bytes] = field(default_factory=dict)
    token: str | None = None
    cut: int = 0
    stall: int = 0
    page: int = 1000
    etags: bool = True
    requests: list[tuple[str, str, str | None]] = field(default_factory=list)
    broken: set[str] = field(default_factory=set)
    says: dict[str, dict[str, Any]] = field(default_factory=dict)

    def __enter__(self) -> Self:
        handler = type("Handler", (_Handler,), {"hub": self})
        self._servers = [ThreadingHTTPServer(("127.0.0.1", 0), handler) for _ in range(2)]
        self._threads = [threading.Thread(target=one.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True) for one in self._servers]
        for server, thread in zip(self._servers, self._threads, strict=True):
            server.daemon_threads = True
            thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        for server, thread in zip(self._servers, self._threads, strict=True):
            server.shutdown()
            thread.join()
            server.server_close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._servers[0].server_address[1]}"

    @property
    def elsewhere(self) -> str:
        """Another server, which large files come from."""
        return f"http://127.0.0.1:{self._servers[1].server_address[1]}"

    def blob(self, digest: str) -> bytes:
        every = (content for refs in self.repositories.values() for files in refs.values() for content in files.values())
        return next(content for content in every if hashlib.sha256(content).hexdigest() == digest)

    def files(self, repository: str, commit: str) -> dict[str, bytes] | None:
        known = self.repositories.get(repository, {}).values()
        return next((files for files in known if commit_of(files) == commit), None)


def commit_of(files: dict[str, bytes]) -> str:
    return hashlib.sha1(repr(sorted(files.items())).encode()).hexdigest()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: Hub

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        token = (self.headers.get("Authorization") or "").removeprefix("Bearer ") or None
        self.hub.requests.append((self.path, self.headers.get("Range") or "", token))
        path = unquote(parts.path)
        if path.startswith("/cdn/"):
            self._send(self.hub.blob(path.removeprefix("/cdn/")))
        elif path.startswith("/files/"):
            content = self.hub.singles.get(path.removeprefix("/files/"))
            self._send(content) if content is not None else self._answer(404, b"")
        elif self.hub.token and token != self.hub.token:
            self._answer(401, b"{}")
        else:
            self._route(path, parse_qs(parts.query))

    def _route(self, path: str, query: dict[str, list[str]]) -> None:
        words = path.strip("/").split("/")
        if words[:2] == ["api", "models"]:
            repository, kind, ref = "/".join(words[2:4]), words[4], "/".join(words[5:])
            refs = self.hub.repositories.get(repository, {})
            if kind == "revision":
                found = refs.get(ref) or self.hub.files(repository, ref)
                self._json({"sha": commit_of(found)}) if found else self._answer(404, b"{}")
            else:
                self._tree(repository, ref, int(query.get("cursor", ["0"])[0]))
            return
        if words[:2] == ["api", "resolve-cache"]:
            words = words[2:]
        repository, commit, file = "/".join(words[:2]), words[3], "/".join(words[4:])
        content = (self.hub.files(repository, commit) or {}).get(file)
        if content is None:
            self._answer(404, b"")
        elif len(content) >= LARGE:
            self._answer(302, b"", {"Location": f"{self.hub.elsewhere}/cdn/{hashlib.sha256(content).hexdigest()}"})
        elif not path.startswith("/api/"):  # the hub keeps those apart too, on the same server
            self._answer(307, b"", {"Location": f"/api/resolve-cache{path}"})
        else:
            self._send(content)

    def _tree(self, repository: str, commit: str, start: int) -> None:
        files = self.hub.files(repository, commit) or {}
        entries: list[dict[str, Any]] = [{"type": "directory", "path": "onnx", "size": 0}]
        for path, content in sorted(files.items()):
            entry: dict[str, Any] = {"type": "file", "path": path, "size": len(content), "oid": "0" * 40}
            if len(content) >= LARGE:
                entry["lfs"] = {"oid": hashlib.sha256(content).hexdigest(), "size": len(content), "pointerSize": 134}
            entries.append({**entry, **self.hub.says.get(path, {})})
        end = start + self.hub.page
        following = f"/api/models/{repository}/tree/{commit}?recursive=true&cursor={end}"
        self._json(entries[start:end], {"Link": f'<{self.hub.url}{following}>; rel="next"'} if end < len(entries) else {})

    def _json(self, record: Any, headers: dict[str, str] | None = None) -> None:
        self._answer(200, json.dumps(record).encode(), headers)

    def _send(self, content: bytes) -> None:
        """A file, from where the request wants it on; cut off in the middle, the first time, where the hub is told so."""
        etag = f'"{hashlib.sha256(content).hexdigest()[:16]}"'
        start = int((self.headers.get("Range") or "bytes=0-").removeprefix("bytes=").rstrip("-"))
        if self.headers.get("If-Range") not in (None, etag):
            start = 0
        if start >= len(content) and start:
            self._answer(416, b"")
            return
        headers = {"ETag": etag} if self.hub.etags else {}
        rest = content[start:]
        self.send_response(206 if start else 200)
        for name, value in {**headers, "Content-Length": str(len(rest))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.hub.cut and self.path not in self.hub.broken and len(rest) > self.hub.cut:
            self.hub.broken.add(self.path)
            rest = rest[: self.hub.cut]
            self.close_connection = True
        elif self.hub.stall and len(rest) > self.hub.stall:
            self.wfile.write(rest[: self.hub.stall])
            self.wfile.flush()
            while self.hub.stall:
                time.sleep(0.01)
            self.close_connection = True
            return
        self.wfile.write(rest)

    def _answer(self, status: int, content: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {**(headers or {}), "Content-Length": str(len(content))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 -- the base class's name
        """Say nothing."""
