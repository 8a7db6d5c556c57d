"""What several verbs tell about locks and environments."""

from __future__ import annotations

from lading import pipeline
from lading.cli.output import Output
from lading.explain.text import count
from lading.model.decisions import Kind


def report_locked(locked: tuple[pipeline.Locked, ...], output: Output) -> None:
    """Say what was decided, where the lock is and what changed in it; a lock that holds is one line."""
    for one in locked:
        path = one.planned.plan.lock_path
        if not one.changed:
            output.say(f"{path} is up to date: {count(len(one.lock.packages), 'package')}.")
            output.decisions(decision for decision in one.planned.plan.decisions if decision.kind is not Kind.ADVICE)
            continue
        output.decisions(one.lock.decisions)
        if one.planned.stale:
            output.say(f"{path} was out of date: {'; '.join(one.planned.stale)}.")
        for line in _changes(one):
            output.say(line)
        output.say(f"Locked {count(len(one.lock.packages), 'package')} in {path}.")


def _changes(locked: pipeline.Locked) -> list[str]:
    if locked.before is None:
        return []
    from lading.locks.diff import diff, render

    return render(diff(locked.before, locked.lock))
