"""The verbs as functions: what a program of the user's imports from `lading`, from a folder to predictions."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import httpx
import pytest

import lading
from tests.journey.conftest import environ
from tests.journey.test_serve_each_kind import COG

LOCKING = """
import json, sys
from pathlib import Path
from lading import LadingError, Options, create_environment, lock, plan, read

options = Options(directory=Path(sys.argv[1]))
steps = []
try:
    project = read(options, steps.append)
    locked = lock(plan(project, options), project, options)
    ready = create_environment(locked, project, options)
except LadingError as error:
    print(json.dumps([problem.rule for problem in error.problems]))
    sys.exit(1)
print(json.dumps({"steps": [step.step for step in steps], "environments": {name: one.path for name, one in ready.environments.items()}}))
"""

SERVING = """
import sys
from pathlib import Path
from lading import Options, create_environment, lock, plan, read, serve
from lading.model.events import Event

def tell(event: Event) -> None:
    print(event.step, event.message, flush=True)

options = Options(directory=Path(sys.argv[1]))
project = read(options)
ready = create_environment(lock(plan(project, options), project, options), project, options)
sys.exit(serve(ready, port=int(sys.argv[2]), reporter=tell))
"""


@pytest.fixture(autouse=True)
def packages(index):
    index.add("shout", "1.0")


def python(index, script, *words):
    return subprocess.run(
        [sys.executable, "-c", script, *map(str, words)], env=environ(index), capture_output=True, text=True, timeout=120, check=False
    )


def test_every_public_name_is_there_and_importing_lading_loads_none_of_them():
    for name in lading._HOMES:
        assert getattr(lading, name).__name__.rpartition(".")[2] == name
        assert name in dir(lading)
    loaded = "import sys, lading; print([name for name in sys.modules if name.startswith(('lading.', 'lading_worker'))])"
    assert python(None, loaded).stdout == "[]\n"
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        lading.nothing  # noqa: B018


def test_from_a_folder_to_an_environment_without_a_word_printed(project, index):
    done = python(index, LOCKING, project(COG))
    assert (done.returncode, done.stderr) == (0, "")
    data = json.loads(done.stdout)
    assert data["steps"] == ["Reading dependencies"] * 2
    (path,) = data["environments"].values()
    assert os.access(f"{path}/bin/python", os.X_OK)


def test_what_the_user_must_change_arrives_as_problems(project, index):
    done = python(index, LOCKING, project({**COG, "cog.yaml": "build:\n  python_version: nine\n"}))
    assert (done.returncode, done.stderr) == (1, "")
    assert json.loads(done.stdout)


def wait_ready(url: str) -> None:
    """A server listens before its model is set up."""
    until = time.monotonic() + 60
    while (told := httpx.get(f"{url}/health-check", timeout=30).json())["status"] != "READY":
        assert time.monotonic() < until, told
        time.sleep(0.05)


def test_serving_from_a_program(project, index):
    from tests.service.support import free_port

    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "-c", SERVING, str(project(COG)), str(port)],
        env=environ(index),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout
    try:
        told = next((line for line in process.stdout if str(port) in line), None)
        assert told, process.communicate()[1]
        wait_ready(f"http://127.0.0.1:{port}")
        answer = httpx.post(f"http://127.0.0.1:{port}/predictions", json={"input": {"name": "Ada"}}, timeout=30)
        assert answer.json()["output"] == "Hello, Ada!"
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)
    assert process.returncode == 0


def test_the_verb_and_the_package_of_deployments_have_one_name():
    program = """
import lading
import lading.deploy.engine as engine
from lading import deploy
assert callable(deploy), deploy
assert lading.deploy is deploy
assert deploy.engine is engine
"""
    subprocess.run([sys.executable, "-W", "error", "-c", program], check=True)
