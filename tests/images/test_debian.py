"""Images on a real Debian, made by debootstrap (`.ci/run` makes it): packages whose scripts run, the examples, and a torch for CPUs."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any, cast

import pytest

from lading.images.base import load_base
from lading.images.interpreters import host_platform
from lading.images.store import Store
from tests.images.support import PROJECT, Command, write
from tests.support.index import LocalIndex
from tests.support.installed import repack

ROOT = Path(__file__).parents[2]
DEBIAN = Path(os.environ.get("LADING_TEST_DEBIAN") or ROOT / ".venv" / "debian")

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def debian() -> Path:
    """The root file system; skipped where there is none."""
    if not (DEBIAN / "usr/bin/apt-get").exists():
        pytest.skip("there is no Debian in .venv/debian: `.ci/run --all` makes one with debootstrap")
    return DEBIAN


def test_what_the_base_holds_is_found_in_its_layers(debian: Path, tmp_path: Path) -> None:
    base = load_base(str(debian), host_platform(), Store(tmp_path / "store"))
    assert base.pythons
    assert base.system["ID"] == "debian"
    assert "Package: libc6" in base.files["var/lib/dpkg/status"]
    assert base.links["lib"] == "usr/lib"


def test_the_bases_own_python_is_used(debian: Path, lading: Command, tmp_path: Path, podman_environ: dict[str, str]) -> None:
    pythons = [path.name.removeprefix("python") for path in (debian / "usr/bin").glob("python3.??")]
    project = write(tmp_path / "on-debian", {**PROJECT, "requirements.txt": "greeting==1.0\n"})
    ran = lading("build", project, "-t", "on-debian:v1", "--base", debian, "--python", pythons[0], "--json", check=False)
    if ran.code:
        pytest.skip(f"the index of these tests has the server's packages for another Python than Debian's {pythons[0]}")
    assert not [layer for layer in ran.data["images"][0]["layers"] if layer["kind"] == "interpreter"]
    assert lading("predict", "on-debian:v1", "-i", "name=ant", **cast("Any", podman_environ)).out == "hello ant 1.0 \n"


_NEEDED = {
    "iris": ("numpy", "scipy", "joblib", "cloudpickle", "threadpoolctl", "scikit-learn"),
    "blur": ("pillow",),
    "sentiment": ("vadersentiment", "requests", "urllib3", "idna", "certifi", "charset-normalizer"),
    "torch-mnist": (
        "torch",
        "numpy",
        "pillow",
        "filelock",
        "typing-extensions",
        "sympy",
        "mpmath",
        "networkx",
        "jinja2",
        "markupsafe",
        "fsspec",
    ),
}
_WITH_CONDA = ("molecules",)
"""Examples whose packages are conda's: `test_conda` makes such an image."""


def test_every_example_is_made_into_an_image() -> None:
    folders = {path.name for path in (ROOT / "examples").iterdir() if path.is_dir()}
    assert {*_NEEDED, *_WITH_CONDA} == folders


@pytest.mark.parametrize("example", _NEEDED)
def test_an_example_runs_as_an_image(
    example: str, debian: Path, lading: Command, market: LocalIndex, tmp_path: Path, podman_environ: dict[str, str]
) -> None:
    """Built from the packages that are installed beside these tests, where they are; the lock is made for those versions."""
    for name in _NEEDED[example]:
        try:
            market.publish(repack(name))
        except ModuleNotFoundError:
            pytest.skip(f"{name} is not installed beside the tests")
    folder = shutil.copytree(ROOT / "examples" / example, tmp_path / example, ignore=shutil.ignore_patterns("pylock*"))
    ran = lading("build", folder, "-t", f"{example}:v1", "--base", debian, "--json", check=False)
    if ran.code and ran.data["problems"][0]["code"] in ("resolution", "network"):
        pytest.skip(f"the index of these tests lacks something: {ran.data['problems'][0]['what']}")
    assert ran.code == 0, ran.out + ran.err
    request = next(path for path in (folder / "request.json", folder / "sample.json") if path.exists())
    given = json.loads(request.read_text())
    text = json.dumps(given.get("input", given))
    answer = lading("predict", f"{example}:v1", "--json", text, **cast("Any", podman_environ))
    assert answer.out.strip()
