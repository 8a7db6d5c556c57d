"""`compute` and `shm_size` of cortex.yaml, as `lading serve` takes and tells them."""

from __future__ import annotations

import pytest

PROJECT = {
    "cortex.yaml": """\
- name: a
  kind: RealtimeAPI
  predictor: {type: python, path: a.py, shm_size: 1Mi}
  compute: {cpu: 1500m, mem: 512Mi}
""",
    "a.py": """\
import os

class PythonPredictor:
    def __init__(self, config):
        pass

    def predict(self, payload):
        return {"threads": os.environ.get("OMP_NUM_THREADS")}
""",
}


@pytest.mark.slow
def test_what_is_limited_is_told_and_may_be_left_out(project, served, monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    folder = project(PROJECT)
    with served(folder) as service:
        for words in ("a: compute: mem 512 MiB, cpu 1.5", "limited", "a: shm_size 1 MiB"):
            service.wait_for_log(words)
        assert "compute-limited" in service.log or "compute-not-limited" in service.log
    with served(folder, "--workers", "2") as service:
        assert "a limit that its 2 processes share evenly" in service.log or "compute-not-limited" in service.log
        assert service.client.post("/a", json={}).json() == {"threads": "1"}
    with served(folder, "--no-limits") as service:
        assert "compute: mem" not in service.log
        assert service.client.post("/a", json={}).json() == {"threads": None}
