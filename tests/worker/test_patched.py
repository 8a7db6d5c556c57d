"""Models that change the standard library under our feet."""

from __future__ import annotations

import pytest

from tests.worker.harness import running


@pytest.mark.parametrize("slot", [0, 1])
def test_functions_that_a_model_replaces_are_not_ours(tmp_path, slot):
    code = """
        import os, threading, time

        real = time.sleep

        def broken(*arguments, **options):
            raise RuntimeError("patched")

        os.read = os.write = time.sleep = time.perf_counter = threading.Thread = threading.Event = broken

        class Predictor:
            def healthcheck(self):
                return True

            def predict(self, seconds: float) -> str:
                print("printed", flush=True)
                for _ in range(int(seconds * 1000)):
                    real(0.001)
                return "done"
    """
    with running(tmp_path, code, threads=2) as worker:
        answer = worker.predict(seconds=0.0, slot=slot)
        assert (answer.output, answer.text) == ("done", "printed\n")
        assert worker.check()["healthy"]
        number = worker.send(seconds=60.0, slot=slot)
        worker.wait_for_log("printed", slot)
        worker.cancel(number)
        canceled = worker.answer(slot, seconds=5)
        assert canceled is not None
        assert canceled.status == "canceled"
        assert worker.quit() == 0


def test_a_model_may_empty_its_path_and_its_modules(tmp_path):
    code = """
        import sys

        class Predictor:
            def predict(self, text: str) -> dict:
                sys.path.clear()
                sys.argv.clear()
                for name in [name for name in sys.modules if not name.startswith(("lading_worker", "sys", "builtins"))]:
                    del sys.modules[name]
                return {"text": text}
    """
    with running(tmp_path, code) as worker:
        for _ in range(2):
            assert worker.predict(text="x").output == {"text": "x"}
        assert worker.quit() == 0
