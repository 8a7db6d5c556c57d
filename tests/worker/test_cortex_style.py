"""Cortex's predictors in a worker of their own, on every Python: requests, answers, and what is refused at the start."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest

from tests.worker import harness
from tests.worker.golden import ANSWERS, PREDICTOR, REQUESTS, Row
from tests.worker.harness import VERSIONS, Answer, Worker, running


@pytest.fixture(scope="module", params=VERSIONS)
def worker(request, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Worker]:
    root = tmp_path_factory.mktemp("project")
    with running(root, PREDICTOR, style="cortex", python=harness.python(request.param), config={}) as one:
        yield one


def _ask(worker: Worker, query: str = "", body: bytes = b"", content_type: str | None = None, headers: tuple[Any, ...] = ()) -> Answer:
    pairs = [*headers, *([["content-type", content_type]] if content_type is not None else [])]
    head = {"method": "POST", "path": "/", "query": query, "headers": pairs, "content_type": content_type}
    return worker.predict(head=head, body=body)


def _type_of(answer: Answer) -> str | None:
    return {name.lower(): value for name, value in answer.head["headers"]}.get("content-type")


def _check(row: Row, status: object, content_type: str | None, body: bytes) -> None:
    assert (status, content_type) == (row.status, row.answered)
    if isinstance(row.answer, str):
        assert body.decode().startswith(row.answer)
    else:
        assert json.loads(body) == row.answer


@pytest.mark.parametrize("name", REQUESTS)
def test_payloads(worker: Worker, name: str):
    row = REQUESTS[name]
    answer = _ask(worker, body=row.body, content_type=row.content_type)
    _check(row, answer.status, _type_of(answer), answer.body)


@pytest.mark.parametrize("code", ANSWERS)
def test_answers(worker: Worker, code: str):
    answer = _ask(worker, "do=returns&code=" + quote(code))
    assert (answer.status, _type_of(answer), answer.body) == ANSWERS[code]
    assert bool(answer.text) == (answer.status == 500)


def test_what_cannot_be_an_answer_is_named_in_the_log(worker: Worker):
    assert "PythonPredictor.predict returned bytearray, which cannot be an answer" in _ask(worker, "do=returns&code=bytearray()").text


def test_an_exception_is_told_in_the_log_alone(worker: Worker):
    answer = _ask(worker, "do=raises&code=" + quote("ValueError('the reason')"))
    assert (answer.status, answer.head["headers"], answer.body) == (500, [], b"internal server error")
    assert answer.text.endswith("ValueError: the reason\n")
    assert "in raises" in answer.text
    assert "lading_worker" not in answer.text


def test_query_parameters_and_headers(worker: Worker):
    answer = _ask(worker, "do=query&a=1&a=zw%C3%B6lf&b=", headers=(["X-Mine", "yes"], ["x-twice", "1"], ["X-Twice", "2"]))
    kinds, listed, last, text, mine, none, there, twice, table = answer.output
    assert kinds == ["QueryParams", "Headers"]
    assert (listed, last, text) == (["1", "zwölf"], "zwölf", "do=query&a=1&a=zw%C3%B6lf&b=")
    assert (mine, none, there, twice) == ("yes", None, True, ["1", "2"])
    assert table == {"do": "query", "a": "zwölf", "b": ""}


def test_post_predict_runs_after_the_answer_with_what_it_asks_for(worker: Worker):
    first = _ask(worker, "do=nothing", b"{}", "application/json").output
    second = _ask(worker, "do=nothing", b"text", "text/plain").output
    assert second["seen"][: len(first["seen"]) + 1] == [*first["seen"], [first, "dict"]]


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b'--b\r\nContent-Disposition: form-data; name="a"\r\n\r\nx\r\n', "the multipart body ends before its last boundary"),
        (b"no boundary", "the multipart body ends before its last boundary"),
        (b"--b\r\nno blank line\r\n--b--", "a part of the multipart body has no blank line after its headers"),
        (b"--b\r\nX: y\r\n\r\nx\r\n--b--", 'The Content-Disposition header field "name" must be provided.'),
    ],
)
def test_a_broken_form_is_the_clients_fault(worker: Worker, body: bytes, message: str):
    answer = _ask(worker, body=body, content_type="multipart/form-data; boundary=b")
    assert (answer.status, _type_of(answer), answer.body) == (400, "text/plain; charset=utf-8", message.encode())


_METRICS = """
    import os
    from cortex_internal.lib.log import logger

    class PythonPredictor:
        def __init__(self, config, job_spec, metrics_client, proto_module_pb2):
            assert job_spec is None and proto_module_pb2 is None
            self.client = metrics_client
            self.client.gauge("unheard", 1)
            logger.debug("ready", extra={"rows": config["rows"]})
            logger.info("working in %s", os.path.basename(os.getcwd()))

        def predict(self, payload):
            self.client.gauge("queue.size-now", payload)
            self.client.increment("seen")
            self.client.increment("seen", 2, tags={"a": "b"})
            self.client.histogram("2nd", 0.5)
            logger.error("failed %d", 3, extra={"payload": {"x": object}}, exc_info=payload < 0)
            try:
                self.client.gauge("cortex_mine", 1)
            except ValueError as error:
                return str(error)
"""


@pytest.mark.parametrize("version", VERSIONS)
def test_the_clients_and_the_logger_that_predictors_use(tmp_path, version):
    options: dict[str, Any] = {"style": "cortex", "python": harness.python(version), "log_level": "debug", "config": {"rows": [1]}}
    with running(tmp_path, _METRICS, **options) as worker:
        ready, working = [json.loads(text) for _, text in worker.setup_logs]
        assert (ready["message"], ready["levelname"], ready["rows"], ready["process"]) == ("ready", "DEBUG", [1], worker.pid)
        assert list(ready)[:4] == ["asctime", "levelname", "message", "process"]
        assert working["message"] == f"working in {tmp_path.name}"
        answer = _ask(worker, body=b"4", content_type="application/json")
        assert answer.body == b'the metric name "cortex_mine" is reserved: names may not begin with cortex_ or istio_'
        told = [(metric["name"], metric["value"], metric["mode"]) for metric in answer.metrics]
        assert told == [
            ("queue_size_now", 4, "replace"),
            ("seen", 1, "incr"),
            ("seen", 2, "incr"),
            ("metric_2nd", 0.5, "append"),
        ]
        ((source, text),) = answer.logs
        line = json.loads(text)
        assert source == "stdout"
        assert (line["message"], line["payload"]) == ("failed 3", {"x": "<class 'object'>"})


REFUSED = {
    "def __init__(self, config): pass": 'class PythonPredictor: required method "predict" is not defined',
    "def predict(self, payload): pass": 'class PythonPredictor: required method "__init__" is not defined',
    "def __init__(self): pass": 'invalid signature for method "__init__(self)": "config" is a required argument, but was not provided',
    "def __init__(self, config, model=1): pass": '"__init__(self, config, model)": "model" is not a supported argument',
    "def __init__(self, config, python_client): pass\n    def predict(self): pass": '"python_client" is only given with',
    "def __init__(self, config): pass\n    def predict(self, payload, temperature): pass": (
        'invalid signature for method "predict(self, payload, temperature)": "temperature" is not a supported argument'
    ),
    "def __init__(self, config): pass\n    @staticmethod\n    def predict(payload): pass": '"self" is a required argument',
    "def __init__(self, config): pass\n    def predict(payload, self): pass": '"self" must be the first argument',
    "def __init__(self, config): pass\n    def predict(self, *, top): pass": '"predict(self, top)": "top" is keyword-only',
    "def __init__(self, config): pass\n    async def predict(self): pass": "it is asynchronous",
    "def __init__(self, config): pass\n    def predict(self): pass\n    def post_predict(self, answer): pass": '"answer" is not',
}


@pytest.mark.parametrize("methods", REFUSED)
def test_what_cortex_refuses_is_refused_in_its_words(tmp_path, methods):
    with running(tmp_path, "class PythonPredictor:\n    " + methods, style="cortex", ready=False) as worker:
        assert worker.failure is not None
        assert worker.failure["error"].startswith("error in predict.py: class PythonPredictor: ")
        assert REFUSED[methods] in worker.failure["error"]
        assert (worker.failure["traceback"], worker.failure["file"]) == (None, "predict.py")


def test_a_function_is_no_predictor(tmp_path):
    with running(tmp_path, "def PythonPredictor(config): pass", style="cortex", ready=False) as worker:
        assert worker.failure is not None
        assert worker.failure["error"] == "error in predict.py: PythonPredictor is no class"


def test_a_predict_that_takes_anything_receives_nothing(tmp_path):
    code = """
        class PythonPredictor:
            def __init__(self, config):
                pass

            def predict(self, **kwargs):
                return kwargs
    """
    with running(tmp_path, code, style="cortex") as worker:
        assert _ask(worker, body=b"no json", content_type="application/json").body == b"{}"
