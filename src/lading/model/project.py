"""What a project is: its configuration, its predictors, where its dependencies are named."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any

from lading.model.cluster import ClusterSettings
from lading.model.cortex import CortexSettings, Splitter
from lading.model.decisions import Decision
from lading.model.origin import Origin
from lading.model.records import dataclass, field
from lading.model.requirements import Declared, IndexOptions
from lading.model.target import PythonRequest
from lading.model.weights import Weight


class ProjectKind(StrEnum):
    """Whose conventions a project follows."""

    COG = "cog"
    CORTEX = "cortex"
    PLAIN = "plain"


class Style(StrEnum):
    """How a predictor is written: Cog's typed class or function, or Cortex's ``PythonPredictor``."""

    COG = "cog"
    CORTEX = "cortex"


@dataclass(frozen=True, slots=True)
class PathRef:
    """A path that a configuration names (or implies, when ``explicit`` is False), relative to the project's root."""

    path: str
    origin: Origin
    explicit: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Dependencies:
    """Cortex's ``predictor.dependencies``: where the pip, conda and shell files of one API are. None: use the default name."""

    pip: PathRef | None = None
    conda: PathRef | None = None
    shell: PathRef | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Api:
    """One predictor that can be served.

    ``file`` is relative to the root, ``object`` the class or function in it. ``endpoint`` is Cortex's route. ``env`` holds
    environment variables of this API, ``config`` Cortex's ``predictor.config``, ``cortex`` what else Cortex says of it, ``image`` the
    image that its container is built on, ``cluster`` what a cluster gives it. ``origin`` is the line that names the predictor.
    """

    name: str
    style: Style
    file: str
    object: str
    origin: Origin
    endpoint: str | None = None
    config: Mapping[str, Any] = field(default_factory=dict)
    env: tuple[tuple[str, str], ...] = ()
    python_path: str | None = None
    log_level: str = "info"
    processes: int = 1
    threads: int = 1
    dependencies: Dependencies = field(default_factory=Dependencies)
    cortex: CortexSettings = field(default_factory=CortexSettings)
    image: str | None = None
    cluster: ClusterSettings = field(default_factory=ClusterSettings)


@dataclass(frozen=True, slots=True, kw_only=True)
class ProjectConfig:
    """A project's configuration file, read; a plain project has one with ``path`` None.

    ``train`` is what makes weights, Cog's ``train``. ``requirements`` is Cog's ``python_requirements``, ``packages`` its ``python_packages``, ``options`` the index options among those
    (``--pre``, ``--find-links URL`` as list items of their own).
    """

    kind: ProjectKind
    path: str | None
    apis: tuple[Api, ...] = ()
    splitters: tuple[Splitter, ...] = ()
    train: Api | None = None
    requirements: PathRef | None = None
    packages: tuple[Declared, ...] = ()
    options: IndexOptions = field(default_factory=IndexOptions)
    python: PythonRequest | None = None
    gpu: bool = False
    cuda: str | None = None
    system_packages: tuple[str, ...] = ()
    run: tuple[str, ...] = ()
    weights: tuple[Weight, ...] = ()
    decisions: tuple[Decision, ...] = ()
