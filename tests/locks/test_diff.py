"""What `lading lock` says that it changed."""

from __future__ import annotations

from typing import Any

from lading.locks.diff import Change, diff, render
from lading.model.lock import Lock


def lock_of(*packages: dict[str, Any]) -> Lock:
    return Lock(document={"packages": list(packages)}, fingerprint="", target={})


def wheel(name: str, version: str, sha256: str = "1") -> dict[str, Any]:
    return {"name": name, "version": version, "wheels": [{"hashes": {"sha256": sha256}}]}


def git(name: str, commit: str) -> dict[str, Any]:
    return {"name": name, "version": "1.0", "vcs": {"type": "git", "commit-id": commit}}


def test_added_removed_changed_and_refreshed_are_told_apart():
    before = lock_of(wheel("gone", "1.0"), wheel("moved", "1.0"), wheel("same", "1.0"), wheel("rebuilt", "1.0"), git("source", "a" * 40))
    after = lock_of(wheel("moved", "2.0"), wheel("new", "3.0"), wheel("same", "1.0"), wheel("rebuilt", "1.0", "2"), git("source", "b" * 40))
    difference = diff(before, after)
    assert difference.added == (Change("new", None, "3.0"),)
    assert difference.removed == (Change("gone", "1.0", None),)
    assert render(difference) == [
        "+ new 3.0",
        "- gone 1.0",
        "~ moved 1.0 -> 2.0",
        "~ source 1.0 at git aaaaaaaaaa -> 1.0 at git bbbbbbbbbb",
        "= rebuilt 1.0 (other files)",
    ]


def test_nothing_changed_is_nothing_to_say():
    lock = lock_of(wheel("same", "1.0"), {"name": "mine", "directory": {"path": "libs/mine"}})
    assert not diff(lock, lock)
    assert render(diff(lock, lock)) == []


def test_a_first_lock_adds_everything():
    difference = diff(None, lock_of(wheel("demo", "1.0"), {"name": "mine", "directory": {"path": "libs/mine"}}))
    assert render(difference) == ["+ demo 1.0", "+ mine from libs/mine"]
