"""The bill of materials of an image lists what is in it, from wherever it came."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from cyclonedx.exception import MissingOptionalDependencyException
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from lading import __version__
from lading.images.base import Base
from lading.images.bill import PATH
from lading.images.front import pins
from lading.images.interpreters import place_interpreter
from lading.images.inventory import Debian, Records, debian_packages, pythons_of, records_of
from lading.images.layers import LayerWriter
from lading.images.layout import Layout
from lading.images.manifest import Settings, make_config
from lading.images.media import Compression, Kind, Layer
from lading.images.store import Store
from lading.images.tar import Entry
from tests.images.support import PROJECT, Command, content_of, files_of, manifest_of, write
from tests.support.index import LocalIndex

STATUS = """\
Package: libc6
Status: install ok installed
Architecture: amd64
Source: glibc
Version: 2.36-9+deb12u10

Package: gone
Status: deinstall ok config-files
Architecture: all
Version: 1.0

Package: libgcc-s1
Status: install ok installed
Architecture: amd64
Source: gcc-12 (12.2.0-14)
Version: 12.2.0-14+b1
Description: with a paragraph
 Package: not-this
"""


def _bill(layout: Path) -> dict[str, Any]:
    for layer in reversed(manifest_of(layout)["layers"]):
        found = content_of(Layout(layout).read(layer["digest"]))
        if PATH in found:
            bill: dict[str, Any] = json.loads(found[PATH])
            return bill
    raise AssertionError("the image has no bill of materials")


def _places(component: dict[str, Any]) -> list[str]:
    return [one["value"] for one in component.get("properties", ()) if one["name"] == "lading:path"]


@pytest.fixture(scope="module")
def image(images_home: Path, market: LocalIndex, base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small project's image as a layout, for tests that only look at it."""
    folder = tmp_path_factory.mktemp("bill")
    command = Command(images_home, market.url, folder)
    command("build", write(folder / "my-model", PROJECT), "-t", "my-model:v1", "--base", base, "-o", f"oci:{folder / 'image'}")
    return folder / "image"


@pytest.fixture(scope="module")
def bill(image: Path) -> dict[str, Any]:
    return _bill(image)


def test_the_bill_is_one_of_cyclonedx(bill: dict[str, Any]) -> None:
    try:
        error = JsonStrictValidator(SchemaVersion.V1_6).validate_str(json.dumps(bill))
    except MissingOptionalDependencyException as missing:
        pytest.skip(str(missing))
    assert error is None, str(getattr(error, "data", error))[-2000:]
    assert "timestamp" not in bill["metadata"]


def test_the_server_and_its_packages_are_listed_beside_the_models(bill: dict[str, Any]) -> None:
    components = {one["purl"]: one for one in bill["components"] if "purl" in one}
    for name, version in pins().items():
        component = components[f"pkg:pypi/{name}@{version}"]
        assert "/opt/lading" in _places(component)
        # Which index this machine has them from must not make another image.
        assert "externalReferences" not in component
        assert component["hashes"][0]["alg"] == "SHA-256"
    assert _places(components[f"pkg:pypi/lading@{__version__}"]) == ["/opt/lading"]
    greeting = components["pkg:pypi/greeting@1.0"]
    assert _places(greeting) == ["/opt/venv"]
    assert greeting["externalReferences"][0]["hashes"][0]["alg"] == "SHA-256"
    # Everything is said to be in the image.
    (whole,) = (one for one in bill["dependencies"] if one["ref"] == "image")
    assert {one["bom-ref"] for one in bill["components"]} == set(whole["dependsOn"])


def test_a_copied_python_is_listed_with_the_libraries_that_came_with_it(bill: dict[str, Any], image: Path) -> None:
    (python,) = (one for one in bill["components"] if one["name"] == "python")
    assert python["purl"] == f"pkg:generic/python@{python['version']}"
    assert python["cpe"].startswith(f"cpe:2.3:a:python:python:{python['version']}:")
    (place,) = _places(python)
    inside: dict[str, bytes] = {}
    for layer in manifest_of(image)["layers"]:
        if place.lstrip("/") in files_of(image, layer["digest"]):
            inside = content_of(Layout(image).read(layer["digest"]))
    copied = {one["name"]: one["hashes"][0]["content"] for one in python.get("components", ())}
    assert copied == {
        f"/{path}": hashlib.sha256(content).hexdigest()
        for path, content in inside.items()
        if path.rpartition("/")[0] == place.lstrip("/").replace(f"/bin/{place.rpartition('/')[2]}", "/lib")
    }


def test_debian_packages_are_those_of_the_distribution_that_the_base_is(lading: Command, project: Path, base: Path, tmp_path: Path) -> None:
    """Of the base, and of a layer on it: a package's own record counts before the base's status file."""
    folder = shutil.copytree(base, tmp_path / "ubuntu", symlinks=True)
    release = 'ID=ubuntu\nVERSION_ID="22.04"\nPRETTY_NAME="Ubuntu 22.04.4 LTS"\n'
    newer = "Package: libgcc-s1\nArchitecture: amd64\nSource: gcc-12\nVersion: 12.3.0-1\n"
    write(folder, {"etc/os-release": release, "var/lib/dpkg/status": STATUS, "var/lib/dpkg/status.d/libgcc-s1": newer})
    write(folder, {"usr/local/lib/python3.9/site-packages/Old_Tool-2.1.dist-info/METADATA": "Name: Old_Tool\n"})
    write(folder, {"usr/lib/python3/dist-packages/apt_pkg-1.dist-info/METADATA": "Name: apt_pkg\n"})
    lading("build", project, "-t", "model:v1", "--base", folder, "-o", f"oci:{tmp_path / 'image'}")
    bill = _bill(tmp_path / "image")
    purls = {one.get("purl") for one in bill["components"]}
    assert {purl for purl in purls if purl and purl.startswith("pkg:deb/")} == {
        "pkg:deb/ubuntu/libc6@2.36-9%2Bdeb12u10?arch=amd64&distro=ubuntu-22.04&upstream=glibc",
        "pkg:deb/ubuntu/libgcc-s1@12.3.0-1?arch=amd64&distro=ubuntu-22.04&upstream=gcc-12",
    }
    (system,) = (one for one in bill["components"] if one["type"] == "operating-system")
    assert (system["name"], system["version"]) == ("ubuntu", "22.04")
    (tool,) = (one for one in bill["components"] if one["name"] == "old-tool")
    assert _places(tool) == ["/usr/local/lib/python3.9/site-packages"]
    assert not [one for one in bill["components"] if one["name"] == "apt-pkg"]  # a Debian package brings it


def test_packages_of_a_status_file_are_those_that_are_installed() -> None:
    assert debian_packages(STATUS) == [
        Debian(name="libc6", version="2.36-9+deb12u10", architecture="amd64", source="glibc"),
        Debian(name="libgcc-s1", version="12.2.0-14+b1", architecture="amd64", source="gcc-12@12.2.0-14"),
    ]
    assert debian_packages("Package: base-files\nVersion: 12.4\nArchitecture: amd64\n") == [
        Debian(name="base-files", version="12.4", architecture="amd64")
    ]


def _layer(store: Store, kind: Kind, files: dict[str, str]) -> Layer:
    def put(writer: LayerWriter) -> None:
        for path, content in sorted(files.items()):
            writer.file(Entry(path=path, size=len(content)), content.encode())

    return store.layer(kind, "x", [json.dumps([kind, files])], Compression.GZIP, put)


def test_what_a_step_installs_removes_or_upgrades_is_seen(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    store.prepare()
    site = "usr/local/lib/python3.11/site-packages"
    base = _layer(
        store,
        Kind.BASE,
        {f"{site}/pip-23.0.dist-info/METADATA": "", f"{site}/wheel-0.40.dist-info/METADATA": "", f"{site}/kept-1-py3.11.egg-info": ""},
    )
    step = _layer(
        store, Kind.STEPS, {f"{site}/.wh.pip-23.0.dist-info": "", f"{site}/pip-24.2.dist-info/METADATA": "", "opt/tools/.wh..wh..opq": ""}
    )
    found = records_of([base, step], store)
    assert found.python == ((f"/{site}", "kept", "1"), (f"/{site}", "pip", "24.2"), (f"/{site}", "wheel", "0.40"))
    hidden = _layer(store, Kind.HIDDEN, {"usr/local/.wh.lib": ""})
    assert records_of([base, step, hidden], store).python == ()
    assert found.without((f"/{site}/",)) == Records()


@pytest.mark.parametrize(("folder", "listed"), [("usr/local/bin", ["3.11.9"]), ("usr/bin", [])])
def test_a_python_that_was_compiled_for_the_base_is_listed_and_debians_is_its_packages(
    folder: str, listed: list[str], tmp_path: Path
) -> None:
    config = {"config": {"Env": ["PYTHON_VERSION=3.11.9"]}}
    base = Base(name="python", digest="", platform="linux/amd64", layers=(), config=config, pythons={"3.11": folder})
    placed = place_interpreter(base, "3.11", None, Store(tmp_path), Compression.GZIP)
    assert [one.version for one in pythons_of(base, [placed, placed])] == listed


@pytest.mark.slow
def test_weights_and_large_files_are_listed_with_their_hashes(lading: Command, base: Path, tmp_path: Path) -> None:
    project = write(tmp_path / "model", {**PROJECT, "requirements.txt": "greeting==1.0\n", "w/config.json": "{}", "w/model.bin": b"12345"})
    with (project / "cog.yaml").open("a") as stream:
        stream.write("weights:\n- name: tiny\n  target: /weights/tiny\n  source: {uri: w}\n")
    with (project / "large.bin").open("wb") as large:
        large.truncate(65 << 20)
    lading("build", project, "-t", "model:v1", "--base", base, "-o", f"oci:{tmp_path / 'image'}")
    bill = _bill(tmp_path / "image")
    (tiny,) = (one for one in bill["components"] if one["name"] == "tiny")
    assert tiny["type"] == "data"
    assert _places(tiny) == ["/weights/tiny"]
    hashes = {one["name"]: one["hashes"][0]["content"] for one in tiny["components"]}
    assert hashes == {
        "/weights/tiny/config.json": hashlib.sha256(b"{}").hexdigest(),
        "/weights/tiny/model.bin": hashlib.sha256(b"12345").hexdigest(),
    }
    (large_file,) = (one for one in bill["components"] if one["name"] == "/src/large.bin")
    assert large_file["hashes"][0]["content"] == hashlib.sha256(bytes(65 << 20)).hexdigest()


def test_what_a_base_says_of_itself_is_not_said_of_the_image() -> None:
    """A base that Lading made has labels of the same names, and one of Ubuntu says its own version."""
    stale = {"run.cog.openapi_schema": "x", "run.lading.sbom": "x", "org.opencontainers.image.version": "22.04", "maintainer": "somebody"}
    config = make_config({"config": {"Labels": stale}}, [], Settings(entrypoint=()), {"run.lading.version": "1"}, "linux/amd64")
    assert json.loads(config)["config"]["Labels"] == {"maintainer": "somebody", "run.lading.version": "1"}
