"""Locks between processes: who builds an environment, and who uses one. The system drops them when a process ends, however it ends."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from lading.environments.home import unusable

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
