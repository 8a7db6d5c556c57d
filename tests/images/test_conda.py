"""A project with conda packages, as an image."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, cast

import pytest

from lading.images import bill
from lading.images.layout import Layout
from tests.conda.conftest import CORTEX, MINOR, PREDICTOR, PYTHON, Channels, channels
from tests.images.support import Command, content_of, manifest_of, with_libraries, write
from tests.support.conda_channel import Channel
from tests.support.index import LocalIndex

__all__ = ["channels"]


@pytest.mark.slow
def test_a_conda_prefix_becomes_layers_and_is_active_in_the_container(
    channels: Channels, lading: Command, base: Path, market: LocalIndex, tmp_path: Path, podman_environ: dict[str, str]
) -> None:
    market.add("greets", "1.0", requires=["numpy>=1.20"])
    files = {
        "cortex.yaml": CORTEX,
        "predictor.py": PREDICTOR,
        "conda-packages.txt": f"rdkit\nsix=1.16.0\npython={MINOR}\n",
        "requirements.txt": "greets==1.0\nnumpy>=1.20\n",
        ".condarc": f"channels: ['{channels.main.url}']\n",
    }
    project = write(tmp_path / "molecules", files)
    folder = with_libraries(base, tmp_path / "base")
    built = lading("build", project, "-t", "molecules:v1", "--base", folder, "-o", f"oci:{tmp_path / 'image'}", "--json").data
    titles = [layer["title"] for layer in built["images"][0]["layers"]]
    assert any(title.startswith("conda: ") for title in titles)
    assert not [layer for layer in built["images"][0]["layers"] if layer["kind"] == "interpreter"]
    again = lading("build", project, "-t", "molecules:v1", "--base", folder, "--json")
    assert again.data["digest"] == built["digest"]
    found: dict[str, bytes] = {}
    for layer in manifest_of(tmp_path / "image")["layers"]:
        found |= content_of(Layout(tmp_path / "image").read(layer["digest"]))
    assert not [path for path, data in found.items() if str(lading.home).encode() in data]
    shown = lading("report", "molecules:v1", "--json", "-o", tmp_path / "page.html").data["bytes"]
    assert {"rdkit", "boost-cpp", "six", "python"} <= set(shown)
    assert shown["python"] > 100 * shown.get("/opt/venv", 0)
    ran = lading("predict", "molecules:v1", "--json", '{"number": 3}', **cast("Any", podman_environ))
    assert json.loads(ran.out) == {"numpy": "1.26.4", "python": PYTHON, "boost": "/opt/venv/share/boost", "number": 3}


@pytest.mark.slow
def test_condas_packages_are_in_the_bill_of_materials_and_scripts_that_do_not_run_are_told(
    channels: Channels, lading: Command, base: Path, tmp_path: Path
) -> None:
    extra = Channel(tmp_path / "extra")
    extra.add("fonts", "1.2", "h_3", files={"bin/.fonts-post-link.sh": "touch $PREFIX/ran\n"})
    extra.index()
    files = {
        "predict.py": "def predict(number: int = 1) -> int:\n    return number\n",
        "environment.yml": f"channels: ['{extra.url}', '{channels.main.url}', nodefaults]\ndependencies: ['python={MINOR}', six, fonts]\n"
        "variables: {API_TOKEN: s3cret-value}\n",
    }
    project = write(tmp_path / "model", files)
    command = ("build", project, "-t", "model:v1", "--base", base, "-o", f"oci:{tmp_path / 'image'}", "--json")
    for _ in range(2):
        built = lading(*command)
        assert "! the post-link script of fonts -> not run" in built.err
        assert "> API_TOKEN -> not in the image" in built.err
    found: dict[str, bytes] = {}
    for layer in manifest_of(tmp_path / "image")["layers"]:
        found |= content_of(Layout(tmp_path / "image").read(layer["digest"]))
    components = {one["purl"]: one for one in json.loads(found[bill.PATH])["components"] if "purl" in one}
    assert components["pkg:conda/fonts@1.2?build=h_3&channel=extra&subdir=linux-64"]["version"] == "1.2"
    six = next(one for purl, one in components.items() if purl.startswith("pkg:conda/six@1.16.0?"))
    assert {one["alg"] for one in six["hashes"]} == {"SHA-256", "MD5"}
    assert not [path for path in found if path.endswith("/ran")]
