"""What a misbehaving model does to the server: nothing lasting."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
import uvloop

from lading.model.service import WorkerSpec
from lading.service import process
from lading.service.calls import Call, Result, Status
from lading.service.pool import WorkerPool
from lading.service.process import spawn
from tests.service.support import STANDIN, Server, api, children_of, is_alive, running, worker


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    root = tmp_path_factory.mktemp("project")
    with running(root, api(root)) as one:
        yield one


@pytest.mark.parametrize(
    ("do", "said"),
    [
        ("exit", "ended with exit code 3"),
        ("segfault", "SIGSEGV (a crash in native code)"),
        ("kill", "ran out of memory"),
        ("garbage", "not of the protocol"),
    ],
)
def test_whatever_kills_the_model_is_told_and_the_next_request_succeeds(server: Server, do: str, said: str):
    before = server.predict("pid").json()["output"]
    answer = server.predict(do)
    assert (answer.status_code, answer.json()["status"]) == (200, "failed")
    assert said in answer.json()["error"]
    after = server.predict("pid")
    assert (after.status_code, after.json()["status"]) == (200, "succeeded")
    assert after.json()["output"] != before
    assert not is_alive(before)


def test_a_worker_killed_while_idle_is_replaced(server: Server):
    before = server.predict("pid").json()["output"]
    os.kill(before, signal.SIGKILL)
    until = time.monotonic() + 60
    while before in server.workers() or server.health()["status"] != "READY":
        assert time.monotonic() < until
        time.sleep(0.01)
    assert server.predict(value=1).json()["output"] == 1


def test_requests_behind_the_one_that_crashes_are_answered_by_the_next_worker(server: Server):
    with httpx.Client(base_url=server.url, timeout=60) as client:
        slow = client.put("/predictions/slow", json={"input": {"do": "sleep", "seconds": 0.3}}, headers={"prefer": "respond-async"})
        assert slow.status_code == 202
        crash = client.put("/predictions/crash", json={"input": {"do": "exit"}}, headers={"prefer": "respond-async"})
        assert crash.status_code == 202
        with ThreadPoolExecutor(5) as asking:
            answers = list(asking.map(lambda number: client.post("/predictions", json={"input": {"value": number}}).json(), range(5)))
        assert client.get("/predictions/slow").json()["output"] == "slept"
        assert client.get("/predictions/crash").json()["status"] == "failed"
        assert [answer["output"] for answer in answers] == list(range(5))


@pytest.mark.parametrize("loop", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_what_a_worker_answered_before_its_end_is_heard_though_a_write_to_it_fails(
    tmp_path: Path, loop: Callable[[], asyncio.AbstractEventLoop]
):
    async def answered() -> list[Result]:
        pool = WorkerPool(WorkerSpec(**worker(tmp_path)), worker_main=STANDIN)
        await pool.start()
        await pool.wait_settled()
        (first,) = pool.workers
        slow, crash, behind = (
            Call(name, number, body, b'{"scratch": ""}')
            for number, (name, body) in enumerate(
                {"slow": b'{"do": "sleep", "seconds": 0.1}', "crash": b'{"do": "exit"}', "behind": b'{"value": 7}'}.items(), 1
            )
        )
        try:
            pool.submit(slow)
            pool.submit(crash)
            await asyncio.sleep(0)
            while is_alive(first.child.pid):  # the loop hears of nothing meanwhile
                time.sleep(0.01)  # noqa: ASYNC251
            pool.submit(behind)
            return [await asyncio.wait_for(call.answer, 60) for call in (slow, crash, behind)]
        finally:
            await pool.stop()

    with asyncio.Runner(loop_factory=loop) as runner:
        results = runner.run(answered())
    assert [result.status for result in results] == [Status.SUCCEEDED, Status.FAILED, Status.SUCCEEDED]
    assert (results[0].output, results[2].output) == (b'"slept"', b"7")


def test_what_it_takes_to_end_a_workers_descendants_is_not_held_against_it(tmp_path, monkeypatch):
    """On a machine with much to do all processes are looked at for longer than a worker may take to end once it has closed its sockets."""
    monkeypatch.setattr(process, "kill_marked", lambda _mark: time.sleep(2))

    async def ended() -> Result:
        pool = WorkerPool(WorkerSpec(**worker(tmp_path)), worker_main=STANDIN)
        await pool.start()
        await pool.wait_settled()
        call = Call("crash", 1, b'{"do": "exit"}', b'{"scratch": ""}')
        try:
            pool.submit(call)
            return await asyncio.wait_for(call.answer, 60)
        finally:
            await pool.stop()

    result = asyncio.run(ended())
    assert (result.error, result.exit_code) == ("the model's process ended with exit code 3", 3)


def test_a_prediction_that_takes_too_long_is_ended_and_named(tmp_path):
    with running(tmp_path, predict_timeout=2) as server:  # time enough for the others
        before = server.predict("pid").json()["output"]
        answer = server.predict("hang")
        assert (answer.status_code, answer.json()["error"]) == (200, "prediction timed out after 2 s")
        assert server.predict(value=1).json()["output"] == 1
        assert not is_alive(before)


def test_cancel_of_a_predictor_that_does_not_listen_replaces_the_worker(tmp_path):
    with running(tmp_path) as server:
        server.client.put("/predictions/deaf", json={"input": {"do": "hang"}}, headers={"prefer": "respond-async"})
        time.sleep(0.1)
        server.client.post("/predictions/deaf/cancel")
        assert server.predict(value=1).json()["output"] == 1
        assert server.client.get("/predictions/deaf").json()["status"] == "canceled"


def test_what_the_model_forked_dies_with_its_worker(server: Server):
    parent = server.predict("pid").json()["output"]
    server.predict("child")
    (child,) = children_of(parent)
    server.predict("exit")
    until = time.monotonic() + 60
    while is_alive(child):
        assert time.monotonic() < until
        time.sleep(0.01)


def test_a_model_that_always_dies_is_given_up_and_says_so(tmp_path):
    marker = tmp_path / "started"
    with running(tmp_path, api(tmp_path, setup="fails-again", marker=str(marker))) as server:
        server.predict("exit")
        health = server.wait_for("DEFUNCT")
        assert "5 times within a minute" in health["error"]
        assert "exit code 9" in health["error"]
        refused = server.predict()
        assert refused.status_code == 503
        assert refused.json()["status"] == "failed"
        assert server.client.get("/readyz").status_code == 503
        assert server.client.get("/livez").status_code == 200


def test_what_waits_when_a_model_is_given_up_is_told_so(tmp_path):
    marker = tmp_path / "started"
    with running(tmp_path, api(tmp_path, setup="fails-again", marker=str(marker))) as server:
        server.predict("exit", headers={"prefer": "respond-async"})
        waiting = [server.predict(headers={"prefer": "respond-async"}).json()["id"] for _ in range(2)]
        server.wait_for("DEFUNCT")
        for id_ in waiting:
            record = server.client.get(f"/predictions/{id_}").json()
            assert (record["status"], "started_at" in record) == ("failed", False)
            assert "exit code 9" in record["error"]
        assert server.stop() == 0
        assert "Future exception" not in server.talk
        assert "is replaced: it ended with exit code 3" in server.talk


def test_setup_that_raises_is_told_once_with_the_users_traceback(tmp_path):
    with running(tmp_path, api(tmp_path, setup="raises"), ready=False) as server:
        health = server.wait_for("SETUP_FAILED")
        assert health["setup"]["status"] == "failed"
        assert "RuntimeError: no weights" in health["setup"]["logs"]
        assert "loading weights" in health["setup"]["logs"]
        answer = server.predict()
        assert (answer.status_code, answer.json()) == (503, {"error": "setup failed: RuntimeError: no weights", "status": "failed"})
        server.wait_for_talk("predict.py:7")
        assert server.talk.count("setup failed") == 1
        assert server.stop() == 1


@pytest.mark.parametrize(
    ("how", "seconds", "said"), [("exits", 60, "ended with exit code 7"), ("hangs", 0.5, "setup did not finish within 0.5 s")]
)
def test_setup_that_exits_or_hangs_is_a_failed_setup(tmp_path, how: str, seconds: float, said: str):
    with running(tmp_path, api(tmp_path, setup=how), ready=False, setup_timeout=seconds) as server:
        health = server.wait_for("SETUP_FAILED")
        assert said in health["setup"]["error"]
        until = time.monotonic() + 60
        while server.workers():
            assert time.monotonic() < until
            time.sleep(0.01)


def test_before_setup_is_done_requests_are_told_to_come_back(tmp_path):
    with running(tmp_path, api(tmp_path, setup_until=str(tmp_path / "go")), ready=False) as server:
        assert server.health()["status"] == "STARTING"
        assert server.health()["setup"]["status"] == "starting"
        answer = server.predict()
        assert answer.status_code == 503
        assert answer.json()["error"].startswith("Setup has not finished yet")
        assert answer.headers["retry-after"] == "1"
        assert server.client.get("/readyz").status_code == 503
        (tmp_path / "go").touch()
        assert server.wait_for("READY")["setup"]["completed_at"]


def test_a_full_queue_is_a_503_that_says_when_to_try_again(tmp_path):
    with running(tmp_path, max_queue=2, drain_seconds=0.1) as server:
        for _ in range(3):
            accepted = server.predict("hang", headers={"prefer": "respond-async"})
            assert accepted.status_code == 202
        answer = server.predict()
        assert answer.status_code == 503
        assert answer.json() == {"error": "the queue is full: 2 predictions are waiting", "status": "failed"}
        assert int(answer.headers["retry-after"]) >= 1


@pytest.mark.parametrize(("healthy", "status"), [(True, "READY"), (False, "UNHEALTHY")])
def test_the_predictors_own_health_check_counts(tmp_path, *, healthy: bool, status: str):
    with running(tmp_path, api(tmp_path, healthy=healthy), ready=False) as server:
        health = server.wait_for(status)
        assert health.get("user_healthcheck_error") == (None if healthy else "the sensor is cold")
        assert server.client.get("/readyz").status_code == (200 if healthy else 503)


def test_two_slots_run_two_predictions_at_a_time(tmp_path):
    with running(tmp_path, api(tmp_path, threads=2)) as server:
        for name in ("a", "b"):
            server.client.put(f"/predictions/{name}", json={"input": {"do": "sleep", "seconds": 20}}, headers={"prefer": "respond-async"})
        assert {server.client.get(f"/predictions/{name}").json()["status"] for name in ("a", "b")} == {"processing"}
        assert server.health()["status"] == "BUSY"
        server.client.post("/predictions/a/cancel")
        assert server.predict(value=1).json()["output"] == 1
        server.client.post("/predictions/b/cancel")


def test_a_crash_ends_only_the_predictions_of_its_own_process(tmp_path):
    with running(tmp_path, api(tmp_path, processes=2)) as server:
        until = time.monotonic() + 60
        while 'lading_workers_ready{api="model"} 2.0' not in server.client.get("/metrics").text:
            assert time.monotonic() < until
            time.sleep(0.01)
        server.client.put("/predictions/long", json={"input": {"do": "sleep", "seconds": 0.5}}, headers={"prefer": "respond-async"})
        assert server.predict("exit").json()["status"] == "failed"
        until = time.monotonic() + 60
        while server.client.get("/predictions/long").json()["status"] == "processing":
            assert time.monotonic() < until
            time.sleep(0.02)
        assert server.client.get("/predictions/long").json()["output"] == "slept"


def test_other_pythons_do_not_leak_into_the_models_environment(tmp_path):
    leaks = {"PYTHONPATH": "/nowhere", "PYTHONHOME": "", "VIRTUAL_ENV": "/other", "CONDA_PREFIX": "/conda"}
    del leaks["PYTHONHOME"]
    # Only to the front, whose own interpreter does not mind.
    with running(tmp_path, api(tmp_path, env={"MODEL_SIZE": "tiny"}), env=leaks) as server:
        seen = server.predict("environment").json()["output"]
    assert not set(leaks) & set(seen)
    assert seen["MODEL_SIZE"] == "tiny"
    assert seen["PATH"].split(os.pathsep)[0] == str(Path(os.sys.executable).parent)  # type: ignore[attr-defined]  # os imports sys


def test_log_lines_are_json_when_asked_and_name_their_prediction(tmp_path):
    with running(tmp_path, env={"LOG_FORMAT": "json"}) as server:
        server.client.put("/predictions/loud", json={"input": {"do": "say", "text": "one\ntwo"}})
        server.wait_for_talk('"two"')
        lines = [json.loads(line) for line in server.talk.splitlines()]
    said = [line for line in lines if line.get("prediction") == "loud"]
    assert [line["message"] for line in said] == ["one", "two"]
    assert {line["source"] for line in said} == {"stdout"}


def test_every_request_is_logged_when_debugging(tmp_path):
    with running(tmp_path, env={"LOG_FORMAT": "json", "LADING_LOG_LEVEL": "debug"}) as server:
        server.predict(value=1)
        server.client.get("/predictions/%0Anothing")
        server.wait_for_talk("nothing 404")
        messages = {record["message"]: record for record in map(json.loads, server.talk.splitlines())}
    assert messages["POST /predictions 200"]["level"] == "debug"
    assert messages["POST /predictions 200"]["api"] == "model"
    assert "GET /predictions/\\nnothing 404" in messages


def test_a_call_that_waits_for_a_worker_reaches_it_however_soon_it_is_ready(tmp_path):
    spec = WorkerSpec(**worker(tmp_path))

    async def answered() -> object:
        pool = WorkerPool(spec, worker_main=STANDIN)
        await pool.start()
        await pool.wait_settled()
        (first,) = pool.workers
        child = spawn(spec, STANDIN)
        heard = b""
        while b"setup_seconds" not in heard:  # READY has come before anybody listens
            await asyncio.sleep(0.01)
            with contextlib.suppress(BlockingIOError):
                heard = child.control.recv(65536, socket.MSG_PEEK)
        call = Call("waiting", 1, b'{"value": 7}', b'{"scratch": ""}')
        pool.queue.append(call)
        pool._idle.clear()
        await pool._attach(child)
        try:
            return (await asyncio.wait_for(call.answer, 10)).output
        finally:
            first.quit()
            await pool.stop()

    assert asyncio.run(answered()) == b"7"
