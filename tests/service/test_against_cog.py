"""The same requests to Lading and to Cog's own server (coglet 0.23.1), and the answers compared.

Where the two differ on purpose, the difference and its reason stand here; whatever else differs is a failure.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import uv

from lading.environments.interpreters import find_interpreters
from lading.model.files import MemoryFiles
from lading.schema.openapi import make_openapi
from lading.schema.static import read_signature
from tests.service.support import free_port
from tests.worker.test_whole_server import serving

pytestmark = pytest.mark.slow

_CODE = """
    from typing import List, Optional
    from cog import BaseModel, BasePredictor, Input, Path, Secret, current_scope


    class Output(BaseModel):
        text: str
        numbers: List[float]
        file: Optional[Path]


    class Predictor(BasePredictor):
        def predict(
            self,
            name: str,
            n: int = Input(default=1, ge=0, le=5),
            scale: float = 1.0,
            flag: bool = False,
            kind: str = Input(default="a", choices=["a", "b"]),
            tags: List[str] = Input(default=[]),
            code: str = Input(default="abc", regex="^[a-z]+$", min_length=2, max_length=5),
            image: Path = Input(default=None),
            maybe: Optional[int] = None,
            key: Secret = None,
        ) -> Output:
            print("working on", name)
            if name == "raise":
                raise ValueError("the reason")
            if name == "metric":
                self.record_metric("tokens", 3)
                current_scope().metrics["deep.count"] = 1
            if name == "context":
                return Output(text=str(dict(current_scope().context)), numbers=[], file=None)
            out = None
            if name == "file":
                out = Path("out.txt")
                out.write_text("content")
            if image:
                name += image.read_text()
            return Output(text=name * int(n), numbers=[scale, n], file=out)
"""


@pytest.fixture(scope="module")
def cog_python(tmp_path_factory: pytest.TempPathFactory) -> str:
    """An environment with Cog's own packages."""
    suited = [one for one in find_interpreters(os.environ) if (3, 10) <= tuple(map(int, one.version.split(".")[:2])) <= (3, 13)]
    if not suited:
        pytest.skip("this machine has no Python that Cog runs on")
    place = tmp_path_factory.mktemp("cog") / "environment"
    program = uv.find_uv_bin()
    subprocess.run([program, "venv", "-q", "--python", suited[0].path, place], check=True)
    packages = ["cog==0.23.1", "coglet==0.23.1"]
    done = subprocess.run(
        [program, "pip", "install", "-q", "--python", place / "bin" / "python", *packages],
        capture_output=True,
        text=True,
        check=False,
        timeout=150,
    )
    if done.returncode:
        pytest.skip(f"Cog's packages cannot be installed here: {done.stderr.strip()[-300:]}")
    return str(place / "bin" / "python")


@pytest.fixture(scope="module")
def both(cog_python: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[httpx.Client, httpx.Client]]:
    """A client of Cog's server and one of ours, for the same project."""
    root = tmp_path_factory.mktemp("project")
    source = textwrap.dedent(_CODE)
    (root / "predict.py").write_text(source)
    signature = read_signature(MemoryFiles({"predict.py": source.encode()}), "predict.py", "Predictor").as_json()
    (root / ".cog").mkdir()
    (root / ".cog" / "openapi_schema.json").write_text(json.dumps(make_openapi(signature, "Cog", "0.1.0")))
    port = free_port()
    variables = {
        **os.environ,
        "PATH": f"{Path(cog_python).parent}{os.pathsep}{os.environ['PATH']}",
        "PORT": str(port),
        "LOG_FORMAT": "console",
        "COG_PREDICT_TYPE_STUB": "predict.py:Predictor",
    }
    words = [cog_python, "-m", "cog.server.http", "--host", "127.0.0.1"]
    with (root / "cog.log").open("wb") as log:
        process = subprocess.Popen(words, cwd=root, env=variables, stdout=log, stderr=log)
    try:
        url = f"http://127.0.0.1:{port}"
        _wait_ready(url, root / "cog.log")
        with serving(tmp_path_factory.mktemp("ours"), _CODE) as server, httpx.Client(base_url=url, timeout=30) as client:
            yield client, server.client
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_ready(url: str, log: Path) -> None:
    until = time.monotonic() + 60
    while True:
        try:
            if httpx.get(f"{url}/health-check").json()["status"] == "READY":
                return
        except httpx.TransportError:
            pass
        assert time.monotonic() < until, log.read_text()
        time.sleep(0.05)


def ask(client: httpx.Client, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None) -> httpx.Response:
    content = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
    kind = {} if content is None else {"content-type": "application/json"}
    for _ in range(200):
        answer = client.request(method, path, content=content, headers={**kind, **(headers or {})})
        if answer.status_code != 409:
            return answer
        time.sleep(0.01)  # Cog's slot is not free yet, though its answer is out
    return answer


def told(answer: httpx.Response, *, own_id: bool) -> tuple[int, Any]:
    """What is compared: the status and the body, without what no two runs have in common and what only Lading tells."""
    try:
        body = answer.json()
    except ValueError:
        return answer.status_code, None
    if isinstance(body, dict):
        body = {key: value for key, value in body.items() if key not in ("created_at", "started_at", "completed_at")}
        if not own_id:
            body.pop("id", None)
        if isinstance(body.get("metrics"), dict):
            assert body["metrics"].pop("predict_time") >= 0
        if isinstance(body.get("detail"), list):
            body["detail"].sort(key=lambda one: (one["loc"], one["msg"]))  # Cog's order is that of names, ours that of the source
    return answer.status_code, body


@pytest.mark.parametrize(
    "input_",
    [
        {"name": "x"},
        {"name": "é ⚓"},
        {"name": "metric"},
        {"name": "file"},
        {"name": "x", "n": 9},
        {"name": "x", "n": -1},
        {"name": "x", "n": "1"},
        {"name": "x", "n": 1.5},
        {"name": "x", "scale": "3"},
        {"name": "x", "scale": 2.5},
        {"name": "x", "flag": 1},
        {"name": "x", "kind": "c"},
        {"name": "x", "kind": 1},
        {"name": "x", "tags": ["a", 1]},
        {"name": "x", "tags": "a"},
        {"name": "x", "code": "A1"},
        {"name": "x", "code": "a"},
        {"name": "x", "code": "abcdefg"},
        {},
        {"name": None},
        {"name": 5},
        {"name": "x", "maybe": 3},
        {"name": "x", "image": "data:text/plain,hello"},
        {"name": "x", "image": "data:text/plain;base64,aGVsbG8="},
        {"name": "x", "key": "s3cret"},
        {"n": 9, "kind": "c"},
        [],
        "x",
        None,
    ],
)
def test_the_same_input_has_the_same_answer(both: tuple[httpx.Client, httpx.Client], input_: object):
    cog, ours = (told(ask(client, "POST", "/predictions", {"input": input_}), own_id=False) for client in both)
    assert ours == cog


@pytest.mark.parametrize(
    ("method", "path", "body", "headers"),
    [
        ("POST", "/predictions", {"id": "mine", "input": {"name": "x"}}, {}),
        ("POST", "/predictions", {"id": "mine", "input": {"name": "context"}, "context": {"a": "b"}}, {}),
        ("POST", "/predictions", {"id": "mine", "input": {"name": "x"}, "webhook_events_filter": []}, {}),
        ("POST", "/predictions", {"id": "later", "input": {"name": "x"}}, {"prefer": "respond-async"}),
        ("PUT", "/predictions/put-1", {"input": {"name": "x"}}, {}),
        ("PUT", "/predictions/put-2", {"id": "put-2", "input": {"name": "x"}}, {}),
        ("PUT", "/predictions/put-3", {"id": "put-3", "input": {"name": "x", "n": 9}}, {}),
        ("POST", "/predictions/nothing/cancel", None, {}),
    ],
)
def test_the_same_request_has_the_same_answer(
    both: tuple[httpx.Client, httpx.Client], method: str, path: str, body: Any, headers: dict[str, str]
):
    cog, ours = (told(ask(client, method, path, body, headers), own_id=True) for client in both)
    assert ours == cog


@pytest.mark.parametrize(
    ("method", "path", "body", "headers", "status"),
    [
        ("POST", "/predictions", b"{", {}, 400),
        ("POST", "/predictions", [], {}, 422),
        ("POST", "/predictions", {"id": 5, "input": {"name": "x"}}, {}, 422),
        ("POST", "/predictions", {"input": {"name": "x"}, "context": {"a": 1}}, {}, 422),
        ("POST", "/predictions", {"input": {"name": "x"}, "webhook_events_filter": ["nonsense"]}, {}, 422),
        ("POST", "/predictions", {"input": {"name": "x"}}, {"content-type": "text/plain"}, 415),
        ("POST", "/predictions", {"input": {"name": "x"}}, {"accept": "text/event-stream"}, 406),
        ("PUT", "/predictions/put-4", {"id": "other", "input": {"name": "x"}}, {}, 422),
        ("DELETE", "/predictions", None, {}, 405),
        ("GET", "/nowhere", None, {}, 404),
        ("GET", "/shutdown", None, {}, 405),
        ("POST", "/health-check", None, {}, 405),
    ],
)
def test_a_refusal_has_cogs_status_and_ours_says_in_json_what_to_change(
    both: tuple[httpx.Client, httpx.Client], method: str, path: str, body: Any, headers: dict[str, str], status: int
):
    cog, ours = (ask(client, method, path, body, headers) for client in both)
    assert (cog.status_code, ours.status_code) == (status, status)
    assert ours.json()


def test_discovery_and_health_have_all_that_cogs_have(both: tuple[httpx.Client, httpx.Client]):
    cog, ours = (client.get("/").json() for client in both)
    assert cog.items() <= ours.items()
    cog, ours = (client.get("/health-check").json() for client in both)
    assert cog["status"] == ours["status"] == "READY"
    assert cog["setup"].keys() <= ours["setup"].keys()
    assert cog["setup"]["status"] == ours["setup"]["status"] == "succeeded"


# On purpose otherwise


def predicted(client: httpx.Client, input_: object) -> Any:
    return ask(client, "POST", "/predictions", {"input": input_}).json()


def test_a_failed_prediction_keeps_its_logs_and_its_error_is_the_exceptions_own_text(both: tuple[httpx.Client, httpx.Client]):
    cog, ours = (predicted(client, {"name": "raise"}) for client in both)
    assert (cog["status"], cog["logs"]) == (ours["status"], "") == ("failed", "")
    assert cog["error"].endswith("ValueError: the reason")
    assert ours["error"] == "the reason"
    assert ours["logs"].startswith("working on raise\nTraceback")


def test_null_is_taken_where_the_predictor_says_optional(both: tuple[httpx.Client, httpx.Client]):
    for name in ("maybe", "image"):
        cog, ours = (ask(client, "POST", "/predictions", {"input": {"name": "x", name: None}}).status_code for client in both)
        assert (cog, ours) == (422, 200)


def test_numbers_arrive_as_what_was_declared(both: tuple[httpx.Client, httpx.Client]):
    cog, ours = (predicted(client, {"name": "x", "scale": 3, "n": 1.0})["output"]["numbers"] for client in both)
    assert [type(one) for one in ours] == [float, int]
    assert [type(one) for one in cog] == [int, float]


def test_an_input_that_is_left_out_is_told_in_the_log(both: tuple[httpx.Client, httpx.Client]):
    cog, ours = (predicted(client, {"name": "x", "other": 1}) for client in both)
    assert cog["output"] == ours["output"]
    assert cog["logs"] == "working on x\n"
    assert ours["logs"] == "The predictor has no input 'other'; it was left out.\nworking on x\n"


def test_a_path_that_is_no_url_is_refused_before_it_reaches_the_model(both: tuple[httpx.Client, httpx.Client]):
    cog, ours = (ask(client, "POST", "/predictions", {"input": {"name": "x", "image": "plain"}}) for client in both)
    assert (cog.status_code, cog.json()["status"]) == (200, "failed")
    assert (ours.status_code, ours.json()["detail"][0]["loc"]) == (422, ["body", "input", "image"])


def test_predictions_can_be_read_and_a_finished_id_answers_again(both: tuple[httpx.Client, httpx.Client]):
    cog, ours = both
    assert cog.get("/predictions").status_code == 405
    first, again = (ours.put("/predictions/again", json={"input": {"name": "x"}}).json() for _ in range(2))
    assert first == again == {key: value for key, value in ours.get("/predictions/again").json().items() if key != "input"}


def test_sequential_requests_meet_no_refusal(both: tuple[httpx.Client, httpx.Client]):
    _cog, ours = both
    assert {ours.post("/predictions", json={"input": {"name": "x"}}).status_code for _ in range(300)} == {200}
