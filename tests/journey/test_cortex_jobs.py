"""A Cortex project with every kind of API, served and used by the commands that a Cortex user knows."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from lading.model.problems import LadingError

PROJECT = {
    "cortex.yaml": """\
- name: doubler
  kind: RealtimeAPI
  predictor: {type: python, path: doubler.py, config: {factor: 2}}
- name: new-doubler
  kind: RealtimeAPI
  handler: {type: python, path: handler.py}
- name: split
  kind: TrafficSplitter
  apis:
    - {name: doubler, weight: 100}
    - {name: new-doubler, weight: 100, shadow: true}
- name: many
  kind: BatchAPI
  predictor: {type: python, path: many.py, config: {factor: 3}}
- name: later
  kind: AsyncAPI
  predictor: {type: python, path: later.py}
- name: once
  kind: TaskAPI
  definition: {path: once.py}
""",
    ".env": "MARK='from .env'\n",
    "requirements.txt": "shout==1.0\n",
    "doubler.py": """\
import os
import shout
print("loading doubler")

class PythonPredictor:
    def __init__(self, config, metrics_client):
        self.factor, self.metrics = config["factor"], metrics_client

    def predict(self, payload):
        self.metrics.gauge("asked.for", payload["n"])
        return {"doubled": payload["n"] * self.factor, "mark": os.environ["MARK"]}
""",
    "handler.py": """\
class Handler:
    def __init__(self, config):
        pass

    def handle_post(self, payload):
        print("a copy of", payload)
        return {"doubled": payload["n"] * 2}

    def handle_delete(self, query_params):
        return "deleted " + query_params["id"]
""",
    "many.py": """\
class PythonPredictor:
    def __init__(self, config, job_spec):
        self.factor = config["factor"]

    def predict(self, payload, batch_id):
        print("batch", batch_id, [self.factor * item for item in payload])

    def on_job_complete(self):
        print("complete")
""",
    "later.py": "class PythonPredictor:\n    def __init__(self, config):\n        pass\n\n    def predict(self, payload):\n        return {'got': payload}\n",
    "once.py": "class Task:\n    def __call__(self, config):\n        print('task', config)\n",
}


@pytest.fixture(autouse=True)
def packages(index):
    index.add("shout", "1.0")


def test_every_kind_is_served_and_used_by_the_commands(project, served, lading, tmp_path):
    folder = project(PROJECT)
    sample = tmp_path / "sample.json"
    sample.write_text('{"n": 21}')
    jobs = tmp_path / "job.json"
    jobs.write_text(json.dumps({"workers": 1, "item_list": {"items": [1, 2, 3], "batch_size": 2}}))
    with served(folder) as service:

        def run(*words: Any) -> Any:
            done = lading(*words, cwd=folder)
            assert done.code == 0, done.err
            return done

        assert run("predict", "doubler", sample).data == {"doubled": 42, "mark": "from .env"}
        assert run("predict", "split", sample).data["doubled"] == 42
        assert service.client.delete("/new-doubler", params={"id": "7"}).text == "deleted 7"
        assert 'lading_model_metric{api="doubler",name="asked_for"} 21.0' in service.client.get("/metrics").text

        listed = run("get", "--json").data
        assert [(one["name"], one["status"]) for one in listed][:2] == [("doubler", "ready"), ("new-doubler", "ready")]
        assert {one["name"] for one in listed} == {"doubler", "new-doubler", "split", "many", "later", "once"}

        watched = run("batch", "submit", "many", jobs, "--watch")
        assert watched.out.splitlines()[-1].split()[1:4] == ["succeeded", "2/2", "done"]
        job = watched.out.split()[0]
        assert run("logs", "many", job).out.splitlines() == ["batch 0 [3, 6]", "batch 1 [9]", "complete"]
        assert job in run("get", "many").out
        assert run("get", "many", job, "--json").data["job_status"]["batch_metrics"]["succeeded"] == 2
        assert run("batch", "submit", "many", jobs, "--dry-run").out == "validations passed\n"
        stopped = lading("batch", "stop", "many", job, cwd=folder)
        assert (stopped.code, "is not running" in stopped.err) == (2, True)
        task = run("batch", "submit", "once").out.strip()
        assert run("batch", "status", "once", task, "--watch").out.splitlines()[-1].split()[1] == "succeeded"

        key = run("predict", "later", sample).data["id"]
        until = time.monotonic() + 60
        while service.client.get(f"/later/{key}").json()["status"] != "completed":
            assert time.monotonic() < until
            time.sleep(0.02)
        assert service.client.get(f"/later/{key}").json()["result"] == {"got": {"n": 21}}

        before = run("logs", "doubler").out.count("loading doubler")
        assert before == 1  # what it printed before there was anybody to ask
        assert "refreshed doubler" in run("refresh", "doubler").err
        assert run("predict", "doubler", sample).data["doubled"] == 42
        assert run("logs", "doubler").out.count("loading doubler") == before + 1
        (folder / "doubler.py").write_text("raise RuntimeError('half an edit')\n")
        failed = lading("refresh", "doubler", cwd=folder)
        said = "doubler is not refreshed, its old workers serve on: import failed: RuntimeError: half an edit (doubler.py:1)"
        assert (failed.code, said in " ".join(failed.err.split())) == (2, True)
        assert "Traceback" in run("logs", "doubler").out
        assert run("predict", "doubler", sample).data["doubled"] == 42
        used = lading("delete", "doubler", cwd=folder)
        assert (used.code, "is used by the TrafficSplitter split" in used.err) == (2, True)
        assert "deleted later" in run("delete", "later").err
        assert "deleted split" in run("delete", "split").err
        assert service.client.post("/split", json={"n": 1}).status_code == 404
        assert "deleted new-doubler" in run("delete", "new-doubler").err
        assert "new-doubler" not in run("get").out
        for verb in ("refresh", "delete"):
            unknown = lading(verb, "new-doubler", cwd=folder)
            assert (unknown.code, "there is no API new-doubler" in unknown.err) == (2, True)
        assert service.client.post("/later", json={}).status_code == 404
        assert service.client.post("/-/apis/doubler").status_code == 401
        assert "later" not in run("get").out
        refused = lading("batch", "submit", "doubler", jobs, cwd=folder)
        assert (refused.code, "doubler is a RealtimeAPI, and has no jobs." in refused.err) == (2, True)
        assert "APIs with jobs: many, once." in refused.err
        unknown = lading("get", "nothing", cwd=folder)
        assert (unknown.code, "There is no API nothing." in unknown.err) == (2, True)
    ended = lading("get", cwd=folder)
    assert (ended.code, "No server of this project runs." in ended.err) == (5, True)


def test_the_python_client_has_cortexs_methods(project, served):
    import lading.client

    folder = project(PROJECT)
    with served(folder):
        client = lading.client.client(folder)
        assert client.get_api("doubler")["status"] == "ready"
        job = client.submit_job("many", workers=2, item_list={"items": [1, 2], "batch_size": 1})["job_id"]
        assert sorted(client.stream_job_logs("many", job)) == ["batch 0 [3]", "batch 1 [6]", "complete"]
        assert client.get_job("many", job)["job_status"]["status"] == "status_succeeded"
        assert client.predict("doubler", {"n": 2})["doubled"] == 4
        assert client.refresh("doubler") == {"message": "refreshed doubler"}
        with pytest.raises(LadingError):
            client.create_api({"name": "x"})
        assert client.delete_api("later") == {"message": "deleted later"}
