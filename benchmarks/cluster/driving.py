"""What the benchmarks of engines have in common: the model that they serve, and how they are asked."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Mapping
from pathlib import Path

BODY = '{"a": [1, 2, 3], "text": "a short text"}'
PROJECT = {
    "cortex.yaml": "- name: echo\n  kind: RealtimeAPI\n  predictor: {type: python, path: predictor.py}\n",
    "requirements.txt": "",
    "predictor.py": "class PythonPredictor:\n    def __init__(self, config):\n        pass\n\n    def predict(self, payload):\n        return payload\n",
}


def write_project(folder: Path, files: Mapping[str, str]) -> None:
    """Write a project's files into a new folder."""
    folder.mkdir()
    for name, text in files.items():
        (folder / name).write_text(text)


def rate(url: str, connections: int, seconds: int, folder: Path) -> float:
    """Answers per second; anything but 200 ends the benchmark."""
    script = folder / "post.lua"
    script.write_text(f"wrk.method = 'POST'\nwrk.body = '{BODY}'\nwrk.headers['Content-Type'] = 'application/json'\n")
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "-s", str(script), url]
    out = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    if "Non-2xx" in out or "Socket errors" in out:
        raise SystemExit(out)
    found = re.search(r"Requests/sec:\s+([\d.]+)", out)
    assert found
    return float(found[1])
