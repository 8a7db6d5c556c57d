"""A lock that fits this machine decides what is planned for."""

from __future__ import annotations

import pytest

from lading.model.lock import Lock
from lading.model.target import Target
from lading.planner.lock_target import adopt

HOST = Target(python="3.11.7", platform="x86_64-manylinux_2_36")


def locked(platform: str, accelerator: str = "cpu") -> Lock:
    return Lock(document={}, fingerprint="", target={"python": "3.11.2", "platform": platform, "accelerator": accelerator})


@pytest.mark.parametrize(
    ("platform", "adopted"),
    [
        ("x86_64-manylinux_2_28", "x86_64-manylinux_2_28"),
        ("x86_64-manylinux_2_36", "x86_64-manylinux_2_36"),
        ("x86_64-manylinux_2_39", "x86_64-manylinux_2_36"),
        ("aarch64-manylinux_2_28", "x86_64-manylinux_2_36"),
        ("x86_64-unknown-linux-musl", "x86_64-manylinux_2_36"),
        ("aarch64-apple-darwin", "x86_64-manylinux_2_36"),
        ("", "x86_64-manylinux_2_36"),
    ],
)
def test_a_platform_is_adopted_where_this_machine_runs_its_files(platform: str, adopted: str):
    assert adopt(HOST, locked(platform), "auto").platform == adopted


@pytest.mark.parametrize(("asked", "adopted"), [("auto", "cu121"), ("cpu", "cpu")])
def test_the_locks_accelerator_holds_unless_one_is_asked_for(asked: str, adopted: str):
    assert adopt(HOST, locked(HOST.platform, "cu121"), asked).accelerator == adopted


def test_the_python_is_the_machines_own():
    assert adopt(HOST, locked(HOST.platform), "auto").python == "3.11.7"
    assert adopt(HOST, None, "auto") is HOST
