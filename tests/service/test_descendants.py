"""What a model starts ends with its worker, whatever it did to get away."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lading.service.descendants import VARIABLE, ControlGroup, kill_marked, own_group
from lading.service.limits import _words
from tests.service.support import is_alive
from tests.worker.test_whole_server import predict, serving

_SECONDS = str(600_000 + os.getpid())
"""Told from the sleeps of others."""
_CODE = """
    import os, subprocess, sys, time

    def daemonize(environ):
        # Two forks and a session of its own: nobody's child, in nobody's group.
        if os.fork() == 0:
            os.setsid()
            if os.fork() == 0:
                os.execvpe("sleep", ["sleep", "SECONDS"], environ)
            os._exit(0)

    class Predictor:
        def predict(self, do: str) -> str:
            if do == "session":
                return str(subprocess.Popen(["sleep", "SECONDS"], start_new_session=True).pid)
            if do == "daemon":
                daemonize(dict(os.environ, MARK="daemon"))
            if do == "bare":
                daemonize({})
            if do == "exit":
                os._exit(3)
            if do == "hang":
                time.sleep(600)
            return str(os.getpid())
""".replace("SECONDS", _SECONDS)


def daemons() -> set[int]:
    """Processes that run the command of this file."""
    words = f"sleep\0{_SECONDS}\0"
    found = set()
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if (entry / "cmdline").read_text() == words:
                    found.add(int(entry.name))
            except OSError:
                continue
    return found


def wait_until(condition, what: object = None) -> None:
    until = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < until, what
        time.sleep(0.02)


@pytest.mark.parametrize("end", ["exit", "kill", "stop"])
def test_sessions_and_daemons_end_with_the_worker(tmp_path, end: str):
    before = daemons()
    with serving(tmp_path, _CODE) as server:
        predict(server, do="session")
        predict(server, do="daemon")
        wait_until(lambda: len(daemons() - before) == 2, daemons())
        if end == "exit":
            assert predict(server, do="exit").json()["status"] == "failed"
        elif end == "kill":
            os.kill(server.workers()[0], signal.SIGKILL)
        else:
            assert server.stop(signal.SIGTERM) == 0
        wait_until(lambda: not daemons() - before, daemons())


def test_a_process_without_variables_ends_by_its_control_group(tmp_path):
    group = own_group()
    if group is None or not os.access(group, os.W_OK):
        pytest.skip("this machine lets us make no control group (cgroup v2)")
    before = daemons()
    with serving(tmp_path, _CODE) as server:
        predict(server, do="bare")
        wait_until(lambda: len(daemons() - before) == 1)
        (worker,) = map(str, server.workers())
        groups = {place for place in group.glob("lading-*") if worker in _words(place / "cgroup.procs")}
        assert len(groups) == 1
        predict(server, do="exit")
        wait_until(lambda: not daemons() - before)
        assert server.stop(signal.SIGTERM) == 0
    assert not any(place.exists() for place in groups)


def test_other_workers_and_their_descendants_live_on(tmp_path):
    environ = {**os.environ, VARIABLE: "another"}
    code = "import time; print(flush=True); time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", code], env=environ, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"\n"  # until it is another program, its variables cannot be seen
        kill_marked("mine")
        assert is_alive(other.pid)
        kill_marked("another")
        assert other.wait(60) == -signal.SIGKILL


def test_a_group_that_cannot_be_made_is_none(tmp_path, monkeypatch):
    monkeypatch.setattr("lading.service.descendants.own_group", lambda: tmp_path / "missing")
    assert ControlGroup.make("x", os.getpid()) is None
    monkeypatch.setattr("lading.service.descendants.own_group", lambda: None)
    assert ControlGroup.make("x", os.getpid()) is None
