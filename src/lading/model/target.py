"""What an environment is for: an interpreter on a platform, with or without an accelerator."""

from __future__ import annotations

from typing import Any

from lading.model.origin import Origin
from lading.model.records import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Interpreter:
    """A Python that was found on a machine.

    ``path`` is absolute, ``version`` is the full one (``3.11.7``), ``found_by`` says how it was found
    (``PATH``, ``pyenv``, ``uv``, ``conda``, ``named``, ``running``).
    """

    path: str
    version: str
    implementation: str = "cpython"
    found_by: str = "PATH"

    @property
    def minor(self) -> str:
        """Major and minor version: ``3.11``."""
        return ".".join(self.version.split(".")[:2])


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What is resolved for.

    ``python`` is a full version (``3.11.7``); ``platform`` is uv's and the field's name of a platform with its libc level
    (``x86_64-manylinux_2_36``, ``aarch64-apple-darwin``); ``accelerator`` is ``cpu`` or a build label (``cu121``).
    """

    python: str
    platform: str
    accelerator: str = "cpu"
    implementation: str = "cpython"

    def as_json(self) -> dict[str, Any]:
        """The record as JSON data."""
        return {
            "python": self.python,
            "implementation": self.implementation,
            "platform": self.platform,
            "accelerator": self.accelerator,
        }


@dataclass(frozen=True, slots=True)
class Gpu:
    """One NVIDIA GPU of a machine. ``capability`` is its compute capability (``8.6``), None where the driver does not tell."""

    name: str
    capability: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """What a machine has for CUDA: the driver's version (``535.129.03``, None without one) and the GPUs that it sees."""

    driver: str | None = None
    gpus: tuple[Gpu, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class PythonRequest:
    """Which Python the project asks for.

    ``specifier`` is a PEP 440 specifier set (``==3.10.*``, ``>=3.9,<3.12``; empty: any); ``text`` is what was written.
    """

    specifier: str
    text: str
    origin: Origin
