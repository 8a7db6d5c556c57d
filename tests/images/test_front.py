"""The server's packages in an image are those that the tests run with."""

from __future__ import annotations

import re
from pathlib import Path

from lading.images.front import pins


def test_the_pins_are_those_of_the_development_lock() -> None:
    lock = Path(__file__).parents[2] / "requirements-dev.lock"
    locked = dict(re.findall(r"^([a-z0-9-]+)==([^ \\;]+)", lock.read_text(), re.MULTILINE))
    assert {name: locked[name] for name in pins()} == pins()
