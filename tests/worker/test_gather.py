"""Calls of several threads that one call of a model answers."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from lading_worker.gather import Gather


def _all(gather: Gather, items: list[int]) -> list[object]:
    with ThreadPoolExecutor(len(items)) as pool:
        return list(pool.map(lambda item: _outcome(gather, item), items))


def _outcome(gather: Gather, item: int) -> object:
    try:
        return gather(item)
    except ValueError as error:
        return str(error)


def test_calls_that_come_together_are_answered_together_each_with_its_own():
    seen: list[list[int]] = []

    def run(items: list[int]) -> list[int]:
        seen.append(list(items))
        return [10 * item for item in items]

    gather = Gather(4, 5.0, run)
    began = time.monotonic()
    assert _all(gather, [1, 2, 3, 4]) == [10, 20, 30, 40]
    assert time.monotonic() - began < 4
    assert [sorted(items) for items in seen] == [[1, 2, 3, 4]]


def test_the_first_waits_no_longer_than_it_was_told_to():
    gather = Gather(4, 0.1, lambda items: [len(items)] * len(items))
    began = time.monotonic()
    assert _all(gather, [1, 2]) == [2, 2]
    assert 0.09 < time.monotonic() - began < 2
    assert gather(5) == 1


def test_an_error_is_told_to_every_call_of_its_batch_and_to_no_other():
    def run(items: list[int]) -> list[int]:
        if 3 in items:
            raise ValueError("three")
        return items

    gather = Gather(2, 0.3, run)
    assert _all(gather, [3, 4]) == ["three", "three"]
    assert _all(gather, [5, 6]) == [5, 6]


def test_a_leader_that_is_interrupted_leaves_nobody_waiting():
    started = threading.Event()

    def run(items: list[int]) -> list[int]:
        started.set()
        raise KeyboardInterrupt

    gather = Gather(2, 0.3, run)

    def follow() -> None:
        with pytest.raises(KeyboardInterrupt):
            gather(1)

    others = [threading.Thread(target=follow) for _ in range(2)]
    for one in others:
        one.start()
    for one in others:
        one.join(5)
    assert started.is_set()
    assert not any(one.is_alive() for one in others)


def test_no_call_is_lost_among_many():
    sizes: list[int] = []

    def run(items: list[int]) -> list[int]:
        sizes.append(len(items))
        return [-item for item in items]

    gather = Gather(8, 0.001, run)
    assert _all(gather, list(range(64)) * 8) == [-item for item in range(64)] * 8
    assert max(sizes) <= 8
    assert sum(sizes) == 512
