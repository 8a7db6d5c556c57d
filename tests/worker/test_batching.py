"""Batched predictors: requests that come together are answered by one call of the model, each with its own answer, whatever happens."""

from __future__ import annotations

import contextlib
import itertools
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.service.support import api
from tests.service.support import running as serving
from tests.worker import harness
from tests.worker.everywhere import evaluate
from tests.worker.harness import VERSIONS, make_spec, running

CODE = """
import os
import sys
import time
from typing import Any, List

from cog import CancelationException, current_scope
from lading import batched

SIZES = []


class Predictor:
    @batched(max_batch_size=4, max_latency=0.2)
    def predict(self, do: List[str], n: List[int] = 1) -> List[Any]:
        SIZES.append(len(do))
        print("batch of", len(do))
        for number in [number for one, number in zip(do, n) if one == "hold"]:
            open("held-%d" % number, "w").close()
            while not os.path.exists("go-%d" % number):
                time.sleep(0.01)
        if "hang" in do:
            time.sleep(60)
        if "short" in do:
            return ["one"]
        if "text" in do:
            return "no list"
        if "raise" in do:
            raise ValueError("the reason")
        if "exit" in do:
            os._exit(3)
        current_scope().record_metric("size", len(do))
        answers = {"sizes": list(SIZES), "odd": lambda: 1}
        return [answers.get(one, [one, number]) for one, number in zip(do, n)]
"""


@pytest.mark.parametrize("version", VERSIONS)
def test_a_batch_on_every_python(tmp_path: Path, version: str):
    with running(tmp_path, CODE, python=harness.python(version)) as worker:
        assert worker.predict(do="a").output == ["a", 1]
        numbers = [worker.send(do="hold", n=1)] + [worker.send(do=f"x{number}", n=number) for number in range(6)]
        (tmp_path / "go-1").touch()
        answers = [worker.answer() for _ in numbers]
        assert all(answer is not None for answer in answers)
        assert [answer.output for answer in answers if answer] == [["hold", 1]] + [[f"x{number}", number] for number in range(6)]
        sizes = worker.predict(do="sizes").output
        assert max(sizes) == 4
        assert sum(sizes) == 1 + len(numbers) + 1
        assert [metric["name"] for metric in worker.predict(do="a").metrics] == ["size"]
        for number, (broken, error) in enumerate(
            (
                ("short", "predict returned 1 outputs for a batch of 2 inputs"),
                ("text", "predict returned str; a batched predictor returns a list with one output for each input"),
                ("raise", "the reason"),
            ),
            start=2,
        ):
            worker.send(do="hold", n=number)
            worker.wait_for_log("batch of 1")
            worker.send(do=broken)
            worker.send(do="a")
            (tmp_path / f"go-{number}").touch()
            assert [answer.error for answer in (worker.answer(), worker.answer(), worker.answer()) if answer] == [None, error, error]
        assert worker.quit() == 0


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory):
    root = tmp_path_factory.mktemp("project")
    spec = make_spec(root, CODE)
    with serving(root, api(root, signature=dict(spec.signature or {})), extra={"worker_main": None}) as one:
        yield one


def ask(server, do: str, **given):
    return server.client.post("/predictions", json={"input": {"do": do, **given}}).json()


_numbers = itertools.count(1)


def hold(server) -> int:
    """Keep the model busy with a request by itself, until it is let go; the request's number."""
    number = next(_numbers)
    begin(server, f"hold-{number}", "hold", n=number)
    wait_until_held(server, number)
    return number


def wait_until_held(server, number: int) -> None:
    harness.eventually((server._log.parent / f"held-{number}").exists)


def let_go(server, number: int) -> None:
    (server._log.parent / f"go-{number}").touch()


@contextlib.contextmanager
def busy(server) -> Iterator[None]:
    """The model is busy meanwhile; a request whose beginning was answered has reached its process, and waits there."""
    number = hold(server)
    yield
    let_go(server, number)
    assert wait_for(server, f"hold-{number}", "succeeded")["output"] == ["hold", number]


def together(server, *dos: str):
    """Answers to requests that are sent while the model is busy, and so make one batch."""
    ids = [f"{do}-{next(_numbers)}" for do in dos]
    with busy(server):
        for id_, do in zip(ids, dos, strict=True):
            begin(server, id_, do)
    return [wait_for(server, id_, "succeeded", "failed") for id_ in ids]


def test_one_request_does_not_wait_for_others(server):
    ask(server, "a")
    began = time.monotonic()
    for _ in range(150):
        assert ask(server, "a")["output"] == ["a", 1]
    assert time.monotonic() - began < 20  # 150 x 0.2 s would be 30


def test_requests_gather_while_the_model_is_busy(server):
    answers = together(server, "a", "b", "c", "d")
    assert [answer["output"] for answer in answers] == [["a", 1], ["b", 1], ["c", 1], ["d", 1]]
    assert {answer["metrics"]["size"] for answer in answers} == {4}
    assert {answer["logs"] for answer in answers} == {"batch of 4\n"}


def test_more_than_a_batch_has_room_for(server):
    with ThreadPoolExecutor(40) as pool:
        answers = list(pool.map(lambda number: ask(server, f"x{number}", n=number), range(200)))
    assert [answer["output"] for answer in answers] == [[f"x{number}", number] for number in range(200)]
    assert max(ask(server, "sizes")["output"]) == 4


def test_too_few_outputs_fail_every_request_of_the_batch_and_none_hangs(server):
    answers = together(server, "a", "short", "b")
    assert {(answer["status"], answer["error"]) for answer in answers} == {("failed", "predict returned 1 outputs for a batch of 3 inputs")}
    assert ask(server, "a")["status"] == "succeeded"


def test_an_exception_fails_the_batch_with_its_trace_in_each_log(server):
    answers = together(server, "a", "raise")
    assert [answer["error"] for answer in answers] == ["the reason"] * 2
    assert all("ValueError: the reason" in answer["logs"] and "lading_worker" not in answer["logs"] for answer in answers)


def test_an_input_that_does_not_fit_and_an_output_that_cannot_be_written_are_their_own(server):
    with ThreadPoolExecutor(1) as pool:
        with busy(server):
            wrong = pool.submit(server.client.post, "/predictions", json={"input": {"do": 1}})
            begin(server, "odd", "odd")
            begin(server, "right", "a")
        assert wrong.result().status_code == 422
    assert wait_for(server, "odd", "failed")["error"].startswith("output: function cannot be written as JSON")
    assert wait_for(server, "right", "succeeded")["output"] == ["a", 1]


def begin(server, id_: str, do: str, **given) -> None:
    answer = server.client.post("/predictions", json={"id": id_, "input": {"do": do, **given}}, headers={"prefer": "respond-async"})
    assert answer.status_code == 202


def wait_for(server, id_: str, *statuses: str, seconds: float = 60):
    until = time.monotonic() + seconds
    while (found := server.client.get(f"/predictions/{id_}").json())["status"] not in statuses:
        assert time.monotonic() < until, found
        time.sleep(0.02)
    return found


def test_canceling_one_of_a_batch_leaves_the_others(server):
    gone, stays = next(_numbers), next(_numbers)
    with busy(server):
        begin(server, "gone", "hold", n=gone)
        begin(server, "stays", "hold", n=stays)
    wait_until_held(server, gone)  # the two run now
    assert server.client.post("/predictions/gone/cancel").status_code == 200
    assert wait_for(server, "gone", "canceled", "succeeded")["status"] == "canceled"
    let_go(server, gone)
    let_go(server, stays)
    assert wait_for(server, "stays", "succeeded")["output"] == ["hold", stays]
    assert ask(server, "a")["output"] == ["a", 1]


def test_canceling_the_last_of_a_batch_interrupts_it(server):
    alone = f"hold-{hold(server)}"
    worker = server.workers()
    assert server.client.post(f"/predictions/{alone}/cancel").status_code == 200
    assert wait_for(server, alone, "canceled")["status"] == "canceled"
    assert ask(server, "a")["output"] == ["a", 1]
    assert server.workers() == worker


def test_what_waits_behind_a_batch_can_be_canceled(server):
    with busy(server):
        begin(server, "waiting", "a")
        assert server.client.post("/predictions/waiting/cancel").status_code == 200
        time.sleep(0.3)  # the model's process hears of it by another channel
    assert wait_for(server, "waiting", "canceled")["status"] == "canceled"


def test_a_crash_fails_the_batch_and_the_next_works(server):
    answers = together(server, "a", "exit")
    assert all("exit code 3" in answer["error"] for answer in answers)
    assert ask(server, "a")["output"] == ["a", 1]


def test_a_batch_that_takes_too_long_is_ended(tmp_path: Path):
    spec = make_spec(tmp_path, CODE)
    with serving(tmp_path, api(tmp_path, signature=dict(spec.signature or {})), predict_timeout=1.0, extra={"worker_main": None}) as server:
        with ThreadPoolExecutor(3) as pool:
            answers = list(pool.map(lambda do: ask(server, do), ["hang", "hang", "hang"]))
        assert {answer["error"] for answer in answers} <= {"prediction timed out after 1 s"} | {
            answer["error"] for answer in answers if "process" in answer["error"]
        }
        until = time.monotonic() + 60
        while ask(server, "a").get("output") != ["a", 1]:
            assert time.monotonic() < until


CORTEX = """
import os
import time

class PythonPredictor:
    def __init__(self, config):
        self.sizes = []

    def predict(self, payload, headers):
        self.sizes.append(len(payload))
        assert type(payload) is type(headers) is list
        for one in payload:
            while one["do"].startswith("hold") and not os.path.exists("go-" + one["do"]):
                open("held-" + one["do"], "w").close()
                time.sleep(0.01)
        if any(one["do"] == "short" for one in payload):
            return [1]
        if any(one["do"] == "map" for one in payload):
            return {"a": 1}
        if any(one["do"] == "raise" for one in payload):
            raise ValueError("the reason")
        return [{"do": one["do"], "x": given.get("x-name"), "sizes": self.sizes} for one, given in zip(payload, headers)]

    def post_predict(self, response, payload):
        self.sizes.append((response["do"], payload["do"]))
"""


def test_server_side_batching_of_cortex(tmp_path: Path):
    (tmp_path / "predict.py").write_text(CORTEX)
    one = api(tmp_path, "iris", "cortex")
    batching = {"max_batch_size": 4, "max_latency": 0.2}
    one["worker"].update(object="PythonPredictor", cortex={"kind": "RealtimeAPI", "type": "python", "batching": batching}, threads=4)
    with serving(tmp_path, one, kind="cortex", extra={"worker_main": None}) as server:
        server.wait_for("READY")

        def post(do: str):
            return server.client.post("/iris", json={"do": do}, headers={"x-name": do})

        @contextlib.contextmanager
        def busy(count: int):
            """The model is busy until so many more requests are waiting for it."""
            name = f"hold{next(_numbers)}"
            with ThreadPoolExecutor(1) as pool:
                first = pool.submit(post, name)
                harness.eventually((tmp_path / f"held-{name}").exists)
                yield
                running = f'lading_predictions_running{{api="iris"}} {count + 1}.0'
                harness.eventually(lambda: running in server.client.get("/metrics").text)
                (tmp_path / f"go-{name}").touch()
                assert first.result().json()["do"] == name

        def batch(*dos: str):
            with ThreadPoolExecutor(8) as pool:
                with busy(len(dos)):
                    answers = pool.map(post, dos)
                return list(answers)

        answers = [answer.json() for answer in batch("a", "b", "c")]
        assert [(answer["do"], answer["x"]) for answer in answers] == [("a", "a"), ("b", "b"), ("c", "c")]
        sizes = post("a").json()["sizes"]
        assert 3 in sizes
        assert ["a", "a"] in sizes
        for answer in batch("a", "short"):
            assert (answer.status_code, answer.text) == (
                500,
                "error: please return a list of 2 when using server side batching, got 1",
            )
        (answer,) = batch("map")
        assert (answer.status_code, answer.text) == (500, "error: please return a list when using server side batching, got <class 'dict'>")
        for answer in batch("a", "raise"):
            assert (answer.status_code, answer.text) == (500, "internal server error")
        with ThreadPoolExecutor(2) as pool:
            with busy(2):
                broken = pool.submit(server.client.post, "/iris", content=b"{", headers={"content-type": "application/json"})
                right = pool.submit(post, "a")
            assert broken.result().status_code == 400
            assert right.result().json()["do"] == "a"


@pytest.mark.parametrize("version", VERSIONS)
def test_the_decorator_on_every_python(version: str):
    setup = """
        import lading
        def f(x): return x
        def made(**options):
            return lading.batched(**options)(f) is f
    """
    expected = {
        "made()": True,
        "lading.batched(f) is f": True,
        "made(max_batch_size=8, max_latency=1)": True,
        "made(max_batch_size=0)": "ValueError: max_batch_size must be from 1 to 1024",
        "made(max_batch_size='8')": "TypeError: max_batch_size must be an integer",
        "made(max_latency=-1)": "ValueError: max_latency must be at least 0",
        "made(max_latency=None)": "TypeError: max_latency must be a number of seconds",
    }
    assert evaluate(harness.python(version), setup, expected) == expected


def test_it_is_importable_from_lading_itself():
    import lading
    from lading_worker.batched import batched

    assert lading.batched is batched
    with pytest.raises(AttributeError, match="no attribute 'bathed'"):
        _ = lading.bathed
