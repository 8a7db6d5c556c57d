"""What the benchmarks of engines have in common: the model that they serve, the same in one process, and how they are asked."""

from __future__ import annotations

import argparse
import contextlib
import re
import shutil
import subprocess
import urllib.request
from collections.abc import Mapping
from pathlib import Path

BODY = '{"a": [1, 2, 3], "text": "a short text"}'
PROJECT = {
    "cortex.yaml": "- name: echo\n  kind: RealtimeAPI\n  predictor: {type: python, path: predictor.py}\n",
    "requirements.txt": "",
    "predictor.py": "class PythonPredictor:\n    def __init__(self, config):\n        pass\n\n    def predict(self, payload):\n        return payload\n",
}
UVICORN = 'import sys, uvicorn; uvicorn.run(app, host=sys.argv[1], port=int(sys.argv[2]), loop="uvloop", http="httptools", log_level="critical", access_log=False)'
FASTAPI = f"""
from typing import Any
from fastapi import FastAPI

app = FastAPI()

@app.post("/echo")
def echo(payload: dict[str, Any]) -> dict[str, Any]:
    return payload

{UVICORN}
"""
BARE = f"""
import json

async def app(scope, receive, send):
    if scope["type"] != "http":
        return
    body, more = b"", True
    while more:
        message = await receive()
        body, more = body + message.get("body", b""), message.get("more_body")
    out = json.dumps(json.loads(body)).encode()
    head = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(out))]
    await send({{"type": "http.response.start", "status": 200, "headers": head}})
    await send({{"type": "http.response.body", "body": out}})

{UVICORN}
"""


def read_options(description: str | None, rounds: int) -> argparse.Namespace:
    """What the command line says: seconds, rounds and connections."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=rounds)
    parser.add_argument("--connections", default="1,16,64")
    options = parser.parse_args()
    if shutil.which("wrk") is None:
        raise SystemExit("wrk is missing: apt-get install wrk")
    return options


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


def answers(url: str) -> bool:
    """Whether a server is there."""
    request = urllib.request.Request(url, BODY.encode(), {"content-type": "application/json"})
    with contextlib.suppress(OSError), urllib.request.urlopen(request, timeout=5) as answer:
        return bool(answer.status == 200)
    return False
