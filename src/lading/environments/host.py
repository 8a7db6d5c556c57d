"""What this machine is: its platform in uv's terms, and the accelerator that its driver allows."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from lading.environments.probe import Probed, probe
from lading.model.origin import Origin
from lading.model.patterns import pattern
from lading.model.problems import ExitCode, LadingError, Problem
from lading.model.records import dataclass
from lading.model.target import Gpu, Interpreter, Machine, Target

CPU = "cpu"
AUTO = "auto"

_LABEL = pattern(r"cu\d{2,3}")
_DRIVER = pattern(r"Kernel Module(?: for \S+)?\s+(\d+(?:\.\d+)+)")
# The glibc levels that uv has a platform for; a machine between two of them gets the lower.
_MANYLINUX = (17, 28, 31, 32, 33, 34, 35, 36, 37, 38, 39, 40)
_ARCHITECTURES = {"x86_64": "x86_64", "amd64": "x86_64", "aarch64": "aarch64", "arm64": "aarch64"}


@dataclass(frozen=True, slots=True)
class Accelerator:
    """The accelerator to choose builds for (``cpu`` or a label such as ``cu126``), why, and the NVIDIA driver if there is one."""

    label: str
    because: str
    driver: str | None = None


def host_target(interpreter: Interpreter, accelerator: str = AUTO) -> Target:
    """This machine as a target for ``interpreter``.

    Args:
        interpreter: The Python that the environment is for.
        accelerator: ``auto`` (what the driver allows), ``cpu``, or a build label.

    Raises:
        LadingError: if the accelerator is none of these, or no packages are built for this kind of machine.
    """
    label = find_accelerator(accelerator).label
    answer = probe([interpreter.path]).get(interpreter.path)
    if answer is None:
        raise LadingError(_vanished(interpreter))
    return Target(python=interpreter.version, platform=platform_name(answer), accelerator=label, implementation=interpreter.implementation)


def platform_name(interpreter: Probed) -> str:
    """The name that uv has for the platform that an interpreter runs on: ``x86_64-manylinux_2_36``, ``aarch64-apple-darwin``.

    On Linux with glibc the level is this machine's own, so that every wheel that runs here is a candidate and no other.

    Raises:
        LadingError: if it is a platform that uv has no name for.
    """
    system, _, machine = interpreter.platform.replace("universal2", os.uname().machine).partition("-")
    architecture = _ARCHITECTURES.get(machine.rpartition("-")[2].lower())
    if architecture is None or interpreter.bits != 64:
        raise LadingError(_unsupported(f"{interpreter.platform}, {interpreter.bits} bits"))
    if system.startswith("macos"):
        return f"{architecture}-apple-darwin"
    if not system.startswith("linux"):
        raise LadingError(_unsupported(interpreter.platform))
    if interpreter.soabi.endswith("-musl"):
        return f"{architecture}-unknown-linux-musl"
    return f"{architecture}-manylinux_2_{_glibc_level(interpreter)}"


def _glibc_level(interpreter: Probed) -> int:
    """The highest level with a name, up to this machine's glibc.

    Asked of the running process where that has one, as a home (and the answers kept in it) may be shared between machines.
    """
    text = _own_libc() or interpreter.libc
    numbers = re.fullmatch(r"glibc 2\.(\d+).*", text)
    levels = [level for level in _MANYLINUX if numbers and level <= int(numbers[1])]
    if not levels:
        raise LadingError(_unsupported(text or "an unknown C library"))
    return levels[-1]


def _own_libc() -> str:
    try:
        return os.confstr("CS_GNU_LIBC_VERSION") or ""
    except (AttributeError, ValueError, OSError):
        return ""


def find_accelerator(asked: str = AUTO, root: str = "/") -> Accelerator:
    """What to choose builds for, and why.

    Args:
        asked: ``auto``, ``cpu`` or a label.
        root: Where ``/proc`` and ``/sys`` are.

    Raises:
        LadingError: if ``asked`` is none of these.
    """
    text = asked.strip().lower()
    if text not in (AUTO, CPU) and not _LABEL.fullmatch(text):
        raise LadingError(_invalid(asked))
    if text != AUTO:
        return Accelerator(text, "it was asked for")
    driver = find_driver(root)
    if driver is None:
        return Accelerator(CPU, "no NVIDIA driver was found on this machine")
    from lading.frameworks.gpus import newest_label  # noqa: PLC0415 -- with a table, for machines with a driver

    label = newest_label(driver)
    if label is None:
        return Accelerator(CPU, f"the NVIDIA driver {driver} is older than any CUDA build needs", driver)
    return Accelerator(label, f"the NVIDIA driver {driver} runs it", driver)


def describe_accelerator(asked: str = AUTO) -> str:
    """`find_accelerator` as one line of text.

    Raises:
        LadingError: as `find_accelerator` does.
    """
    found = find_accelerator(asked)
    return f"{found.label} ({found.because})"


def find_driver(root: str = "/") -> str | None:
    """The NVIDIA driver's version (``535.129.03``), or None: from the kernel's files, else from ``nvidia-smi``."""
    if sys.platform != "linux":
        return None
    described = _first_text(Path(root, "proc/driver/nvidia/version"))
    match = _DRIVER.search(described)
    if match:
        return match[1]
    version = _first_text(Path(root, "sys/module/nvidia/version")).strip()
    if re.fullmatch(r"\d+(\.\d+)+", version):
        return version
    return _ask_nvidia_smi() if root == "/" else None


def _first_text(path: Path) -> str:
    try:
        return path.read_text("utf-8", "replace")
    except OSError:
        return ""


def _ask_nvidia_smi() -> str | None:
    """The last resort: under WSL the driver lives outside of this kernel."""
    first = next(iter(_nvidia_smi("driver_version")), "")
    return first if re.fullmatch(r"\d+(\.\d+)+", first) else None


def _nvidia_smi(fields: str) -> list[str]:
    """What ``nvidia-smi`` says about each GPU, a line each; nothing where it is not there or fails."""
    places = (os.path.join(folder, "nvidia-smi") for folder in os.environ.get("PATH", os.defpath).split(os.pathsep))
    program = next((place for place in places if os.path.isfile(place) and os.access(place, os.X_OK)), None)
    if program is None:
        return []
    command = [program, f"--query-gpu={fields}", "--format=csv,noheader"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False, stdin=subprocess.DEVNULL)
    except (OSError, subprocess.TimeoutExpired):
        return []
    return [line.strip() for line in answer.stdout.splitlines() if line.strip()] if answer.returncode == 0 else []


def find_machine(root: str = "/") -> Machine:
    """The NVIDIA driver and the GPUs of this machine, as far as they tell.

    The compute capability comes from ``nvidia-smi`` (drivers 510 and newer tell it), the names from the kernel's files where it is not there.
    """
    driver = find_driver(root)
    if driver is None:
        return Machine()
    gpus = _gpus_of_nvidia_smi() if root == "/" else ()
    return Machine(driver=driver, gpus=gpus or _gpus_of_kernel(root))


def _gpus_of_nvidia_smi() -> tuple[Gpu, ...]:
    found = []
    for line in _nvidia_smi("name,compute_cap"):
        name, _, capability = (part.strip() for part in line.rpartition(","))
        found.append(Gpu(name or capability, capability if re.fullmatch(r"\d+\.\d+", capability) else None))
    return tuple(found)


def _gpus_of_kernel(root: str) -> tuple[Gpu, ...]:
    described = sorted(Path(root, "proc/driver/nvidia/gpus").glob("*/information"))
    names = (re.search(r"^Model:\s*(.+?)\s*$", _first_text(one), re.MULTILINE) for one in described)
    return tuple(Gpu(name[1]) for name in names if name)


def _invalid(asked: str) -> Problem:
    return Problem(
        rule="accelerator-invalid",
        what=f'"{asked}" is not an accelerator.',
        origin=Origin("--accelerator"),
        why="It is auto, cpu, or a CUDA build label: cu and the version without its dot, as in cu126 for CUDA 12.6.",
        instead="Write --accelerator cpu, or --accelerator cu126.",
    )


def _unsupported(platform: str) -> Problem:
    return Problem(
        rule="platform-unsupported",
        what=f"This machine is {platform}, which no packages are resolved for.",
        why="Known are Linux with glibc 2.17 or newer or with musl, and macOS, each on x86_64 or aarch64.",
        instead="Use a 64-bit Python on one of these.",
        code=ExitCode.RESOLUTION,
    )


def _vanished(interpreter: Interpreter) -> Problem:
    return Problem(
        rule="python-not-usable",
        what=f"The Python at {interpreter.path} does not run any more.",
        instead="Install it again, or name another one with --python.",
        code=ExitCode.RESOLUTION,
    )
