"""`lading diff`: what differs between two locks, and why, in words."""

from __future__ import annotations

from typing import Any

import pytest

from lading.explain.style import Style
from lading.locks.story import render_story, tell
from lading.model.lock import Lock

CPU = {"python": "3.11.7", "platform": "x86_64-manylinux_2_28", "accelerator": "cpu"}


def lock_of(*packages: dict[str, Any], lines: tuple[str, ...] = (), target: dict[str, str] = CPU, as_of: str | None = None) -> Lock:
    return Lock(document={"packages": list(packages)}, fingerprint="", target=target, requirements=lines, as_of=as_of)


def one(name: str, version: str, *needs: str, **more: Any) -> dict[str, Any]:
    needed = {"dependencies": [{"name": need} for need in needs]} if needs else {}
    return {"name": name, "version": version, "wheels": [{"hashes": {"sha256": version}}], **needed, **more}


def reasons(before: Lock, after: Lock) -> dict[str, tuple[str, str]]:
    return {told.name: (told.what, told.because) for told in tell(before, after).packages}


def test_my_own_line_is_the_first_reason():
    before = lock_of(
        one("numpy", "1.26.4"), one("old", "1.0"), lines=("requirements.txt:1: numpy<2", "requirements.txt:2: old", "requirements.txt:3: x")
    )
    after = lock_of(one("numpy", "2.1.0"), one("new", "1.0"), lines=("requirements.txt:4: numpy>=2", "requirements.txt:5: -e new"))
    assert reasons(before, after) == {
        "numpy": ("upgraded", "requirements.txt:4 asks for numpy>=2; before: numpy<2"),
        "old": ("removed", "it is not asked for any more (requirements.txt:2: old)"),
        "new": ("added", "requirements.txt:5 asks for -e new"),
    }


def test_a_line_that_only_moved_is_no_reason():
    before = lock_of(one("numpy", "1.0"), lines=("requirements.txt:1: numpy",))
    after = lock_of(one("numpy", "2.0"), lines=("requirements.txt:7: numpy",))
    assert reasons(before, after) == {"numpy": ("upgraded", "a newer version was there")}


def test_other_packages_are_the_reason_for_what_they_need():
    before = lock_of(one("flask", "2.0", "click", "werkzeug"), one("click", "7.0"), one("werkzeug", "2.0", "old"), one("old", "1.0"))
    after = lock_of(one("flask", "3.0", "click", "blinker"), one("click", "8.0"), one("blinker", "1.9"))
    found = reasons(before, after)
    assert found["blinker"] == ("added", "flask needs it")
    assert found["click"] == ("upgraded", "flask, which needs it, changed as well")
    assert found["werkzeug"] == ("removed", "flask needs it no more")
    assert found["old"] == ("removed", "werkzeug is gone")


def test_another_accelerator_is_the_reason_for_another_build():
    gpu = {**CPU, "accelerator": "cu121"}
    before, after = lock_of(one("torch", "2.1.0+cpu")), lock_of(one("torch", "2.1.0+cu121"), target=gpu)
    assert reasons(before, after) == {"torch": ("changed", "the accelerator is cu121, and was cpu")}
    assert tell(before, after).about == ("the accelerator is cu121, and was cpu",)


def test_another_index_is_said():
    before = lock_of(one("corp", "1.0", index="https://private.example/simple/"))
    after = lock_of(one("corp", "9.0", index="https://pypi.org/simple"))
    assert reasons(before, after)["corp"] == ("upgraded", "it comes from https://pypi.org/simple, not https://private.example/simple/")


def test_another_day_and_an_older_version():
    before, after = lock_of(one("demo", "2.0")), lock_of(one("demo", "1.0"), as_of="2022-01-01T23:59:59Z")
    assert reasons(before, after) == {"demo": ("downgraded", "the lock is held to what was there at 2022-01-01T23:59:59Z")}
    assert reasons(lock_of(one("demo", "2.0")), lock_of(one("demo", "1.0")))["demo"] == (
        "downgraded",
        "the newer one does not fit, or is not there any more",
    )


def test_a_lock_of_another_tool_has_no_reasons_and_says_so():
    assert reasons(lock_of(), lock_of(one("demo", "1.0")))["demo"] == ("added", "the reason is not recorded")


def test_the_whole_as_text():
    before = lock_of(one("gone", "1.0"), one("same", "1.0"), one("files", "1.0"), lines=("requirements.txt:1: gone",))
    after = lock_of(one("same", "1.0"), one("new", "2.0"), {**one("files", "1.0"), "sdist": {}}, lines=("requirements.txt:1: new>=2",))
    assert render_story(tell(before, after), Style(width=100)) == (
        "Added (1)\n  new 2.0: requirements.txt:1 asks for new>=2\n\n"
        "Removed (1)\n  gone 1.0: it is not asked for any more (requirements.txt:1: gone)\n\n"
        "Other files (1)\n  files 1.0: the same version, recorded with other files, hashes or another place\n\n"
        "1 added, 1 removed, 1 with other files; 1 package the same."
    )


@pytest.mark.parametrize("same", [0, 1, 2])
def test_nothing_differs(same: int):
    lock = lock_of(*(one(f"p{number}", "1") for number in range(same)))
    assert render_story(tell(lock, lock), Style()).startswith("No package differs; ")
