"""`lading predict`: one prediction and nothing left behind."""

from __future__ import annotations

import json
import signal
import subprocess
import sys

import pytest

from lading.cli.images import outcome_of
from lading.model.events import Event
from lading.model.problems import ExitCode, LadingError
from lading.model.service import ServedApi, WorkerSpec
from lading.service.once import predict_once
from tests.service.support import STANDIN, children_of, is_alive, worker

_PROGRAM = """
import json, sys
from lading.model.service import ServedApi, WorkerSpec
from lading.service.once import predict_once
def reporter(event):
    print(event.message, flush=True)
try:
    served = ServedApi(name="model", worker=WorkerSpec(**json.loads(sys.argv[1])))
    predict_once(served, {"do": "hang"}, reporter, worker_main=sys.argv[2])
except KeyboardInterrupt:
    sys.exit(130)
"""


def served(root, style: str = "cog", **config) -> ServedApi:
    return ServedApi(name="model", worker=WorkerSpec(**worker(root, style, **config)))


def test_a_typed_prediction_gives_its_output_and_logs(tmp_path):
    outcome = predict_once(served(tmp_path), {"value": [1, "é"]}, worker_main=STANDIN)
    assert (outcome.ok, outcome.output, outcome.body, outcome.error) == (True, [1, "é"], None, None)
    assert outcome.as_json()["status"] == "succeeded"


def test_pieces_are_handed_over_as_they_come(tmp_path):
    pieces: list[bytes] = []
    outcome = predict_once(served(tmp_path), {"do": "stream", "count": 3}, on_chunk=pieces.append, worker_main=STANDIN)
    assert pieces == [b'"piece 0"', b'"piece 1"', b'"piece 2"']
    assert outcome.as_json()["metrics"]["tokens"] == 3


def test_a_cortex_answer_comes_as_bytes(tmp_path):
    outcome = predict_once(served(tmp_path, "cortex"), {"a": 1}, worker_main=STANDIN)
    assert outcome.ok
    assert json.loads(outcome.body or b"")["body"] == '{"a": 1}'


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"do": "raise"}, "the reason"),
        ({"do": "exit"}, "the model's process ended with exit code 3"),
        ({"bad": 1}, "bad: unexpected"),
    ],
)
def test_a_failure_says_what_went_wrong(tmp_path, given: dict[str, object], said: str):
    outcome = predict_once(served(tmp_path), given, worker_main=STANDIN)
    assert (outcome.ok, outcome.error) == (False, said)


def test_a_prediction_that_takes_too_long_is_ended(tmp_path):
    outcome = predict_once(served(tmp_path), {"do": "hang"}, predict_timeout=0.2, worker_main=STANDIN)
    assert outcome.error == "prediction timed out after 0.2 s"


def test_a_failing_setup_is_a_problem_with_place_and_traceback(tmp_path):
    with pytest.raises(LadingError) as failed:
        predict_once(served(tmp_path, setup="raises"), {}, worker_main=STANDIN)
    (problem,) = failed.value.problems
    assert problem.code is ExitCode.MODEL
    assert str(problem.origin) == "predict.py:7"
    assert "RuntimeError: no weights" in problem.what
    assert "Traceback" in (problem.detail or "")


def test_a_setup_that_hangs_is_ended_in_time(tmp_path):
    with pytest.raises(LadingError, match=r"setup did not finish within 0\.3 s"):
        predict_once(served(tmp_path, setup="hangs"), {}, setup_timeout=0.3, worker_main=STANDIN)


def test_what_the_model_prints_is_shown_line_by_line(tmp_path):
    events: list[Event] = []

    def keep(event: Event) -> None:
        events.append(event)

    predict_once(served(tmp_path), {"do": "say", "text": "one\ntwo"}, keep, worker_main=STANDIN)
    said = [event.message.partition("] ")[2] for event in events if event.step == "Predicting"]
    assert said == ["one", "two"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_leaves_no_process_behind(tmp_path, number: int):
    arguments = [sys.executable, "-c", _PROGRAM, json.dumps(worker(tmp_path)), STANDIN]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert b"model is ready\n" in iter(process.stdout.readline, b"")
        workers = children_of(process.pid)
        assert workers
        process.send_signal(number)
        assert process.wait(60) == 130
        assert process.stderr is not None
        assert process.stderr.read() == b""
    assert not any(is_alive(pid) for pid in workers)


@pytest.mark.parametrize(
    ("status", "answer", "error"),
    [
        (500, b"Internal Server Error\n", "Internal Server Error"),
        (503, b'{"detail": "the model is not ready"}', '{"detail": "the model is not ready"}'),
        (422, b'{"reason": "none"}', '{"reason": "none"}'),
        (200, b'{"status": "excellent"}', '{"status": "excellent"}'),
        (200, b"[1]", "[1]"),
        (502, b"\xff", "\ufffd"),
        (500, b"", "the server answered 500 without a word"),
    ],
)
def test_an_answer_of_a_container_that_is_no_prediction_is_a_failure(status, answer, error):
    outcome = outcome_of(status, answer, cortex=False)
    assert (outcome.ok, outcome.error, outcome.as_json()["status"]) == (False, error, "failed")
