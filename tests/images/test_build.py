"""``lading build`` from the outside: the same bytes, small changes, what is in the image and what is not."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lading.images.layout import Layout
from lading.images.media import digest_of
from tests.images.support import PREDICTOR, PROJECT, Command, content_of, files_of, manifest_of, which, write
from tests.support.index import LocalIndex
from tests.support.wheels import wheel

Build = Callable[..., Any]


def _kinds(image: Any) -> list[str]:
    return [layer["kind"] for layer in image["layers"]]


def test_the_layers_stand_from_what_changes_least_to_what_changes_most(build: Build, project: Path) -> None:
    (image,) = build(project, "-t", "my-model:v1")["images"]
    kinds = _kinds(image)
    assert kinds == sorted(
        kinds, key=["base", "interpreter", "server", "packages", "bytecode", "environment", "bill of materials", "project"].index
    )
    assert {"base", "interpreter", "server", "packages", "bytecode", "environment", "bill of materials", "project"} == set(kinds)
    titles = [layer["title"] for layer in image["layers"] if layer["kind"] == "packages"]
    assert "large 1.0" in titles  # 11 MB: a layer of its own
    assert "large" not in " ".join(title for title in titles if title != "large 1.0")
    assert len(image["layers"]) <= 60


def test_the_same_bytes_in_another_folder_store_umask_zone_and_hash_seed(
    build: Build, project: Path, base: Path, market: LocalIndex, tmp_path: Path
) -> None:
    with (project / "cog.yaml").open("a") as stream:
        stream.write("train: train.py:train\n")
    (project / "train.py").write_text("from cog import Path\n\n\ndef train(steps: int) -> Path:\n    return Path(str(steps))\n")
    first = build(project, "-t", "my-model:v1")
    elsewhere = shutil.copytree(project, tmp_path / "another place" / "checkout")
    for path in elsewhere.iterdir():
        os.utime(path, (1, 1))
        path.chmod(0o600)
    # Another machine has the server's packages from another mirror.
    other = Command(tmp_path / "another-home", market.url.replace("127.0.0.1", "localhost"), tmp_path)
    words = ["build", elsewhere, "-t", "my-model:v1", "--base", base, "--json", "--frozen"]
    before = os.umask(0o077)
    try:
        second = other(*words, TZ="Asia/Tokyo", PYTHONHASHSEED="7", LC_ALL="C").data
    finally:
        os.umask(before)
    layers, others = ({(one["kind"], one["title"]): one["digest"] for one in ran["images"][0]["layers"]} for ran in (first, second))
    assert others == layers
    assert second["digest"] == first["digest"]


def test_a_line_of_the_predictor_changes_one_small_layer(build: Build, project: Path) -> None:
    (before,) = build(project, "-t", "my-model:v1")["images"]
    (project / "predict.py").write_text(PREDICTOR.replace("hello", "good day"))
    (after,) = build(project, "-t", "my-model:v1")["images"]
    changed = [layer for old, layer in zip(before["layers"], after["layers"], strict=True) if old["digest"] != layer["digest"]]
    assert [layer["kind"] for layer in changed] == ["project"]
    assert changed[0]["size"] < 20_000


def test_a_changed_requirement_rewrites_its_own_layers(build: Build, project: Path) -> None:
    (before,) = build(project, "-t", "my-model:v1")["images"]
    (project / "requirements.txt").write_text("greeting==2.0\nlarge==1.0\n")
    (after,) = build(project, "-t", "my-model:v1")["images"]
    old = {layer["digest"] for layer in before["layers"]}
    new = [layer for layer in after["layers"] if layer["digest"] not in old]
    assert {layer["kind"] for layer in new} == {"packages", "bytecode", "environment", "bill of materials", "project"}
    assert sum(layer["kind"] == "packages" for layer in new) == 1
    assert not [layer for layer in new if "large" in layer["title"]]


def test_of_a_file_in_two_packages_containers_see_one_and_the_bytecode_of_that_one(
    lading: Command, base: Path, market: LocalIndex, tmp_path: Path
) -> None:
    """Also when the packages are in two layers; which file it is, is said."""
    noise = random.Random(2).randbytes(11_000_000)
    market.publish(wheel("twin-large", "1.0", files={"twins/who.py": "WHO = 'the large one'\n", "twins/noise.bin": noise}))
    market.publish(wheel("twin-small", "1.0", files={"twins/who.py": "WHO = 'the small one'\n"}))
    project = write(tmp_path / "twins", {**PROJECT, "requirements.txt": "greeting==1.0\ntwin-large==1.0\ntwin-small==1.0\n"})
    built = lading("build", project, "-t", "twins:v1", "--base", base, "--json", "-o", f"oci:{tmp_path / 'image'}").data
    (said,) = [decision for decision in built["decisions"] if decision["rule"] == "file-in-two-packages"]
    assert said["asked"] == "twin-large and twin-small"
    assert "/twins/who.py" in said["chose"]
    seen: dict[str, bytes] = {}
    holders = 0
    for layer in manifest_of(tmp_path / "image")["layers"][1:]:
        content = content_of(Layout(tmp_path / "image").read(layer["digest"]))
        holders += any(path.endswith("/twins/who.py") for path in content)
        seen |= content
    assert holders == 2
    (source,) = [content for path, content in seen.items() if path.endswith("/twins/who.py")]
    (compiled,) = [content for path, content in seen.items() if "/twins/__pycache__/who." in path]
    assert source.split(b"'")[1] in compiled


def test_what_is_installed_is_what_uv_installs(layout: Path, lading: Command, project: Path) -> None:
    """RECORD and the notes of the installer aside, whose own hashes are checked instead."""
    lading("install", project)
    place = Path(lading("install", project).out.strip())
    installed = {
        str(path.relative_to(place)): path.read_bytes()
        for path in (place / "lib").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts and path.name not in _NOTES and not path.name.startswith("_virtualenv")
    }
    ours: dict[str, bytes] = {}
    for layer in manifest_of(layout)["layers"]:
        ours |= content_of(Layout(layout).read(layer["digest"]))
    packages = {path.removeprefix("opt/venv/"): data for path, data in ours.items() if path.startswith("opt/venv/lib/")}
    assert {path: data for path, data in packages.items() if not path.endswith(".pyc") and Path(path).name not in _NOTES} == installed
    assert ours["opt/venv/bin/greet"].startswith(b"#!/opt/venv/bin/python\n")


_NOTES = ("RECORD", "INSTALLER", "REQUESTED", "uv_cache.json", "uv_build.json", "direct_url.json")


def test_a_project_that_only_its_owner_can_read_is_readable_in_the_image(
    lading: Command, project: Path, base: Path, tmp_path: Path
) -> None:
    for path in [*write(project, {"data/table.csv": "1\n"}).rglob("*"), project]:
        path.chmod(0o700 if path.is_dir() else 0o600)
    layout = tmp_path / "image"
    lading("build", project, "-t", "my-model:v1", "--base", base, "-o", f"oci:{layout}")
    own = files_of(layout, manifest_of(layout)["layers"][-1]["digest"])
    assert {path: own[path].mode for path in ("src", "src/data", "src/data/table.csv", "src/predict.py")} == {
        "src": 0o755,
        "src/data": 0o755,
        "src/data/table.csv": 0o644,
        "src/predict.py": 0o644,
    }
    for layer in manifest_of(layout)["layers"]:
        for entry in files_of(layout, layer["digest"]).values():
            assert (
                entry.mode in (0o644, 0o755, 0o777, 0o1777)
                or "var" in entry.name
                or entry.name.startswith(("usr", "etc", "root", "proc", "sys"))
            ), entry.name
            assert (entry.uid, entry.gid) == (0, 0)


def test_a_file_whose_name_is_no_utf_8_is_in_the_image_under_its_name(lading: Command, project: Path, base: Path, tmp_path: Path) -> None:
    name = os.fsdecode(b"caf\xe9.txt")
    try:
        (project / name).write_text("x")
    except OSError as error:
        pytest.skip(f"this file system takes no such name: {error}")
    layout = tmp_path / "image"
    lading("build", project, "-t", "my-model:v1", "--base", base, "-o", f"oci:{layout}")
    assert f"src/{name}" in files_of(layout, manifest_of(layout)["layers"][-1]["digest"])


def test_labels_annotations_and_the_bill_of_materials(layout: Path) -> None:
    manifest = manifest_of(layout)
    config = json.loads(Layout(layout).read(manifest["config"]["digest"]))
    labels = config["config"]["Labels"]
    assert labels["run.cog.pip_freeze"] == "greeting==1.0\nlarge==1.0\nsmall==1.0"
    assert json.loads(labels["run.cog.config"])["predict"] == "predict.py:Predictor"
    assert "/predictions" in json.loads(labels["run.cog.openapi_schema"])["paths"]
    assert manifest["annotations"]["org.opencontainers.image.title"] == "my-model"
    decisions = json.loads(labels["run.lading.decisions"])
    assert {decision["rule"] for decision in decisions} >= {"base-image"}
    assert config["config"]["User"] == "65532:65532"
    assert config["created"] == "1970-01-01T00:00:00Z"
    bill = _file(layout, "opt/lading/share/sbom.cdx.json")
    components = {component["name"]: component for component in json.loads(bill)["components"]}
    assert components["greeting"]["purl"] == "pkg:pypi/greeting@1.0"
    assert components["greeting"]["externalReferences"][0]["hashes"][0]["alg"] == "SHA-256"
    assert "libc6" in components
    lock = _file(layout, "opt/lading/share/pylock.lading.toml")
    assert b'name = "greeting"' in lock
    # Each is in the image, in a label where it is short enough, and known by its digest from the manifest alone.
    assert labels["run.lading.lock"].encode() == lock
    openapi = _file(layout, "opt/lading/share/openapi.json")
    for name, content in {"lock": lock, "sbom": bill, "openapi": openapi}.items():
        assert manifest["annotations"][f"run.lading.{name}-digest"] == digest_of(content)
        assert _file(layout, labels[f"run.lading.{name}-path"].lstrip("/")) == content
    assert json.loads(manifest["annotations"]["run.lading.decisions"]) == decisions
    assert max(map(len, manifest["annotations"].values())) <= 8 * 1024


def _file(layout: Path, path: str) -> bytes:
    for layer in reversed(manifest_of(layout)["layers"]):
        found = content_of(Layout(layout).read(layer["digest"]))
        if path in found:
            return found[path]
    raise AssertionError(path)


def test_files_that_hold_secrets_and_ignored_ones_stay_out(lading: Command, base: Path, tmp_path: Path) -> None:
    files: dict[str, str | bytes] = {
        **PROJECT,
        ".env": "TOKEN=planted-in-env\n",
        ".netrc": "machine x login y password planted-in-netrc\n",
        ".git/config": "url = https://u:planted-in-git@example.org\n",
        "notes/draft.txt": "planted-in-ignored\n",
        "notes/keep.txt": "kept\n",
        ".dockerignore": "notes/*.txt\n!notes/keep.txt\n",
        "__pycache__/x.pyc": b"planted-in-pyc",
    }
    project = write(tmp_path / "secretive", files)
    ran = lading("build", project, "-t", "secretive", "--base", base, "-o", f"oci:{tmp_path / 'image'}")
    assert "secret-file-left-out" in ran.err
    assert "notes/draft.txt -> not in the image (.dockerignore)" in ran.err
    assert ".env" in ran.err
    everything = b""
    for layer in manifest_of(tmp_path / "image")["layers"]:
        found = content_of(Layout(tmp_path / "image").read(layer["digest"]))
        everything += b"".join(found.values())
        if layer == manifest_of(tmp_path / "image")["layers"][-1]:
            assert "src/notes/keep.txt" in found
            assert "src/notes/draft.txt" not in found
    assert b"planted-in" not in everything


def test_the_values_of_cortexs_env_file_stay_out_of_the_image(lading: Command, base: Path, tmp_path: Path) -> None:
    files = {
        "cortex.yaml": "- name: shout\n  kind: RealtimeAPI\n  predictor:\n    type: python\n    path: predictor.py\n    env: {MODE: loud}\n",
        "predictor.py": "class PythonPredictor:\n    def __init__(self, config):\n        pass\n    def predict(self, payload):\n        return payload\n",
        "requirements.txt": "",
        ".env": "DATABASE_URL=postgresql://u:planted-in-env@example.org/db\n",
    }
    project = write(tmp_path / "cortex-env", files)
    ran = lading("build", project, "-t", "cortex-env", "--base", base, "-o", f"oci:{tmp_path / 'image'}")
    assert "DATABASE_URL -> not in the image" in ran.err
    config = json.loads(Layout(tmp_path / "image").read(manifest_of(tmp_path / "image")["config"]["digest"]))
    service = json.loads(config["config"]["Labels"]["run.lading.service"])
    assert (service["wanted"], service["apis"][0]["worker"]["env"]["MODE"]) == (["DATABASE_URL"], "loud")
    everything = json.dumps(config).encode()
    for layer in manifest_of(tmp_path / "image")["layers"]:
        everything += b"".join(content_of(Layout(tmp_path / "image").read(layer["digest"])).values())
    assert b"planted-in-env" not in everything


def test_a_password_of_the_index_reaches_no_layer_label_or_log(lading: Command, base: Path, market: LocalIndex, tmp_path: Path) -> None:
    market.publish(next(one.archive for one in market["simple"].files if one.archive.name == "small"), to="private")
    market.protect("private", "alice", "s3cret-of-the-index")
    secret = market.url_of("private", user="alice", password="s3cret-of-the-index")
    files = {**PROJECT, "requirements.txt": f"--extra-index-url {secret}\ngreeting==1.0\nsmall==1.0\n"}
    project = write(tmp_path / "private", files)
    ran = lading("build", project, "-t", "private-model", "--base", base, "-o", f"oci:{tmp_path / 'image'}", "-v")
    assert "s3cret" not in ran.out + ran.err
    for path in (tmp_path / "image").rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            assert b"s3cret" not in content, path
            if content[:2] == b"\x1f\x8b":
                assert b"s3cret" not in b"".join(content_of(content).values()), path


def test_the_login_of_an_index_follows_a_redirect_on_its_server(lading: Command, base: Path, market: LocalIndex, tmp_path: Path) -> None:
    for name in ("door", "vault"):
        market.protect(name, "alice", "s3cret-of-the-vault")
    market["door"].files_at = "vault"
    moved = wheel("moved", "1.0")
    for name in ("door", "vault"):
        market.publish(moved, to=name)
    url = market.url_of("door", user="alice", password="s3cret-of-the-vault")
    requirements = f"--extra-index-url {url}\nmoved==1.0\n"
    project = write(tmp_path / "moved", {**PROJECT, "requirements.txt": requirements})
    lading("build", project, "-t", "moved", "--base", base)
    arrived = [one for one in market.requests if one.path == f"/files/vault/{moved.filename}"]
    assert arrived
    assert {one.status for one in arrived} <= {200, 206}
    assert {one.user for one in arrived} == {"alice"}


def test_a_secret_in_a_file_of_the_project_stops_the_build(lading: Command, base: Path, tmp_path: Path) -> None:
    project = write(tmp_path / "leaky", {**PROJECT, "settings.py": 'TOKEN = "hf_planted0123456789"\n'})
    ran = lading("build", project, "-t", "leaky", "--base", base, "--json", check=False, HF_TOKEN="hf_planted0123456789")
    (problem,) = ran.data["problems"]
    assert problem["rule"] == "secret-in-image"
    assert "settings.py" in problem["what"]
    assert "hf_planted" not in ran.out + ran.err
    assert lading("push", "leaky", "127.0.0.1:1/leaky", "--json", check=False).data["problems"][0]["rule"] == "image-unknown"


def test_other_readers_take_the_image(layout: Path) -> None:
    shown = subprocess.run([which("skopeo"), "inspect", f"oci:{layout}:v1"], capture_output=True, text=True, check=True)
    assert json.loads(shown.stdout)["Digest"] == Layout(layout).entries()[0]["digest"]
    done = subprocess.run(
        [which("umoci"), "unpack", "--rootless", "--image", f"{layout}:v1", layout.parent / "bundle"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    rootfs = layout.parent / "bundle" / "rootfs"
    assert (rootfs / "src/predict.py").read_text() == PREDICTOR
    assert (rootfs / "opt/venv/lib").is_dir()


@pytest.mark.slow
def test_zstd_layers_hold_the_same(lading: Command, project: Path, base: Path, layout: Path, tmp_path: Path) -> None:
    lading("build", project, "-t", "my-model:v1", "--base", base, "--compress", "zstd", "-o", f"oci:{tmp_path / 'zstd'}")
    ours, theirs = manifest_of(tmp_path / "zstd")["layers"][1:], manifest_of(layout)["layers"][1:]
    assert {layer["mediaType"] for layer in ours} == {"application/vnd.oci.image.layer.v1.tar+zstd"}
    for one, other in zip(ours, theirs, strict=True):
        assert content_of(Layout(tmp_path / "zstd").read(one["digest"])) == content_of(Layout(layout).read(other["digest"]))


def test_sdists_folders_and_repositories_are_built_once(lading: Command, base: Path, market: LocalIndex, tmp_path: Path) -> None:
    market.add_sdist("fromsource", "1.0")
    from tests.support.wheels import project as tree

    files = {**PROJECT, "requirements.txt": "fromsource==1.0\n./vendored\ngreeting==1.0\n"}
    files |= {f"vendored/{path}": text for path, text in tree("vendored", "3.0").items()}
    project = write(tmp_path / "sources", files)
    ran = lading("build", project, "-t", "sources", "--base", base, "--json", "-v").data
    assert "fromsource 1.0" in ran["images"][0]["layers"][-1]["title"] or any(
        "fromsource" in layer["title"] for layer in ran["images"][0]["layers"]
    )
    again = lading("build", project, "-t", "sources", "--base", base, "--json", "-v")
    assert again.data["digest"] == ran["digest"]
    assert "Building wheels" not in again.err


def test_a_base_that_does_not_exist_is_named(lading: Command, project: Path) -> None:
    ran = lading("build", project, "-t", "x", "--base", "./nowhere", "--json", check=False)
    assert ran.data["problems"][0]["rule"] == "base-not-found"


def test_a_dockerfile_for_other_builders(lading: Command, project: Path) -> None:
    text = lading("build", project, "--dockerfile", "--base", "python:3.11-slim").out
    lines = text.splitlines()
    assert "FROM python:3.11-slim" in lines
    assert any("uv pip sync" in line for line in lines)
    assert next(number for number, line in enumerate(lines) if line == "COPY --from=project /src /src") > next(
        number for number, line in enumerate(lines) if "uv pip sync" in line
    )
    assert not [line for line in lines if line.startswith("ARG")]
