"""Canceling: what runs is stopped, and nothing else."""

from __future__ import annotations

import socket
import time

import pytest

from lading.service.frames import Kind
from tests.worker.harness import SECONDS, running

_CODE = """
    import os
    import subprocess
    import sys
    import threading
    import time

    from cog import BasePredictor, CancelationException
    from typing import Iterator

    class Predictor(BasePredictor):
        def predict(self, do: str, seconds: float = 60.0) -> str:
            try:
                print("begun", flush=True)
                return getattr(self, do)(seconds) or "done"
            finally:
                print("cleaned up")

        def sleep(self, seconds):
            time.sleep(seconds)

        def spin(self, seconds):
            until = time.time() + seconds
            while time.time() < until:
                pass

        def wait_for_child(self, seconds):
            subprocess.run(["sleep", str(seconds)])

        def wait_for_lock(self, seconds):
            threading.Event().wait(seconds)

        def print_all_the_time(self, seconds):
            until = time.time() + seconds
            while time.time() < until:
                print("x" * 100)

        def swallow(self, seconds):
            try:
                print("sleeping", flush=True)
                time.sleep(seconds)
            except CancelationException:
                return "swallowed"

        def swallow_exceptions(self, seconds):
            while True:
                try:
                    time.sleep(seconds)
                except Exception:
                    pass

        def wait_for_file(self, seconds):
            while not os.path.exists("go"):
                time.sleep(0.01)

        def short(self, seconds):
            time.sleep(seconds)
            return "short"
"""


# In a thread other than the main one, what blocks in a system call cannot be interrupted: the front ends the process then.
@pytest.mark.parametrize(
    ("do", "slot"),
    [
        *((do, 0) for do in ("sleep", "spin", "wait_for_child", "wait_for_lock", "print_all_the_time", "swallow_exceptions")),
        *((do, 1) for do in ("spin", "print_all_the_time")),
    ],
)
def test_what_runs_is_stopped(tmp_path, do, slot):
    with running(tmp_path, _CODE, threads=2) as worker:
        number = worker.send(do=do, slot=slot)
        worker.wait_for_log("begun", slot)
        time.sleep(0.05)
        began = time.monotonic()
        worker.cancel(number)
        answer = worker.answer(slot)
        assert answer is not None
        assert answer.status == "canceled"
        assert answer.text.endswith("cleaned up\n")
        assert time.monotonic() - began < 30
        assert worker.predict(do="short", seconds=0.0, slot=slot).output == "short"


def test_a_model_may_finish_nevertheless(tmp_path):
    with running(tmp_path, _CODE) as worker:
        number = worker.send(do="swallow")
        worker.wait_for_log("sleeping")
        worker.cancel(number)
        answer = worker.answer()
        assert answer is not None
        assert (answer.status, answer.output) == ("succeeded", "swallowed")


def test_a_call_that_has_not_begun_is_not_run(tmp_path):
    with running(tmp_path, _CODE) as worker:
        worker.send(do="wait_for_file")
        second = worker.send(do="sleep")
        worker.send(do="short", seconds=0.0)
        worker.cancel(second)
        assert worker.check()["healthy"]  # asked for behind the cancelation, which it knows now
        (tmp_path / "go").touch()
        answers = [worker.answer() for _ in range(3)]
        assert [answer.status for answer in answers if answer] == ["succeeded", "canceled", "succeeded"]
        assert answers[1] is not None
        assert answers[1].text == ""


def test_a_cancelation_that_comes_too_late_or_for_nobody_does_nothing(tmp_path):
    with running(tmp_path, _CODE) as worker:
        worker.predict(do="short", seconds=0.0)
        worker.cancel(1)
        worker.cancel(999)
        for _ in range(20):
            assert worker.predict(do="short", seconds=0.001).output == "short"


@pytest.mark.parametrize("slot", [0, 1])
@pytest.mark.parametrize("do", ["nothing", "talk", "measure"])
def test_a_cancelation_at_any_moment_hits_its_own_call_or_none(tmp_path, slot, do):
    code = """
        import time

        from cog import BasePredictor, current_scope

        class Predictor(BasePredictor):
            def predict(self, do: str, number: int) -> int:
                # About as long as a thread of Python waits for another one's turn.
                until = time.perf_counter() + 4.6e-3 + number % 10 * 1e-4
                while number > 0 and time.perf_counter() < until:
                    pass
                if do == "talk":
                    print("a")
                    print("b", flush=True)
                if do == "measure":
                    current_scope().record_metric("number", number)
                return number
    """
    with running(tmp_path, code, threads=2) as worker:
        statuses = {"succeeded": 0, "canceled": 0}
        for number in range(1, 151):
            call = worker.send(do=do, number=number, slot=slot)
            time.sleep(number % 15 * 1e-5)
            worker.cancel(call)
            answer = worker.answer(slot)
            assert answer is not None, worker.raw_output("stderr")
            statuses[str(answer.status)] += 1
            if answer.status == "succeeded":
                assert answer.output == number
            follower = worker.predict(do=do, number=-number, slot=slot)
            assert (follower.status, follower.output) == ("succeeded", -number)
        assert statuses["canceled"] > 0
        assert worker.quit() == 0


def test_a_cancelation_that_comes_as_the_model_falls_asleep_wakes_it(tmp_path):
    code = """
        import time

        class Predictor:
            def predict(self) -> str:
                print("begun", flush=True)
                until = time.perf_counter() + 0.002
                while time.perf_counter() < until:
                    pass
                time.sleep(60)
    """
    with running(tmp_path, code) as worker:
        for _ in range(400):
            number = worker.send()
            worker.wait_for_log("begun")
            worker.cancel(number)
            answer = worker.answer(seconds=30)
            assert answer is not None
            assert answer.status == "canceled"


def test_a_generator_is_stopped_between_its_pieces_and_closed(tmp_path):
    code = """
        import time
        from typing import Iterator

        class Predictor:
            def predict(self) -> Iterator[int]:
                try:
                    for number in range(1000):
                        yield number
                        time.sleep(0.01)
                finally:
                    print("closed")
    """
    with running(tmp_path, code) as worker:
        number = worker.send()
        first = worker.slots[0].next()
        assert first is not None
        assert first.kind == Kind.CHUNK
        worker.slots[0].frames.insert(0, first)
        worker.cancel(number)
        answer = worker.answer()
        assert answer is not None
        assert answer.status == "canceled"
        assert 0 < len(answer.chunks) < 1000
        assert answer.text == "closed\n"


@pytest.mark.parametrize("kind", ["AsyncIterator[int]", "int"])
def test_an_asynchronous_prediction_is_canceled_as_a_task_is(tmp_path, kind):
    body = "yield number" if "Iterator" in kind else "print(number)"
    code = f"""
        import asyncio
        from typing import AsyncIterator

        class Predictor:
            async def predict(self) -> {kind}:
                print("begun", flush=True)
                try:
                    for number in range(1000):
                        {body}
                        await asyncio.sleep(0.01)
                except asyncio.CancelledError:
                    print("told")
                    raise
    """
    with running(tmp_path, code) as worker:
        number = worker.send()
        worker.wait_for_log("begun")
        time.sleep(0.1)
        worker.cancel(number)
        answer = worker.answer()
        assert answer is not None
        assert answer.status == "canceled"
        assert answer.text.endswith("told\n")
        assert len(answer.chunks) > 0 or kind == "int"
        second = worker.send()
        third = worker.send()
        worker.cancel(third)
        worker.cancel(second)
        answers = [worker.answer(), worker.answer()]
        assert [answer.status for answer in answers if answer] == ["canceled", "canceled"]


def test_a_prediction_that_gives_up_on_its_own_is_no_cancelation(tmp_path):
    code = """
        import asyncio

        class Predictor:
            async def predict(self) -> int:
                raise asyncio.CancelledError
    """
    with running(tmp_path, code) as worker:
        assert worker.predict().status == "failed"


def test_a_download_is_canceled(tmp_path):
    code = """
        from cog import BasePredictor, Path

        class Predictor(BasePredictor):
            def predict(self, image: Path) -> str:
                return str(image)
    """
    with running(tmp_path, code) as worker, socket.create_server(("127.0.0.1", 0)) as silent:
        number = worker.send(image=f"http://127.0.0.1:{silent.getsockname()[1]}/x.png")
        silent.settimeout(SECONDS)
        connection, _ = silent.accept()
        with connection:
            worker.cancel(number)
            answer = worker.answer()
        assert answer is not None
        assert answer.status == "canceled"
        assert list(worker.scratch.iterdir()) == []
