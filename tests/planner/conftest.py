"""``pytest tests/planner --update-plans`` writes the golden plans anew; review them with ``git diff``."""

from __future__ import annotations

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-plans", action="store_true", help="write the golden plans and explanations anew")


@pytest.fixture
def update(request: pytest.FixtureRequest) -> bool:
    return bool(request.config.getoption("--update-plans", default=False))
