"""What this machine tells of its driver and GPUs: the kernel's files under a folder, and a program named nvidia-smi."""

from __future__ import annotations

from pathlib import Path

import pytest
from packaging.version import Version

from lading.environments.host import find_accelerator, find_machine
from lading.frameworks.gpus import capabilities, driver_floor, has_kernels, newest_label, runs_build
from lading.model.target import Gpu, Machine

KERNEL = "NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.129.03  Thu Oct 19 18:56:32 UTC 2023\nGCC version: 12\n"


def with_driver(root: Path, gpus: tuple[str, ...] = ()) -> str:
    (root / "proc/driver/nvidia/gpus").mkdir(parents=True)
    (root / "proc/driver/nvidia/version").write_text(KERNEL)
    for number, name in enumerate(gpus):
        folder = root / f"proc/driver/nvidia/gpus/0000:0{number}:00.0"
        folder.mkdir()
        (folder / "information").write_text(f"Model: \t\t {name}\nIRQ:   \t\t 45\n")
    return str(root)


def program(folder: Path, script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put a program named nvidia-smi first on PATH."""
    folder.mkdir(exist_ok=True)
    (folder / "nvidia-smi").write_text(f"#!/bin/sh\n{script}\n")
    (folder / "nvidia-smi").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")


def test_a_machine_without_a_driver_has_nothing(tmp_path: Path):
    assert find_machine(str(tmp_path)) == Machine()


def test_the_kernel_tells_the_driver_and_the_names(tmp_path: Path):
    machine = find_machine(with_driver(tmp_path, ("NVIDIA A10G", "NVIDIA A10G")))
    assert machine == Machine(driver="535.129.03", gpus=(Gpu("NVIDIA A10G"), Gpu("NVIDIA A10G")))


def test_nvidia_smi_tells_capabilities(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    script = 'case "$1" in *driver_version*) echo 590.10;; *) echo "NVIDIA GeForce RTX 5090, 12.0"; echo "Tesla, T4, 7.5";; esac'
    program(tmp_path / "bin", script, monkeypatch)
    machine = find_machine()
    assert machine.gpus == (Gpu("NVIDIA GeForce RTX 5090", "12.0"), Gpu("Tesla, T4", "7.5"))


@pytest.mark.parametrize("script", ["exit 9", "echo NVIDIA-SMI has failed", "echo 550.54.14; exit 1", ":"])
def test_an_nvidia_smi_that_fails_tells_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str):
    if find_machine().driver:
        pytest.skip("this machine has a driver of its own")
    program(tmp_path / "bin", script, monkeypatch)
    assert find_machine() == Machine()


def test_an_old_driver_does_not_tell_capabilities(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    script = 'case "$1" in *driver_version*) echo 450.80.02;; *) echo "Tesla K80, [N/A]";; esac'
    program(tmp_path / "bin", script, monkeypatch)
    assert find_machine().gpus == (Gpu("Tesla K80", None),)


@pytest.mark.parametrize(
    ("driver", "label"),
    [("595.58.03", "cu132"), ("580", "cu132"), ("535.129.03", "cu129"), ("470.42.01", "cu118"), ("440.33", "cu102"), ("300.1", None)],
)
def test_the_newest_build_that_a_driver_runs(driver: str, label: str | None):
    assert newest_label(driver) == label


def test_the_accelerator_follows_the_driver(tmp_path: Path):
    found = find_accelerator("auto", with_driver(tmp_path))
    assert (found.label, found.driver) == ("cu129", "535.129.03")


@pytest.mark.parametrize(
    ("label", "floor"),
    [("cu126", "525.60.13"), ("cu134", "580"), ("cu118", "450.80.02"), ("cpu", None), ("rocm6.2", None), ("cu999", None)],
)
def test_floors_of_known_labels_and_of_tomorrows(label: str, floor: str | None):
    assert driver_floor(label) == floor
    assert runs_build("999", label)


@pytest.mark.parametrize(
    ("release", "label", "capability", "has"),
    [
        ("2.4.1", "cu124", "8.6", True),
        ("2.4.1", "cu124", "8.9", True),  # the code for 8.6 runs on 8.9
        ("2.4.1", "cu124", "12.0", False),
        ("2.12.0", "cu130", "6.1", False),
        ("2.12.0", "cu126", "6.1", True),
        ("2.12.0", "cu130", "12.1", True),  # compiled from PTX, or 12.0's own code
        ("2.12.0", "cu130", "13.0", True),  # from PTX
        ("2.9.0", "cu128", "8.6", None),  # nothing is known of 2.9
    ],
)
def test_which_gpus_a_build_has_code_for(release: str, label: str, capability: str, *, has: bool | None):
    assert has_kernels(Version(release), label, [Gpu("one", capability)]) is has


def test_a_gpu_that_does_not_tell_settles_nothing():
    assert has_kernels(Version("2.4.1"), "cu124", [Gpu("one")]) is None
    assert capabilities(Version("2.4.1"), "cu124")
