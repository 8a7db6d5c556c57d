"""A requirement of ``.``: the project's own package is in the image as a wheel, built there as it is written."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lading.images.layout import Layout
from tests.images.support import PREDICTOR, Command, content_of, manifest_of, write
from tests.support.index import LocalIndex
from tests.support.installed import repack
from tests.support.wheels import project as package

Build = Callable[..., Any]
SETUP = 'from setuptools import setup\nsetup(name="mine", version="0.1", packages=["mine"], package_data={"mine": ["labels.json"]})\n'


def _packages(folder: Path) -> dict[str, bytes]:
    """Every file of the environment in the image, by its path below site-packages."""
    layout = Layout(folder)
    found: dict[str, bytes] = {}
    for layer in manifest_of(folder)["layers"]:
        found |= content_of(layout.read(layer["digest"]))
    return {path.partition("site-packages/")[2]: content for path, content in found.items() if "/site-packages/mine" in path}


@pytest.mark.parametrize("line", [".", "-e ."])
def test_it_is_a_wheel_in_the_image_however_it_is_written(lading: Command, base: Path, tmp_path: Path, line: str):
    files = {**package("mine", "0.1"), "predict.py": PREDICTOR.replace("greeting", "mine"), "requirements.txt": f"{line}\n"}
    folder = write(
        tmp_path / "model", {**files, "cog.yaml": "build:\n  python_requirements: requirements.txt\npredict: predict.py:Predictor\n"}
    )
    lading("build", folder, "-t", "model:v1", "--base", base, "-o", f"oci:{tmp_path / 'image'}")
    found = _packages(tmp_path / "image")
    assert found["mine/__init__.py"].strip() == b'__version__ = "0.1"'
    assert [path for path in found if path.endswith(".pth") or "editable" in path] == []
    direct = [json.loads(content) for path, content in found.items() if path.endswith("direct_url.json")]
    assert not any(one.get("dir_info", {}).get("editable") for one in direct)


@pytest.mark.slow
def test_a_setup_py_is_built_and_what_it_packs_is_there(lading: Command, base: Path, market: LocalIndex, tmp_path: Path):
    market.publish(repack("setuptools"))
    files = {"setup.py": SETUP, "mine/__init__.py": '__version__ = "0.1"\n', "mine/labels.json": "[1]"}
    folder = write(tmp_path / "model", {**files, "predict.py": PREDICTOR.replace("greeting", "mine"), "requirements.txt": ".\n"})
    for labels in ("[1]", "[2]"):
        (folder / "mine" / "labels.json").write_text(labels)
        image = tmp_path / f"image-{labels[1]}"
        lading("build", folder, "-t", "model:v1", "--base", base, "-o", f"oci:{image}")
        assert _packages(image)["mine/labels.json"] == labels.encode()
