"""Locks between processes: who builds an environment, and who uses one. The system drops them when a process ends, however it ends."""

from __future__ import annotations

import fcntl
import os
from contextlib import ExitStack, contextmanager, suppress

from lading.environments.home import unusable
from lading.environments.stamp import STORED

TYPE_CHECKING = False  # typing's own constant, without importing typing
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from lading.model.environment import Environment
    from lading.model.problems import LadingError

LOCKS = "locks"


@contextmanager
def claim(store: str, key: str, waiting: Callable[[], None]) -> Iterator[int]:
    """The sole right to build or remove the environment ``key``; waits for whoever has it, after calling ``waiting`` once.

    Gives the lock's file descriptor: a child that inherits it keeps the claim until it ends as well, so that nobody clears away
    what the orphan of a killed builder still writes.

    Raises:
        LadingError: if the store cannot be written.
    """
    descriptor = take(store, key, waiting)
    assert descriptor is not None
    try:
        yield descriptor
    finally:
        give_back(store, key, descriptor)


@contextmanager
def try_claim(store: str, key: str) -> Iterator[bool]:
    """`claim` without waiting: whether nobody else has it."""
    descriptor = take(store, key)
    try:
        yield descriptor is not None
    finally:
        if descriptor is not None:
            give_back(store, key, descriptor)


def give_back(store: str, key: str, descriptor: int) -> None:
    """Remove the lock's file, then let go of it: those who wait for it see that it is gone, and begin anew."""
    with suppress(OSError):
        os.unlink(_path(store, key))
    os.close(descriptor)


def take(store: str, key: str, waiting: Callable[[], None] | None = None) -> int | None:
    """A descriptor that holds the claim, for `give_back`; None when another process has it and ``waiting`` is None.

    Raises:
        LadingError: if the store cannot be written.
    """
    path = _path(store, key)
    while True:
        try:
            os.makedirs(os.path.dirname(path), exist_ok=True)
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise unusable(store, error) from error
        try:
            if not _lock(descriptor, waiting):
                os.close(descriptor)
                return None
            if same_file(descriptor, path):
                return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)  # the file was removed while we waited: what we hold is a lock on nothing


def _lock(descriptor: int, waiting: Callable[[], None] | None) -> bool:
    if try_lock(descriptor, fcntl.LOCK_EX):
        return True
    if waiting is None:
        return False
    waiting()
    fcntl.flock(descriptor, fcntl.LOCK_EX)  # a signal handler that raises (Ctrl-C) ends the wait
    return True


def try_lock(descriptor: int, kind: int) -> bool:
    """Take a lock if it is free."""
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def same_file(descriptor: int, path: str) -> bool:
    """Whether what is open is still what has that path."""
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path))
    except OSError:
        return False


def _path(store: str, key: str) -> str:
    return os.path.join(store, LOCKS, key)


@contextmanager
def hold(*environments: Environment) -> Iterator[None]:
    """Use environments: as long as this lasts, ``lading env prune`` leaves them alone. The system ends it with the process.

    Raises:
        LadingError: if one has been removed.
    """
    with ExitStack() as stack:
        for environment in {one.path: one for one in environments}.values():
            descriptor = _hold(environment)
            if descriptor is not None:
                stack.callback(os.close, descriptor)
            touch(environment.path)
        yield


def _hold(environment: Environment) -> int | None:
    path = os.path.join(environment.path, STORED)
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise _gone(environment) from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH)
    except OSError:  # a file system without locks: nobody can prune there either
        os.close(descriptor)
        return None
    if not same_file(descriptor, path):
        os.close(descriptor)
        raise _gone(environment)
    return descriptor


def touch(place: str) -> None:
    """Note that an environment is used now. Where the store cannot be written, nothing is removed either."""
    with suppress(OSError):
        os.utime(os.path.join(place, STORED))


def _gone(environment: Environment) -> LadingError:
    from lading.model.problems import ExitCode, LadingError, Problem  # noqa: PLC0415 -- only on the way out

    return LadingError(
        Problem(
            rule="environment-removed",
            what=f"The environment {environment.key} is not in the store any more.",
            why=f"{environment.path} was removed, perhaps by `lading env prune`.",
            instead="Run the command again: it builds what is missing.",
            code=ExitCode.BUILD,
        )
    )
