"""What an image is to be made from, as a value."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from lading.images.folders import Found
from lading.images.media import Compression
from lading.images.pins import BasePins
from lading.images.reference import parse_reference
from lading.model.decisions import Decision
from lading.model.lock import Lock
from lading.model.plan import Plan
from lading.model.problems import LadingError
from lading.model.records import dataclass, field
from lading.model.target import Interpreter, Target

DEFAULT_USER = "65532:65532"
"""Whom containers run as unless told otherwise: a number that no base gives to anybody, as Kubernetes asks for with ``runAsNonRoot``."""
VENV = "opt/venv"
SHARE = "opt/lading/share"
SERVICE = f"{SHARE}/service.json"
HOME_FILES = "LADING_HOME_FILES"
"""The variable for `lading.service.home`; images know nothing of the service."""
PORT = 5000
"""Where the server of an image listens."""
WEIGHTS = ".cog/weights.json"
"""Where Cog's images say which weights they have."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EnvironmentRecipe:
    """One environment: its lock (``text`` as a file), the plan with this machine's indexes, a Python of the same version here, if any."""

    variant: str
    lock: Lock
    text: str
    plan: Plan
    interpreter: Interpreter | None = None

    @property
    def prefix(self) -> str:
        """Its folder in the image."""
        return f"{VENV}-{self.variant}" if self.variant else VENV

    @property
    def target(self) -> Target:
        """What the lock is for."""
        known = self.lock.target
        return Target(
            python=self.lock.conda.python if self.lock.conda else known.get("python", self.plan.target.python),
            platform=known.get("platform", self.plan.target.platform),
            accelerator=known.get("accelerator", self.plan.target.accelerator),
            implementation=known.get("implementation", "cpython"),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Steps:
    """Commands that must run in a build container.

    ``before`` are scripts of the project that run before the packages are there (Cortex's ``dependencies.sh``), ``after`` commands that run
    after (Cog's ``run:``), each with the secrets that it mounts (id and target); ``secrets`` are files with their values by id. ``again``:
    they run even if the layer that they made is here.
    """

    before: tuple[str, ...] = ()
    after: tuple[tuple[str, tuple[tuple[str, str], ...]], ...] = ()
    secrets: Mapping[str, Path] = field(default_factory=dict)
    again: bool = False

    def __bool__(self) -> bool:
        return bool(self.before or self.after)


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightSet:
    """Weights that the configuration names, as files of the image; ``set_digest`` is one of them all, ``sources`` are where they came from."""

    name: str
    target: str
    set_digest: str
    files: tuple[Found, ...]
    sources: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """Everything that decides about an image. ``service`` is the server's configuration as JSON, with paths of the image.

    ``config`` is the project's own configuration as data, for a label; ``pythons`` finds those of this machine; ``pins`` are the digests that
    the tags of bases stand for.
    """

    title: str
    root: Path
    environments: tuple[EnvironmentRecipe, ...]
    service: Mapping[str, Any]
    base: str
    platform: str
    pythons: Callable[[], tuple[Interpreter, ...]] = tuple
    openapi: Mapping[str, Any] | None = None
    config: Any = None
    compression: Compression = Compression.GZIP
    bytecode: bool = True
    user: str = DEFAULT_USER
    system_packages: tuple[str, ...] = ()
    steps: Steps = field(default_factory=Steps)
    weights: tuple[WeightSet, ...] = ()
    decisions: tuple[Decision, ...] = ()
    environ: Mapping[str, str] = field(default_factory=dict)
    offline: bool = False
    pins: BasePins | None = None

    @property
    def pinned_base(self) -> str:
        """The base as other builders take it: with the digest that the project's lock has for its tag."""
        try:
            name = str(parse_reference(self.base))
        except LadingError:  # a folder, or a layout
            return self.base
        digest = self.pins.known.get(name) if self.pins and not self.pins.upgrade else None
        return f"{self.base}@{digest}" if digest else self.base

    def variables(self, path: str, service: str = f"/{SERVICE}", *, home: str = "") -> dict[str, str]:
        """What containers run with: ``path`` is the base's PATH, ``service`` where the server's configuration lies.

        ``home`` is a folder whose files are to be seen in the container's home, too.
        """
        gpu = any(one.target.accelerator != "cpu" for one in self.environments)
        return {
            "PATH": f"/{self.environments[0].prefix}/bin:{path}",
            "LADING_SERVICE": service,
            "PORT": str(PORT),
            "PYTHONUNBUFFERED": "1",
            "PYTHONDONTWRITEBYTECODE": "1",
            # A user without an entry in /etc/passwd has no home of its own, and libraries ask for both.
            "HOME": "/tmp",  # noqa: S108 -- what every container runtime keeps writable
            "USER": "lading",
            "LOGNAME": "lading",
            **({HOME_FILES: home} if home else {}),
            **({"NVIDIA_VISIBLE_DEVICES": "all", "NVIDIA_DRIVER_CAPABILITIES": "compute,utility"} if gpu else {}),
        }
