"""``pytest tests/deploy --update-manifests`` writes the golden manifests anew; review them with ``git diff``."""

from __future__ import annotations

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-manifests", action="store_true", help="write the golden manifests anew")


@pytest.fixture
def update_manifests(request: pytest.FixtureRequest) -> bool:
    """Whether golden manifests are written instead of compared."""
    return bool(request.config.getoption("--update-manifests", default=False))
