"""Pushing to a real registry: only what is missing, with a password, with a token, and over connections that break."""

from __future__ import annotations

import base64
import contextlib
import http.client
import io
import json
import shutil
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from lading.images import registry as registry_module
from lading.images.base import load_base
from lading.images.credentials import Login, find_login
from lading.images.interpreters import host_platform
from lading.images.media import Descriptor, digest_of
from lading.images.reference import local_name, parse_reference
from lading.images.registry import Registry
from lading.images.store import Store
from lading.images.wire import Wire, find_proxy
from lading.locks.bases import read_bases
from lading.model.problems import ExitCode, LadingError
from lading.model.records import replace
from lading.model.secrets import Secret
from tests.images import support
from tests.images.support import Command, RunningRegistry, podman, push_base, serving, which, write
from tests.support.ports import free_port


class Memory:
    """Blobs in memory."""

    def __init__(self, *blobs: bytes) -> None:
        self.blobs = {digest_of(blob): blob for blob in blobs}

    def open(self, digest: str) -> Any:
        return io.BytesIO(self.blobs[digest])

    def descriptor(self) -> Descriptor:
        ((digest, blob),) = self.blobs.items()
        return Descriptor(media_type="application/octet-stream", digest=digest, size=len(blob))


@pytest.mark.parametrize(
    ("text", "spelled"),
    [
        ("python:3.11-slim", "docker.io/library/python:3.11-slim"),
        ("me/model", "docker.io/me/model:latest"),
        ("ghcr.io/me/model:v1", "ghcr.io/me/model:v1"),
        ("localhost/model", "localhost/model:latest"),
        ("127.0.0.1:5000/a/b:c", "127.0.0.1:5000/a/b:c"),
        ("[::1]:5000/a", "[::1]:5000/a:latest"),
    ],
)
def test_names_are_taken_apart_as_docker_does(text: str, spelled: str) -> None:
    assert str(parse_reference(text)) == spelled


@pytest.mark.parametrize("text", ["", "UPPER/case", "a:b:c", "a//b", "-x", "a@sha256:12", "a:", "http://x/y"])
def test_what_is_no_name_is_refused(text: str) -> None:
    with pytest.raises(LadingError) as caught:
        parse_reference(text)
    assert caught.value.problems[0].rule == "image-name-invalid"


def test_nothing_is_built_or_pushed_by_a_digest(
    build: Callable[..., Any], lading: Command, project: Path, registry: RunningRegistry
) -> None:
    """It would have become ``latest``, whatever that was."""
    name = f"{registry.host}/pinned/model@sha256:{'0' * 64}"
    refused = lading("build", project, "-t", name, "--json", check=False).data["problems"][0]
    assert refused["rule"] == "image-name-invalid"
    assert f"{registry.host}/pinned/model:v1" in refused["instead"]
    build(project, "-t", "unpinned:v1")
    pushed = lading("push", "unpinned:v1", name, "--json", check=False).data["problems"][0]
    assert pushed["rule"] == "image-name-invalid"
    with Registry(parse_reference(f"{registry.host}/pinned/model")) as asked:
        assert asked.digest_of("latest") is None


def test_the_store_keeps_names_as_they_were_given() -> None:
    assert [local_name(name) for name in ("a", "a:b", "x/a", "ghcr.io/x/a:b")] == ["a:latest", "a:b", "x/a:latest", "ghcr.io/x/a:b"]


def test_push_sends_what_is_missing_then_nothing_then_mounts(
    lading: Command, build: Callable[..., Any], project: Path, registry: RunningRegistry
) -> None:
    name = f"{registry.host}/first/model:v1"
    built = build(project, "-t", name)
    first = lading("push", name, "--json").data
    assert first["digest"] == built["digest"]
    assert first["sent"] + first["mounted"] > 3  # another test may have pushed some of them
    again = lading("push", name, "--json").data
    assert (again["sent"], again["mounted"]) == (0, 0)
    other = lading("push", name, f"{registry.host}/second/model:v1", "--json").data
    assert (other["sent"], other["there"]) == (0, 0)
    (project / "predict.py").write_text("# changed\n" + (project / "predict.py").read_text())
    changed = build(project, "-t", name, "--push")
    assert changed["digest"] != built["digest"]
    with Registry(parse_reference(name)) as served_by:
        served = served_by.manifest("v1")[0]
    assert digest_of(served) == changed["digest"]


@pytest.mark.slow
def test_an_image_for_two_platforms_is_one_name(
    lading: Command, project: Path, registry: RunningRegistry, base: Path, tmp_path: Path
) -> None:
    """Made from a base that is in the registry for both; nothing of the other platform runs here."""
    (project / "requirements.txt").write_text("greeting==1.0\n")
    with_python = shutil.copytree(base, tmp_path / "base", symlinks=True)
    version = f"{sys.version_info[0]}.{sys.version_info[1]}"
    (with_python / f"usr/bin/python{version}").write_text("never run")
    bases = [push_base(registry.host, with_python, platform, tmp_path) for platform in ("linux/amd64", "linux/arm64")]
    name = f"{registry.host}/both:v1"
    content = json.dumps({"schemaVersion": 2, "mediaType": _INDEX, "manifests": bases}).encode()
    with Registry(parse_reference(f"{registry.host}/bases:all")) as repository:
        repository.put_manifest(content, _INDEX, "all")
    ran = lading(
        "build",
        project,
        "-t",
        name,
        "--base",
        f"{registry.host}/bases:all",
        "--platform",
        "linux/amd64,linux/arm64",
        "--json",
        "--push",
        check=False,
    )
    assert ran.code == 0, ran.out + ran.err
    with Registry(parse_reference(name)) as served:
        index = json.loads(served.manifest("v1")[0])
        beside = [json.loads(served.manifest(entry["digest"].replace(":", "-"))[0]) for entry in index["manifests"]]
    assert [entry["platform"]["architecture"] for entry in index["manifests"]] == ["amd64", "arm64"]
    assert [len(one["manifests"]) for one in beside] == [1, 1]  # a bill of materials for each
    # One line of the lock holds for both.
    assert read_bases((project / "base.lock").read_text(), "base.lock") == {f"{registry.host}/bases:all": digest_of(content)}


_INDEX = "application/vnd.oci.image.index.v1+json"


def test_a_base_that_was_pulled_is_there_without_a_network(base: Path, tmp_path: Path) -> None:
    store = Store(tmp_path / "pulled-store")
    with RunningRegistry(tmp_path / "registry-for-a-while") as registry:
        name = f"{registry.host}/bases@{push_base(registry.host, base, host_platform(), tmp_path)['digest']}"
        pulled = load_base(name, host_platform(), store)
    again = load_base(name, host_platform(), store, offline=True)
    assert replace(again, layers=()) == replace(pulled, layers=())
    assert [layer.diff_id for layer in again.layers] == [layer.diff_id for layer in pulled.layers]
    store.path(pulled.layers[0].descriptor.digest).unlink()
    for gone in (name, f"{registry.host}/another:v1"):
        with pytest.raises(LadingError) as caught:
            load_base(gone, host_platform(), store, offline=True)
        assert caught.value.problems[0].rule == "offline-not-cached"


def test_a_registry_with_a_password(lading: Command, build: Callable[..., Any], project: Path, tmp_path: Path) -> None:
    with RunningRegistry(tmp_path / "guarded", login=True) as guarded:
        name = f"{guarded.host}/model:v1"
        built = build(project, "-t", name)
        refused = lading("push", name, "--json", check=False)
        assert refused.data["problems"][0]["rule"] == "registry-refused"
        token = base64.b64encode(b"alice:wonder land").decode()
        config = tmp_path / "docker" / "config.json"
        support.write(tmp_path, {"docker/config.json": json.dumps({"auths": {guarded.host: {"auth": token}}})})
        pushed = lading("push", name, "--json", DOCKER_CONFIG=str(config.parent))
        assert pushed.data["digest"] == built["digest"]
        helper = tmp_path / "bin" / "docker-credential-test"
        support.write(
            tmp_path, {"bin/docker-credential-test": '#!/bin/sh\ncat >/dev/null; echo \'{"Username": "alice", "Secret": "wonder land"}\'\n'}
        )
        helper.chmod(0o755)
        support.write(tmp_path, {"docker/config.json": json.dumps({"credHelpers": {guarded.host: "test"}})})
        again = lading("push", name, "--json", DOCKER_CONFIG=str(config.parent), PATH=f"{helper.parent}:{support.SBIN}")
        assert again.data["there"] > 3


@pytest.mark.parametrize(
    ("registry", "asked"), [("123.dkr.ecr.example.com", "123.dkr.ecr.example.com"), ("docker.io", "https://index.docker.io/v1/")]
)
def test_a_helper_for_everything_is_asked_though_no_login_is_noted(tmp_path: Path, registry: str, asked: str) -> None:
    """As ``docker-credential-ecr-login``, which needs no ``docker login`` before."""
    script = f'#!/bin/sh\n[ "$(cat)" = {asked} ] && echo \'{{"Username": "AWS", "Secret": "word"}}\'\n'
    write(tmp_path, {"bin/docker-credential-test": script, "docker/config.json": '{"credsStore": "test"}'})
    (tmp_path / "bin/docker-credential-test").chmod(0o755)
    environ = {"DOCKER_CONFIG": str(tmp_path / "docker"), "PATH": f"{tmp_path / 'bin'}:{support.SBIN}", "HOME": str(tmp_path)}
    login = find_login(parse_reference(f"{registry}/team/model:v1"), environ)
    assert login is not None
    assert (login.user, login.password.reveal()) == ("AWS", "word")


@pytest.mark.parametrize("content", ['{"auths": {"example.com": {"auth": "a"}}}', '{"auths": {"example.com": {"auth": 5}}}'])
def test_a_login_that_cannot_be_read_is_named(tmp_path: Path, content: str) -> None:
    path = write(tmp_path, {"auth.json": content}) / "auth.json"
    with pytest.raises(LadingError) as caught:
        find_login(parse_reference("example.com/model:v1"), {"REGISTRY_AUTH_FILE": str(path), "HOME": str(tmp_path)})
    (problem,) = caught.value.problems
    assert (problem.rule, str(problem.origin)) == ("registry-login-unreadable", str(path))


@pytest.mark.parametrize("content", ['{"auths": ["x"]}', '{"auths": {"example.com": "x"}}', '{"credHelpers": "x"}', "[]", "{"])
def test_a_file_without_logins_gives_none(tmp_path: Path, content: str) -> None:
    path = write(tmp_path, {"auth.json": content}) / "auth.json"
    assert find_login(parse_reference("example.com/model:v1"), {"REGISTRY_AUTH_FILE": str(path), "HOME": str(tmp_path)}) is None


class _Secure(ThreadingHTTPServer):
    """HTTPS and HTTP on one port, told apart by the first byte."""

    context: ssl.SSLContext

    def get_request(self) -> tuple[socket.socket, Any]:
        client, address = super().get_request()
        return (self.context.wrap_socket(client, server_side=True) if client.recv(1, socket.MSG_PEEK) == b"\x16" else client), address


class _Downgrading(BaseHTTPRequestHandler):
    """Asks for a password, and sends what has it on to itself without encryption."""

    heard: list[tuple[bool, str]]

    def do_HEAD(self) -> None:
        secure, login = isinstance(self.connection, ssl.SSLSocket), self.headers.get("Authorization") or ""
        self.heard.append((secure, login))
        self.send_response(200 if not secure else 307 if login else 401)
        self.send_header("Location", f"http://{self.headers['Host']}{self.path}")
        self.send_header("WWW-Authenticate", 'Basic realm="test"')
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 -- the base class's name
        """Say nothing."""


def _secure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> type[_Secure]:
    """A kind of server that this process trusts."""
    key, certificate = tmp_path / "key.pem", tmp_path / "cert.pem"
    made = ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=test", "-addext", "subjectAltName=IP:127.0.0.1"]
    subprocess.run([which("openssl"), *made, "-keyout", key, "-out", certificate], check=True, capture_output=True)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    return type("Server", (_Secure,), {"context": context})


def test_a_password_is_not_sent_on_without_encryption(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    heard: list[tuple[bool, str]] = []
    server = _secure(tmp_path, monkeypatch)
    with serving(type("Downgrading", (_Downgrading,), {"heard": heard}), server) as host:
        login = Login("ada", Secret("wonder land"))
        with Registry(parse_reference(f"{host}/x:v1"), login, insecure=False) as asking:
            assert asking.has("sha256:" + "0" * 64)
    assert [(secure, bool(sent)) for secure, sent in heard] == [(True, False), (True, True), (False, False)]


def test_a_connection_that_is_cut_stays_encrypted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What its thread still had to send would go out as it is, if the connection were told to end its encryption."""
    heard: list[tuple[bool, str]] = []
    handler = type("Handler", (_Downgrading,), {"heard": heard, "protocol_version": "HTTP/1.1"})
    with serving(handler, _secure(tmp_path, monkeypatch)) as host:
        cut = Wire(f"https://{host}")
        assert cut.request("HEAD", f"https://{host}/").status == 401
        (connection,) = cut._all
        cut.cut()
        assert isinstance(connection.sock, ssl.SSLSocket)
        assert connection.sock.version() is not None
        with pytest.raises(OSError):
            connection.sock.sendall(b"x" * 100_000)
        with pytest.raises(CancelledError):
            cut.request("HEAD", f"https://{host}/")
        cut.close()


class _Asking(BaseHTTPRequestHandler):
    """Asks for what it is told to (a challenge, ``HOST`` standing for itself), and keeps which authorizations came, with or without encryption.

    Who is let in gets blobs from ``elsewhere``, and sends uploads there.
    """

    protocol_version = "HTTP/1.1"
    challenge = ""
    elsewhere = ""
    content = b""
    heard: list[tuple[str, str]]

    def _any(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        login, host = self.headers.get("Authorization") or "", self.headers["Host"]
        self.heard.append((("https " if isinstance(self.connection, ssl.SSLSocket) else "http ") + self.command, login))
        if self.path.startswith("/token"):
            self._answer(200, b'{"token": "t"}')
        elif self.challenge and not login:
            self._answer(401, b"", **{"WWW-Authenticate": self.challenge.replace("HOST", host)})
        elif self.command in ("GET", "HEAD"):
            answers = (307, b"") if self.elsewhere and self.command == "GET" else (404 if self.command == "HEAD" else 200, self.content)
            self._answer(*answers, Location=f"{self.elsewhere}/blob")
        else:
            self._answer(
                202 if self.command == "POST" else 201, Location=f"{(self.elsewhere or 'http://HOST').replace('HOST', host)}/up?a=b"
            )

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = _any  # noqa: N815 -- the base class's names

    def _answer(self, status: int, body: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 -- the base class's name
        """Say nothing."""


def _asking(heard: list[tuple[str, str]], **variables: Any) -> type[BaseHTTPRequestHandler]:
    return type("Asking", (_Asking,), {"heard": heard, **variables})


@pytest.mark.parametrize("asked", ['Basic realm="test"', 'Bearer realm="http://HOST/token",service="test"'])
@pytest.mark.parametrize("user", ["ada", ""])  # without a name, the password is a token that brings others
def test_another_host_gets_no_password_whatever_it_asks_for(asked: str, user: str) -> None:
    """Uploads and blobs may be elsewhere; only the registry's own questions are answered."""
    blobs = Memory(b"x" * 100)
    own: list[tuple[str, str]] = []
    others: list[tuple[str, str]] = []
    with (
        serving(_asking(others, challenge=asked)) as other,
        serving(_asking(own, challenge='Bearer realm="http://HOST/token",scope="x"', elsewhere=f"http://{other}")) as host,
        Registry(parse_reference(f"{host}/x:v1"), Login(user, Secret("wonder land"))) as asking,
    ):
        for attempt in (lambda: asking.push(blobs.descriptor(), blobs), lambda: asking.fetch(blobs.descriptor(), io.BytesIO())):
            with pytest.raises(LadingError) as caught:
                attempt()
            assert caught.value.problems[0].rule == "registry-refused"
    assert "Bearer t" in [login for _, login in own]
    assert [how for how, _ in others] == ["http PUT", "http GET"]
    assert {login for _, login in others} == {""}


def test_blobs_come_from_another_host_without_a_password() -> None:
    """As a registry's store behind it, whose addresses are signed, and which refuses what has both."""
    blobs = Memory(b"x" * 100)
    own: list[tuple[str, str]] = []
    others: list[tuple[str, str]] = []
    back = io.BytesIO()
    with (
        serving(_asking(others, content=b"x" * 100)) as other,
        serving(_asking(own, challenge='Basic realm="test"', elsewhere=f"http://{other}")) as host,
        Registry(parse_reference(f"{host}/x:v1"), Login("ada", Secret("wonder land"))) as asking,
    ):
        asking.fetch(blobs.descriptor(), back)
    assert back.getvalue() == b"x" * 100
    assert others == [("http GET", "")]


@pytest.mark.parametrize("asked", ['Basic realm="test"', 'Bearer realm="https://HOST/token",scope="x"'])
def test_an_upload_to_an_encrypted_registry_stays_encrypted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, asked: str) -> None:
    """A registry behind a proxy that decrypts may say that uploads go on at ``http://`` itself."""
    blobs = Memory(b"x" * 100)
    heard: list[tuple[str, str]] = []
    server = _secure(tmp_path, monkeypatch)
    with (
        serving(_asking(heard, challenge=asked), server) as host,
        Registry(parse_reference(f"{host}/x:v1"), Login("ada", Secret("wonder land")), insecure=False) as asking,
    ):
        assert asking.push(blobs.descriptor(), blobs) == "sent"
    assert heard[-1][0] == "https PUT"
    assert {how.partition(" ")[0] for how, _ in heard} == {"https"}


def test_a_password_is_not_given_for_a_token_without_encryption(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    heard: list[tuple[str, str]] = []
    server = _secure(tmp_path, monkeypatch)
    with (
        serving(_asking(heard, challenge='Bearer realm="http://HOST/token",scope="x"'), server) as host,
        Registry(parse_reference(f"{host}/x:v1"), Login("ada", Secret("wonder land")), insecure=False) as asking,
    ):
        asking.has("sha256:" + "0" * 64)
    assert [login for how, login in heard if how.startswith("http ")] == [""]


@pytest.mark.parametrize(
    ("further", "rule"),
    [
        ({"elsewhere": "http://[bad"}, "registry-unreachable"),
        ({"challenge": 'Bearer realm="http://[bad",scope="x"'}, "registry-refused"),
    ],
)
def test_what_is_no_address_is_named(further: dict[str, str], rule: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry_module, "pause", lambda _attempt: 0.0)
    blobs = Memory(b"x" * 100)
    with serving(_asking([], **further)) as host, Registry(parse_reference(f"{host}/x:v1")) as asking:
        for attempt in (lambda: asking.push(blobs.descriptor(), blobs), lambda: asking.fetch(blobs.descriptor(), io.BytesIO())):
            with pytest.raises(LadingError) as caught:
                attempt()
            (problem,) = caught.value.problems
            assert problem.rule == rule
            assert rule == "registry-refused" or "'http://[bad/" in problem.what


class _Front(BaseHTTPRequestHandler):
    """In front of a registry: asks for a Bearer token whose scope fits, and passes on what has one."""

    protocol_version = "HTTP/1.1"
    upstream = ""
    asked: list[list[str]]

    def _any(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.path.startswith("/token"):
            from urllib.parse import parse_qs, urlsplit

            scopes = parse_qs(urlsplit(self.path).query).get("scope", [])
            self.asked.append(scopes)
            self._answer(200, json.dumps({"token": base64.urlsafe_b64encode(" ".join(scopes).encode()).decode()}).encode())
            return
        needed = self._needed()
        token = (self.headers.get("Authorization") or "").removeprefix("Bearer ")
        given = base64.urlsafe_b64decode(token or b"").decode().split() if token else []
        if not set(needed) <= set(given):
            challenge = f'Bearer realm="http://{self.headers["Host"]}/token",service="test",scope="{" ".join(needed)}"'
            self._answer(401, b"{}", {"WWW-Authenticate": challenge})
            return
        upstream = http.client.HTTPConnection(self.upstream)
        headers = {name: value for name, value in self.headers.items() if name != "Authorization"}
        upstream.request(self.command, self.path, body, headers)
        answer = upstream.getresponse()
        data = answer.read()
        self._answer(
            answer.status,
            data,
            {name: value for name, value in answer.getheaders() if name.lower() not in ("content-length", "transfer-encoding")},
            length=answer.getheader("Content-Length"),
        )
        upstream.close()

    def _needed(self) -> list[str]:
        repository = self.path.removeprefix("/v2/").partition("/blobs/")[0].partition("/manifests/")[0]
        actions = "pull" if self.command in ("GET", "HEAD") else "pull,push"
        further = [f"repository:{self.path.rpartition('from=')[2].replace('%2F', '/')}:pull"] if "from=" in self.path else []
        return [f"repository:{repository}:{actions}", *further]

    def _answer(self, status: int, body: bytes, headers: dict[str, str] | None = None, *, length: str | None = None) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", length if self.command == "HEAD" and length else str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = _any  # noqa: N815 -- the base class's names

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 -- the base class's name
        """Say nothing."""


@contextlib.contextmanager
def _with_tokens(upstream: str) -> Iterator[tuple[str, list[list[str]]]]:
    asked: list[list[str]] = []
    with serving(type("Front", (_Front,), {"upstream": upstream, "asked": asked})) as host:
        yield host, asked


def test_a_registry_with_tokens_is_asked_for_each_scope(
    build: Callable[..., Any], lading: Command, project: Path, registry: RunningRegistry
) -> None:
    with _with_tokens(registry.host) as (host, asked):
        name = f"{host}/tokens/one:v1"
        build(project, "-t", name, "--push")
        other = lading("push", name, f"{host}/tokens/two:v1", "--json").data
        assert other["mounted"] > 3
        assert ["repository:tokens/one:pull"] in asked
        assert ["repository:tokens/two:pull,push", "repository:tokens/one:pull"] in asked


@contextlib.contextmanager
def _cutting(  # noqa: C901 -- threads of one small thing
    upstream: str, up: list[int], down: list[int] | None = None
) -> Iterator[str]:
    """A way to a registry that breaks: each connection is cut once it has carried so many bytes (0: never; the last number holds on)."""
    answers = down or [0]
    listener = socket.create_server(("127.0.0.1", 0))
    ends: list[socket.socket] = [listener]
    pumps: list[threading.Thread] = []
    host, port = upstream.split(":")

    def pump(source: socket.socket, target: socket.socket, limit: int) -> None:
        with contextlib.suppress(OSError):
            carried = 0
            while data := source.recv(65536):
                carried += len(data)
                if limit and carried > limit:
                    break
                target.sendall(data)
        for end in (source, target):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = listener.accept()
                server = socket.create_connection((host, int(port)))
                ends.extend((client, server))
                limits = [numbers.pop(0) if len(numbers) > 1 else numbers[0] for numbers in (up, answers)]
                for pair in ((client, server, limits[0]), (server, client, limits[1])):
                    pumps.append(threading.Thread(target=pump, args=pair, daemon=True))
                    pumps[-1].start()

    pumps.append(threading.Thread(target=accept, daemon=True))
    pumps[0].start()
    try:
        yield f"127.0.0.1:{listener.getsockname()[1]}"
    finally:
        for end in ends:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        for thread in pumps:
            thread.join(10)
        for end in ends:
            end.close()


class _Resuming(BaseHTTPRequestHandler):
    """A registry that keeps what has arrived of an upload, and tells how much that is, as the specification has it.

    ``one`` is held while a piece arrives: of one whose connection broke, all that was on its way has arrived when the next request is answered.
    """

    protocol_version = "HTTP/1.1"
    upload: bytearray
    blobs: dict[str, bytes]
    one = threading.Lock()

    def _any(self) -> None:
        if self.command == "HEAD":
            self._answer(200 if self.path.rpartition("/")[2] in self.blobs else 404)
        elif self.command == "POST":
            self._answer(202, Location="/v2/x/blobs/uploads/1")
        elif self.command == "GET":
            with self.one:
                self._answer(204, Location="/v2/x/blobs/uploads/1", Range=f"0-{len(self.upload) - 1}")
        elif self.command == "PATCH":
            with self.one:
                self._take()
        else:
            self.blobs[self.path.partition("digest=")[2].replace("%3A", ":")] = bytes(self.upload)
            self._answer(201)

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = _any  # noqa: N815 -- the base class's names

    def _take(self) -> None:
        start = int(self.headers["Content-Range"].partition("-")[0])
        if start != len(self.upload):
            self._answer(416)
            return
        left = int(self.headers["Content-Length"])
        while left and (piece := self.rfile.read1(min(left, 65536))):
            self.upload += piece
            left -= len(piece)
        self._answer(202, Location="/v2/x/blobs/uploads/1", Range=f"0-{len(self.upload) - 1}")

    def _answer(self, status: int, **headers: str) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": "0"}.items():
            self.send_header(name, value)
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 -- the base class's name
        """Say nothing."""


def test_a_broken_push_goes_on_where_it_broke(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry_module, "CHUNK", 4 << 20)
    content = bytes(range(256)) * (5 << 13)
    blobs = Memory(content)
    kept: dict[str, bytes] = {}
    counted: list[int] = []
    handler = type("Resuming", (_Resuming,), {"upload": bytearray(), "blobs": kept})
    with (
        serving(handler) as upstream,
        _cutting(upstream, [2_600_000, 1_700_000, 0]) as host,
        Registry(parse_reference(f"{host}/x:v1")) as pushing,
    ):
        assert pushing.push(blobs.descriptor(), blobs, heard=counted.append) == "sent"
    assert kept == {blobs.descriptor().digest: content}
    assert sum(counted) < 1.6 * len(content)  # what had arrived was not sent again


def test_a_registry_that_forgets_broken_uploads_gets_them_anew(registry: RunningRegistry, monkeypatch: pytest.MonkeyPatch) -> None:
    """docker-registry gives up an upload whose piece did not come whole."""
    monkeypatch.setattr(registry_module, "CHUNK", 1 << 20)
    content = bytes(range(256)) * (5 << 12)
    blobs = Memory(content)
    with _cutting(registry.host, [2_600_000, 1_700_000, 0]) as host, Registry(parse_reference(f"{host}/broken:v1")) as pushing:
        assert pushing.push(blobs.descriptor(), blobs) == "sent"
    back = io.BytesIO()
    with Registry(parse_reference(f"{registry.host}/broken:v1")) as stored:
        assert stored.has(blobs.descriptor().digest)
        stored.fetch(blobs.descriptor(), back)
    assert back.getvalue() == content


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_push_that_breaks_for_good_names_no_image_and_the_next_one_sends_the_rest(
    lading: Command, build: Callable[..., Any], project: Path, tmp_path: Path
) -> None:
    """On a way that carries no more than 3 MB at once, small layers arrive, and that of 11 MB never does."""
    with RunningRegistry(tmp_path / "data") as fresh:
        with _cutting(fresh.host, [3_000_000]) as host:
            name = f"{host}/model:v1"
            built = build(project, "-t", name)
            broken = lading("push", name, check=False)
        assert broken.code == ExitCode.NETWORK
        assert f"{host} cannot be reached" in broken.err
        with Registry(parse_reference(f"{fresh.host}/model:v1")) as reached:
            assert reached.digest_of("v1") is None
            arrived = [layer for layer in built["images"][0]["layers"] if reached.has(layer["digest"])]
        assert 0 < len(arrived) < len(built["images"][0]["layers"])
        rest = lading("push", name, f"{fresh.host}/model:v1", "--json").data
        assert rest["digest"] == built["digest"]
        assert rest["there"] >= len(arrived)  # the configuration may have arrived as well
        with Registry(parse_reference(f"{fresh.host}/model:v1")) as reached:
            assert reached.digest_of("v1") == built["digest"]
            assert all(reached.has(layer["digest"]) for layer in built["images"][0]["layers"])


class _Monolithic(_Resuming):
    """A registry like Google's Artifact Registry: a blob comes in one request, and a second piece of one is refused."""

    refusal = 400
    wanted = 0
    asked: list[str]

    def _any(self) -> None:
        self.asked.append(self.command)
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0)) if self.command in ("PATCH", "PUT") else b""
        if self.command == "POST":
            self.upload.clear()
            self._answer(202, Location="/v2/x/blobs/uploads/1", **({"OCI-Chunk-Min-Length": str(self.wanted)} if self.wanted else {}))
        elif self.command == "PATCH" and (self.upload or self.wanted > len(body)) and self.refusal:
            self._answer(self.refusal)
        elif self.command == "PATCH":
            self.upload += body
            self._answer(202, Location="/v2/x/blobs/uploads/1", Range=f"0-{len(self.upload) - 1}")
        elif self.command == "PUT":
            digest, content = self.path.partition("digest=")[2].replace("%3A", ":"), bytes(self.upload) + body
            if digest_of(content) == digest:
                self.blobs[digest] = content
            self._answer(201 if digest_of(content) == digest else 400)
        else:
            super()._any()

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = _any  # noqa: N815 -- the base class's names


@pytest.mark.parametrize("refusal", [400, 405, 501])
def test_a_registry_that_takes_no_pieces_gets_large_blobs_whole(monkeypatch: pytest.MonkeyPatch, refusal: int) -> None:
    monkeypatch.setattr(registry_module, "CHUNK", 1 << 20)
    first, second = Memory(bytes(range(256)) * (5 << 11)), Memory(b"second" * (1 << 20))
    kept: dict[str, bytes] = {}
    asked: list[str] = []
    handler = type("Monolithic", (_Monolithic,), {"upload": bytearray(), "blobs": kept, "asked": asked, "refusal": refusal})
    with serving(handler) as host, Registry(parse_reference(f"{host}/x:v1")) as pushing:
        assert pushing.push(first.descriptor(), first) == "sent"
        tried = asked.count("PATCH")
        assert pushing.push(second.descriptor(), second) == "sent"
    assert kept == {**first.blobs, **second.blobs}
    assert asked.count("PATCH") == tried  # what it takes is found out once


def test_pieces_are_as_large_as_the_registry_wants_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """``OCI-Chunk-Min-Length`` of the distribution specification."""
    monkeypatch.setattr(registry_module, "CHUNK", 1 << 20)
    blobs = Memory(bytes(range(256)) * (5 << 12))
    asked: list[str] = []
    handler = type("Large", (_Monolithic,), {"upload": bytearray(), "blobs": {}, "asked": asked, "refusal": 0, "wanted": 3 << 20})
    with serving(handler) as host, Registry(parse_reference(f"{host}/x:v1")) as pushing:
        assert pushing.push(blobs.descriptor(), blobs) == "sent"
    assert asked.count("PATCH") == 2


class _Forgetting(_Monolithic):
    """A registry that forgets each upload after its first piece, as one of several servers behind a name may that share no memory."""

    def _any(self) -> None:
        if self.command == "PATCH" and self.upload:
            self.asked.append(self.command)
            self.rfile.read(int(self.headers["Content-Length"]))
            self._answer(404)
        elif self.command == "GET":
            self._answer(404)
        elif self.asked.count("PATCH") > 100:
            self._answer(403)
        else:
            super()._any()

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = _any  # noqa: N815 -- the base class's names


def test_a_registry_that_forgets_each_upload_gets_the_blob_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry_module, "CHUNK", 1 << 10)
    monkeypatch.setattr(registry_module, "pause", lambda _attempt: 0.0)
    blobs = Memory(b"x" * (3 << 10))
    kept: dict[str, bytes] = {}
    asked: list[str] = []
    handler = type("Forgetting", (_Forgetting,), {"upload": bytearray(), "blobs": kept, "asked": asked})
    with serving(handler) as host, Registry(parse_reference(f"{host}/x:v1")) as pushing:
        assert pushing.push(blobs.descriptor(), blobs) == "sent"
    assert kept == blobs.blobs
    assert asked.count("PATCH") == 10


class _Losing(_Resuming):
    """A registry whose answer to the end of an upload is lost: once it has the blob, or (``keeps`` false) before it has."""

    keeps = True
    lost: list[str]

    def _any(self) -> None:
        if self.command == "PUT" and not self.lost:
            self.lost.append(self.path)
            if self.keeps:
                self.blobs[self.path.partition("digest=")[2].replace("%3A", ":")] = bytes(self.upload)
                self.upload.clear()
            self.close_connection = True
        elif self.command == "PUT" and not self.upload:
            self._answer(404)
        else:
            super()._any()

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = _any  # noqa: N815 -- the base class's names


@pytest.mark.parametrize("keeps", [True, False])
def test_a_lost_answer_to_the_end_of_an_upload_loses_no_push(monkeypatch: pytest.MonkeyPatch, keeps: bool) -> None:  # noqa: FBT001 -- a parameter
    monkeypatch.setattr(registry_module, "CHUNK", 1 << 20)
    blobs = Memory(bytes(range(256)) * (5 << 12))
    kept: dict[str, bytes] = {}
    handler = type("Losing", (_Losing,), {"upload": bytearray(), "blobs": kept, "lost": [], "keeps": keeps})
    with serving(handler) as host, Registry(parse_reference(f"{host}/x:v1")) as pushing:
        assert pushing.push(blobs.descriptor(), blobs) == "sent"
    assert kept == blobs.blobs


class _Breaking(_Resuming):
    """A registry that goes away at the end of an upload."""

    def _any(self) -> None:
        if self.command == "PUT" or self.blobs.get("gone"):
            self.blobs["gone"] = b"yes"
            self.close_connection = True
        else:
            super()._any()

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = _any  # noqa: N815 -- the base class's names


def test_a_registry_that_goes_at_the_end_of_an_upload_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry_module, "CHUNK", 1 << 20)
    monkeypatch.setattr("lading.images.wire.pause", lambda _attempt: 0.0)
    blobs = Memory(b"x" * (2 << 20))
    handler = type("Breaking", (_Breaking,), {"upload": bytearray(), "blobs": {}})
    with serving(handler) as host, Registry(parse_reference(f"{host}/x:v1")) as pushing, pytest.raises(LadingError) as caught:
        pushing.push(blobs.descriptor(), blobs)
    assert caught.value.problems[0].rule == "registry-unreachable"


class _Terse(BaseHTTPRequestHandler):
    """A registry that answers no more than it must (no ``Docker-Content-Digest``), and is busy the first times that it is asked for a blob."""

    protocol_version = "HTTP/1.1"
    content = b""
    manifests: dict[str, bytes]
    busy: list[int]

    def _any(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        name = self.path.rpartition("/")[2]
        if self.command == "PUT":
            self.manifests[name] = body
            self._answer(201, b"")
        elif "/manifests/" in self.path:
            self._answer(200 if name in self.manifests else 404, self.manifests.get(name, b""))
        elif self.busy:
            self._answer(self.busy.pop(0), b"later")
        else:
            self._answer(200, self.content)

    def _answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    do_GET = do_HEAD = do_PUT = _any  # noqa: N815 -- the base class's names

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 -- the base class's name
        """Say nothing."""


def test_a_registry_need_not_name_the_digest_of_a_manifest() -> None:
    """The header is one that a registry should send, not must."""
    kept: dict[str, bytes] = {}
    with serving(type("Terse", (_Terse,), {"manifests": kept})) as host, Registry(parse_reference(f"{host}/x:v1")) as pushing:
        assert pushing.put_manifest(b'{"layers": []}', "application/vnd.oci.image.manifest.v1+json", "v1") == digest_of(kept["v1"])
        assert pushing.digest_of("v2") is None


def test_only_what_an_image_itself_names_counts_as_held() -> None:
    """Not what an index in an index names, what comes under another digest, or what is no digest; and an index that names itself ends."""
    digests = {letter: "sha256:" + letter * 64 for letter in "abcdef"}

    def listing(kind: str, *digests: str, **further: Any) -> bytes:
        return json.dumps({kind: [{"digest": digest} for digest in digests], **further}).encode()

    image = listing("layers", digests["a"], "sha256:../../../etc/passwd", config={"digest": digests["b"]})
    deeper = listing("layers", digests["c"])
    inner = listing("manifests", digest_of(deeper))
    lying, endless = listing("layers", digests["d"]), listing("manifests", digests["f"])
    kept = {digest_of(one): one for one in (image, deeper, inner)} | {digests["e"]: lying, digests["f"]: endless}
    kept["v1"] = listing("manifests", digest_of(image), digest_of(inner), digests["e"], digests["f"], "../x")
    kept |= {"deep": b'{"layers":' * 100_000, "number": b'{"layers": [{"digest": 5}]}'}
    with serving(type("Terse", (_Terse,), {"manifests": kept})) as host, Registry(parse_reference(f"{host}/x:v1")) as asking:
        assert asking.held_by("v1") == {digests["a"], digests["b"]}
        assert [asking.held_by(tag) for tag in ("deep", "number", "none")] == [frozenset()] * 3


def test_a_page_is_no_image(tmp_path: Path) -> None:
    """What a proxy or a portal answers in place of the registry."""
    handler = type("Page", (_Terse,), {"manifests": {"v1": b"<html>Log in</html>"}})
    with serving(handler) as host, pytest.raises(LadingError) as caught:
        load_base(f"{host}/x:v1", host_platform(), Store(tmp_path / "store"))
    assert caught.value.problems[0].rule == "base-damaged"


@pytest.mark.parametrize("status", [429, 503])
def test_a_busy_registry_is_asked_again_for_a_blob(status: int) -> None:
    blobs = Memory(b"x" * 100)
    handler = type("Busy", (_Terse,), {"content": b"x" * 100, "busy": [status, status]})
    back = io.BytesIO()
    with serving(handler) as host, Registry(parse_reference(f"{host}/x:v1")) as pulling:
        pulling.fetch(blobs.descriptor(), back)
    assert back.getvalue() == b"x" * 100


def test_a_full_disk_is_no_registry_that_cannot_be_reached() -> None:
    blobs = Memory(b"x" * (3 << 20))
    handler = type("Plain", (_Terse,), {"content": b"x" * (3 << 20), "busy": []})
    if not Path("/dev/full").exists():
        pytest.skip("this system has no /dev/full")
    with (
        Path("/dev/full").open("wb", buffering=0) as full,
        serving(handler) as host,
        Registry(parse_reference(f"{host}/x:v1")) as pulling,
        pytest.raises(LadingError) as caught,
    ):
        pulling.fetch(blobs.descriptor(), full)
    assert caught.value.problems[0].rule == "disk-full"


def test_a_broken_pull_goes_on_where_it_broke(registry: RunningRegistry) -> None:
    content = bytes(range(256)) * (5 << 13)
    blobs = Memory(content)
    with Registry(parse_reference(f"{registry.host}/pulled:v1")) as pushing:
        pushing.push(blobs.descriptor(), blobs)
    counted: list[int] = []
    back = io.BytesIO()
    with _cutting(registry.host, [0], [3_000_000, 4_000_000, 0]) as host, Registry(parse_reference(f"{host}/pulled:v1")) as pulling:
        pulling.fetch(blobs.descriptor(), back, counted.append)
    assert back.getvalue() == content
    assert sum(counted) == len(content)


class _Proxy(BaseHTTPRequestHandler):
    """Passes requests on to where ``upstream`` is, whatever host they name; keeps what it was asked."""

    protocol_version = "HTTP/1.1"
    upstream = ""
    asked: list[tuple[str, str, str]]

    def _any(self) -> None:
        self.asked.append((self.command, self.path, self.headers.get("Proxy-Authorization") or ""))
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        upstream = http.client.HTTPConnection(self.upstream)
        upstream.request(self.command, self.path.partition("://")[2].partition("/")[2].join(("/", "")), body, dict(self.headers.items()))
        answer = upstream.getresponse()
        data = answer.read()
        self.send_response(answer.status)
        for name, value in answer.getheaders():
            if name.lower() not in ("content-length", "transfer-encoding"):
                self.send_header(name, value)
        self.send_header("Content-Length", str(answer.getheader("Content-Length") if self.command == "HEAD" else len(data)))
        self.end_headers()
        self.wfile.write(data)
        upstream.close()

    def do_CONNECT(self) -> None:
        self.asked.append((self.command, self.path, self.headers.get("Proxy-Authorization") or ""))
        self.send_error(403)

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = _any  # noqa: N815 -- the base class's names

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 -- the base class's name
        """Say nothing."""


def test_a_registry_is_reached_through_a_proxy(registry: RunningRegistry, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, str, str]] = []
    blobs = Memory(b"through a proxy")
    for name in ("http_proxy", "https_proxy", "no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with serving(type("Proxy", (_Proxy,), {"upstream": registry.host, "asked": asked})) as host:
        for name in ("HTTP_PROXY", "HTTPS_PROXY"):
            monkeypatch.setenv(name, f"http://me:pass%20word@{host}")
        with Registry(parse_reference("registry.example/proxied:v1"), insecure=True) as pushing:
            assert pushing.push(blobs.descriptor(), blobs) == "sent"
        login = f"Basic {base64.b64encode(b'me:pass word').decode()}"
        assert {(path.partition("/v2/")[0], sent) for _, path, sent in asked} == {("http://registry.example", login)}
        asked.clear()
        with Registry(parse_reference("registry.example/secure:v1")) as secure, pytest.raises(LadingError):
            secure.has("sha256:0")
        assert set(asked) == {("CONNECT", "registry.example:443", login)}
        asked.clear()
        with Registry(parse_reference(f"{registry.host}/proxied:v1")) as here:
            assert here.has(blobs.descriptor().digest)
        monkeypatch.setenv("NO_PROXY", ".example")
        assert find_proxy("https", "registry.example") is None
        assert not asked  # what is on this machine, or named by NO_PROXY, is asked directly


def test_a_registry_that_is_gone_is_named() -> None:
    port = free_port()
    blobs = Memory(b"x" * 100)
    with Registry(parse_reference(f"127.0.0.1:{port}/x")) as gone, pytest.raises(LadingError) as caught:
        gone.push(blobs.descriptor(), blobs)
    assert caught.value.problems[0].rule == "registry-unreachable"


@pytest.mark.slow
def test_podman_pulls_what_was_pushed(
    build: Callable[..., Any], project: Path, registry: RunningRegistry, podman_environ: dict[str, str]
) -> None:
    name = f"{registry.host}/pulled:v1"
    build(project, "-t", name, "--push")
    podman(podman_environ, "pull", "-q", "--tls-verify=false", name)
    shown = json.loads(podman(podman_environ, "image", "inspect", name).stdout)[0]
    assert shown["Config"]["User"] == "65532:65532"
