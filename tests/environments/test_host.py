"""What this machine is: its platform by the resolver's name, and its driver, from the files of a kernel."""

from __future__ import annotations

import os
import re
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from lading.environments.host import find_accelerator, find_driver, host_target, platform_name
from lading.environments.probe import Probed, probe
from lading.model.origin import Origin
from lading.model.problems import ExitCode, LadingError
from lading.model.target import Interpreter
from tests.environments.support import FOUND

ANSWER = Probed(
    executable="/usr/bin/python3",
    version="3.11.7",
    implementation="cpython",
    base_prefix="/usr",
    soabi="cpython-311-x86_64-linux-gnu",
    platform="linux-x86_64",
    libc="glibc 2.36",
    bits=64,
    free_threaded=False,
)

OPEN = "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  {}  Release Build  (builder@host)\nGCC version:  gcc version 12.2.0\n"
CLOSED = "NVRM version: NVIDIA UNIX x86_64 Kernel Module  {}  Thu Aug 24 02:35:11 UTC 2023\n"


def refused(answer: Probed) -> str:
    with pytest.raises(LadingError) as caught:
        platform_name(answer)
    (problem,) = caught.value.problems
    assert (problem.rule, problem.code) == ("platform-unsupported", ExitCode.RESOLUTION)
    return problem.what


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="this machine is no Linux")
@pytest.mark.parametrize("minor", FOUND)
def test_every_python_of_this_machine_has_the_same_platform(minor: str, interpreter: Interpreter):
    here = platform_name(probe([interpreter.path])[interpreter.path])
    path = FOUND[minor].path
    assert platform_name(probe([path])[path]) == here
    assert re.fullmatch(r"(x86_64|aarch64)-(manylinux_2_\d\d|unknown-linux-musl)", here)


def test_the_target_is_this_machine(interpreter: Interpreter):
    target = host_target(interpreter, "cu126")
    assert (target.python, target.implementation, target.accelerator) == (interpreter.version, interpreter.implementation, "cu126")
    assert host_target(interpreter, "cpu").accelerator == "cpu"


def test_a_python_that_went_away(tmp_path: Path):
    with pytest.raises(LadingError) as caught:
        host_target(Interpreter(path=str(tmp_path / "python"), version="3.11.7"))
    assert caught.value.problems[0].rule == "python-not-usable"


@pytest.mark.parametrize(
    ("platform", "soabi", "name"),
    [
        ("linux-x86_64", "cpython-311-x86_64-linux-musl", "x86_64-unknown-linux-musl"),
        ("linux-aarch64", "cpython-311-aarch64-linux-musl", "aarch64-unknown-linux-musl"),
        ("macosx-11.0-arm64", "cpython-311-darwin", "aarch64-apple-darwin"),
        ("macosx-10.9-x86_64", "cpython-311-darwin", "x86_64-apple-darwin"),
    ],
)
def test_platforms_have_the_resolvers_names(platform: str, soabi: str, name: str):
    assert platform_name(replace(ANSWER, platform=platform, soabi=soabi)) == name


@pytest.mark.skipif(
    "CS_GNU_LIBC_VERSION" not in os.confstr_names or not sys.platform.startswith("linux"), reason="this machine has no glibc"
)
def test_the_level_of_glibc_is_this_machines_own():
    """A home may be shared between machines, and an interpreter's answer with it."""
    level = int((os.confstr("CS_GNU_LIBC_VERSION") or "").rpartition(".")[2])
    found = int(platform_name(replace(ANSWER, libc="glibc 2.17")).rpartition("_")[2])
    assert found <= level


@pytest.mark.parametrize(
    ("platform", "bits"), [("linux-i686", 32), ("linux-armv7l", 32), ("linux-x86_64", 32), ("win-amd64", 64), ("freebsd-14-amd64", 64)]
)
def test_platforms_that_nothing_is_built_for(platform: str, bits: int):
    assert platform in refused(replace(ANSWER, platform=platform, bits=bits))


def kernel(root: Path, path: str, text: str) -> str:
    (root / path).parent.mkdir(parents=True)
    (root / path).write_text(text)
    return str(root)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="this machine is no Linux")
@pytest.mark.parametrize("text", [OPEN, CLOSED])
@pytest.mark.parametrize("version", ["535.129.03", "570.86", "390.157"])
def test_the_driver_is_read_from_the_kernel(tmp_path: Path, text: str, version: str):
    assert find_driver(kernel(tmp_path, "proc/driver/nvidia/version", text.format(version))) == version


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="this machine is no Linux")
def test_the_driver_is_read_from_the_module(tmp_path: Path):
    assert find_driver(kernel(tmp_path, "sys/module/nvidia/version", "550.54.14\n")) == "550.54.14"


@pytest.mark.parametrize(
    ("path", "text"), [("proc/driver/nvidia/version", "hello"), ("sys/module/nvidia/version", "unknown\n"), ("etc/x", "")]
)
def test_what_is_no_driver(tmp_path: Path, path: str, text: str):
    assert find_driver(kernel(tmp_path, path, text)) is None


def test_without_a_driver_builds_are_for_the_cpu(tmp_path: Path):
    found = find_accelerator("auto", str(tmp_path))
    assert (found.label, found.driver) == ("cpu", None)
    assert "no NVIDIA driver" in found.because


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="this machine is no Linux")
def test_the_driver_decides_what_runs(tmp_path: Path):
    labels = []
    for number, driver in enumerate(("340.108", "450.80.02", "525.60.13", "580.65.06")):
        found = find_accelerator("auto", kernel(tmp_path / str(number), "sys/module/nvidia/version", driver))
        labels.append(found.label)
        assert found.driver == driver
        assert driver in found.because
    assert labels[0] == "cpu"
    numbers = [int(label.removeprefix("cu")) for label in labels[1:]]
    assert numbers == sorted(set(numbers))


@pytest.mark.parametrize(("asked", "label"), [("cpu", "cpu"), (" CU121 ", "cu121"), ("cu118", "cu118")])
def test_what_is_asked_for_is_taken(tmp_path: Path, asked: str, label: str):
    assert find_accelerator(asked, str(tmp_path)).label == label


@pytest.mark.parametrize("asked", ["gpu", "cuda", "12.1", "cu", "cu1", "rocm5.6", ""])
def test_what_is_no_accelerator(asked: str):
    with pytest.raises(LadingError) as caught:
        find_accelerator(asked)
    (problem,) = caught.value.problems
    assert (problem.rule, problem.origin, problem.code) == ("accelerator-invalid", Origin("--accelerator"), ExitCode.USAGE)
