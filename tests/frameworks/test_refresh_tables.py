"""The script that brings the tables up to the live indexes, against the local ones."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.support.index import LocalIndex
from tests.support.pytorch import PyTorch

ROOT = Path(__file__).parents[2]
SCRIPT, DATA = ROOT / "scripts" / "refresh_tables.py", ROOT / "src" / "lading" / "frameworks" / "data"


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return Path(shutil.copytree(DATA, tmp_path / "data"))


@pytest.fixture
def pytorch(index: LocalIndex) -> PyTorch:
    made = PyTorch(index)
    made.add_table(("2.4.1", "2.14.1"))
    index.add("torch", "2.14.1", tag="cp311-cp311-manylinux_2_28_x86_64")
    for minor in ("3.10", "3.11"):
        tag = f"cp3{minor[2:]}-cp3{minor[2:]}-manylinux_2_28_x86_64"
        index.add("tensorflow", "2.21.0", tag=tag)
    return made


def refresh(pytorch: PyTorch, data: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(SCRIPT), "--data", str(data), "--torch-index", pytorch.url, "--index", pytorch.index.url, *words]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def rows(data: Path, name: str, key: str) -> dict[str, dict[str, object]]:
    return {row[key]: row for row in tomllib.loads((data / f"{name}.toml").read_text())["release"]}


def test_where_nothing_is_new_only_the_day_changes(pytorch: PyTorch, data: Path):
    done = refresh(pytorch, data)
    assert (done.returncode, done.stdout.startswith("0 new facts")) == (0, True), done.stderr
    assert rows(data, "torch", "torch") == rows(DATA, "torch", "torch")
    assert rows(data, "tensorflow", "tensorflow") == rows(DATA, "tensorflow", "tensorflow")


def test_a_new_release_comes_with_its_labels_pythons_partners_and_the_registrys_build(pytorch: PyTorch, data: Path):
    for label in ("cpu", "cu134"):
        pytorch.build("torch", "2.16.0", label, pythons=("3.12", "3.13"))
        pytorch.build("torchvision", "0.30.0", label, pythons=("3.12",), requires=["torch==2.16.0"])
    pytorch.index.add("torch", "2.16.0", tag="cp312-cp312-manylinux_2_28_x86_64", requires=["nvidia-cuda-runtime==13.4.2"])
    done = refresh(pytorch, data)
    assert "torch 2.16.0: new, cu134, cpu" in done.stdout
    row = rows(data, "torch", "torch")["2.16.0"]
    assert row == {
        "torch": "2.16.0",
        "labels": {"cu134": "live", "cpu": "live"},
        "registry": "cu134",
        "pythons": ["3.12", "3.13"],
        "torchvision": "0.30.0",
        "torchaudio": "2.11.0",
    }
    assert rows(data, "torch", "torch").keys() - {"2.16.0"} == rows(DATA, "torch", "torch").keys()


def test_a_new_label_of_a_known_release_is_added_with_its_source(pytorch: PyTorch, data: Path):
    pytorch.build("torch", "2.14.1", "cu134")
    assert "torch 2.14.1: also cu134" in refresh(pytorch, data).stdout
    labels = rows(data, "torch", "torch")["2.14.1"]["labels"]
    assert isinstance(labels, dict)
    assert labels["cu134"] == "live"
    assert labels["cpu"] == "inferred-from-2.14.0"


def test_tensorflows_new_minor_and_patch_releases(pytorch: PyTorch, data: Path):
    tag = "cp313-cp313-manylinux_2_28_x86_64"
    libraries = {"and-cuda": ["nvidia-cuda-runtime-cu12<13,>=12.9.7", "nvidia-cudnn-cu12<10,>=9.8.0.1"]}
    pytorch.index.add("tensorflow", "2.22.0", tag=tag, extras=libraries)
    pytorch.index.add("tensorflow", "2.21.1", tag=tag)
    refresh(pytorch, data)
    found = rows(data, "tensorflow", "tensorflow")
    assert (found["2.22.0"]["cuda"], found["2.22.0"]["cudnn"], found["2.22.0"]["pythons"]) == ("12.9", "9.8", ["3.13"])
    patches = found["2.21.0"]["patches"]
    assert isinstance(patches, dict)
    assert patches["2.21.1"] == ["3.13"]


def test_check_changes_nothing_and_tells_by_its_exit_status(pytorch: PyTorch, data: Path):
    before = (data / "torch.toml").read_text()
    assert refresh(pytorch, data, "--check").returncode == 0
    pytorch.build("torch", "2.14.1", "cu134")
    done = refresh(pytorch, data, "--check", "--only", "torch")
    assert (done.returncode, "1 new facts" in done.stdout) == (1, True)
    assert (data / "torch.toml").read_text() == before


def test_an_index_out_of_reach_leaves_the_tables_as_they_are(pytorch: PyTorch, data: Path):
    before = (data / "torch.toml").read_text()
    pytorch.index["whl"].status = 500
    done = refresh(pytorch, data)
    assert done.returncode == 1
    assert "has not told of torch: it answered 500" in done.stderr
    assert (data / "torch.toml").read_text() == before
