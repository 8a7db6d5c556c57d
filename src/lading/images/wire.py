"""HTTP to a registry: connections that are kept, passwords and tokens, redirects, and another try where that may help."""

from __future__ import annotations

import base64
import contextlib
import http.client
import json
import os
import re
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import CancelledError
from typing import Any
from urllib.parse import unquote, urlencode, urljoin, urlsplit

from lading.images.credentials import Login
from lading.model.records import dataclass

Body = bytes | Callable[[], Iterable[bytes]]
Sink = Callable[[http.client.HTTPResponse], None]
TRANSIENT = (OSError, http.client.HTTPException)
TRIES = 5
_SECONDS = 60.0
_SECONDS_TO_CONNECT = 10.0
"""Until a server takes the connection, and again for the handshake of TLS: nothing can cut that short."""
_REDIRECTS = (301, 302, 303, 307, 308)
BUSY = (429, 500, 502, 503, 504)
_CHALLENGE = re.compile(r'(\w+)="([^"]*)"')


@dataclass(slots=True)
class Answer:
    """What the server at ``url`` said. ``headers`` have lower-case names."""

    url: str
    status: int
    headers: Mapping[str, str]
    body: bytes = b""

    def header(self, name: str) -> str:
        """A header's value, empty where it is missing."""
        return self.headers.get(name, "")


class _Plain(http.client.HTTPConnection):
    """A connection that ``made`` hears of when it is there."""

    made: Callable[[http.client.HTTPConnection], None]

    def connect(self) -> None:
        super().connect()
        self.made(self)


class _Encrypted(_Plain, http.client.HTTPSConnection):
    """The same, with TLS, whose handshake is over when it is there."""


class Wire:
    """Requests to one server and those that it sends us to. May be used by several threads: each has its own connections.

    ``root`` is the server's address. The login and the tokens that it brings are for this server alone, on the way that ``root`` says: others,
    which its redirects and the addresses of uploads name, get none, whatever they ask for.
    """

    def __init__(self, root: str, login: Login | None = None) -> None:
        self._root, self._login = root, login
        self._local = threading.local()
        self._tokens: dict[str, str] = {}
        self._lock = threading.Lock()
        self._all: list[http.client.HTTPConnection] = []
        self._is_cut = False

    def request(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str] | None = None,
        body: Body | None = None,
        *,
        length: int = 0,
        sink: Sink | None = None,
        tries: int = TRIES,
    ) -> Answer:
        """One request. ``sink`` reads the body of an answer of 200 or 206; others' bodies are in the answer.

        Raises:
            OSError, http.client.HTTPException: if there was no answer after ``tries`` tries.
            CancelledError: after `cut`.
        """
        for attempt in range(tries):
            if self._is_cut:
                raise CancelledError
            last = attempt == tries - 1
            try:
                answer = self._authorized(method, url, dict(headers or {}), body, length, sink)
            except TRANSIENT as error:
                self.drop()
                if last or isinstance(error, (ssl.SSLCertVerificationError, http.client.InvalidURL)):
                    raise
            else:
                if answer.status not in BUSY or last:
                    return answer
            time.sleep(pause(attempt))
        raise AssertionError("unreachable")

    def _authorized(self, method: str, url: str, headers: dict[str, str], body: Body | None, length: int, sink: Sink | None) -> Answer:
        if not _may_know(self._root, url):
            return self._follow(method, url, headers, body, length, sink)
        scope_key = f"{method not in ('GET', 'HEAD')} {urlsplit(url).path.partition('/blobs/')[0].partition('/manifests/')[0]}"
        token = self._tokens.get(scope_key)
        answer = self._follow(method, url, {**headers, **({"Authorization": token} if token else {})}, body, length, sink)
        if answer.status != 401 or not _may_know(self._root, answer.url):
            return answer
        fresh = self._authorization(answer.header("www-authenticate"))
        if fresh is None or fresh == token:
            return answer
        with self._lock:
            self._tokens[scope_key] = fresh
        return self._follow(method, url, {**headers, "Authorization": fresh}, body, length, sink)

    def _authorization(self, challenge: str) -> str | None:
        """The header that answers a challenge; the scope of a token may name several repositories (for a mount)."""
        kind, _, rest = challenge.partition(" ")
        fields = dict(_CHALLENGE.findall(rest))
        if kind.lower() == "basic" and self._login and self._login.user:
            return self._basic(self._login)
        if kind.lower() != "bearer" or "realm" not in fields:
            return None
        try:
            token = self._token(fields)
        except ValueError:  # what is to give it has no address
            return None
        return f"Bearer {token}" if token else None

    @staticmethod
    def _basic(login: Login) -> str:
        return "Basic " + base64.b64encode(f"{login.user}:{login.password.reveal()}".encode()).decode()

    def _token(self, fields: Mapping[str, str]) -> str | None:
        scopes = fields.get("scope", "").split()
        # The server that gives tokens may be another, which the registry vouches for; but not one that everybody on the way could be.
        encrypted = urlsplit(fields["realm"]).scheme == "https" or urlsplit(self._root).scheme != "https"
        login = self._login if encrypted else None
        if login and not login.user:
            form = {"grant_type": "refresh_token", "refresh_token": login.password.reveal(), "client_id": "lading"}
            form |= {"service": fields.get("service", ""), "scope": " ".join(scopes)}
            content = urlencode(form).encode()
            headers = {"Content-Type": "application/x-www-form-urlencoded"}
            answer = self._follow("POST", fields["realm"], headers, content, len(content), None)
        else:
            query = [("service", fields["service"])] if "service" in fields else []
            url = f"{fields['realm']}?{urlencode([*query, *(('scope', scope) for scope in scopes)])}"
            answer = self._follow("GET", url, {"Authorization": self._basic(login)} if login else {}, None, 0, None)
        try:
            record: Any = json.loads(answer.body)
            return str(record.get("token") or record["access_token"])
        except (ValueError, KeyError, TypeError, AttributeError):
            return None

    def _follow(self, method: str, url: str, headers: Mapping[str, str], body: Body | None, length: int, sink: Sink | None) -> Answer:
        """Redirects of what is read; a password is for the server that asked for it alone."""
        answer = self._once(method, url, headers, body, length, sink)
        for _ in range(5):
            if answer.status not in _REDIRECTS or method not in ("GET", "HEAD"):
                break
            try:
                target = urljoin(url, answer.header("location"))
                same = _may_know(url, target)
            except ValueError as error:
                raise http.client.InvalidURL(f"it sends on to {answer.header('location')!r}, which is no address") from error
            if not same:
                headers = {name: value for name, value in headers.items() if name != "Authorization"}
            url = target
            answer = self._once(method, url, headers, body, length, sink)
        return answer

    def _once(self, method: str, url: str, headers: Mapping[str, str], body: Body | None, length: int, sink: Sink | None) -> Answer:
        parts = urlsplit(url)
        connection = self._connection(parts.scheme, parts.netloc)
        path = parts.path + (f"?{parts.query}" if parts.query else "")
        proxy = find_proxy(parts.scheme, parts.netloc) if parts.scheme == "http" else None
        if proxy is not None:  # it wants the whole address; one for HTTPS passes on what it cannot read
            path = f"http://{parts.netloc}{path}"
        sent = {
            "User-Agent": "lading",
            **({"Proxy-Authorization": proxy.login} if proxy and proxy.login else {}),
            **headers,
            **({"Content-Length": str(length)} if body is not None or method in ("POST", "PUT") else {}),
        }
        try:
            connection.request(method, path, body=body() if callable(body) else body, headers=sent)
            response = connection.getresponse()
        except (BrokenPipeError, ConnectionResetError):
            # A server that says no may close before it has read everything: its answer may be there all the same.
            response = self._early(connection)
        found = {name.lower(): value for name, value in response.getheaders()}
        if sink is not None and response.status in (200, 206):
            sink(response)
            return Answer(url, response.status, found)
        answer = Answer(url, response.status, found, response.read())
        if found.get("connection", "").lower() == "close":
            self.drop()
        return answer

    @staticmethod
    def _early(connection: http.client.HTTPConnection) -> http.client.HTTPResponse:
        if connection.sock is None:
            raise ConnectionResetError("the connection was closed")
        response = http.client.HTTPResponse(connection.sock)
        response.begin()
        return response

    def _connection(self, scheme: str, netloc: str) -> http.client.HTTPConnection:
        kept: dict[str, _Plain] = self._local.__dict__.setdefault("connections", {})
        key = f"{scheme}://{netloc}"
        if key not in kept:
            proxy = find_proxy(scheme, netloc)
            server = proxy.netloc if proxy else netloc
            if scheme == "https":
                made = _Encrypted(server, timeout=_SECONDS_TO_CONNECT, context=ssl.create_default_context(), blocksize=1 << 20)
                if proxy:
                    made.set_tunnel(netloc, headers={"Proxy-Authorization": proxy.login} if proxy.login else {})
                kept[key] = made
            else:
                kept[key] = _Plain(server, timeout=_SECONDS_TO_CONNECT, blocksize=1 << 20)
            kept[key].made = self._made
            with self._lock:
                self._all.append(kept[key])
        return kept[key]

    def close(self) -> None:
        """Close every thread's connections."""
        with self._lock:
            for connection in self._all:
                with contextlib.suppress(OSError):
                    connection.close()
            self._all.clear()

    def cut(self) -> None:
        """Break every thread's connections, also one that waits for a server that is silent; no request begins any more."""
        with self._lock:
            self._is_cut = True
            for connection in self._all:
                if connection.sock is not None:
                    # Not its own method: after that of TLS another thread would send what is left of its data without encryption.
                    with contextlib.suppress(OSError):
                        socket.socket.shutdown(connection.sock, socket.SHUT_RDWR)

    def _made(self, connection: http.client.HTTPConnection) -> None:
        """A connection that is there: it may take longer to answer than it took to be made, unless it comes too late."""
        connection.sock.settimeout(_SECONDS)
        with self._lock:
            if self._is_cut:
                raise CancelledError

    def drop(self) -> None:
        """Close this thread's connections: after a failure none of them is in a known state."""
        for connection in self._local.__dict__.pop("connections", {}).values():
            with contextlib.suppress(OSError):
                connection.close()


def _may_know(url: str, target: str) -> bool:
    """Whether a password for one address may go to another: the same server, and not without encryption where it was encrypted."""
    return same_server(url, target) and urlsplit(target).scheme in (urlsplit(url).scheme, "https")


def same_server(url: str, other: str) -> bool:
    """Whether two addresses are of one server, encrypted or not; the port that a scheme stands for may be left out."""
    first, second = (
        parts.netloc.lower().removesuffix({"https": ":443", "http": ":80"}.get(parts.scheme, ""))
        for parts in (urlsplit(url), urlsplit(other))
    )
    return first == second


@dataclass(frozen=True, slots=True)
class Proxy:
    """A proxy that leads to a server; ``login`` is the header that lets us in, or empty."""

    netloc: str
    login: str


def find_proxy(scheme: str, netloc: str, environ: Mapping[str, str] | None = None) -> Proxy | None:
    """The proxy that ``HTTPS_PROXY`` and ``HTTP_PROXY`` name for a server; none for this machine, and for what ``NO_PROXY`` names."""
    variables = os.environ if environ is None else environ
    named = variables.get(f"{scheme}_proxy") or variables.get(f"{scheme.upper()}_PROXY") or ""
    host = urlsplit(f"//{netloc}").hostname or ""
    if not named or host == "localhost" or host.startswith("127.") or host == "::1":
        return None
    from urllib.request import proxy_bypass_environment  # type: ignore[attr-defined] # noqa: PLC0415 -- takes long to load, and few have a proxy

    if proxy_bypass_environment(netloc, {"no": variables.get("no_proxy") or variables.get("NO_PROXY") or ""}):
        return None
    parts = urlsplit(named if "://" in named else f"http://{named}")
    user = f"{unquote(parts.username)}:{unquote(parts.password or '')}" if parts.username else ""
    login = f"Basic {base64.b64encode(user.encode()).decode()}" if user else ""
    return Proxy(parts.netloc.rpartition("@")[2], login)


def pause(attempt: int) -> float:
    """Seconds to wait before another try."""
    return min(0.2 * 2.0**attempt, 5.0)
