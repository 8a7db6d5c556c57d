"""A torch project from its folder to an environment, through the command line, against a registry and PyTorch's indexes on loopback."""

from __future__ import annotations

import os
import subprocess
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from packaging.version import Version

from lading.environments.interpreters import find_interpreters
from tests.cli.process import Finished, run_lading
from tests.support.index import LocalIndex
from tests.support.pytorch import PyTorch

PREDICT = "import torch\n\n\ndef predict(number: int = 1) -> str:\n    return torch.__version__\n"
LOCK = "pylock.lading.toml"


@dataclass
class Desk:
    """A project's folder and the indexes that its user reaches."""

    root: Path
    index: LocalIndex
    pytorch: PyTorch
    env: dict[str, str]

    def lading(self, *words: str, **env: str) -> Finished:
        return run_lading(*words, cwd=self.root, env={**self.env, **env})

    def require(self, *lines: str) -> None:
        (self.root / "requirements.txt").write_text("\n".join(lines) + "\n")

    def locked(self, name: str = LOCK) -> dict[str, Any]:
        return tomllib.loads((self.root / name).read_text())

    def versions(self, name: str = LOCK) -> dict[str, str]:
        return {package["name"]: package["version"] for package in self.locked(name)["packages"]}

    def told(self, rule: str, name: str = LOCK) -> dict[str, Any]:
        (decision,) = [one for one in self.locked(name)["tool"]["lading"]["decisions"] if one["rule"] == rule]
        return dict(decision)

    def asked(self) -> list[str]:
        """The pages that were asked since the last look."""
        paths = [request.path for request in self.index.requests]
        self.index.requests.clear()
        return paths


@pytest.fixture
def desk(index: LocalIndex, tmp_path: Path) -> Desk:
    pytorch = PyTorch(index)
    pytorch.add_table(("2.0.1", "2.4.1", "2.12.0", "2.14.1"))
    index.add("typing-extensions", "4.12.0")
    for version in ("2.0.1", "2.4.1", "2.14.1"):
        index.add("torch", version)
    index.add("modelhub", "1.0", extras={"torch": ["torch>=2"]})
    root = tmp_path / "project"
    root.mkdir()
    (root / "predict.py").write_text(PREDICT)
    (root / ".python-version").write_text("3.11\n")
    return Desk(root, index, pytorch, {"UV_DEFAULT_INDEX": index.url, "LADING_TORCH_INDEX": pytorch.url, "COLUMNS": "160"})


def test_plan_begins_with_a_table_to_be_read_in_five_seconds(desk: Desk):
    desk.require("torch==2.4.1", "torchvision")
    planned = desk.lading("plan")
    assert planned.code == 0, planned.err
    table = planned.out.split("\n\n")[0].splitlines()
    assert table[0] == "Builds"
    assert table[1].split() == ["package", "asked", "chosen", "build", "download", "why"]
    assert table[2].split()[:4] == ["torch", "torch==2.4.1", "torch==2.4.1+cpu", "CPU"]
    assert table[2].endswith("kB    the target has no GPU")
    assert "torchvision==0.19.1+cpu" in table[3]
    assert table[4].strip().startswith("torch is ")
    assert "for CPU" in table[4]
    assert "for CUDA 12.4, NVIDIA's libraries aside." in table[4]
    assert not (desk.root / LOCK).exists()


def test_plan_as_json_has_the_sizes_in_bytes(desk: Desk):
    desk.require("torch==2.4.1")
    (row,) = desk.lading("plan", "--json").data["plans"][0]["builds"]
    assert (row["package"], row["asked"], row["chosen"], row["build"]) == ("torch", "torch==2.4.1", "torch==2.4.1+cpu", "CPU")
    assert row["size"] > 500
    assert (row["other"]["build"], row["other"]["size"] > 500) == ("CUDA 12.4", True)


def test_lock_and_install_a_completed_pin(desk: Desk):
    desk.require("torch==2.4.1")
    installed = desk.lading("install")
    assert installed.code == 0, installed.err
    assert "torch==2.4.1 -> torch==2.4.1+cpu (requirements.txt:1)" in installed.err
    assert desk.versions() == {"torch": "2.4.1+cpu", "typing-extensions": "4.12.0"}
    python = Path(installed.out.strip()) / "bin" / "python"
    printed = subprocess.run([python, "-c", "import torch; print(torch.__version__)"], capture_output=True, text=True, check=True)
    assert printed.stdout == "2.4.1+cpu\n"


def test_a_second_start_asks_no_page(desk: Desk):
    desk.require("torch>=2.4")
    assert desk.lading("lock").code == 0
    before = (desk.root / LOCK).read_text()
    desk.asked()
    for env in ({}, {"LADING_TORCH_INDEX": "http://127.0.0.1:1/whl"}, {"LADING_TORCH_INDEX": ""}):
        again = desk.lading("lock", "--locked", **env)
        assert again.code == 0, again.err
        assert f"{LOCK} is up to date" in again.err
    assert desk.asked() == []
    assert (desk.root / LOCK).read_text() == before


def test_the_lock_is_as_fresh_whether_or_not_the_index_could_be_asked(desk: Desk):
    desk.require("torch==2.4.1")
    assert desk.lading("plan", LADING_TORCH_INDEX="http://127.0.0.1:1/whl").code == 0
    fingerprints = {
        desk.lading("plan", "--json", **env).data["plans"][0]["fingerprint"]
        for env in ({}, {"LADING_TORCH_INDEX": "http://127.0.0.1:1/whl"})
    }
    fingerprints.add(desk.lading("plan", "--json", "--offline").data["plans"][0]["fingerprint"])
    assert len(fingerprints) == 1


def test_out_of_reach_is_said_with_the_day_of_the_table(desk: Desk):
    desk.require("torch==2.4.1")
    planned = desk.lading("plan", LADING_TORCH_INDEX="http://127.0.0.1:1/whl")
    assert "torch==2.4.1+cpu" in planned.out
    said = " ".join(planned.out.split())
    assert "PyTorch's index could not be asked (Connection refused), so this follows Lading's table of 2026-11-21" in said


def test_the_lock_names_the_build_of_a_range(desk: Desk):
    desk.require("torch>=2,<2.5")
    assert desk.lading("lock").code == 0
    assert desk.told("torch-index-chosen")["chose"] == "torch==2.4.1+cpu from https://download.pytorch.org/whl/cpu"
    assert desk.told("versions-float")["chose"] == "torch==2.4.1+cpu"


def test_torch_that_another_package_brings_is_the_right_build_and_named(desk: Desk):
    desk.require("modelhub[torch]==1.0")
    assert desk.lading("lock").code == 0
    assert desk.versions()["torch"] == "2.14.1+cpu"
    told = desk.told("torch-brought-in")
    assert (told["asked"], told["chose"]) == ("torch, for modelhub", "torch==2.14.1+cpu from https://download.pytorch.org/whl/cpu")


def test_another_package_wants_a_release_that_the_targets_cuda_does_not_have(desk: Desk):
    desk.index.add("oldtool", "1.0", requires=["torch==2.0.1"])
    desk.require("oldtool")
    locked = desk.lading("lock", "--accelerator", "cu121")
    assert locked.code == 0, locked.err
    assert desk.versions("pylock.lading-cu121.toml")["torch"] == "2.0.1+cu118"


def test_tensorflow_is_taken_as_written_where_another_package_requires_it_by_name(desk: Desk):
    desk.index.add("tensorflow", "2.15.0")
    desk.index.add("tensorflow-cpu", "2.15.0")
    desk.index.add("bridge", "1.0", requires=["tensorflow>=2"])
    desk.require("tensorflow==2.15.0", "bridge==1.0")
    assert desk.lading("lock").code == 0
    assert desk.versions() == {"tensorflow": "2.15.0", "bridge": "1.0"}
    assert "bridge requires it by this name" in desk.told("tensorflow-build-kept")["because"]
    assert desk.lading("lock", "--check").code == 0


def test_cpu_and_gpu_side_by_side_and_the_difference(desk: Desk):
    desk.require("torch==2.4.1")
    assert desk.lading("lock").code == 0
    assert desk.lading("lock", "--accelerator", "cu121").code == 0
    assert desk.versions("pylock.lading-cu121.toml")["torch"] == "2.4.1+cu121"
    difference = desk.lading("diff", LOCK, "pylock.lading-cu121.toml")
    assert "torch 2.4.1+cpu -> 2.4.1+cu121" in difference.out
    assert desk.lading("lock", "--check").code == 0
    assert desk.lading("lock", "--check", "--accelerator", "cu121").code == 0


def test_a_contradiction_stops_before_any_download_and_doctor_names_the_nearest_set(desk: Desk):
    desk.require("torch==2.12.0+cu126", "torchvision==0.19.1")
    for verb in ("plan", "lock", "doctor"):
        desk.asked()
        stopped = desk.lading(verb)
        assert stopped.code == 3
        said = " ".join((stopped.out + stopped.err).split())
        assert "torchvision 0.19.1 does not go with torch 2.12.0" in said
        assert "torch==2.12.0+cu126 torchvision==0.27.0 torchaudio==2.11.0 (Python 3.10 to 3.14, CUDA 12.6" in said
        assert not [path for path in desk.asked() if path.startswith("/files/")]
    assert not (desk.root / LOCK).exists()


def test_doctor_tells_what_a_gpu_build_needs(desk: Desk):
    desk.require("torch==2.12.0+cu130")
    seen = " ".join(desk.lading("doctor").out.split())
    assert "builds: torch==2.12.0+cu130" in seen
    assert "an NVIDIA driver 580 or newer" in seen


def test_doctor_finds_a_driver_that_is_too_old(desk: Desk, tmp_path: Path):
    program = tmp_path / "bin" / "nvidia-smi"
    program.parent.mkdir()
    program.write_text('#!/bin/sh\ncase "$1" in *driver_version*) echo 550.54.14;; *) echo "NVIDIA A10, 8.6";; esac\n')
    program.chmod(0o755)
    desk.require("torch==2.12.0+cu130")
    seen = desk.lading("doctor", PATH=f"{program.parent}:/usr/bin:/bin")
    assert seen.code == 3
    said = " ".join(seen.out.split())
    assert "NVIDIA A10 (compute capability 8.6)" in said
    assert "The driver here is 550.54.14, and CUDA 13.0 needs 580 or newer" in said
    assert "torch==2.12.0+cu126" in said


def test_the_mirror_of_the_project_with_credentials_stays_out_of_plan_and_lock(desk: Desk):
    for name in ("whl", "whl/cpu"):
        desk.index.protect(name, "bob", "geheim1")
    address = desk.index.url_of("whl").rstrip("/").replace("http://", "http://bob:${MIRROR_TOKEN}@")
    (desk.root / "pyproject.toml").write_text(f'[tool.lading]\ntorch-index = "{address}"\n')
    desk.require("torch==2.4.1")
    env = {"LADING_TORCH_INDEX": "", "MIRROR_TOKEN": "geheim1"}
    planned = desk.lading("plan", "--json", **env)
    assert planned.code == 0, planned.err
    assert planned.data["plans"][0]["indexes"]["bound"][0]["url"] == "https://download.pytorch.org/whl/cpu"
    installed = desk.lading("install", **env)
    assert installed.code == 0, installed.err
    assert desk.versions()["torch"] == "2.4.1+cpu"
    everything = planned.out + planned.err + installed.out + installed.err + (desk.root / LOCK).read_text()
    assert "geheim1" not in everything
    unset = desk.lading("plan", LADING_TORCH_INDEX="")
    assert (unset.code, "MIRROR_TOKEN is not set" in unset.err) == (2, True)


def test_the_switch_off_leaves_torch_to_the_registry(desk: Desk):
    desk.require("torch==2.4.1")
    assert desk.lading("lock", LADING_TORCH_INDEX="off").code == 0
    assert desk.versions()["torch"] == "2.4.1"
    assert not [path for path in desk.asked() if path.startswith("/whl")]


@pytest.mark.parametrize("value", ["not an address", "file:///tmp/whl", "http://"])
def test_a_mirror_that_is_no_address_is_named(desk: Desk, value: str):
    desk.require("torch==2.4.1")
    refused = desk.lading("plan", LADING_TORCH_INDEX=value)
    assert refused.code == 2
    assert "LADING_TORCH_INDEX" in refused.err


def test_a_project_without_frameworks_asks_nothing_of_pytorch(desk: Desk):
    desk.require("modelhub==1.0")
    assert desk.lading("lock").code == 0
    assert not [path for path in desk.asked() if path.startswith("/whl")]


def test_hashes_name_the_build_and_the_line_stays_as_it_is(desk: Desk):
    sha256 = next(one.archive.sha256 for one in desk.index["whl/cu121"].files if "torch-2.4.1+cu121-cp311" in one.archive.filename)
    desk.require(f"torch==2.4.1 --hash=sha256:{sha256}")
    assert desk.lading("lock").code == 0
    assert desk.versions()["torch"] == "2.4.1+cu121"
    told = desk.told("torch-build-kept")
    assert (told["asked"], told["chose"]) == ("torch==2.4.1", "torch==2.4.1")
    assert "its hashes are those of the build cu121" in told["because"]


def test_hashes_of_the_registrys_build_are_taken_from_there(desk: Desk):
    sha256 = next(one.archive.sha256 for one in desk.index["simple"].files if one.archive.filename.startswith("torch-2.4.1-"))
    desk.require(f"torch==2.4.1 --hash=sha256:{sha256}")
    assert desk.lading("lock").code == 0
    assert desk.versions()["torch"] == "2.4.1"
    assert "it comes from the ordinary index" in desk.told("torch-build-kept")["because"]


def test_plan_shows_the_size_of_what_the_registry_has(desk: Desk):
    for name in ("tensorflow", "tensorflow-cpu"):
        desk.index.add(name, "2.15.0")
    desk.require("tensorflow==2.15.0")
    (row,) = desk.lading("plan", "--json").data["plans"][0]["builds"]
    assert (row["chosen"], row["size"] > 500) == ("tensorflow-cpu==2.15.0", True)
    assert (row["other"]["build"], row["other"]["size"] > 500) == ("tensorflow", True)


def test_where_torchs_index_cannot_be_reached_the_ways_around_it_are_named(desk: Desk):
    desk.require("torch==2.4.1")
    failed = desk.lading("lock", LADING_TORCH_INDEX="http://127.0.0.1:1/whl")
    assert failed.code == 5
    assert "LADING_TORCH_INDEX names a mirror of it; LADING_TORCH_INDEX=off takes torch from" in " ".join(failed.err.split())


def test_an_old_project_gets_an_old_python_and_the_build_of_its_day(desk: Desk):
    suited = [one for one in find_interpreters(os.environ) if one.minor in ("3.6", "3.7", "3.8", "3.9")]
    if not suited:
        pytest.skip("this machine has no Python from 3.6 to 3.9, which alone torch 1.7.1 has wheels for")
    desk.pytorch.add_table(("1.7.1",))
    (desk.root / ".python-version").unlink()
    desk.require("torch==1.7.1", "torchvision==0.8.2", "torchaudio==0.7.2")
    installed = desk.lading("install")
    assert installed.code == 0, installed.err
    newest = max(suited, key=lambda one: Version(one.version))
    assert desk.locked()["tool"]["lading"]["target"]["python"] == newest.version
    assert desk.versions() == {"torch": "1.7.1+cpu", "torchvision": "0.8.2+cpu", "torchaudio": "0.7.2"}
    python = Path(installed.out.strip()) / "bin" / "python"
    told = subprocess.run(
        [python, "-c", "import sys, torch; print(sys.version_info[1], torch.__version__)"], capture_output=True, text=True, check=True
    )
    assert told.stdout == f"{newest.minor[2:]} 1.7.1+cpu\n"
