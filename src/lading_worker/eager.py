"""Waiting for the next call without falling asleep at once.

Waking a process that sleeps in the kernel costs more than a small prediction. So a worker that was just asked again and again, with
hardly a pause, looks for the next call for a moment before it sleeps. One that is asked now and then never does, and neither does one
that has less than two processors: there the front needs the time itself.
"""

import os
import select
from time import perf_counter

_SPIN = 0.0001  # seconds of looking
_QUOTAS = (
    ("/sys/fs/cgroup/cpu.max", None),
    ("/sys/fs/cgroup/cpu/cpu.cfs_quota_us", "/sys/fs/cgroup/cpu/cpu.cfs_period_us"),
)
_SOON = 0.0002  # a call that came within this time is likely to be followed by another


class Eager:
    """Waits for one descriptor. Made by `of`."""

    def __init__(self, number):
        self._poll = select.poll()
        self._poll.register(number, select.POLLIN)
        self._soon = False

    @classmethod
    def of(cls, number):
        """One for this descriptor; None where looking would take the time of somebody else."""
        return cls(number) if hasattr(select, "poll") and processors() >= 2 else None

    def wait(self, fill):
        """Wait for what ``fill`` reads; returns what it returns."""
        began = perf_counter()
        if self._soon:
            poll, until = self._poll.poll, began + _SPIN
            while not poll(0) and perf_counter() < until:
                pass
        filled = fill()
        self._soon = perf_counter() - began < _SOON
        return filled


def processors():
    """How many processors' time this process may have: those it may run on, and what its control group allows."""
    try:
        count = float(len(os.sched_getaffinity(0)))
    except (AttributeError, OSError):
        count = float(os.cpu_count() or 1)
    return min([count, *_quotas()])


def _quotas():
    for quota, period in _QUOTAS:
        try:
            words = _read(quota).split()
            if period is not None:
                words.append(_read(period).strip())
            allowed, per = float(words[0]), float(words[1])
        except (OSError, ValueError, IndexError):  # no such file, or "max"
            continue
        if allowed > 0 and per > 0:
            yield allowed / per


def _read(path):
    with open(path) as file:
        return file.read()
