"""Build labels (``cpu``, ``cu118``, ``rocm6.2``): the local versions that builds of one release are told apart by."""

from __future__ import annotations

from collections.abc import Iterable

from lading.model.patterns import pattern

CPU = "cpu"
_CUDA = pattern(r"cu(\d{1,2})(\d)")
_LABEL = pattern(r"cpu|cu\d{2,3}|rocm\d+(\.\d+)*|xpu")


def cuda_version(label: str) -> tuple[int, int] | None:
    """The CUDA runtime version that a label stands for (``cu118``: 11.8), None for labels of something else."""
    found = _CUDA.fullmatch(label)
    return (int(found[1]), int(found[2])) if found else None


def spoken(label: str) -> str:
    """A label in words: ``CUDA 11.8``, ``CPU``."""
    version = cuda_version(label)
    return f"CUDA {version[0]}.{version[1]}" if version else {"cpu": "CPU", "xpu": "Intel GPU"}.get(label, label)


def index_label(local: str) -> str:
    """The label of the index that has a build with this local version: ``cu121.with.pypi.cudnn`` lies with ``cu121``."""
    found = _LABEL.match(local)
    return found[0] if found else local


def label_of_url(url: str) -> str | None:
    """The label that an index's address ends in (``https://…/whl/cu118``), None when it does not."""
    last = url.rstrip("/").rpartition("/")[2]
    return last if _LABEL.fullmatch(last) else None


def cuda_first(labels: Iterable[str]) -> list[str]:
    """Labels for people: CUDA builds, the newest first, then the CPU's, then the others."""
    return sorted(
        labels, key=lambda label: (cuda_version(label) is None, label != CPU, *(-part for part in cuda_version(label) or ()), label)
    )


def cuda_up_to(labels: Iterable[str], limit: str) -> list[str]:
    """The CUDA labels that are not newer than a limit, the newest first; the CPU's where that is the limit."""
    highest = cuda_version(limit)
    if highest is None:
        return [limit] if limit == CPU else []
    found = [(version, label) for label in labels if (version := cuda_version(label)) is not None and version <= highest]
    return [label for _, label in sorted(found, reverse=True)]
