"""What an image can stand on: folders, tarballs, layouts, other images; and which base is chosen where none is named."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import random
import shutil
import subprocess
import tarfile
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest

from lading import imaging, pipeline
from lading.images.arrange import LARGE_FILE
from lading.images.base import load_base
from lading.images.cuda_bases import cuda_base
from lading.images.interpreters import host_platform
from lading.images.layout import Layout
from lading.images.media import INDEX, MANIFEST, Descriptor, Kind, Layer, canonical, digest_of
from lading.images.reference import parse_reference
from lading.images.registry import Registry
from lading.images.store import Store
from lading.images.unpacked import unpack
from lading.model.problems import LadingError
from lading.model.records import replace
from tests.images.support import PROJECT, Command, manifest_of, serving, which, without_engines, write
from tests.support.index import LocalIndex
from tests.support.wheels import wheel


@pytest.fixture
def tarball(base: Path, tmp_path: Path) -> Path:
    """The base as `podman export` or debootstrap's users pack one."""
    path = tmp_path / "rootfs.tar"
    subprocess.run(["tar", "--sort=name", "-C", base, "-cf", path, "."], check=True)
    return path


@pytest.mark.slow
def test_one_base_in_every_form_gives_the_same_image_on_top(lading: Command, base: Path, tarball: Path, tmp_path: Path) -> None:
    """Only the base's own layers differ: what is made on top of it is one layer, whatever brought the base."""
    project = write(tmp_path / "model", {**PROJECT, "requirements.txt": "greeting==1.0\n"})
    compressed = tmp_path / "rootfs.tar.gz"
    compressed.write_bytes(subprocess.run(["gzip", "-c", tarball], check=True, capture_output=True).stdout)
    lading("build", project, "-t", "below:v1", "--base", base, "-o", f"oci:{tmp_path / 'layout'}")
    names = {"folder": base, "tarball": tarball, "gzip": compressed, "layout": f"oci:{tmp_path / 'layout'}:v1", "path": tmp_path / "layout"}
    lading("build", project, "-t", "below:v1", "--base", base)
    tops: dict[str, set[str]] = {}
    for form, name in {**names, "stored": "below:v1"}.items():
        image: Any = lading("build", project, "-t", "model:v1", "--base", name, "--json").data["images"][0]
        assert image["layers"][0]["kind"] == "base"
        tops[form] = {layer["digest"] for layer in image["layers"] if layer["kind"] in ("packages", "bytecode", "project")}
    assert len(set(map(frozenset, tops.values()))) == 1


def test_what_a_tarball_holds_is_found(tarball: Path, tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    base = load_base(str(tarball), host_platform(), store)
    assert base.system["ID"] == "small"
    assert base.links["bin"] == "usr/bin"
    assert load_base(str(tarball), host_platform(), store).layers[0].reused


def test_a_root_in_the_current_folder_needs_no_slash_and_other_folders_are_no_bases(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(base.parent)
    store = Store(tmp_path / "store")
    assert load_base(base.name, host_platform(), store).digest == load_base(str(base), host_platform(), store).digest
    monkeypatch.chdir(tmp_path)
    (tmp_path / "python").mkdir()
    with pytest.raises(LadingError) as caught:
        load_base("python", host_platform(), store, offline=True)
    assert "The base image python is not on this machine" in caught.value.problems[0].what


def test_a_changed_folder_is_another_base(base: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(base, tmp_path / "changing", symlinks=True)
    store = Store(tmp_path / "store")
    before = load_base(str(folder), host_platform(), store).digest
    assert load_base(str(folder), host_platform(), store).digest == before
    (folder / "etc/os-release").write_text("ID=other\nVERSION_CODENAME=test\n")
    after = load_base(str(folder), host_platform(), store)
    assert after.digest != before
    assert after.system["ID"] == "other"


@pytest.mark.slow
def test_an_environment_of_the_base_is_not_seen_through_the_images_own(lading: Command, base: Path, tmp_path: Path) -> None:
    stale = {"opt/venv/lib/python3.11/site-packages/stale.py": "", "opt/lading/old": "", "opt/other/kept": "", "src/kept": ""}
    folder = write(shutil.copytree(base, tmp_path / "used", symlinks=True), stale)
    project = write(tmp_path / "model", {**PROJECT, "requirements.txt": "greeting==1.0\n"})
    ran = lading("build", project, "-t", "model:v1", "--base", folder, "-o", f"oci:{tmp_path / 'image'}")
    assert "base-folders-hidden" in ran.err
    layers = [
        Layer(descriptor=Descriptor.from_json(one), diff_id="", kind=Kind.BASE, title="")
        for one in manifest_of(tmp_path / "image")["layers"]
    ]
    unpack(Layout(tmp_path / "image"), layers, tmp_path / "rootfs")
    assert [path for path in stale if (tmp_path / "rootfs" / path).exists()] == ["opt/other/kept", "src/kept"]
    assert (tmp_path / "rootfs/opt/venv/pyvenv.cfg").exists()
    assert (tmp_path / "rootfs/src/predict.py").exists()


def test_the_project_of_a_base_is_hidden_where_that_is_such_an_image(base: Path, tmp_path: Path) -> None:
    folder = write(
        shutil.copytree(base, tmp_path / "used", symlinks=True), {"src/x": "", "opt/venv-two/x": "", "opt/lading/x": "", "opt/venvs": ""}
    )
    loaded = load_base(str(folder), host_platform(), Store(tmp_path / "store"))
    assert loaded.hidden == ("opt/lading", "opt/venv-two")
    for label in ("run.lading.version", "run.cog.version"):
        built = replace(loaded, config={"config": {"Labels": {label: "1"}}})
        assert built.hidden == ("opt/lading", "opt/venv-two", "src")


@pytest.mark.parametrize(
    ("name", "rule"), [("oci:{}/nothing", "layout-damaged"), ("{}/broken.tar", "base-damaged"), ("{}/none", "base-not-found")]
)
def test_what_is_no_base_is_named(name: str, rule: str, tmp_path: Path) -> None:
    (tmp_path / "broken.tar").write_bytes(b"no tar at all" * 100)
    with pytest.raises(LadingError) as caught:
        load_base(name.format(tmp_path), host_platform(), Store(tmp_path / "store"))
    assert caught.value.problems[0].rule == rule


@pytest.mark.parametrize("damage", ["cut", "middle"])
def test_a_damaged_tarball_is_named(tarball: Path, tmp_path: Path, damage: str) -> None:
    content = bytearray(gzip.compress(tarball.read_bytes(), 1))
    if damage == "cut":
        del content[len(content) // 2 :]
    else:
        content[1000:1100] = bytes(100)
    (tmp_path / "base.tar.gz").write_bytes(content)
    with pytest.raises(LadingError) as caught:
        load_base(str(tmp_path / "base.tar.gz"), host_platform(), Store(tmp_path / "store"))
    assert caught.value.problems[0].rule == "base-damaged"


_LAYER = canonical({"no": "archive"})
_CONFIG = {"os": "linux", "architecture": host_platform().partition("/")[2], "rootfs": {"diff_ids": ["sha256:0"]}}


def _described(content: bytes) -> dict[str, Any]:
    return {"mediaType": "application/vnd.oci.image.layer.v1.tar+gzip", "digest": digest_of(content), "size": len(content)}


@pytest.mark.parametrize(
    ("manifest", "config"),
    [
        ({}, _CONFIG),
        ([], _CONFIG),
        ({"config": {}, "layers": []}, _CONFIG),
        ({"config": _described(canonical(_CONFIG))}, _CONFIG),
        ({"manifests": ["text"]}, _CONFIG),
        ({"config": _described(canonical({**_CONFIG, "rootfs": {}})), "layers": [_described(_LAYER)]}, {**_CONFIG, "rootfs": {}}),
        ({"config": _described(b"[1]"), "layers": []}, [1]),
    ],
)
def test_a_base_that_is_no_image_is_named(manifest: Any, config: Any, tmp_path: Path) -> None:
    layout = tmp_path / "layout"
    blobs = [canonical(manifest), canonical(config), _LAYER]
    write(layout, {"blobs/sha256/" + digest_of(blob).removeprefix("sha256:"): blob for blob in blobs})
    index = {"schemaVersion": 2, "manifests": [{**_described(blobs[0]), "mediaType": MANIFEST}]}
    write(layout, {"oci-layout": '{"imageLayoutVersion": "1.0.0"}', "index.json": canonical(index)})
    with pytest.raises(LadingError) as caught:
        load_base(str(layout), host_platform(), Store(tmp_path / "store"))
    assert caught.value.problems[0].rule == "base-damaged"


@pytest.mark.parametrize("changed", ["manifest", "configuration"])
def test_a_base_that_was_changed_in_its_folder_is_named(changed: str, tmp_path: Path) -> None:
    """An index that names a manifest, which names a configuration: each is what its digest says, or is not used."""
    config = canonical({**_CONFIG, "rootfs": {"diff_ids": []}})
    manifest = canonical({"config": _described(config), "layers": []})
    system, _, architecture = host_platform().partition("/")
    entry = {**_described(manifest), "mediaType": MANIFEST, "platform": {"os": system, "architecture": architecture}}
    inner = canonical({"manifests": [entry]})
    index = {"schemaVersion": 2, "manifests": [{**_described(inner), "mediaType": INDEX}]}
    layout = write(tmp_path / "layout", {"oci-layout": '{"imageLayoutVersion": "1.0.0"}', "index.json": canonical(index)})
    blobs = {digest_of(blob).removeprefix("sha256:"): blob for blob in (config, manifest, inner)}
    write(layout / "blobs/sha256", blobs)
    assert load_base(str(layout), host_platform(), Store(tmp_path / "store")).config
    other = {"manifest": manifest, "configuration": config}[changed]
    write(layout / "blobs/sha256", {digest_of(other).removeprefix("sha256:"): other + b" "})
    with pytest.raises(LadingError) as caught:
        load_base(str(layout), host_platform(), Store(tmp_path / "store"))
    assert caught.value.problems[0].rule == "layout-damaged"
    assert changed in caught.value.problems[0].what


def _stolen(tmp_path: Path, place: str) -> str:
    """A digest that is the path of a file of this machine, from a folder of blobs."""
    secret = write(tmp_path, {"secret.json": canonical(_CONFIG | {"config": {"Labels": {"stolen": "x"}}})}) / "secret.json"
    return f"sha256:{os.path.relpath(secret, tmp_path / place / 'blobs/sha256')}"


def _answering(content: bytes) -> type[BaseHTTPRequestHandler]:
    """A registry that has one manifest under every name."""

    class Answering(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_args: object) -> None:
            pass

    return Answering


def _having(blobs: Mapping[str, bytes]) -> type[BaseHTTPRequestHandler]:
    """A registry that has these manifests and blobs, by digest or tag, and tells of digests by SHA-512."""

    class Having(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            content = blobs.get(self.path.rpartition("/")[2])
            self.send_response(404 if content is None else 200)
            self.send_header("Content-Length", str(len(content or b"")))
            self.send_header("Docker-Content-Digest", str(_by_sha512(content or b"")["digest"]))
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(content or b"")

        do_HEAD = do_GET  # noqa: N815 -- the library's name

        def log_message(self, *_args: object) -> None:
            pass

    return Having


@pytest.mark.parametrize("where", ["index", "inner", "config", "layers"])
@pytest.mark.parametrize("served", [False, True])
def test_a_digest_that_is_a_path_is_not_read(where: str, served: bool, tmp_path: Path) -> None:  # noqa: FBT001
    """From a registry as from a folder: it would put a file of this machine into the image."""
    layout = tmp_path / "layout"
    stolen = {**_described(_LAYER), "digest": _stolen(tmp_path, "store" if served else "layout")}
    config = canonical({**_CONFIG, "rootfs": {"diff_ids": []}})
    manifest: dict[str, Any] = {"config": _described(config), "layers": []}
    if where == "inner":
        manifest = {"manifests": [{**stolen, "platform": {"os": "linux", "architecture": _CONFIG["architecture"]}}]}
    elif where != "index":
        manifest[where] = stolen if where == "config" else [stolen]
    blobs = [canonical(manifest), config]
    write(layout, {"blobs/sha256/" + digest_of(blob).removeprefix("sha256:"): blob for blob in blobs})
    entry = stolen if where == "index" else _described(blobs[0])
    index = {"schemaVersion": 2, "manifests": [{**entry, "mediaType": MANIFEST}]}
    write(layout, {"oci-layout": '{"imageLayoutVersion": "1.0.0"}', "index.json": canonical(index)})
    if served:
        top = canonical({"manifests": [{**stolen, "platform": _CONFIG}]}) if where == "index" else blobs[0]
        with serving(_answering(top)) as host, pytest.raises(LadingError) as caught:
            load_base(f"{host}/bases:x", host_platform(), Store(tmp_path / "store"))
    else:
        with pytest.raises(LadingError) as caught:
            load_base(str(layout), host_platform(), Store(tmp_path / "store"))
    assert caught.value.problems[0].rule == "digest-malformed"
    assert "secret.json" in caught.value.problems[0].what


@pytest.mark.parametrize(
    "digest", ["sha256:../../../x", "sha256:", "", "latest", f"sha256:{'a' * 64}/..", f"sha256:{'A' * 64}", f"sha256:{'a' * 64}\n"]
)
def test_a_store_has_nothing_under_what_is_no_digest(digest: str, tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    store.prepare()
    assert not store.has(digest)
    for look in (store.open, store.path, Layout(tmp_path / "store").open):
        with pytest.raises(LadingError) as caught:
            look(digest)
        assert caught.value.problems[0].rule == "digest-malformed"


def _by_sha512(content: bytes) -> dict[str, Any]:
    return {**_described(content), "digest": f"sha512:{hashlib.sha512(content).hexdigest()}"}


@pytest.mark.parametrize(
    ("place", "where"),
    [("layout", "index"), *((place, where) for place in ("layout", "registry") for where in ("inner", "config", "layers"))],
)
def test_a_base_with_a_digest_by_another_algorithm_is_refused_before_anything_is_fetched(place: str, where: str, tmp_path: Path) -> None:
    """The algorithm is registered by the image specification, which leaves reading it to each tool."""
    other = tarfile.TarInfo("etc/other").tobuf()
    config = canonical({**_CONFIG, "rootfs": {"diff_ids": [digest_of(_LAYER), digest_of(other)]}})
    describe = {name: _by_sha512 if name == where else _described for name in ("index", "inner", "config", "layers")}
    manifest = canonical({"config": describe["config"](config), "layers": [_described(_LAYER), describe["layers"](other)]})
    inner = canonical({"manifests": [{**describe["inner"](manifest), "platform": _CONFIG}]})
    blobs = {digest: blob for blob in (_LAYER, other, config, manifest, inner) for digest in (digest_of(blob), _by_sha512(blob)["digest"])}
    write(tmp_path / "layout", {f"blobs/{digest.replace(':', '/')}": blob for digest, blob in blobs.items()})
    index = canonical({"schemaVersion": 2, "manifests": [{**describe["index"](inner), "platform": _CONFIG, "mediaType": INDEX}]})
    write(tmp_path / "layout", {"oci-layout": '{"imageLayoutVersion": "1.0.0"}', "index.json": index})
    store = Store(tmp_path / "store")
    with serving(_having({**blobs, "x": inner})) as host, pytest.raises(LadingError) as caught:
        load_base(f"{host}/bases:x" if place == "registry" else str(tmp_path / "layout"), host_platform(), store)
    problem = caught.value.problems[0]
    assert (problem.rule, "by sha512, and Lading reads those by sha256 alone" in problem.what) == ("digest-algorithm", True)
    assert not store.has(digest_of(_LAYER))


def test_a_name_with_a_digest_by_another_algorithm_is_refused_with_that_reason(tmp_path: Path) -> None:
    with pytest.raises(LadingError) as caught:
        load_base(f"localhost:1/bases@{_by_sha512(_LAYER)['digest']}", host_platform(), Store(tmp_path / "store"))
    problem = caught.value.problems[0]
    assert (problem.rule, "Its digest is by sha512" in str(problem.why)) == ("image-name-invalid", True)


def test_a_registry_that_tells_a_digest_by_another_algorithm_is_asked_for_the_manifest(tmp_path: Path) -> None:
    with serving(_having({"x": _LAYER})) as host, Registry(parse_reference(f"{host}/bases:x")) as registry:
        assert registry.digest_of("x") == digest_of(_LAYER)


@pytest.mark.slow
def test_skopeo_reads_what_it_is_built_on(lading: Command, base: Path, tmp_path: Path) -> None:
    """A layout that another tool wrote, with its own names and compression, is a base too."""
    project = write(tmp_path / "model", {**PROJECT, "requirements.txt": "greeting==1.0\n"})
    lading("build", project, "-t", "below:v1", "--base", base, "-o", f"oci:{tmp_path / 'ours'}")
    copy = [
        which("skopeo"),
        "copy",
        "-q",
        "--dest-compress-format",
        "zstd",
        f"oci:{tmp_path / 'ours'}:v1",
        f"oci:{tmp_path / 'theirs'}:again",
    ]
    if subprocess.run(copy, capture_output=True, check=False).returncode:
        pytest.skip("this skopeo does not copy here")
    ran = lading("build", project, "-t", "above:v1", "--base", f"oci:{tmp_path / 'theirs'}:again", "--json")
    assert ran.data["images"][0]["layers"][0]["kind"] == "base"


def _tall(base: Path, folder: Path, height: int) -> Path:
    """The base as a layout of so many layers."""
    store = Store(folder / "store")
    (root,) = load_base(str(base), host_platform(), store).layers
    blobs, diff_ids = [store.read(root.descriptor.digest)], [root.diff_id]
    for number in range(1, height):
        stream = io.BytesIO()
        with tarfile.open(fileobj=stream, mode="w") as archive:
            archive.addfile(tarfile.TarInfo(f"etc/layer{number}"))
        blobs.append(gzip.compress(stream.getvalue(), mtime=0))
        diff_ids.append(digest_of(stream.getvalue()))
    config = canonical({**_CONFIG, "rootfs": {"type": "layers", "diff_ids": diff_ids}})
    manifest = canonical({"schemaVersion": 2, "config": _described(config), "layers": [_described(blob) for blob in blobs]})
    write(folder / "layout", {"blobs/sha256/" + digest_of(blob).removeprefix("sha256:"): blob for blob in (*blobs, config, manifest)})
    index = {"schemaVersion": 2, "manifests": [{**_described(manifest), "mediaType": MANIFEST}]}
    write(folder / "layout", {"oci-layout": '{"imageLayoutVersion": "1.0.0"}', "index.json": canonical(index)})
    return folder / "layout"


def test_an_image_on_a_base_of_many_layers_has_no_more_than_sixty(lading: Command, project: Path, base: Path, tmp_path: Path) -> None:
    image: Any = lading("build", project, "-t", "tall:v1", "--base", _tall(base, tmp_path / "tall", 50), "--json").data["images"][0]
    assert 50 < len(image["layers"]) <= 60
    ran = lading("build", project, "-t", "tall:v1", "--base", _tall(base, tmp_path / "taller", 56), "--json", check=False)
    (problem,) = ran.data["problems"]
    assert problem["rule"] == "base-of-too-many-layers"
    assert "56" in problem["what"]


_API = """\
- name: {0}
  kind: RealtimeAPI
  predictor:
    type: python
    path: predictor.py
    dependencies: {{pip: {0}.txt}}
"""
_PREDICTOR = """\
import greeting
import heavy0


class PythonPredictor:
    def __init__(self, config):
        pass

    def predict(self, payload):
        return [greeting.__version__, heavy0.__version__]
"""


@pytest.mark.slow
def test_four_environments_with_large_wheels_and_weights_on_a_tall_base_have_sixty_layers(
    lading: Command, market: LocalIndex, base: Path, tmp_path: Path
) -> None:
    """Each has its own layer for each large wheel where there is room: here that would be some 90 layers."""
    noise = random.Random(5).randbytes(10_200_000)
    for number in range(4):
        market.publish(wheel(f"heavy{number}", "1.0", files={f"heavy{number}/noise.bin": noise[number:]}))
    names = ("a", "b", "c", "d")
    files: dict[str, str | bytes] = {"cortex.yaml": "".join(map(_API.format, names)), "predictor.py": _PREDICTOR}
    for number, name in enumerate(names):
        packages = [f"heavy{one}==1.0" for one in range(4) if one == 0 or one != number]
        files[f"{name}.txt"] = "\n".join([f"greeting=={1 + number % 2}.0", *packages, ""])
    project = write(tmp_path / "many", files)
    for number in range(5):
        with (project / f"weights{number}.bin").open("wb") as stream:
            stream.write(b"%d" % number)
            stream.truncate(LARGE_FILE)
    words = ["build", project, "-t", "many:v1", "--base", _tall(base, tmp_path / "tall", 30)]
    image = lading(*words, "--json").data["images"][0]
    kinds = [layer["kind"] for layer in image["layers"]]
    assert len(kinds) <= 60
    assert kinds.count("packages") == kinds.count("bytecode") >= 4
    assert kinds.count("weights") >= 1
    if os.geteuid() != 0:
        return  # without an engine containers need namespaces, which not every machine gives to everybody
    alone = without_engines(tmp_path)
    for tool in ("unshare", "chroot", "mount", "chmod"):
        (Path(alone) / tool).symlink_to(which(tool))
    for name, version in (("a", "1.0"), ("d", "2.0")):
        assert json.loads(lading("predict", "many:v1", "--api", name, "--json", "{}", PATH=alone).out) == [version, "1.0"]


def test_a_base_of_musl_is_refused(lading: Command, project: Path, base: Path, tmp_path: Path) -> None:
    """Wheels of a lock for manylinux do not load there."""
    folder = shutil.copytree(base, tmp_path / "alpine", symlinks=True)
    write(folder, {"etc/os-release": "ID=alpine\n", "usr/lib/ld-musl-x86_64.so.1": "x"})
    ran = lading("build", project, "-t", "small:v1", "--base", folder, "--json", check=False)
    (problem,) = ran.data["problems"]
    assert problem["rule"] == "base-of-musl"
    assert "alpine" in problem["what"]


# -- which base is chosen


def _chosen(tmp_path: Path, accelerator: str, versions: dict[str, str], **asked: Any) -> Any:
    """The base and its decision for a project whose lock has these packages."""
    from lading.model.lock import Lock

    project = write(
        tmp_path / "model", {"cog.yaml": "predict: predict.py:P\n", "predict.py": "class P:\n    def predict(self) -> str: ...\n"}
    )
    options = pipeline.Options(directory=project, accelerator="cpu")
    read = pipeline.read(options)
    (planned,) = pipeline.plan(read, options)
    target = replace(planned.plan.target, accelerator=accelerator, python="3.11.7")
    planned = replace(planned, plan=replace(planned.plan, target=target))
    document = {"packages": [{"name": name, "version": version} for name, version in versions.items()]}
    lock = Lock(document=document, fingerprint="", target={"python": "3.11.7", "accelerator": accelerator})
    locked = pipeline.Locked(planned=planned, lock=lock, text="")
    return imaging._base((locked,), read, imaging.BuildOptions(name="model", **asked))


@pytest.mark.parametrize(
    ("label", "tag"),
    [
        ("cu118", "11.8.0-cudnn8-runtime-ubuntu22.04"),
        ("cu121", "12.1.1-cudnn8-runtime-ubuntu22.04"),
        ("cu127", "12.8.1-cudnn-runtime-ubuntu22.04"),  # 12.7 was never published
        ("cu129", "12.9.1-cudnn-runtime-ubuntu22.04"),
        ("cu139", "13.2.1-cudnn-runtime-ubuntu22.04"),
    ],
)
def test_a_gpu_base_is_one_that_nvidia_has(label: str, tag: str) -> None:
    assert cuda_base(label) == f"nvidia/cuda:{tag}"


def test_a_gpu_base_is_taken_only_where_no_wheel_brings_cuda(tmp_path: Path) -> None:
    assert _chosen(tmp_path, "cpu", {"numpy": "2.0"})[0] == "python:3.11-slim"
    name, decision = _chosen(tmp_path, "cu126", {"torch": "2.7.0+cu126", "nvidia-cublas-cu12": "12.6.4.1"})
    assert name == "python:3.11-slim"
    assert "nvidia-cublas-cu12" in decision.because
    assert "several GB" in decision.because
    name, decision = _chosen(tmp_path, "cu124", {"onnxruntime-gpu": "1.20"})
    assert name == "nvidia/cuda:12.4.1-cudnn-runtime-ubuntu22.04"
    assert "devel" in decision.because
    assert _chosen(tmp_path, "cu124", {}, base="my/base:1")[0] == "my/base:1"


@pytest.mark.parametrize("record", [b'{"manifests":["x"]}', b'{"manifests":7}', b'{"config":3,"layers":[]}', b"[]", b"no json"])
def test_what_a_registry_once_sent_and_is_no_image_is_not_here(record: bytes, tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    store.prepare()
    digest = store.add(record)
    with pytest.raises(LadingError) as caught:
        load_base(f"docker.io/library/x@{digest}", "linux/amd64", store, offline=True)
    assert caught.value.problems[0].rule == "offline-not-cached"
