"""Threads that fetch, send and compress for a command, which ends at once when its user wants it to."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

TYPE_CHECKING = False  # typing's own constant, without importing typing
if TYPE_CHECKING:
    from collections.abc import Iterator

_left: list[ThreadPoolExecutor] = []


@contextmanager
def threads(count: int) -> Iterator[ThreadPoolExecutor]:
    """A pool of ``count`` threads, waited for at the end; not, however, when Ctrl-C ends it.

    A transfer may go on for an hour, or wait a minute for a server that is silent. Whatever runs in such a pool must therefore bear to be cut
    off anywhere, as by SIGKILL.
    """
    pool = ThreadPoolExecutor(count)
    try:
        yield pool
    except KeyboardInterrupt:
        _left.append(pool)
        pool.shutdown(wait=False, cancel_futures=True)
        raise
    finally:
        pool.shutdown(wait=pool not in _left)


def any_left() -> bool:
    """Whether threads were left running, which Python would wait for at its end."""
    return bool(_left)
