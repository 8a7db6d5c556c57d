"""`lading serve --reload`: what is served follows the files, and nobody is left without an answer."""

from __future__ import annotations

import json
import signal
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.service.support import children_of, is_alive

CORTEX = """\
- name: one
  kind: RealtimeAPI
  predictor: {type: python, path: one.py, config: {k: 1}}
- name: two
  kind: RealtimeAPI
  predictor: {type: python, path: two.py}
"""
ONE = """\
import os
import {module}

class PythonPredictor:
    def __init__(self, config):
        self.config = config

    def predict(self, payload):
        return {{"pid": os.getpid(), "tool": {module}.NAME, **self.config}}
"""
TWO = """\
import importlib
import os

shared = importlib.import_module("shared")
with open("labels.txt") as file:
    LABELS = file.read()
COUNTER = "counter.txt"
with open("state.txt", "a") as file:
    file.write("set up\\n")

class PythonPredictor:
    def __init__(self, config):
        pass

    def predict(self, payload):
        return {"pid": os.getpid(), "name": shared.NAME, "labels": LABELS}
"""
PROJECT = {
    "cortex.yaml": CORTEX,
    "one.py": ONE.format(module="tools"),
    "tools.py": "NAME = 'a'\n",
    "two.py": TWO,
    "shared.py": "NAME = 'x'\n",
    "labels.txt": "cat",
    "state.txt": "",
    "counter.txt": "0",
    ".cortexignore": "counter.*\n",
}
COG = {
    "cog.yaml": "predict: predict.py:Predictor\ntrain: train.py:train\n",
    "predict.py": """\
from cog import BasePredictor

class Predictor(BasePredictor):
    def predict(self, text: str) -> str:
        return text + "!"
""",
    "train.py": "def train(n: int) -> int:\n    return n\n",
}
WATCHING = "watching the project's files"


def ask(service, path: str) -> Any:
    answer = service.client.post(path, json={})
    assert answer.status_code == 200, (answer.text, service.log)
    return answer.json()


def wait_until(condition: Callable[[], Any], service, seconds: float = 60) -> Any:
    until = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < until, service.log
        time.sleep(0.05)
    return found


def wait_for_log(service, text: str) -> None:
    wait_until(lambda: text in service.log, service)


def write(path: Path, text: str) -> None:
    """As editors do it: a new file takes the old one's place."""
    aside = path.with_name(f".{path.name}.new")
    aside.write_text(text)
    aside.replace(path)


def test_only_what_uses_a_changed_file_is_served_anew(project, served):
    folder = project(PROJECT)
    with served(folder, "--reload") as service:
        wait_for_log(service, WATCHING)
        one, two = ask(service, "/one"), ask(service, "/two")
        assert (one["tool"], two["name"], two["labels"]) == ("a", "x", "cat")
        write(folder / "tools.py", "NAME = 'b'\n")
        wait_until(lambda: ask(service, "/one")["tool"] == "b", service)
        assert ask(service, "/two")["pid"] == two["pid"]
        (folder / "shared.py").write_text("NAME = 'y'\n")  # imported where no source says so
        wait_until(lambda: ask(service, "/two")["name"] == "y", service)
        write(folder / "labels.txt", "dog")
        wait_until(lambda: ask(service, "/two")["labels"] == "dog", service)
        wait_until(lambda: not is_alive(one["pid"]) and not is_alive(two["pid"]), service)
        # A file that nobody uses, one that is ignored, and what a predictor writes itself, change nothing.
        two, set_up = ask(service, "/two"), (folder / "state.txt").read_text()
        assert set_up.startswith("set up\n" * 3)
        (folder / "notes.py").write_text("NAME = 'z'\n")
        (folder / "counter.txt").write_text("1")
        time.sleep(2.5)
        assert ask(service, "/two")["pid"] == two["pid"]
        assert (folder / "state.txt").read_text() == set_up
        wait_for_log(service, "tools.py changed: one gets new workers")


def test_a_broken_edit_leaves_the_old_workers_serving_until_it_is_mended(project, served):
    folder = project(PROJECT)
    with served(folder, "--reload") as service:
        wait_for_log(service, WATCHING)
        before = ask(service, "/one")
        write(folder / "one.py", "class PythonPredictor(:\n")
        wait_for_log(service, "one.py:1: one.py is not Python that can be read")
        write(folder / "one.py", ONE.format(module="absent"))
        wait_for_log(service, "one is not reloaded, its old workers serve on: import failed: ModuleNotFoundError: No module named 'absent'")
        wait_for_log(service, 'File "')  # the traceback
        write(folder / "cortex.yaml", CORTEX.replace("config: {k: 1}", "confg: {k: 1}"))
        wait_for_log(service, 'cortex.yaml:3: one (RealtimeAPI): predictor: key "confg" is not supported')
        assert ask(service, "/one") == before
        write(folder / "absent.py", "NAME = 'mended'\n")
        write(folder / "cortex.yaml", CORTEX)
        wait_until(lambda: ask(service, "/one")["tool"] == "mended", service)
        assert service.client.get("/health-check").json()["status"] == "READY"


@pytest.mark.slow
def test_the_configuration_is_followed(project, served):
    folder = project(PROJECT)
    with served(folder, "--reload") as service:
        wait_for_log(service, WATCHING)
        two = ask(service, "/two")
        three = "- name: three\n  kind: RealtimeAPI\n  predictor: {type: python, path: one.py, config: {k: 3}}\n"
        once = "- name: once\n  kind: TaskAPI\n  definition: {path: once.py}\n"
        (folder / "once.py").write_text("class Task:\n    def __call__(self, config):\n        print('done', config)\n")
        changed = CORTEX.replace("k: 1", "k: 2").replace("name: two\n", "name: two\n  networking: {endpoint: /second}\n")
        write(folder / "cortex.yaml", changed + three + once)
        wait_for_log(service, "three is ready")
        assert (ask(service, "/one")["k"], ask(service, "/three")["k"]) == (2, 3)
        assert ask(service, "/second")["pid"] == two["pid"]  # another endpoint needs no new workers
        assert service.client.post("/two").status_code != 200
        assert set(service.client.get("/").json()["apis"]) == {"one", "two", "three", "once"}
        for path in ("/health-check", "/readyz", "/metrics", "/openapi.json"):
            assert service.client.get(path).status_code == 200
        job = service.client.post("/once", json={}).json()["job_id"]
        wait_for_log(service, f"job {job} of once succeeded")
        write(folder / "cortex.yaml", CORTEX)
        wait_for_log(service, "three is gone from the configuration")
        wait_until(lambda: service.client.post("/three").status_code == 404, service)
        write(folder / ".env", "MARK=1\n")
        wait_for_log(service, ".env changed: two gets new workers")


@pytest.mark.slow
def test_other_packages_are_locked_installed_and_served(project, served, index):
    for version in ("1.0", "2.0"):
        index.add("shout", version)
    predictor = """\
import shout
from importlib.metadata import version

class PythonPredictor:
    def __init__(self, config):
        pass

    def predict(self, payload):
        return version("shout")
"""
    config = "- name: one\n  kind: RealtimeAPI\n  predictor: {type: python, path: one.py}\n"
    folder = project({"cortex.yaml": config, "one.py": predictor, "requirements.txt": "shout==1.0\n"})
    with served(folder, "--reload") as service:
        wait_for_log(service, WATCHING)
        assert service.client.post("/one", json={}).text == "1.0"
        write(folder / "requirements.txt", "shout==2.0\n")
        wait_until(lambda: service.client.post("/one", json={}).text == "2.0", service)
        write(folder / "requirements.txt", "shout==3.0\n")
        wait_for_log(service, "requirements.txt changed, and what is served stays as it was:")
        assert service.client.post("/one", json={}).text == "2.0"
        write(folder / "requirements.txt", "shout==2.0\n")
        time.sleep(1)
        assert service.stop() == 130


def test_a_cog_project_changes_its_signature_under_load(project, served):
    folder = project(COG)
    with served(folder, "--reload") as service:
        wait_for_log(service, WATCHING)
        answers: list[tuple[int, str]] = []
        over = threading.Event()

        def load() -> None:
            while not over.is_set():
                given = (service.client.post("/predictions", json={"input": {"text": "x"}}), service.client.get("/readyz"))
                answers.extend((answer.status_code, answer.text) for answer in given)

        threads = [threading.Thread(target=load) for _ in range(3)]
        for thread in threads:
            thread.start()
        try:
            edited = COG["predict.py"].replace("text: str", "text: str, mark: str = '?'").replace('"!"', "mark")
            write(folder / "predict.py", edited)
            body = {"input": {"text": "x", "mark": "."}}
            wait_until(lambda: service.client.post("/predictions", json=body).json().get("output") == "x.", service)
        finally:
            over.set()
            for thread in threads:
                thread.join()
        assert not [answer for answer in answers if answer[0] != 200], service.log
        inputs = service.client.get("/openapi.json").json()["components"]["schemas"]["Input"]["properties"]
        assert set(inputs) == {"text", "mark"}
        write(folder / "train.py", COG["train.py"].replace("return n", "return -n"))
        count = {"input": {"n": 3}}
        wait_until(lambda: service.client.post("/trainings", json=count).json().get("output") == -3, service)


ASYNC = """\
- name: later
  kind: AsyncAPI
  predictor: {type: python, path: later.py}
"""
LATER = """\
class PythonPredictor:
    def __init__(self, config):
        pass

    def predict(self, payload):
        return {"got": payload}
"""


def worked_off(service, payload: Any) -> None:
    key = service.client.post("/later", json=payload).json()["id"]
    wait_until(lambda: service.client.get(f"/later/{key}").json().get("result") == {"got": payload}, service)


@pytest.mark.slow
def test_an_async_api_that_comes_back_works_its_requests_off(project, served):
    folder = project(
        {"cortex.yaml": ASYNC + CORTEX, "later.py": LATER, **{name: PROJECT[name] for name in PROJECT if name != "cortex.yaml"}}
    )
    with served(folder, "--reload") as service:
        wait_for_log(service, WATCHING)
        worked_off(service, 1)
        write(folder / "cortex.yaml", CORTEX)
        wait_until(lambda: service.client.post("/later", json=2).status_code == 404, service)
        write(folder / "cortex.yaml", ASYNC + CORTEX)
        wait_until(lambda: service.client.post("/later", json=3).status_code == 200, service)
        worked_off(service, 4)


SLOW = """\
import os
import time
from cog import BasePredictor

VERSION = 1

class Predictor(BasePredictor):
    def predict(self, text: str) -> str:
        with open("ran", "a") as file:
            file.write(text + "\\n")
        try:
            while text.startswith("slow"):
                time.sleep(0.05)
        except BaseException:
            os.mkdir("canceled")
            raise
        return "%s %d" % (text, VERSION)
"""


def test_predictions_of_the_old_workers_are_found_joined_and_canceled(project, served):
    folder = project({"cog.yaml": "predict: predict.py:Predictor\nconcurrency:\n  max: 1\n", "predict.py": SLOW})
    with served(folder, "--reload") as service:
        wait_for_log(service, WATCHING)
        old = children_of(service.process.pid)
        put = service.client.put
        done, slow = {"input": {"text": "done"}}, {"input": {"text": "slow"}}
        assert put("/predictions/done", json=done).json()["output"] == "done 1"
        assert put("/predictions/slow", json=slow, headers={"prefer": "respond-async"}).status_code == 202
        wait_until(lambda: (folder / "ran").read_text() == "done\nslow\n", service)
        write(folder / "predict.py", SLOW.replace("VERSION = 1", "VERSION = 2"))
        wait_for_log(service, "is served by new workers")
        assert service.client.post("/predictions", json=done).json()["output"] == "done 2"
        assert service.client.get("/predictions/slow").json()["status"] == "processing"
        assert put("/predictions/slow", json=slow).status_code == 202
        assert service.client.post("/predictions", json={"id": "slow", **slow}).status_code == 409
        assert put("/predictions/done", json=done).json()["output"] == "done 1"
        listed = [one["id"] for one in service.client.get("/predictions").json()["results"]]
        assert listed[-2:] == ["slow", "done"]
        assert service.client.post("/predictions/slow/cancel").status_code == 200
        wait_until(lambda: service.client.get("/predictions/slow").json()["status"] == "canceled", service)
        wait_until(lambda: not [pid for pid in old if is_alive(pid)], service)
        assert (folder / "ran").read_text().splitlines().count("slow") == 1


@pytest.mark.parametrize("accept", ["application/json", "text/event-stream"])
def test_who_hangs_up_stops_a_prediction_of_the_old_workers(project, served, accept: str):
    files = {"cog.yaml": "predict: predict.py:Predictor\n", "predict.py": SLOW.replace("-> str", "-> Iterator[str]", 1)}
    files["predict.py"] = files["predict.py"].replace("import time", "import time\nfrom typing import Iterator").replace("return", "yield")
    folder = project(files)
    with served(folder, "--reload") as service:
        wait_for_log(service, WATCHING)
        old = children_of(service.process.pid)
        body = json.dumps({"input": {"text": "slow"}})
        head = f"POST /predictions HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\naccept: {accept}\r\ncontent-length: {len(body)}\r\n\r\n"
        with socket.create_connection(("127.0.0.1", service.port)) as connection:
            connection.sendall((head + body).encode())
            wait_until((folder / "ran").exists, service)
            write(folder / "predict.py", files["predict.py"].replace("VERSION = 1", "VERSION = 2"))
            wait_for_log(service, "is served by new workers")
            assert [pid for pid in old if is_alive(pid)]
        wait_until((folder / "canceled").is_dir, service)
        wait_until(lambda: not [pid for pid in old if is_alive(pid)], service)


TRAIN = """\
import os
import time

def train(n: int) -> int:
    while n > 1 and not os.path.exists("go"):
        time.sleep(0.05)
    if n > 1:
        os.mkdir("trained")
    return n
"""


def test_the_server_waits_at_its_end_for_a_training_of_the_old_workers(project, served):
    folder = project({**COG, "train.py": TRAIN})
    with served(folder, "--reload") as service:
        wait_for_log(service, WATCHING)
        body = {"id": "long", "input": {"n": 2}}
        assert service.client.post("/trainings", json=body, headers={"prefer": "respond-async"}).status_code == 202
        wait_until(lambda: service.client.get("/trainings/long").json().get("status") == "processing", service)
        write(folder / "train.py", TRAIN.replace("return n", "return -n"))
        wait_for_log(service, "train has changed: the next training runs what there is now")
        assert service.client.post("/trainings", json={"input": {"n": 1}}).json()["output"] == -1
        assert service.client.get("/trainings/long").json()["status"] == "processing"
        service.process.terminate()
        wait_for_log(service, "stopping: 1 predictions may finish")
        (folder / "go").touch()
        assert service.process.wait(60) == 0
        assert (folder / "trained").is_dir()


@pytest.mark.slow
def test_the_first_setup_may_fail_and_be_mended(project, served):
    folder = project({**COG, "predict.py": "raise RuntimeError('not yet')\n" + COG["predict.py"]})
    with served(folder, "--reload", ready=False) as service:
        wait_for_log(service, WATCHING)
        wait_until(lambda: service.client.get("/health-check").json()["status"] == "SETUP_FAILED", service)
        write(folder / "predict.py", COG["predict.py"])
        wait_until(lambda: service.client.get("/health-check").json()["status"] == "READY", service)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_installation_ends_with_the_server(project, served, index, tmp_path, number: int):
    index.add("shout", "1.0")
    predictor = (
        "class PythonPredictor:\n    def __init__(self, config):\n        pass\n\n    def predict(self, payload):\n        return 1\n"
    )
    config = "- name: one\n  kind: RealtimeAPI\n  predictor: {type: python, path: one.py}\n"
    folder = project({"cortex.yaml": config, "one.py": predictor, "requirements.txt": "shout==1.0\n"})
    with served(folder, "--reload") as service:
        wait_for_log(service, WATCHING)
        lock = (folder / "pylock.lading.toml").read_text()
        index["simple"].delay = 60
        index.add("late", "1.0")
        index.arrived.clear()
        write(folder / "requirements.txt", "shout==1.0\nlate==1.0\n")
        assert index.arrived.wait(60), service.log
        assert ask(service, "/one") == 1  # served while packages are looked for
        began = time.monotonic()
        assert service.stop(number) == (130 if number == signal.SIGINT else 0)
        assert time.monotonic() - began < 30, service.log
        wait_until(lambda: not [pid for pid in service.workers if is_alive(pid)], service)
        assert (folder / "pylock.lading.toml").read_text() == lock
        assert "Traceback" not in service.log


@pytest.mark.slow
def test_json_logs_stay_json_and_sigterm_ends_it(project, served):
    folder = project(PROJECT)
    with served(folder, "--reload", LOG_FORMAT="json") as service:
        wait_for_log(service, WATCHING)
        began = len(service.log.splitlines())
        write(folder / "tools.py", "NAME = 'b'\n")
        wait_for_log(service, "one is served by new workers")
        lines = service.log.splitlines()[began - 1 :]
        assert all(json.loads(line)["level"] in ("info", "warning") for line in lines), lines
        write(folder / "tools.py", "NAME = 'c'\n")  # while it reads the project again
        assert service.stop(signal.SIGTERM) == 0


def test_reload_is_for_a_folder_not_for_an_image(lading):
    told = lading("serve", "--reload", "registry.example/model")
    assert told.code == 2
    assert "--reload" in told.err
