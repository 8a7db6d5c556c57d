"""What the tests of the worker share."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def loopback_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tests' own sites are on loopback, which requests may not name unless the operator allows it."""
    monkeypatch.setenv("LADING_DOWNLOAD_ALLOW", "127.0.0.1")
