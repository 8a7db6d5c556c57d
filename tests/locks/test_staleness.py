"""When a lock is out of date, and in which words the user learns why."""

from __future__ import annotations

from dataclasses import replace

from lading.locks.staleness import check
from lading.model.lock import Lock
from lading.model.plan import Plan, Role, Source
from lading.model.requirements import IndexOptions
from lading.model.secrets import SecretUrl
from tests.support.plans import declared, plan_of


def used(path: str, sha256: str) -> Source:
    return Source(path=path, role=Role.USED, format="requirements.txt", because="it is there", sha256=sha256)


def lock_of(plan: Plan) -> Lock:
    sources = {source.path: source.sha256 for source in plan.sources if source.sha256}
    document = {"lock-version": "1.0", "packages": []}
    return Lock(document=document, fingerprint=plan.fingerprint, target=plan.target.as_json(), sources=sources)


PLAN = plan_of("demo==1.0", sources=(used("requirements.txt", "1"), used("base.txt", "1")))
LOCK = lock_of(PLAN)


def test_a_lock_of_the_same_plan_holds():
    assert check(LOCK, PLAN) == ()


def test_a_changed_comment_does_not_make_it_stale():
    commented = replace(PLAN, sources=(used("requirements.txt", "2"), used("base.txt", "1")), requirements=(declared("demo==1.0", 7),))
    assert check(LOCK, commented) == ()


def test_the_file_that_changed_is_named_and_the_other_is_not():
    changed = replace(PLAN, sources=(used("requirements.txt", "1"), used("base.txt", "2")), requirements=(declared("demo==2.0"),))
    assert check(LOCK, changed) == ("base.txt has changed",)


def test_files_that_came_and_went_are_named():
    moved = replace(PLAN, sources=(used("requirements.txt", "1"), used("more.txt", "1")), requirements=(declared("demo==2.0"),))
    assert check(LOCK, moved) == (
        "more.txt is read now and was not when the lock was made",
        "base.txt was read when the lock was made and is not any more",
    )


def test_an_ignored_file_is_no_reason():
    ignored = Source(path="base.txt", role=Role.IGNORED, format="x", because="y", sha256="1")
    assert check(LOCK, replace(PLAN, sources=(used("requirements.txt", "1"), ignored), requirements=(declared("demo==2.0"),))) == (
        "base.txt was read when the lock was made and is not any more",
    )


def test_another_target_says_which_part_of_it_differs():
    target = replace(PLAN.target, python="3.12.1", accelerator="cu121")
    assert check(LOCK, replace(PLAN, target=target)) == (
        "Python is 3.12, and the lock is for 3.11",
        "the accelerator is cu121, and the lock is for cpu",
    )


def test_another_patch_version_of_python_is_no_reason():
    assert check(LOCK, replace(PLAN, target=replace(PLAN.target, python="3.11.2"))) == ()


def test_other_indexes_are_a_reason_with_words_of_its_own():
    options = IndexOptions(index_url=SecretUrl("https://elsewhere.example/simple"))
    assert check(LOCK, replace(PLAN, options=options)) == ("the package indexes, their options or the chosen builds have changed",)


def test_a_new_password_is_no_reason():
    def with_password(password: str) -> Plan:
        return replace(PLAN, options=IndexOptions(index_url=SecretUrl(f"https://bob:{password}@elsewhere.example/simple")))

    assert check(lock_of(with_password("old-one")), with_password("new-one")) == ()


def test_a_lock_of_another_tool_is_out_of_date():
    assert check(replace(LOCK, fingerprint=""), PLAN) == ("it was not made by Lading",)
