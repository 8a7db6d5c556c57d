"""Calls of several threads that one call of a model answers."""

from __future__ import annotations

import ctypes
import threading
import time
from concurrent.futures import ThreadPoolExecutor

from lading_worker.gather import Gather
from lading_worker.scope import CancelationException


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

    gather = Gather(4, 60.0, run)
    began = time.monotonic()
    assert _all(gather, [1, 2, 3, 4]) == [10, 20, 30, 40]
    assert time.monotonic() - began < 30
    assert [sorted(items) for items in seen] == [[1, 2, 3, 4]]


def test_the_first_waits_no_longer_than_it_was_told_to():
    gather = Gather(4, 0.1, lambda items: [len(items)] * len(items))
    began = time.monotonic()
    assert _all(gather, [1, 2]) in ([2, 2], [1, 1])  # the second may be late where the machine is busy
    assert 0.09 < time.monotonic() - began < 30
    assert gather(5) == 1


def test_an_error_is_told_to_every_call_of_its_batch_and_to_no_other():
    def run(items: list[int]) -> list[int]:
        if 3 in items:
            raise ValueError("three")
        return items

    gather = Gather(2, 60.0, run)
    assert _all(gather, [3, 4]) == ["three", "three"]
    assert _all(gather, [5, 6]) == [5, 6]


def test_a_call_that_is_interrupted_in_the_model_takes_no_other_with_it():
    seen: list[list[int]] = []

    def run(items: list[int]) -> list[int]:
        seen.append(list(items))
        if len(seen) == 1:
            raise CancelationException
        return [10 * item for item in items]

    gather = Gather(3, 60.0, run)

    def ask(item: int) -> object:
        try:
            return gather(item)
        except CancelationException:
            return "canceled"

    with ThreadPoolExecutor(3) as pool:
        outcomes = dict(zip([1, 2, 3], pool.map(ask, [1, 2, 3]), strict=True))
    (canceled,) = (item for item, outcome in outcomes.items() if outcome == "canceled")
    others = {1, 2, 3} - {canceled}
    assert {item: outcomes[item] for item in others} == {item: 10 * item for item in others}
    assert [set(items) for items in seen] == [{1, 2, 3}, others]
    assert gather._open is None


def test_a_call_that_is_interrupted_while_it_gathers_leaves_the_lead_to_another():
    seen: list[list[int]] = []

    def run(items: list[int]) -> list[int]:
        seen.append(list(items))
        return [10 * item for item in items]

    gather, canceled = Gather(3, 2.0, run), threading.Event()

    def lead() -> None:
        try:
            gather(1)
        except CancelationException:
            canceled.set()

    leader = threading.Thread(target=lead)
    leader.start()
    while (batch := gather._open) is None or batch.leader is None:  # before it leads, it cannot be interrupted
        time.sleep(0.001)
    with ThreadPoolExecutor(1) as pool:
        follower = pool.submit(gather, 2)
        assert leader.ident is not None
        ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(leader.ident), ctypes.py_object(CancelationException))
        assert follower.result(60) == 20
    leader.join(60)
    assert canceled.is_set()
    assert seen == [[2]]


def test_no_call_is_lost_among_many():
    sizes: list[int] = []

    def run(items: list[int]) -> list[int]:
        sizes.append(len(items))
        return [-item for item in items]

    gather = Gather(8, 0.001, run)
    assert _all(gather, list(range(64)) * 8) == [-item for item in range(64)] * 8
    assert max(sizes) <= 8
    assert sum(sizes) == 512
