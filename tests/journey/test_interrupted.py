"""Ctrl-C at any moment: exit 130, no process behind, nothing half-done, and the next run goes through."""

from __future__ import annotations

import os
import signal
import subprocess
import time

import pytest

from tests.journey.conftest import command, environ, names_in
from tests.service.support import children_of, is_alive

PREDICT = "import time\n\nclass Predictor:\n    def setup(self):\n        time.sleep({seconds})\n    def predict(self, x: int) -> int:\n        return x\n"


@pytest.fixture(autouse=True)
def packages(index):
    index.add("shout", "1.0")


def _interrupt(words, index, until, number=signal.SIGINT):
    """Start the command as a terminal would, wait for a moment, press Ctrl-C; exit status, talk, and what was running below it."""
    process = subprocess.Popen(
        command(*words), env=environ(index), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    assert until()
    time.sleep(0.2)
    below = children_of(process.pid)
    os.killpg(process.pid, number)
    out, err = process.communicate(timeout=60)
    return process.returncode, out, err, below


@pytest.mark.parametrize("verb", ["lock", "install", "serve"])
def test_while_the_index_is_slow(project, index, lading, lading_home, verb):
    index["simple"].delay = 30
    folder = project({"requirements.txt": "shout==1.0\n", "predict.py": PREDICT.format(seconds=0)})
    code, out, err, below = _interrupt((verb, folder), index, lambda: index.arrived.wait(60))
    assert code == 130, err
    assert "Traceback" not in err
    assert out == ""
    assert not [pid for pid in below if is_alive(pid)]
    assert names_in(folder) == ["predict.py", "requirements.txt"]
    assert not (lading_home / "envs").exists() or names_in(lading_home / "envs") == []
    index["simple"].delay = 0
    assert lading("install", folder).code == 0


def test_while_predict_sets_up(project, index, lading, tmp_path):
    folder = project(
        {"requirements.txt": "", "predict.py": PREDICT.format(seconds=60).replace("time.sleep", "open('started', 'w').close(); time.sleep")}
    )
    assert lading("install", folder).code == 0

    def started():
        for _ in range(1200):
            if (folder / "started").exists():
                return True
            time.sleep(0.05)
        return False

    code, _out, err, below = _interrupt(("predict", folder, "-i", "x=1"), index, started)
    assert code == 130, err
    assert "Traceback" not in err
    assert below
    assert not [pid for pid in below if is_alive(pid)]
