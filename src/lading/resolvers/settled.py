"""Resolving until what comes out agrees with what was chosen before: mostly once."""

from __future__ import annotations

from collections.abc import Callable

from lading.frameworks.choice import Choice
from lading.frameworks.names import TENSORFLOW
from lading.model.lock import Lock
from lading.model.plan import Plan
from lading.model.problems import LadingError
from lading.model.requirements import Declared


def settle(plan: Plan, resolve: Callable[[Plan], Lock], choose: Callable[[Declared], Choice]) -> tuple[Plan, Lock]:
    """The plan as it was resolved in the end, with its lock.

    Where a package that others bring in wants a release of torch that the chosen build does not have, the build is chosen again for that
    release; where one requires tensorflow by its name, tensorflow-cpu is not put beside it. ``choose`` chooses the build of one requirement.

    Raises:
        LadingError: if there is no solution.
    """
    try:
        lock = resolve(plan)
    except LadingError as error:
        plan, lock = _with_another_build(plan, resolve, choose, error)
    if not set(TENSORFLOW) & lock.versions.keys():
        return plan, lock
    from lading.frameworks.second import with_tensorflow_as_written  # noqa: PLC0415 -- with the tables, for those who have it

    again = with_tensorflow_as_written(plan, lock)
    return (again, resolve(again)) if again is not None else (plan, lock)


def _with_another_build(
    plan: Plan, resolve: Callable[[Plan], Lock], choose: Callable[[Declared], Choice], error: LadingError
) -> tuple[Plan, Lock]:
    from lading.frameworks.second import as_declared, with_choice, with_torch_unbound  # noqa: PLC0415 -- as above

    unbound = with_torch_unbound(plan)
    if unbound is None or not any("torch" in f"{problem.what} {problem.detail}" for problem in error.problems):
        raise error
    try:
        wanted = as_declared(resolve(unbound))
    except LadingError:
        raise error from None
    choice = choose(wanted) if wanted else None
    if choice is None or choice.problems:
        raise LadingError(*choice.problems) if choice else error
    again = with_choice(plan, choice)
    return again, resolve(again)
