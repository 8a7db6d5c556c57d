"""Layers that go to a registry while others are still made."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest

from lading.images.manifest import make_manifest
from lading.images.media import Compression, Descriptor, Image, Kind, Layer, canonical
from lading.images.push import Pushing
from lading.images.reference import parse_reference
from lading.images.registry import Registry
from lading.images.store import Store
from lading.model.problems import ExitCode
from tests.images.support import PROJECT, Command, RunningRegistry, serving, write
from tests.support.ports import free_port

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


def test_layers_that_may_hold_a_secret_wait_until_they_were_searched(
    lading: Command, base: Path, build: Callable[..., Any], tmp_path: Path
) -> None:
    project = write(tmp_path / "leaky", {**PROJECT, "settings.py": 'TOKEN = "hf_planted9876543210"\n'})
    layers = build(project, "-t", "leaky-known")["images"][0]["layers"]
    with RunningRegistry(tmp_path / "data") as fresh:
        name = f"{fresh.host}/leaky:v1"
        words = ("build", project, "-t", name, "--base", base, "--push", "--json")
        ran = lading(*words, check=False, HF_TOKEN="hf_planted9876543210")
        assert ran.data["problems"][0]["rule"] == "secret-in-image"
        with Registry(parse_reference(name)) as asked:
            assert asked.digest_of("v1") is None
            assert {layer["kind"] for layer in layers if asked.has(layer["digest"])} <= {"base"}


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
