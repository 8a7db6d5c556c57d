"""`lading serve PROJECT` for a Cog, a Cortex and a plain project, with nothing else to install or write."""

from __future__ import annotations

import base64
import signal

import pytest

COG = {
    "cog.yaml": 'build:\n  python_version: "3.11"\n  python_requirements: requirements.txt\nenvironment:\n  - GREETING=Hello\npredict: predict.py:Predictor\n',
    "requirements.txt": "shout==1.0  # pinned\n",
    "predict.py": """\
import os
from cog import BasePredictor, Input, Path
import shout

class Predictor(BasePredictor):
    def setup(self):
        print("loading", shout.__version__)
        self.greeting = os.environ["GREETING"]

    def predict(self, name: str, times: int = Input(default=1, ge=1, le=3), letter: Path = None) -> str:
        print("working for", name)
        text = letter.read_text() if letter else ""
        return " ".join([self.greeting + ", " + name + "!"] * times) + text
""",
}
CORTEX = {
    "cortex.yaml": """\
- name: greeter
  kind: RealtimeAPI
  predictor:
    type: python
    path: predictor.py
    config:
      greeting: Hello
    env:
      MARK: "!"
""",
    "requirements.txt": "shout\n",
    "predictor.py": """\
import os
import shout
from cortex_internal.lib.log import logger

class PythonPredictor:
    def __init__(self, config):
        self.greeting = config["greeting"]

    def predict(self, payload, query_params, headers):
        logger.info("asked")
        return {"text": self.greeting + ", " + payload["name"] + os.environ["MARK"], "q": query_params.get("q"), "h": headers["x-mark"]}
""",
}
PLAIN = {
    "pyproject.toml": '[project]\nname = "greeter"\nversion = "1"\ndependencies = ["shout==1.0"]\n',
    "greet.py": '"""Greets."""\nimport shout\n\n\ndef predict(name: str, times: int = 1) -> list[str]:\n    return [shout.__version__ + name] * times\n',
}


@pytest.fixture(autouse=True)
def packages(index):
    index.add("shout", "1.0")


def test_a_cog_project_answers_cogs_api(project, served):
    with served(project(COG)) as service:
        answer = service.client.post("/predictions", json={"input": {"name": "Ada", "times": 2}}).json()
        assert (answer["status"], answer["output"]) == ("succeeded", "Hello, Ada! Hello, Ada!")
        assert answer["logs"] == "working for Ada\n"
        letter = "data:text/plain;base64," + base64.b64encode(b" Yours").decode()
        assert (
            service.client.post("/predictions", json={"input": {"name": "Ada", "letter": letter}}).json()["output"] == "Hello, Ada! Yours"
        )
        refused = service.client.post("/predictions", json={"input": {"name": "Ada", "times": 9}})
        assert refused.status_code == 422
        assert refused.json()["detail"][0]["loc"] == ["body", "input", "times"]
        health = service.client.get("/health-check").json()
        assert health["status"] == "READY"
        assert "loading 1.0" in health["setup"]["logs"]
        for place in ("/openapi.json", "/docs", "/metrics", "/livez", "/readyz"):
            assert service.client.get(place).status_code == 200, place


def test_a_cortex_project_answers_on_its_name_and_on_predict(project, served):
    with served(project(CORTEX)) as service:
        for place in ("/greeter", "/predict"):
            answer = service.client.post(place + "?q=1", json={"name": "Ada"}, headers={"X-Mark": "m"})
            assert answer.json() == {"text": "Hello, Ada!", "q": "1", "h": "m"}
        assert service.client.post("/greeter", content="{", headers={"content-type": "application/json"}).status_code == 400
        for place in ("/health-check", "/openapi.json", "/docs", "/metrics", "/livez", "/readyz"):
            assert service.client.get(place).status_code == 200, place


def test_a_plain_project_is_found_by_itself(project, served):
    with served(project(PLAIN)) as service:
        answer = service.client.post("/predictions", json={"input": {"name": "Ada", "times": 2}}).json()
        assert answer["output"] == ["1.0Ada", "1.0Ada"]


def test_apis_that_name_different_files_have_environments_of_their_own(project, served, index):
    index.add("shout", "2.0")
    entry = (
        "- name: {0}\n  kind: RealtimeAPI\n  predictor:\n    type: python\n    path: predictor.py\n    dependencies:\n      pip: {0}.txt\n"
    )
    files = {
        "cortex.yaml": entry.format("old") + entry.format("new"),
        "old.txt": "shout==1.0\n",
        "new.txt": "shout==2.0\n",
        "predictor.py": "import shout\nclass PythonPredictor:\n    def __init__(self, config): pass\n    def predict(self): return shout.__version__\n",
    }
    with served(project(files)) as service:
        assert [service.client.post(f"/{name}").text for name in ("old", "new")] == ["1.0", "2.0"]


def test_a_second_start_of_an_unchanged_project_asks_the_index_for_nothing(project, served, index):
    folder = project(COG)
    with served(folder):
        pass
    asked = len(index.requests)
    lock = (folder / "pylock.lading.toml").read_bytes()
    with served(folder) as service:
        assert service.client.post("/predictions", json={"input": {"name": "Ada"}}).json()["status"] == "succeeded"
        assert "Resolving" not in service.log
    assert len(index.requests) == asked
    assert (folder / "pylock.lading.toml").read_bytes() == lock


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_lets_what_runs_finish_and_leaves_no_process(project, served, number):
    slow = {
        "predict.py": "import time\n\ndef predict(seconds: float) -> str:\n    time.sleep(seconds)\n    return 'done'\n",
        "requirements.txt": "",
    }
    import threading

    with served(project(slow)) as service:
        answers: list[str] = []

        def ask() -> None:
            answers.append(service.client.post("/predictions", json={"input": {"seconds": 1}}).json()["output"])

        thread = threading.Thread(target=ask)
        thread.start()
        while not answers and service.client.get("/health-check").json()["status"] != "BUSY":
            pass
        assert service.stop(number) == (0 if number == signal.SIGTERM else 130)
        thread.join(60)
        assert answers == ["done"]


@pytest.mark.parametrize(
    ("body", "status", "said"),
    [
        ("import os; os._exit(7)", "failed", "exit code 7"),
        ("import sys; sys.exit(3)", "failed", "exit code 3"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", "failed", "SIGSEGV"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", "failed", "ran out of memory"),
        ("raise ValueError('no such thing')", "failed", "no such thing"),
    ],
)
def test_whatever_the_model_does_the_server_stays_up(project, served, body, status, said):
    files = {"requirements.txt": "", "predict.py": f"def predict(bad: bool) -> str:\n    if bad:\n        {body}\n    return 'fine'\n"}
    with served(project(files)) as service:
        answer = service.client.post("/predictions", json={"input": {"bad": True}}).json()
        assert answer["status"] == status
        assert said in answer["error"]
        assert service.client.post("/predictions", json={"input": {"bad": False}}).json()["output"] == "fine"
        assert service.process.poll() is None


def test_a_prediction_that_hangs_is_stopped_and_the_next_one_is_answered(project, served):
    files = {"requirements.txt": "", "predict.py": "def predict(bad: bool) -> str:\n    while bad:\n        pass\n    return 'fine'\n"}
    with served(project(files), "--timeout", "1") as service:
        assert "timed out after 1 s" in service.client.post("/predictions", json={"input": {"bad": True}}).json()["error"]
        assert service.client.post("/predictions", json={"input": {"bad": False}}).json()["output"] == "fine"


def test_a_setup_that_fails_is_shown_by_the_health_check_with_its_log(project, served):
    source = "class Predictor:\n    def setup(self):\n        print('reading weights')\n        raise OSError('weights.bin is not there')\n"
    files = {"requirements.txt": "", "predict.py": source + "    def predict(self, x: int) -> int:\n        return x\n"}
    with served(project(files), ready=False) as service:
        import time

        import httpx

        for _ in range(1200):
            try:
                health = service.client.get("/health-check").json()
            except httpx.TransportError:
                health = {}
            if health.get("status") == "SETUP_FAILED":
                break
            time.sleep(0.05)
        assert health["status"] == "SETUP_FAILED"
        assert "reading weights" in health["setup"]["logs"]
        assert "weights.bin is not there" in health["setup"]["logs"]
        assert "predict.py" in health["setup"]["logs"]
        assert service.client.post("/predictions", json={"input": {"x": 1}}).status_code == 503
        assert service.client.get("/readyz").status_code == 503


def test_nothing_of_lading_can_be_imported_by_the_model(project, served):
    tried = ["lading_worker.inputs", "msgspec", "uvicorn", "rich", "httptools"]
    source = (
        "import importlib.util, sys\n\ndef predict(name: str) -> bool:\n"
        "    head = name.split('.')[0]\n    return any((p + '/' + head) for p in sys.path if __import__('os').path.exists(p + '/' + head))\n"
    )
    with served(project({"requirements.txt": "", "predict.py": source})) as service:
        found = [name for name in tried if service.client.post("/predictions", json={"input": {"name": name}}).json()["output"]]
        assert found == []


def test_the_port_is_named_when_it_is_taken(project, lading, served):
    folder = project({"requirements.txt": "", "predict.py": "def predict(x: int) -> int:\n    return x\n"})
    with served(folder) as service:
        done = lading("serve", folder, "-p", str(service.port))
        assert done.code == 2
        assert f"Port {service.port} on 127.0.0.1 is in use." in done.err
        assert "fix:" in done.err


def test_the_port_may_come_from_the_environment(project, index, tmp_path):
    import subprocess

    from tests.journey.conftest import command, environ, names_in

    folder = project({"requirements.txt": "", "predict.py": "def predict(x: int) -> int:\n    return x\n"})
    done = subprocess.run(
        command("serve", folder), env=environ(index, PORT="http"), capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 2
    assert "PORT" in done.stderr
    assert names_in(tmp_path) == ["my-model"]
