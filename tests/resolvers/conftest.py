"""Resolving as a user does it: a plan, a folder, the real uv."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lading.model.events import Event
from lading.model.lock import Lock
from lading.model.plan import Plan
from lading.model.problems import LadingError, Problem
from lading.resolvers.uv import ResolveOptions, resolve


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """The project's folder; its name has a space, as many do."""
    folder = tmp_path / "my project"
    folder.mkdir()
    return folder


@pytest.fixture
def events() -> list[Event]:
    """What was reported."""
    return []


@pytest.fixture
def lock(root: Path, events: list[Event]) -> Callable[..., Lock]:
    """Resolve a plan in the project's folder."""

    def heard(event: Event) -> None:
        events.append(event)

    def locked(plan: Plan, **options: Any) -> Lock:
        return resolve(plan, None, root, ResolveOptions(**options), heard)

    return locked


@pytest.fixture
def fail(lock: Callable[..., Lock]) -> Callable[..., Problem]:
    """Resolve a plan that cannot be; the one problem."""

    def failed(plan: Plan, **options: Any) -> Problem:
        with pytest.raises(LadingError) as caught:
            lock(plan, **options)
        (problem,) = caught.value.problems
        return problem

    return failed
