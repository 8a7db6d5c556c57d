"""Whether a lock still answers what a plan asks."""

from __future__ import annotations

from collections.abc import Iterable

from lading.model.lock import Lock
from lading.model.plan import Plan, Role

_FIELDS = (("python", "Python"), ("implementation", "the implementation"), ("platform", "the platform"), ("accelerator", "the accelerator"))


def check(lock: Lock, plan: Plan) -> tuple[str, ...]:
    """Why the lock is out of date, in words; empty when it holds.

    The plan's fingerprint decides, so that a changed comment does not make a lock stale; file contents only help to name the cause.
    """
    if lock.fingerprint == plan.fingerprint:
        return ()
    if not lock.fingerprint:
        return ("it was not made by Lading",)
    reasons = (*_target_reasons(lock, plan), *_source_reasons(lock, plan))
    return reasons or ("the package indexes, their options or the chosen builds have changed",)


def other_source(lock: Lock, plan: Plan) -> str | None:
    """What another source counts now than when the lock was made, in words; None when it is the same, or the lock does not tell."""
    if lock.source is None or lock.source == plan.source:
        return None
    return f"{_named(plan.source)} counts now, and {_named(lock.source)} did when the lock was made"


def _named(source: str) -> str:
    return source or "no dependency file"


def _target_reasons(lock: Lock, plan: Plan) -> Iterable[str]:
    wanted = plan.target.as_json()
    for field, words in _FIELDS:
        before, now = _comparable(field, lock.target.get(field, "")), _comparable(field, str(wanted[field]))
        if before != now:
            yield f"{words} is {now}, and the lock is for {before or 'another one'}"


def _comparable(field: str, value: str) -> str:
    """Python's patch version does not count, as in the fingerprint."""
    return ".".join(value.split(".")[:2]) if field == "python" else value


def _source_reasons(lock: Lock, plan: Plan) -> Iterable[str]:
    now = {source.path: source.sha256 for source in plan.sources if source.role is Role.USED and source.sha256}
    for path in sorted(now.keys() & lock.sources.keys()):
        if now[path] != lock.sources[path]:
            yield f"{path} has changed"
    for path in sorted(now.keys() - lock.sources.keys()):
        yield f"{path} is read now and was not when the lock was made"
    for path in sorted(lock.sources.keys() - now.keys()):
        yield f"{path} was read when the lock was made and is not any more"
