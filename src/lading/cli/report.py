"""What several verbs tell about locks and environments."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

from lading import pipeline
from lading.cli.output import Output
from lading.model.records import replace

if TYPE_CHECKING:
    from lading.environments.system_packages import Checked


def plan_project(options: pipeline.Options) -> tuple[pipeline.Project, tuple[pipeline.Planned, ...]]:
    """A project and its plans, for verbs that change nothing; where a lock holds, without the advice to pin.

    Raises:
        LadingError: for whatever is wrong with the project, and with ``--locked`` if a lock is missing or out of date.
    """
    from lading.planner.make import without_settled_advice

    project = pipeline.read(options)
    planned = pipeline.plan(project, options)
    if options.locked:
        pipeline.lock(planned, project, options)
    return project, tuple(replace(one, plan=without_settled_advice(one.plan)) if _holds(one) else one for one in planned)


def _holds(planned: pipeline.Planned) -> bool:
    return planned.existing is not None and not planned.stale


def report_locked(locked: tuple[pipeline.Locked, ...], output: Output, *, without: Collection[str] = ()) -> None:
    """Say what was decided, where the lock is and what changed in it; a lock that holds is one line.

    ``without`` are rules whose decisions are not told: those that this verb decides in another way.
    """
    from lading.explain.text import count
    from lading.planner.make import without_settled_advice

    for one in locked:
        path = one.planned.plan.lock_path
        if not one.changed:
            output.say(f"{path} is up to date: {count(one.lock.size, 'package')}.")
            output.decisions(made for made in without_settled_advice(one.planned.plan).decisions if made.rule not in without)
            continue
        output.decisions(made for made in one.lock.decisions if made.rule not in without)
        if one.planned.stale:
            output.say(f"{path} was out of date: {'; '.join(one.planned.stale)}.")
        for line in _changes(one):
            output.say(line)
        output.say(f"Locked {count(one.lock.size, 'package')} in {path}.")


def system_packages_text(checked: Checked) -> str | None:
    """What the machine lacks of the system packages, with the one line that installs them; nothing where it has all."""
    from lading.explain.text import count

    if checked.missing is None:
        return f"System packages cannot be checked here, as there is no dpkg: {' '.join(checked.asked)}."
    if checked.command is None:
        return None
    number = len(checked.missing)
    return f"{count(number, 'system package')} {'is' if number == 1 else 'are'} missing on this machine; to install: {checked.command}"


def _changes(locked: pipeline.Locked) -> list[str]:
    if locked.before is None:
        return []
    from lading.locks.diff import diff, render

    return render(diff(locked.before, locked.lock))
