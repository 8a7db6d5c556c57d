"""What the stages hand to each other: frozen values, from the user's options to environments that are ready."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from lading.model.records import dataclass, field
from lading.model.selection import DEFAULT, Selection

if TYPE_CHECKING:
    from lading.environments.folder import FolderFiles
    from lading.frameworks import Offers
    from lading.model.environment import Environment
    from lading.model.lock import Lock
    from lading.model.plan import Plan
    from lading.model.project import Api, ProjectConfig
    from lading.model.target import Interpreter
    from lading.planner.sources import Chosen


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What the user asked for, beside what the project declares.

    ``file`` names a configuration or a predictor relative to ``directory``. ``python`` is a version, a range or a path;
    ``accelerator`` is ``auto``, ``cpu`` or a build label. ``locked``: never change the lock, fail if it is stale. ``frozen``: use the
    lock without looking whether it is stale. ``upgrade``: forget the versions of the existing lock, or of these packages.
    ``platform`` is another one than this machine's. ``as_of`` is the day to resolve as of, as the user gave it.
    ``selection`` are the extras and dependency groups that are wanted. ``source`` names the dependency file that counts; ``strict``: files that are ignored may say nothing else. ``relock``: another source
    than the lock was made from is accepted.
    """

    directory: Path = field(default_factory=Path)
    file: str | None = None
    python: str | None = None
    accelerator: str = "auto"
    locked: bool = False
    frozen: bool = False
    offline: bool = False
    upgrade: bool | frozenset[str] = False
    platform: str | None = None
    as_of: str | None = None
    source: str | None = None
    selection: Selection = DEFAULT
    strict: bool = False
    relock: bool = False
    environ: Mapping[str, str] = field(default_factory=lambda: os.environ)


@dataclass(frozen=True, slots=True, kw_only=True)
class Project:
    """A project that was read: its folder, its files, its configuration, and the declarations that count."""

    root: Path
    files: FolderFiles
    config: ProjectConfig
    chosen: tuple[Chosen, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """A plan with the interpreter it is for. ``existing`` is the lock on disk, ``stale`` why it does not hold any more.

    ``offers`` are the pages that builds were chosen from; None where the lock's builds were kept, and nothing was asked.
    """

    plan: Plan
    interpreter: Interpreter
    existing: Lock | None = None
    stale: tuple[str, ...] = ()
    offers: Offers | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Locked:
    """A lock that holds, with its text. ``before`` is what it replaced; ``changed`` whether the file was written."""

    planned: Planned
    lock: Lock
    text: str
    before: Lock | None = None
    changed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Installed:
    """A locked set of APIs with its environment on this machine."""

    locked: Locked
    environment: Environment

    @property
    def apis(self) -> tuple[Api, ...]:
        """The APIs that run in this environment."""
        return self.locked.planned.plan.apis


@dataclass(frozen=True, slots=True, kw_only=True)
class Ready:
    """A project whose environments are all in the store: what serving, predicting and running commands need.

    ``environments`` is by API name; ``variants`` says for each environment which lock it has and which APIs run in it.
    """

    root: Path
    files: FolderFiles
    config: ProjectConfig
    environments: Mapping[str, Environment]
    variants: tuple[Variant, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """One set of APIs that share a lock and an environment."""

    name: str
    lock: str
    apis: tuple[str, ...]
    environment: Environment
    changed: bool = False
