"""The real torch 2.13.0 for the CPU, in the example that pins it: locked, installed, and a digit recognised."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.cli.process import run_lading
from tests.support.index import LocalIndex
from tests.support.pytorch import PyTorch
from tests.support.wheels import Archive

EXAMPLE = Path(__file__).parents[2] / "examples" / "torch-mnist"
_AS_THE_USER = dict(os.environ)
"""The environment before tests have one of their own: pip's settings are in it."""


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """torch 2.13.0 and the example's other packages, as pip gets them on this machine."""
    if sys.version_info[:2] != (3, 11):
        pytest.skip("the example asks for Python 3.11, and the tests run on another")
    folder = tmp_path_factory.mktemp("wheels")
    _download(folder, "--no-deps", "torch==2.13.0")
    (torch,) = folder.glob("torch-2.13.0*.whl")
    with zipfile.ZipFile(torch) as archive:
        metadata = archive.read(next(name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))).decode()
    if any(line.startswith(("Requires-Dist: nvidia", "Requires-Dist: cuda")) for line in metadata.splitlines()):
        pytest.skip("pip gets a CUDA build of torch 2.13.0 here, which is several GB with its libraries")
    _download(folder, "-r", str(EXAMPLE / "requirements.txt"))
    return folder


def _download(folder: Path, *what: str) -> None:
    command = [
        sys.executable,
        "-m",
        "pip",
        "download",
        "-q",
        "--only-binary",
        ":all:",
        "-d",
        str(folder),
        "--find-links",
        str(folder),
        *what,
    ]
    done = subprocess.run(command, env=_AS_THE_USER, capture_output=True, text=True, timeout=900, check=False)
    if done.returncode:
        pytest.skip(f"pip cannot get {what[-1]} here: {done.stderr.strip().splitlines()[-1]}")


@pytest.mark.slow
@pytest.mark.torch
@pytest.mark.timeout(1200)
def test_the_example_recognises_a_digit_with_the_real_torch(index: LocalIndex, wheels: Path, tmp_path: Path):
    pytorch = PyTorch(index)
    for path in wheels.glob("*.whl"):
        name, version = path.name.split("-")[:2]
        place = "whl/cpu" if name == "torch" else "simple"
        with zipfile.ZipFile(path) as archive:
            metadata = archive.read(next(one for one in archive.namelist() if one.endswith(".dist-info/METADATA")))
        index.publish(Archive(name, version, path.name, path.read_bytes(), None, metadata), to=place)
    index["whl"].parts.append("whl/cpu")
    root = tmp_path / "torch-mnist"
    shutil.copytree(EXAMPLE, root)
    env = {"UV_DEFAULT_INDEX": index.url, "LADING_TORCH_INDEX": pytorch.url}
    planned = run_lading("plan", "--json", "--accelerator", "cpu", cwd=root, env=env)
    row = planned.data["plans"][0]["builds"][0]
    assert (row["chosen"], row["build"]) == ("torch==2.13.0+cpu", "CPU")
    assert row["size"] > 100_000_000
    words = [sys.executable, "-m", "lading", "predict", "--accelerator", "cpu", "-i", "image=@seven.png"]
    done = subprocess.run(words, cwd=root, env={**os.environ, **env}, capture_output=True, text=True, timeout=900, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["digit"] == 7
    assert "torch==2.13.0 -> torch==2.13.0+cpu (requirements.txt:1)" in done.stderr
