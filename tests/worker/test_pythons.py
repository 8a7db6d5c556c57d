"""What matters most, on every Python that this machine has."""

from __future__ import annotations

import os
import time

import pytest

from tests.worker import harness
from tests.worker.harness import VERSIONS, is_alive, running

_SYNCHRONOUS = """
    import logging
    import os
    import sys
    import time
    from typing import Iterator, List

    from cog import BasePredictor, CancelationException, ConcatenateIterator, Input, Path, current_scope

    print("importing")
    handler = logging.StreamHandler()

    class Predictor(BasePredictor):
        def setup(self) -> None:
            print("setting up", file=sys.stderr)
            logging.getLogger().addHandler(handler)

        def healthcheck(self) -> bool:
            return "ill" not in os.environ

        def predict(self, do: str = Input(description="what to do"), text: str = "x", n: int = Input(default=2, ge=1, le=5)) -> str:
            if do == "echo":
                print("echoing", text)
                logging.warning("logged %s", text)
                current_scope().record_metric("letters", len(text))
                return text * n
            if do == "raise":
                raise KeyError(text)
            if do == "sleep":
                try:
                    print("sleeping", flush=True)
                    time.sleep(60)
                except CancelationException:
                    print("interrupted")
                    raise
            if do == "exit":
                sys.exit(n)
            if do == "fork":
                child = os.fork()
                if child == 0:
                    time.sleep(60)
                    os._exit(0)
                print(child)
            return ""
"""
_PIECES = """
    from typing import Iterator

    from cog import BasePredictor

    class Predictor(BasePredictor):
        def predict(self, n: int) -> Iterator[str]:
            for number in range(n):
                print("piece", number)
                yield "piece %d" % number
"""
_ASYNCHRONOUS = """
    import asyncio

    class Predictor:
        async def setup(self):
            await asyncio.sleep(0.01)
            self.running = 0
            self.most = 0

        async def healthcheck(self):
            await asyncio.sleep(0.01)
            return False

        async def predict(self, name: str, seconds: float = 0.05, together: int = 1) -> str:
            print("begin", name, flush=True)
            self.running += 1
            self.most = max(self.most, self.running)
            while self.most < together:
                await asyncio.sleep(0.01)
            await asyncio.sleep(seconds)
            self.running -= 1
            print("end", name)
            return "%s %d" % (name, self.most)
"""


@pytest.fixture(params=VERSIONS)
def python(request) -> str:
    return harness.python(request.param)


def test_a_synchronous_predictor(tmp_path, python):
    with running(tmp_path, _SYNCHRONOUS, python=python) as worker:
        assert worker.hello["pid"] == worker.pid
        assert worker.hello["implementation"] == "cpython"
        assert worker.setup_logs == [("stdout", "importing\n"), ("stderr", "setting up\n")]
        assert worker.ready is not None
        assert worker.ready["encoder"] in ("json", "orjson")
        assert {**worker.ready, "setup_seconds": 0, "encoder": "json"} == {
            "setup_seconds": 0,
            "asynchronous": False,
            "streaming": False,
            "healthcheck": True,
            "encoder": "json",
            "shared": hasattr(os, "memfd_create"),
        }
        echo = worker.predict(do="echo", text="né")
        assert (echo.status, echo.output) == ("succeeded", "néné")
        assert echo.logs == [("stdout", "echoing né\n"), ("stderr", "logged né\n")]
        assert echo.metrics == [{"name": "letters", "value": 2, "mode": "replace"}]
        assert worker.check() == {"healthy": True, "error": None}
        failed = worker.predict(do="raise", text="the key")
        assert (failed.status, failed.error) == ("failed", "'the key'")
        assert failed.text.startswith('Traceback (most recent call last):\n  File "' + str(tmp_path / "predict.py"))
        assert "lading_worker" not in failed.text
        invalid = worker.predict(do="echo", n=9)
        assert invalid.head == {
            "detail": [{"loc": ["body", "input", "n"], "msg": "9 is greater than the maximum of 5", "type": "value_error"}]
        }
        assert worker.quit() == 0


def test_a_blocking_prediction_is_canceled_at_once(tmp_path, python):
    with running(tmp_path, _SYNCHRONOUS, python=python) as worker:
        number = worker.send(do="sleep")
        worker.wait_for_log("sleeping")
        began = time.monotonic()
        worker.cancel(number)
        answer = worker.answer()
        assert answer is not None
        assert (answer.status, answer.text) == ("canceled", "interrupted\n")
        assert time.monotonic() - began < 30
        assert worker.predict(do="echo").output == "xx"


def test_sys_exit_ends_the_process_and_a_forked_child_does_not_hide_it(tmp_path, python):
    with running(tmp_path, _SYNCHRONOUS, python=python) as worker:
        child = int(worker.predict(do="fork").text)
        worker.send(do="exit", n=3)
        assert worker.answer() is None
        assert worker.end() == 3
        assert is_alive(child)


def test_pieces(tmp_path, python):
    with running(tmp_path, _PIECES, python=python) as worker:
        answer = worker.predict(n=3)
        assert answer.chunks == answer.output == ["piece 0", "piece 1", "piece 2"]
        assert answer.text == "piece 0\npiece 1\npiece 2\n"


def test_an_asynchronous_predictor_runs_its_slots_at_the_same_time(tmp_path, python):
    with running(tmp_path, _ASYNCHRONOUS, python=python, threads=3) as worker:
        assert worker.ready is not None
        assert worker.ready["asynchronous"]
        for slot in range(3):
            worker.send(name=f"call{slot}", together=3, slot=slot)
        answers = [worker.answer(slot) for slot in range(3)]
        for slot, answer in enumerate(answers):
            assert answer is not None
            assert answer.output == f"call{slot} 3"
            assert answer.text == f"begin call{slot}\nend call{slot}\n"
        assert worker.check() == {"healthy": False, "error": None}
        number = worker.send(name="long", seconds=60, slot=1)
        worker.wait_for_log("begin long", slot=1)
        worker.cancel(number)
        canceled = worker.answer(1)
        assert canceled is not None
        assert canceled.status == "canceled"
        assert worker.predict(name="again", slot=1).output == "again 3"
        assert worker.quit() == 0


def test_threads_run_slots_at_the_same_time_and_are_canceled_each(tmp_path, python):
    code = """
        import threading
        import time

        class Predictor:
            def setup(self):
                self.barrier = threading.Barrier(2)

            def predict(self, meet: bool) -> str:
                if meet:
                    self.barrier.wait(30)
                    print(threading.current_thread() is threading.main_thread())
                    return "met"
                print("looping", flush=True)
                while True:
                    time.sleep(0.001)
    """
    with running(tmp_path, code, python=python, threads=2) as worker:
        for slot in range(2):
            worker.send(meet=True, slot=slot)
        first, second = worker.answer(0), worker.answer(1)
        assert first is not None
        assert second is not None
        assert (first.text, second.text) == ("True\n", "False\n")
        for slot in (1, 0):
            number = worker.send(meet=False, slot=slot)
            worker.wait_for_log("looping", slot=slot)
            worker.cancel(number)
            canceled = worker.answer(slot)
            assert canceled is not None
            assert canceled.status == "canceled"
        assert worker.quit() == 0


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_a_model_may_use_multiprocessing(tmp_path, python, method):
    code = """
        import multiprocessing

        def double(value):
            return 2 * value

        class Predictor:
            def predict(self, method: str) -> int:
                context = multiprocessing.get_context(method)
                with context.Pool(2) as pool:
                    return sum(pool.map(double, range(4)))
    """
    with running(tmp_path, code, python=python) as worker:
        answer = worker.predict(method=method)
        assert (answer.status, answer.output) == ("succeeded", 12), answer.text
        assert worker.predict(method=method).output == 12
        assert worker.quit() == 0


def test_nothing_of_lading_is_importable_but_the_shims(tmp_path, python):
    code = """
        import importlib
        import sys

        def found(name):
            try:
                importlib.import_module(name)
            except ImportError:
                return False
            return True

        class Predictor:
            def predict(self) -> list:
                names = ["lading.model", "engine", "channel", "inputs", "cog", "cortex_internal.lib.log"]
                return [[name for name in names if found(name)], sys.path[:2], sys.argv]
    """
    with running(tmp_path, code, python=python) as worker:
        names, path, argv = worker.predict().output
        # Of Lading's name there is `batched` alone.
        assert names == ["cog", "cortex_internal.lib.log"]
        assert path[0] == str(tmp_path)
        assert path[1].endswith("shims")
        assert argv == [str(tmp_path / "predict.py")]
