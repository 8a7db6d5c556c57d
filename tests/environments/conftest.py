"""Building environments as a user does it: a lock, a folder, the real uv, a store of the test's own."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lading.environments.interpreters import probe_named
from lading.environments.store import create_environment
from lading.locks.lockfile import write
from lading.model.environment import Environment
from lading.model.events import Event
from lading.model.lock import Lock
from lading.model.plan import Plan
from lading.model.problems import LadingError, Problem
from lading.model.target import Interpreter
from tests.support.plans import plan_of


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """The project's folder; its name has a space, as many do."""
    folder = tmp_path / "my project"
    folder.mkdir()
    return folder


@pytest.fixture
def interpreter() -> Interpreter:
    """The Python that runs the tests."""
    return probe_named(sys.executable)


@pytest.fixture
def events() -> list[Event]:
    """What was reported."""
    return []


@pytest.fixture
def create(root: Path, interpreter: Interpreter, events: list[Event]) -> Callable[..., Environment]:
    """Build the environment of a lock."""

    def created(lock: Lock, plan: Plan | None = None, **options: Any) -> Environment:
        known: dict[str, Any] = {"plan": plan or plan_of(), "reporter": events.append}
        return create_environment(
            lock, write(lock), options.pop("interpreter", interpreter), options.pop("root", root), **{**known, **options}
        )

    return created


@pytest.fixture
def fail(create: Callable[..., Environment], lading_home: Path) -> Callable[..., Problem]:
    """Build what cannot be built: the one problem. The store is as it was."""

    def failed(lock: Lock, plan: Plan | None = None, **options: Any) -> Problem:
        before = snapshot(lading_home)
        with pytest.raises(LadingError) as caught:
            create(lock, plan, **options)
        assert snapshot(lading_home) == before
        (problem,) = caught.value.problems
        return problem

    return failed


def snapshot(store: Path) -> list[str]:
    """Every environment, and everything half-done."""
    return sorted(
        str(path.relative_to(store)) for folder in ("envs", "building", "removed", "locks") for path in (store / folder).glob("*")
    )
