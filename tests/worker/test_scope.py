"""The scope of a prediction: metrics by coglet's rules, and the right scope in every thread and task."""

from __future__ import annotations

import sys

import pytest

from lading_worker.scope import MetricRecorder
from tests.service.support import running as serving
from tests.worker import harness
from tests.worker.everywhere import evaluate
from tests.worker.harness import VERSIONS, running


def _recorder() -> tuple[MetricRecorder, list[tuple[str, object, str]]]:
    told: list[tuple[str, object, str]] = []
    return MetricRecorder(lambda *metric: told.append(metric)), told


NAMES = {
    "": "metric name must not be empty",
    "1a": "metric name segment '1a' must start with a letter",
    "_a": "metric name segment '_a' must start with a letter",
    "é": "metric name segment 'é' must start with a letter",
    "a_": "metric name segment 'a_' must end with a letter or digit",
    "a__b": "metric name segment 'a__b' must not contain consecutive underscores",
    "a-b": "metric name segment 'a-b' contains invalid character '-'",
    "a..b": "metric name must not contain empty segments (consecutive dots)",
    "a.b.c.d.e": "metric name must have at most 4 dot-separated segments (got 5)",
    "x" * 129: "metric name must be 128 characters or fewer (got 129 characters)",
    "predict_time": "'predict_time' is reserved by the runtime",
    "cog.x": "the 'cog.' prefix is reserved for system metrics",
}


@pytest.mark.parametrize("name", NAMES)
def test_names_are_refused_in_coglets_words(name: str):
    recorder, told = _recorder()
    with pytest.raises(ValueError) as caught:
        recorder.record(name, 1)
    assert str(caught.value) == NAMES[name]
    assert told == []


@pytest.mark.parametrize("name", ["a", "A1", "a_b", "a.b.c.d", "cog", "x" * 128])
def test_names_that_are_fine(name: str):
    recorder, told = _recorder()
    recorder.record(name, 1)
    assert told == [(name, 1, "replace")]


VALUES = {
    "object": (object(), "replace", "Unsupported metric value type: object. Expected bool, int, float, str, list, or dict."),
    "tuple": ((1,), "replace", "Unsupported metric value type: tuple. Expected bool, int, float, str, list, or dict."),
    "inside": ({"a": [(1,)]}, "replace", "Cannot convert tuple to JSON metric value"),
    "key": ({1: 2}, "replace", "the keys of a metric's dict must be str, got int"),
    "mode": (1, "weird", "Invalid metric mode: 'weird'. Expected 'replace', 'incr', or 'append'."),
    "text": ("x", "incr", "Increment mode requires int or float, got str"),
    "flag": (True, "incr", "Increment mode requires int or float, got bool"),
}


@pytest.mark.parametrize("name", VALUES)
def test_values_are_refused_in_coglets_words(name: str):
    value, mode, message = VALUES[name]
    recorder, told = _recorder()
    with pytest.raises(TypeError) as caught:
        recorder.record("m", value, mode)
    assert str(caught.value) == message
    assert (told, recorder.collect()) == ([], {})


def test_a_name_keeps_its_type_until_it_is_deleted():
    recorder, told = _recorder()
    recorder["a"] = 1
    for other, kind in ((2.5, "float"), ("x", "str"), (True, "bool")):
        with pytest.raises(TypeError) as caught:
            recorder["a"] = other
        assert str(caught.value) == f"Metric 'a' has type int, cannot set to {kind} without deleting first"
    del recorder["a"]
    del recorder["never there"]
    recorder["a"] = "x"
    recorder.record("a", None)
    recorder.record("a", 2.5)
    assert told == [
        ("a", 1, "replace"),
        ("a", None, "delete"),
        ("a", "x", "replace"),
        ("a", None, "delete"),
        ("a", 2.5, "replace"),
    ]
    assert recorder.collect() == {"a": 2.5}


def test_modes_and_nested_names():
    recorder, _ = _recorder()
    for name, value, mode in (
        ("n", 1, "incr"),
        ("n", 2, "incr"),
        ("list", 1, "append"),
        ("list", 2, "append"),
        ("later", "x", None),
        ("later", "y", "append"),
        ("d.e.f", 1, None),
        ("d.g", {"h": [1, None]}, None),
        ("p", 1, None),
        ("p.q", 2, None),
        ("given", {"a": 1}, None),
        ("given.b", 2, None),
    ):
        recorder.record(name, value, mode)
    recorder.collect()
    assert recorder.collect() == {
        "n": 3,
        "list": [1, 2],
        "later": ["x", "y"],
        "d": {"e": {"f": 1}, "g": {"h": [1, None]}},
        "p": {"q": 2},
        "given": {"a": 1, "b": 2},
    }


def test_numbers_that_json_does_not_know_delete_and_values_are_copies():
    recorder, told = _recorder()
    recorder.record("a", 1.5)
    recorder.record("a", float("nan"))
    numbers = [1.0, float("inf")]
    recorder.record("l", numbers)
    numbers.append(2.0)
    assert told == [("a", 1.5, "replace"), ("a", None, "delete"), ("l", [1.0, None], "replace")]
    assert recorder.collect() == {"l": [1.0, None]}


_SETUP = """
    import threading
    from lading_worker import scope

    def in_thread(function):
        told = []
        thread = threading.Thread(target=lambda: told.append(function()))
        thread.start()
        thread.join()
        return told[0]

    def call():
        return scope.current().call

    def nested():
        outer = scope.enter(call="outer")
        inner = scope.enter(call="inner")
        seen = [call()]
        scope.leave(inner)
        seen.append(call())
        scope.leave(outer)
        return seen + [call()]

    def one():
        entered = scope.enter(context={"a": "b"}, call="one")
        try:
            return [call(), in_thread(call), scope.current().context]
        finally:
            scope.leave(entered)

    def two():
        first = scope.enter(call="first")
        def other():
            second = scope.enter(call="second")
            try:
                return [call(), in_thread(call)]
            finally:
                scope.leave(second)
        try:
            return [in_thread(other), call(), in_thread(call)]
        finally:
            scope.leave(first)

    def late():
        told = []
        kept = scope.enter(lambda *metric: told.append(metric), call="late")
        kept.record_metric("a", 1)
        scope.leave(kept)
        scope.current().record_metric("a", 2)
        scope.current().metrics["b"] = object()
        return [told, scope.current().metrics.collect(), scope.current().context]

    async def sleeper(name, seconds):
        import asyncio
        entered = scope.enter(call=name)
        await asyncio.sleep(seconds)
        seen = call()
        scope.leave(entered)
        return seen

    def tasks():
        import asyncio
        loop = asyncio.new_event_loop()
        try:
            return loop.run_until_complete(gather(asyncio))
        finally:
            loop.close()

    async def gather(asyncio):
        return list(await asyncio.gather(*(sleeper(str(number), 0.03 - 0.01 * number) for number in range(3)))) + [call()]
"""


@pytest.mark.parametrize("version", VERSIONS)
def test_each_thread_and_task_finds_its_own_scope(version):
    told = evaluate(harness.python(version), _SETUP, ["nested()", "one()", "two()", "late()", "tasks()", "call()"])
    assert told == {
        "nested()": ["inner", "outer", None],
        "one()": ["one", "one", {"a": "b"}],
        # A thread that no prediction is known for, while two run, belongs to neither.
        "two()": [["second", None], "first", "first"],
        "late()": [[["a", 1, "replace"]], {}, {}],
        "tasks()": ["0", "1", "2", None],
        "call()": None,
    }


def test_metrics_and_context_of_a_prediction_that_runs(tmp_path):
    code = """
        from concurrent.futures import ThreadPoolExecutor
        from cog import BaseRunner, current_scope, emit_metric

        def work(number):
            current_scope().record_metric("done", 1, mode="incr")

        class Predictor(BaseRunner):
            def setup(self):
                self.record_metric("unheard", 1)

            def run(self) -> dict:
                with ThreadPoolExecutor(2) as pool:
                    list(pool.map(work, range(3)))
                self.record_metric("speed", 0.5)
                self.scope.metrics["kind"] = "fast"
                emit_metric("old", 2)
                return dict(self.scope.context)
    """
    with running(tmp_path, code, python=sys.executable) as worker:
        answer = worker.predict(head={"scratch": str(tmp_path), "context": {"who": "me"}}, body=b"{}")
        assert (answer.status, answer.output) == ("succeeded", {"who": "me"})
        told = [(metric["name"], metric["value"], metric["mode"]) for metric in answer.metrics]
        assert told == [("done", 1, "incr")] * 3 + [("speed", 0.5, "replace"), ("kind", "fast", "replace"), ("old", 2, "replace")]
        assert worker.predict().output == {}


_METRICS = """
    from cog import BaseRunner

    class Predictor(BaseRunner):
        def run(self, fail: bool = False) -> str:
            metrics = self.scope.metrics
            for name, value, mode in (("n", 3, "replace"), ("n", 2, "append"), ("gone", 1, "replace"), ("d.e", 1, "incr"), ("d.e", 2, "incr")):
                metrics.record(name, value, mode)
            del metrics["gone"]
            if fail:
                raise ValueError("after recording")
            return "done"
"""


def test_the_answer_shows_metrics_as_cogs_does(tmp_path):
    spec = harness.make_spec(tmp_path, _METRICS)
    worker = {name: getattr(spec, name) for name in ("python", "root", "style", "file", "object", "signature")}
    with serving(tmp_path, {"name": "model", "worker": worker}, extra={"worker_main": None}) as server:
        body = server.client.post("/predictions", json={}).json()
        time = body["metrics"].pop("predict_time")
        assert (body["metrics"], time > 0) == ({"n": [3, 2], "d": {"e": 3}}, True)
        assert server.client.post("/predictions", json={"input": {"fail": True}}).json()["metrics"]["d"] == {"e": 3}
        assert 'lading_model_metric{api="model",name="d.e"} 3.0' in server.client.get("/metrics").text
