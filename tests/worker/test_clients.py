"""Cortex's clients of models in a real worker: folders and versions, ONNX Runtime, a TensorFlow Serving, caching, live reloading."""

from __future__ import annotations

import functools
import importlib.util
import json
import os
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.service.support import free_port
from tests.support import onnx_model
from tests.worker import harness
from tests.worker.harness import Worker, running

needs_onnx = pytest.mark.skipif(importlib.util.find_spec("onnxruntime") is None, reason="this Python has no onnxruntime")


def _ask(worker: Worker, payload: Any) -> Any:
    head = {"method": "POST", "path": "/", "query": "", "headers": [], "content_type": "application/json"}
    answer = worker.predict(head=head, body=json.dumps(payload).encode())
    assert answer.status == 200, answer.text
    return answer.output if dict(answer.head["headers"])["content-type"] == "application/json" else answer.body.decode()


def _cortex(type_: str, *, reloading: bool = False, **models: Any) -> dict[str, Any]:
    return {"kind": "RealtimeAPI", "type": type_, "models": models, "reloading": reloading}


PYTHON = """
    class PythonPredictor:
        def __init__(self, config, python_client):
            self.client = python_client
            self.loads = []

        def load_model(self, model_path):
            self.loads.append(model_path)
            with open(model_path + "/text") as stream:
                return stream.read()

        def predict(self, payload):
            try:
                return [self.client.get_model(*payload), len(self.loads)]
            except ValueError as error:
                return str(error)
"""


def _text_model(folder: Path, text: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "text").write_text(text)


@pytest.mark.parametrize("version", ["3.6", "3.11", "3.13"])
def test_the_python_client_finds_versions_by_name_and_loads_each_once(version, tmp_path):
    for name, number, text in (("a", "1", "a1"), ("a", "10", "a10"), ("a", "9", "a9"), ("b", "1", "b1")):
        _text_model(tmp_path / "models" / name / number, text)
    cortex = _cortex("python", reloading=True, dir="models")
    with running(tmp_path, PYTHON, style="cortex", python=harness.python(version), cortex=cortex) as worker:
        assert _ask(worker, ["a"]) == ["a10", 1]
        assert _ask(worker, ["a"]) == ["a10", 1]
        assert _ask(worker, ["a", "9"]) == ["a9", 2]
        assert _ask(worker, ["b", "latest"]) == ["b1", 3]
        assert _ask(worker, []) == "model_name must be given: the API has the models a, b"
        assert _ask(worker, ["c"]) == "there is no model 'c'; the API has a, b"
        assert _ask(worker, ["a", "2"]) == "the model a has no version 2; it has 1, 9, 10"
        assert _ask(worker, ["a", "new"]) == "model_version must be a number or \"latest\", and it is 'new'"
        assert worker.ready is not None
        assert worker.ready["model_metadata"] == {"a": {"versions": ["1", "9", "10"]}, "b": {"versions": ["1"]}}


def test_a_single_model_without_versions_lies_in_its_folder_and_file_urls_are_places_here(tmp_path):
    _text_model(tmp_path / "elsewhere" / "m", "mine")
    cortex = _cortex("python", reloading=True, path=f"file://{tmp_path}/elsewhere/m")
    with running(tmp_path, PYTHON, style="cortex", cortex=cortex) as worker:
        assert _ask(worker, []) == ["mine", 1]
        assert _ask(worker, [None, "2"]) == "the model of the API has no versions, so there is no version 2"
        assert _ask(worker, ["x"]) == "the API has one model, so model_name must not be given (it is 'x')"


def test_no_more_models_are_held_than_the_cache_has_room_for(tmp_path):
    for name in "abc":
        _text_model(tmp_path / "models" / name, name)
    entries = [{"name": name, "path": f"models/{name}", "signature_key": None} for name in "abc"]
    cortex = _cortex("python", reloading=True, paths=entries, cache_size=2, disk_cache_size=3)
    with running(tmp_path, PYTHON, style="cortex", cortex=cortex) as worker:
        assert [_ask(worker, [name])[1] for name in "abab"] == [1, 2, 2, 2]
        assert [_ask(worker, [name])[1] for name in "cba"] == [3, 3, 4]


def test_a_model_that_changes_is_loaded_anew_while_the_worker_runs(tmp_path):
    _text_model(tmp_path / "models" / "a" / "1", "one")
    cortex = _cortex("python", reloading=True, dir="models")
    env = {"LADING_MODEL_RELOAD_SECONDS": "0.05"}
    with running(tmp_path, PYTHON, style="cortex", cortex=cortex, env=env) as worker:
        assert _ask(worker, ["a"])[0] == "one"
        _text_model(tmp_path / "models" / "a" / "2", "two")
        harness.eventually(lambda: _ask(worker, ["a"])[0] == "two")
        (tmp_path / "models" / "a" / "2" / "text").write_text("two, corrected")
        harness.eventually(lambda: _ask(worker, ["a"])[0] == "two, corrected")
        assert _ask(worker, ["a", "1"])[0] == "one"


@pytest.mark.parametrize(
    ("code", "cortex", "message"),
    [
        (PYTHON, {}, '"python_client" is only given with predictor.multi_model_reloading'),
        (PYTHON.replace("load_model", "load"), _cortex("python", dir="models"), 'required method "load_model" is not defined'),
    ],
)
def test_a_client_that_cannot_be_given_is_an_error_at_the_start(code, cortex, message, tmp_path):
    with running(tmp_path, code, style="cortex", cortex=cortex, ready=False) as worker:
        assert worker.failure is not None
        assert worker.failure["error"].endswith(message)


ONNX = """
    import numpy

    class ONNXPredictor:
        def __init__(self, onnx_client, config):
            self.client = onnx_client

        def predict(self, payload):
            try:
                return [one.tolist() for one in self.client.predict(**payload)]
            except ValueError as error:
                return str(error)
"""


@needs_onnx
def test_the_onnx_client_runs_models(tmp_path):
    for number in (1, 2):
        folder = tmp_path / "models" / "add" / str(number)
        folder.mkdir(parents=True)
        (folder / "add.onnx").write_bytes(onnx_model.add(number))
    with running(tmp_path, ONNX, style="cortex", object="ONNXPredictor", cortex=_cortex("onnx", dir="models")) as worker:
        assert _ask(worker, {"model_input": [1.5, 2], "model_name": "add"}) == [[3.5, 4.0]]
        assert _ask(worker, {"model_input": {"x": 1}, "model_name": "add", "model_version": "1"}) == [[2.0]]
        said = _ask(worker, {"model_input": {"z": 1}, "model_name": "add"})
        assert said == "model_input lacks x and has z, which the model does not know; the model's inputs are x"
        assert worker.ready is not None
        assert worker.ready["model_metadata"]["add"]["input_signatures"] == {"x": {"shape": ["n"], "type": "tensor(float)"}}


@needs_onnx
def test_a_folder_with_two_onnx_files_is_an_error_at_the_start(tmp_path):
    (tmp_path / "m").mkdir()
    for name in ("a.onnx", "b.onnx"):
        (tmp_path / "m" / name).write_bytes(onnx_model.add(1))
    with running(tmp_path, ONNX, style="cortex", object="ONNXPredictor", cortex=_cortex("onnx", path="m"), ready=False) as worker:
        assert worker.failure is not None
        assert "holds 2 files that end with .onnx, and should hold one" in worker.failure["error"]


def test_what_a_client_runs_on_is_named_when_the_environment_lacks_it(tmp_path):
    code = ONNX.replace("import numpy", "")
    with running(
        tmp_path, code, style="cortex", object="ONNXPredictor", python=harness.python("3.7"), cortex=_cortex("onnx", path="m"), ready=False
    ) as worker:
        assert worker.failure is not None
        assert worker.failure["error"] in (
            "ModuleNotFoundError: No module named 'numpy'",
            "ModuleNotFoundError: No module named 'onnxruntime'",
        )


def test_a_place_that_the_environment_cannot_reach_names_the_packages_for_it(tmp_path):
    cortex = _cortex("python", reloading=True, path="s3://bucket/model")
    code = PYTHON.replace("ValueError", "(ValueError, ImportError)")
    with running(tmp_path, code, style="cortex", python=harness.python("3.7"), cortex=cortex, ready=False) as worker:
        told = worker.failure["error"] if worker.failure else _ask(worker, [])
        assert "s3://bucket/model is reached by fsspec and s3fs, which the model's environment lacks" in told


class _Serving(BaseHTTPRequestHandler):
    """TensorFlow Serving's REST interface for a model that doubles: what version 2.3 answers."""

    def log_message(self, *_: Any) -> None:
        pass

    def _reply(self, status: int, body: Any) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def do_GET(self) -> None:
        signature = {"inputs": {"x": {}}, "outputs": {"y": {}}, "method_name": "tensorflow/serving/predict"}
        self._reply(
            200, {"model_spec": {"name": "double"}, "metadata": {"signature_def": {"signature_def": {"serving_default": signature}}}}
        )

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
        if "/versions/7" in self.path:
            self._reply(404, {"error": "Servable not found for request: Specific(double, 7)"})
            return
        assert self.path == "/v1/models/double:predict"
        assert asked["signature_name"] == "serving_default"
        self._reply(200, {"outputs": [[2 * one for one in row] for row in asked["inputs"]["x"]]})


@pytest.fixture
def serving() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Serving)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


TENSORFLOW = """
    class TensorFlowPredictor:
        def __init__(self, tensorflow_client, config):
            self.client = tensorflow_client

        def predict(self, payload):
            try:
                return self.client.predict(*payload)
            except ValueError as error:
                return str(error)
"""


@pytest.mark.parametrize("version", ["3.6", "3.11"])
def test_the_tensorflow_client_asks_a_tensorflow_serving_where_its_address_is_known(version, serving, tmp_path):
    options: dict[str, Any] = {
        "object": "TensorFlowPredictor",
        "python": harness.python(version),
        "env": {"LADING_TENSORFLOW_SERVING": serving},
    }
    with running(tmp_path, TENSORFLOW, style="cortex", cortex=_cortex("tensorflow", path="s3://b/double"), **options) as worker:
        assert _ask(worker, [{"x": [[1.5], [2.0]]}]) == {"y": [3.0, 4.0]}
        assert "model_input lacks x" in _ask(worker, [{}])
        assert "answered 404" in _ask(worker, [{"x": [[1]]}, None, "7"])
    cortex = _cortex("tensorflow", path="s3://b/double", signature_key="classify")
    with running(tmp_path, TENSORFLOW, style="cortex", cortex=cortex, **options) as worker:
        said = _ask(worker, [{"x": [[1]]}])
        assert said == "the model has no signature 'classify'; it has serving_default. Set signature_key."


HANDLER = """
    class Handler:
        def __init__(self, config):
            pass

        def handle_post(self, payload):
            return {"post": payload}

        def handle_get(self, query_params):
            return {"get": query_params["a"]}
"""


def test_a_handler_answers_the_methods_that_it_has(tmp_path):
    with running(tmp_path, HANDLER, style="cortex", object="Handler", config={}) as worker:
        head = {"path": "/", "query": "a=1", "headers": [], "content_type": "application/json"}
        assert worker.predict(head={**head, "method": "POST"}, body=b"1").output == {"post": 1}
        assert worker.predict(head={**head, "method": "GET"}, body=b"").output == {"get": "1"}
        refused = worker.predict(head={**head, "method": "PUT"}, body=b"")
        assert (refused.status, refused.head["headers"][0]) == (405, ["allow", "POST, GET"])


@pytest.mark.slow
def test_models_come_from_an_s3_server_and_are_fetched_again_when_they_change(tmp_path):
    boto3, _moto = (
        pytest.importorskip("boto3", reason="this Python has no boto3"),
        pytest.importorskip("moto.server", reason="this Python has no moto"),
    )
    pytest.importorskip("s3fs", reason="this Python has no s3fs")
    port = free_port()
    server = subprocess.Popen([sys.executable, "-m", "moto.server", "-p", str(port)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        env = {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b", "AWS_DEFAULT_REGION": "us-east-1"}
        client = boto3.client(
            "s3", endpoint_url=f"http://127.0.0.1:{port}", aws_access_key_id="a", aws_secret_access_key="b", region_name="us-east-1"
        )
        _until(lambda: client.create_bucket(Bucket="models"))
        for key, text in (("m/a/1/text", b"one"), ("m/a/2/text", b"two"), ("m/b/1/text", b"b")):
            client.put_object(Bucket="models", Key=key, Body=text)
        env |= {
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
            "LADING_MODELS": str(tmp_path / "fetched"),
            "LADING_MODEL_RELOAD_SECONDS": "0.2",
        }
        cortex = _cortex("python", reloading=True, dir="s3://models/m")
        # Predictors of Cortex's time bring s3fs of that time: TEST_S3_PYTHON may name an interpreter that has it.
        python = os.environ.get("TEST_S3_PYTHON", sys.executable)
        with running(tmp_path, PYTHON, style="cortex", python=python, cortex=cortex, env=env) as worker:
            assert _ask(worker, ["a"])[0] == "two"
            assert _ask(worker, ["b"])[0] == "b"
            client.put_object(Bucket="models", Key="m/a/3/text", Body=b"three")
            harness.eventually(lambda: _ask(worker, ["a"])[0] == "three")
            assert _ask(worker, ["a", "1"])[0] == "one"
            assert sorted(path.read_text() for path in (tmp_path / "fetched").rglob("text")) == ["b", "one", "three", "two"]
    finally:
        server.terminate()
        server.wait(60)


def _until(do: Any, seconds: float = 60) -> None:
    until = time.monotonic() + seconds
    while True:
        try:
            do()
        except Exception:
            if time.monotonic() > until:
                raise
            time.sleep(0.1)
        else:
            return


def test_fetched_models_lie_in_a_folder_of_the_user_alone(tmp_path):
    code = f"import os, sys; sys.path.insert(0, {str(Path(harness.__file__).parents[2] / 'src')!r}); from lading_worker import models; print(models._folder())"
    told = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "TMPDIR": str(tmp_path), "LADING_MODELS": ""},
        capture_output=True,
        text=True,
        check=True,
    )
    folder = Path(told.stdout.strip())
    assert folder.parent == tmp_path
    assert folder.stat().st_mode & 0o77 == 0


# Models at addresses

_LISTED = """
    class PythonPredictor:
        def __init__(self, config, python_client):
            self.client = python_client

        def load_model(self, model_path):
            import os
            path = model_path if os.path.isfile(model_path) else os.path.join(model_path, "text")
            with open(path) as stream:
                return stream.read()

        def predict(self, payload):
            try:
                return self.client.get_model(*payload)
            except (ValueError, OSError) as error:
                return type(error).__name__ + ": " + str(error)
"""


@pytest.fixture
def web(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    """A folder and its address: a web server that lists folders, and tells by Last-Modified when a file has changed."""
    folder = tmp_path / "web"
    folder.mkdir()
    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(_Listing, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield folder, f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


class _Listing(SimpleHTTPRequestHandler):
    def log_message(self, *_: Any) -> None:
        pass


def _web_env(tmp_path: Path) -> dict[str, str]:
    return {"LADING_MODELS": str(tmp_path / "fetched"), "LADING_MODEL_RELOAD_SECONDS": "0.2", "NO_PROXY": "127.0.0.1"}


@pytest.mark.skipif(importlib.util.find_spec("aiohttp") is None, reason="this Python has no aiohttp, by which fsspec reaches the web")
def test_models_come_from_a_web_server_that_lists_their_versions(web, tmp_path):
    folder, address = web
    for name, text in (("m/1/text", "one"), ("m/2/text", "two")):
        _text_model((folder / name).parent, text)
    cortex = _cortex("python", reloading=True, path=f"{address}/m")
    with running(tmp_path, _LISTED, style="cortex", cortex=cortex, env=_web_env(tmp_path)) as worker:
        assert _ask(worker, []) == "two"
        assert _ask(worker, [None, "1"]) == "one"
        _text_model(folder / "m" / "10", "ten")
        harness.eventually(lambda: _ask(worker, []) == "ten")


@pytest.mark.parametrize("version", ["3.6", "3.13"])
def test_one_file_comes_from_the_web_without_fsspec(version, web, tmp_path):
    folder, address = web
    (folder / "model.txt").write_text("first")
    cortex = _cortex("python", reloading=True, path=f"{address}/model.txt")
    options: dict[str, Any] = {"python": harness.python(version), "env": _web_env(tmp_path)}
    with running(tmp_path, _LISTED, style="cortex", cortex=cortex, **options) as worker:
        assert _ask(worker, []) == "first"
        (folder / "model.txt").write_text("the second")
        harness.eventually(lambda: _ask(worker, []) == "the second")


def test_an_address_with_nothing_there_is_said_to_be_so(web, tmp_path):
    _, address = web
    cortex = _cortex("python", reloading=True, path=f"{address}/gone.txt")
    with running(tmp_path, _LISTED, style="cortex", python=harness.python("3.7"), cortex=cortex, env=_web_env(tmp_path)) as worker:
        assert "404" in _ask(worker, [])


def _python_with(variable: str, *modules: str) -> str:
    """An interpreter that has these modules: this one, or what a variable names; skips the test, saying so, where there is none."""
    named = os.environ.get(variable)
    if named:
        return named
    missing = [module for module in modules if importlib.util.find_spec(module) is None]
    if missing:
        pytest.skip(f"this Python has no {' and no '.join(missing)}, and {variable} names none that has")
    return sys.executable


@pytest.mark.slow
def test_models_come_from_google_cloud_storage(tmp_path):
    python, port = _python_with("TEST_GCS_PYTHON", "gcsfs", "gcp_storage_emulator"), free_port()
    serve = f"import time; from gcp_storage_emulator.server import create_server as make; make('127.0.0.1', {port}, in_memory=True, default_bucket='models').start(); time.sleep(600)"
    server = subprocess.Popen([python, "-c", serve], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def put(key: str, text: str) -> None:
        place = f"http://127.0.0.1:{port}/upload/storage/v1/b/models/o?uploadType=media&name={key.replace('/', '%2F')}"
        httpx.post(place, content=text.encode(), headers={"content-type": "text/plain"}, trust_env=False).raise_for_status()

    try:
        _until(lambda: put("m/1/text", "one"))
        put("m/2/text", "two")
        env = {**_web_env(tmp_path), "STORAGE_EMULATOR_HOST": f"http://127.0.0.1:{port}"}
        cortex = _cortex("python", reloading=True, path="gs://models/m")
        with running(tmp_path, _LISTED, style="cortex", python=python, cortex=cortex, env=env) as worker:
            assert _ask(worker, []) == "two"
            assert _ask(worker, [None, "1"]) == "one"
            put("m/2/text", "two, corrected")
            harness.eventually(lambda: _ask(worker, []) == "two, corrected")
    finally:
        server.terminate()
        server.wait(60)


# TensorFlow itself

_SAVE = """
    import sys, tensorflow

    class Double(tensorflow.Module):
        @tensorflow.function(input_signature=[tensorflow.TensorSpec([None, 2], tensorflow.float32, name="x")])
        def __call__(self, x):
            return {"y": 2.0 * x, "sum": tensorflow.reduce_sum(x, axis=1)}

    for folder, factor in (("models/double/1", 1.0), ("models/double/2", 1.0)):
        model = Double()
        signatures = {"predict": model.__call__, "other": model.__call__}
        tensorflow.saved_model.save(model, sys.argv[1] + "/" + folder, signatures=signatures)
"""


@pytest.mark.slow
def test_the_tensorflow_client_runs_a_saved_model_in_the_predictors_process(tmp_path):
    python = _python_with("TEST_TENSORFLOW_PYTHON", "tensorflow")
    subprocess.run([python, "-c", textwrap.dedent(_SAVE), str(tmp_path)], check=True, capture_output=True, timeout=150)
    options: dict[str, Any] = {"object": "TensorFlowPredictor", "python": python, "cortex": _cortex("tensorflow", dir="models")}
    with running(tmp_path, TENSORFLOW, style="cortex", **options) as worker:
        assert _ask(worker, [{"x": [[1.5, 2.0], [3.0, 4.0]]}, "double"]) == {"y": [3.0, 4.0, 6.0, 8.0], "sum": [3.5, 7.0]}
        assert _ask(worker, [{"x": [1.5, 2.0]}, "double", "1"]) == {"y": [3.0, 4.0], "sum": [3.5]}
        assert (
            _ask(worker, [{"z": 1}, "double"]) == "model_input lacks x and has z, which the model does not know; the model's inputs are x"
        )
    options["cortex"]["model_batching"] = {"max_batch_size": 2, "max_latency": 0.2}
    with running(tmp_path, TENSORFLOW, style="cortex", threads=2, **options) as worker:
        head = {"method": "POST", "path": "/", "query": "", "headers": [], "content_type": "application/json"}
        for slot, rows in enumerate(([[1, 2]], [[3, 4], [5, 6]])):
            worker.send(slot=slot, head=head, body=json.dumps([{"x": rows}, "double"]).encode())
        answers = [worker.answer(slot) for slot in range(2)]
        assert [answer and answer.output for answer in answers] == [
            {"y": [2.0, 4.0], "sum": [3.0]},
            {"y": [6.0, 8.0, 10.0, 12.0], "sum": [7.0, 11.0]},
        ]
        assert worker.ready is not None
        assert worker.ready["model_metadata"]["double"] == {
            "versions": ["1", "2"],
            "input_signatures": {"x": {"shape": [None, 2], "type": "float32"}},
        }
