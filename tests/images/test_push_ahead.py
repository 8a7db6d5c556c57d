"""Layers that go to a registry while others are still made."""

from __future__ import annotations

import base64
import json
import random
import socket
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest

from lading.images import build as build_module
from lading.images import wire
from lading.images.manifest import make_manifest
from lading.images.media import Compression, Descriptor, Image, Kind, Layer, canonical
from lading.images.push import Pushing
from lading.images.reference import parse_reference
from lading.images.registry import Registry
from lading.images.store import Store
from lading.model.problems import ExitCode, LadingError
from tests.images.support import PROJECT, Command, RunningRegistry, serving, write
from tests.support.index import LocalIndex
from tests.support.ports import free_port
from tests.support.wheels import wheel

BACKEND = """\
import os, time, urllib.request, zipfile


def build_wheel(wheel_directory, config_settings=None, metadata_directory=None):
    for _ in range(600):
        try:
            urllib.request.urlopen(urllib.request.Request("{url}", method="HEAD"))
            break
        except OSError:
            time.sleep(0.1)
    else:
        raise SystemExit("the base never came")
    with zipfile.ZipFile(os.path.join(wheel_directory, "slow-1.0-py3-none-any.whl"), "w") as wheel:
        wheel.writestr("slow.py", "")
        wheel.writestr("slow-1.0.dist-info/METADATA", "Metadata-Version: 2.1\\nName: slow\\nVersion: 1.0\\n")
        wheel.writestr("slow-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\\nGenerator: x\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n")
        wheel.writestr("slow-1.0.dist-info/RECORD", "")
    return "slow-1.0-py3-none-any.whl"
"""
SOURCE = '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n[project]\nname = "slow"\nversion = "1.0"\n'


def _store(tmp_path: Path) -> Store:
    store = Store(tmp_path / "store")
    store.prepare()
    return store


def _layer(store: Store, content: bytes, kind: Kind = Kind.PACKAGES) -> Layer:
    digest = store.add(content)
    descriptor = Descriptor(media_type=Compression.GZIP.media_type, digest=digest, size=len(content))
    return Layer(descriptor=descriptor, diff_id=digest, kind=kind, title="some")


def _image(store: Store, *layers: Layer) -> Image:
    config = canonical({"rootfs": {"type": "layers", "diff_ids": [layer.diff_id for layer in layers]}})
    return Image(manifest=make_manifest(config, layers, {}), config=config, layers=layers, blobs=store, platform="linux/amd64")


def _until(condition: Callable[[], bool]) -> None:
    until = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < until, "it did not come about in a minute"
        time.sleep(0.02)


def test_what_is_offered_arrives_before_the_image_and_is_sent_once(tmp_path: Path, registry: RunningRegistry) -> None:
    store, name = _store(tmp_path), f"{registry.host}/ahead/one:v1"
    early, late = (_layer(store, content) for content in (b"early" * 1000, b"late" * 1000))
    pushing = Pushing(store)
    with Registry(parse_reference(name)) as asked, pushing.ahead(name):
        pushing.offer(early)
        pushing.offer(early)
        _until(lambda: asked.has(early.descriptor.digest))
        assert asked.digest_of("v1") is None
        image = _image(store, early, late)
        assert pushing.publish((image,), name) == image.digest == asked.digest_of("v1")
        assert all(asked.has(layer.descriptor.digest) for layer in image.layers)
    assert pushing.sent == {"there": 0, "mounted": 0, "sent": 3}  # two layers and the configuration


def test_a_base_is_sent_while_packages_are_built(lading: Command, base: Path, build: Callable[..., Any], tmp_path: Path) -> None:
    """The package of the second project cannot be built before the registry has the base."""
    known = build(write(tmp_path / "known", PROJECT), "-t", "known")
    (below,) = [layer for layer in known["images"][0]["layers"] if layer["kind"] == "base"]
    with RunningRegistry(tmp_path / "data") as fresh:
        name = f"{fresh.host}/model:v1"
        project = write(tmp_path / "slow-to-build", {**PROJECT, "requirements.txt": "greeting==1.0\n./slow\n"})
        url = f"http://{fresh.host}/v2/model/blobs/{below['digest']}"
        write(project / "slow", {"pyproject.toml": SOURCE, "backend.py": BACKEND.replace("{url}", url)})
        lading("lock", project)
        built = build(project, "-t", name, "--push")
        with Registry(parse_reference(name)) as asked:
            assert asked.digest_of("v1") == built["digest"]


def test_an_image_may_go_to_its_registry_alone(
    lading: Command, build: Callable[..., Any], registry: RunningRegistry, tmp_path: Path
) -> None:
    name = f"{registry.host}/there-alone:v1"
    built = build(write(tmp_path / "there-alone", PROJECT), "-t", name, "-o", "registry")
    with Registry(parse_reference(name)) as asked:
        assert asked.digest_of("v1") == built["digest"]
    assert built["name"] == name
    assert lading("push", name, "--json", check=False).data["problems"][0]["rule"] == "image-unknown"


def test_layers_are_searched_for_secrets_before_they_are_sent(
    lading: Command, market: LocalIndex, base: Path, build: Callable[..., Any], tmp_path: Path
) -> None:
    """Of a project with secrets in a package and in a file of its own; what holds none goes ahead."""
    market.publish(wheel("planted", "1.0", files={"planted/noise.bin": b"hf_planted9876543210" + random.Random(2).randbytes(11_000_000)}))
    files = {**PROJECT, "requirements.txt": "greeting==1.0\nplanted==1.0\n", "settings.py": 'TOKEN = "hf_planted9876543210"\n'}
    project = write(tmp_path / "leaky", files)
    layers = build(project, "-t", "leaky-known")["images"][0]["layers"]
    with RunningRegistry(tmp_path / "data") as fresh:
        name = f"{fresh.host}/leaky:v1"
        words = ("build", project, "-t", name, "--base", base, "--push", "--json")
        ran = lading(*words, check=False, HF_TOKEN="hf_planted9876543210")
        assert ran.data["problems"][0]["rule"] == "secret-in-image"
        assert "hf_planted" not in ran.out + ran.err
        with Registry(parse_reference(name)) as asked:
            assert asked.digest_of("v1") is None
            sent = {layer["title"] for layer in layers if asked.has(layer["digest"])}
    holding = {layer["title"] for layer in layers if layer["kind"] == "project" or layer["title"] == "planted 1.0"}
    assert len(holding) == 2
    assert not holding & sent


class _Silent(BaseHTTPRequestHandler):
    """A registry that begins an upload, and then neither reads nor answers."""

    protocol_version = "HTTP/1.1"
    waiting = threading.Event()
    over = threading.Event()

    def _any(self) -> None:
        if self.command == "PUT":
            self.waiting.set()
            self.over.wait(60)
            return
        self.send_response(202 if self.command == "POST" else 404)
        self.send_header("Location", "/v2/x/blobs/uploads/1")
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_GET = do_HEAD = do_POST = do_PUT = _any  # noqa: N815 -- the base class's names

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 -- the base class's name
        """Say nothing."""


def test_a_build_that_fails_does_not_wait_for_a_silent_registry(tmp_path: Path) -> None:
    store = _store(tmp_path)
    layers = [_layer(store, bytes([number]) * 20_000_000) for number in range(6)]

    def fail(host: str) -> None:
        pushing = Pushing(store)
        with pushing.ahead(f"{host}/x:v1"):
            for layer in layers:
                pushing.offer(layer)
            assert _Silent.waiting.wait(60)
            raise ValueError("of the build")

    with serving(_Silent) as host:
        began = time.monotonic()
        with pytest.raises(ValueError, match="of the build"):
            fail(host)
        took = time.monotonic() - began
        _Silent.over.set()
    assert took < 30  # a server is waited for for a minute


def test_a_build_that_fails_does_not_wait_for_a_handshake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that takes connections and says nothing, not even which certificate it has."""
    monkeypatch.setattr(wire, "_SECONDS_TO_CONNECT", 0.5)
    store, accepted = _store(tmp_path), list[socket.socket]()
    layer = _layer(store, b"x")

    def fail(host: str) -> None:
        pushing = Pushing(store, insecure=False)
        with pushing.ahead(f"{host}/x:v1"):
            pushing.offer(layer)
            accepted.append(listener.accept()[0])
            raise ValueError("of the build")

    with socket.create_server(("127.0.0.1", 0)) as listener:
        began = time.monotonic()
        with pytest.raises(ValueError, match="of the build"):
            fail(f"127.0.0.1:{listener.getsockname()[1]}")
        assert time.monotonic() - began < 30
    for one in accepted:
        one.close()


def test_a_registry_that_comes_back_gets_the_image(tmp_path: Path) -> None:
    store = _store(tmp_path)
    layer = _layer(store, b"content" * 1000)
    with RunningRegistry(tmp_path / "data") as registry:
        name = f"{registry.host}/away:v1"
        registry.end()
        pushing = Pushing(store)
        with pushing.ahead(name):
            pushing.offer(layer)
            _until(lambda: pushing._session is not None and pushing._session.error is not None)
            registry.begin()
            image = _image(store, layer)
            pushing.publish((image,), name)
        assert pushing.sent == {"there": 0, "mounted": 0, "sent": 2}
        with Registry(parse_reference(name)) as asked:
            assert asked.digest_of("v1") == image.digest


class _Refusing(BaseHTTPRequestHandler):
    """A registry that knows nobody's password."""

    protocol_version = "HTTP/1.1"
    logins: list[str]

    def _any(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.headers.get("Authorization"):
            self.logins.append(self.path)
        self.send_response(401)
        self.send_header("WWW-Authenticate", 'Basic realm="test"')
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_GET = do_HEAD = do_POST = do_PUT = _any  # noqa: N815 -- the base class's names

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 -- the base class's name
        """Say nothing."""


def test_a_wrong_password_is_not_tried_for_each_layer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A registry may lock an account for that."""
    store, logins = _store(tmp_path), list[str]()
    layers = [_layer(store, bytes([number]) * 100) for number in range(40)]
    with serving(type("Refusing", (_Refusing,), {"logins": logins})) as host:
        login = base64.b64encode(b"alice:wrong").decode()
        write(tmp_path / "docker", {"config.json": json.dumps({"auths": {host: {"auth": login}}})})
        monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "docker"))
        pushing = Pushing(store)
        with pushing.ahead(f"{host}/x:v1"):
            for layer in layers:
                pushing.offer(layer)
            with pytest.raises(LadingError) as caught:
                pushing.publish((_image(store, *layers),), f"{host}/x:v1")
    assert caught.value.problems[0].rule == "registry-refused"
    assert 0 < len(logins) < 20


def test_the_first_layer_that_fails_ends_the_others() -> None:
    begun: list[int] = []

    def make(number: int) -> Layer:
        begun.append(number)
        if number == 3:
            raise ValueError("number 3")
        time.sleep(0.05)
        return Layer(descriptor=Descriptor(media_type="x", digest="x", size=number), diff_id="x", kind=Kind.PACKAGES, title="x")

    with ThreadPoolExecutor(2) as pool:
        made = build_module._done(pool, [build_module._Job(partial(make, number), number) for number in (0, 2, 1)])
        assert [layer.descriptor.size for layer in made] == [0, 2, 1]
        assert begun == [2, 1, 0]
        jobs = [build_module._Job(partial(make, number), 0) for number in range(200)]
        with pytest.raises(ValueError, match="number 3"):
            build_module._done(pool, jobs)
    assert len(begun) < 100


def test_a_registry_that_is_gone_fails_the_push_and_not_the_build(
    lading: Command, base: Path, registry: RunningRegistry, tmp_path: Path
) -> None:
    project = write(tmp_path / "kept", PROJECT)
    name = f"127.0.0.1:{free_port()}/kept:v1"
    ran = lading("build", project, "-t", name, "--base", base, "--push", "--json", check=False)
    assert (ran.code, [one["rule"] for one in ran.data["problems"]]) == (ExitCode.NETWORK, ["registry-unreachable"])
    assert json.loads(lading("push", name, f"{registry.host}/kept:v1", "--json").out)["digest"]


@pytest.mark.parametrize(
    ("words", "rule"), [(("-t", "model", "--push"), "push-without-registry"), (("-t", "model", "-o", "nonsense"), "usage")]
)
def test_an_image_that_can_go_nowhere_is_not_built(lading: Command, tmp_path: Path, words: tuple[str, ...], rule: str) -> None:
    project = write(tmp_path / "nowhere", PROJECT)
    ran = lading("build", project, *words, "--base", tmp_path / "no-such-base", "--json", check=False)
    assert [one["rule"] for one in ran.data["problems"]] == [rule]
    assert ran.code == ExitCode.USAGE
