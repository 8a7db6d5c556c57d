"""What a build asks of the machine it runs on: the driver, and GPUs that it has code for. Facts of the dated table ``data/cuda.toml``."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from typing import TYPE_CHECKING

from lading.frameworks.labels import cuda_version
from lading.frameworks.tables import table
from lading.model.target import Gpu

if TYPE_CHECKING:
    from packaging.version import Version


@cache
def driver_floor(label: str) -> str | None:
    """The oldest NVIDIA driver on Linux that runs a CUDA build; None for builds of something else."""
    cuda = cuda_version(label)
    if cuda is None:
        return None
    known = table("cuda")
    floor = known["floors"].get(label) or known["floors_by_major"].get(str(cuda[0]))
    return str(floor) if floor else None


def newest_label(driver: str) -> str | None:
    """The newest CUDA build label that a driver runs, None when it is too old for all."""
    return next((label for label, floor in table("cuda")["floors"].items() if not is_older(driver, str(floor))), None)


def runs_build(driver: str, label: str) -> bool:
    """Whether a driver runs a build; builds without a floor run anywhere."""
    floor = driver_floor(label)
    return floor is None or not is_older(driver, floor)


def is_older(driver: str, floor: str) -> bool:
    """Whether a driver (``535.129.03``) is older than a floor (``525.60.13``, ``580``)."""
    return _numbers(driver) < _numbers(floor)


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".") if part.isdigit())


@cache
def capabilities(release: Version, label: str) -> tuple[tuple[str, ...], tuple[str, ...]] | None:
    """The compute capabilities that a build of torch has code for, and those of its PTX; None where the table does not know."""
    for row in table("cuda")["torch"]:
        if label in row["labels"] and _is_of(release, row["release"]):
            return tuple(row["capabilities"]), tuple(row.get("ptx", ()))
    return None


def _is_of(release: Version, row: str) -> bool:
    wanted = _numbers(row)
    return release.release[: len(wanted)] == wanted


def has_kernels(release: Version, label: str, gpus: Iterable[Gpu]) -> bool | None:
    """Whether a build has code for every one of the GPUs; None where the table or the machine does not tell."""
    known = capabilities(release, label)
    asked = [gpu.capability for gpu in gpus if gpu.capability]
    if known is None or not asked:
        return None
    return all(_runs(capability, *known) for capability in asked)


def _runs(capability: str, cubins: Iterable[str], ptx: Iterable[str]) -> bool:
    """Compiled code runs on the same major version at the same or a higher minor one; PTX on everything newer."""
    major, minor = _split(capability)
    if any(_split(one)[0] == major and _split(one)[1] <= minor for one in cubins):
        return True
    return any(_split(one) <= (major, minor) for one in ptx)


def _split(capability: str) -> tuple[int, int]:
    major, _, minor = capability.partition(".")
    return int(major), int(minor or 0)


def spoken_gpus(gpus: Iterable[Gpu]) -> str:
    """``NVIDIA A10 (compute capability 8.6)``, each kind once."""
    shown = dict.fromkeys(f"{gpu.name} (compute capability {gpu.capability})" if gpu.capability else gpu.name for gpu in gpus)
    return ", ".join(shown)
