"""``pytest tests/schema --update-schema`` writes the golden files anew; review them with ``git diff``."""

from __future__ import annotations

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-schema", action="store_true", help="write the golden signatures and OpenAPI documents anew")


@pytest.fixture
def update(request: pytest.FixtureRequest) -> bool:
    return bool(request.config.getoption("--update-schema", default=False))
