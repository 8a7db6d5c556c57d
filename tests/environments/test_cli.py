"""The store through the command itself: install, exec, env list and env prune, as a user types them."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from lading.model.problems import ExitCode
from tests.environments.conftest import snapshot
from tests.environments.support import REPOSITORY, left_about
from tests.support.index import LocalIndex
from tests.support.wheels import project as source_tree
from tests.support.wheels import wheel

LADING = [sys.executable, "-m", "lading"]


@pytest.fixture(autouse=True)
def _this_checkout(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(REPOSITORY / "src"))


@pytest.fixture
def project(root: Path, index: LocalIndex, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A plain project with one requirement, and the index that has it."""
    index.add("demo", "1.0", entry_points={"greet": "demo:main"}, files={"demo/__init__.py": "def main():\n    print('hello')\n"})
    monkeypatch.setenv("PIP_INDEX_URL", index.url)
    (root / "requirements.txt").write_text("demo==1.0\n")
    (root / "predict.py").write_text("def predict(text: str) -> str:\n    return text\n")
    return root


def lading(*words: str | Path, code: int = 0, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    done = subprocess.run([*LADING, *words], capture_output=True, text=True, check=False, cwd=cwd, timeout=120)
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    return done


def answer(*words: str | Path, code: int = 0) -> Any:
    return json.loads(lading(*words, "--json", code=code).stdout)


def test_install_prints_the_environment_and_then_does_nothing(project: Path, index: LocalIndex):
    first = lading("install", project)
    (environment,) = first.stdout.splitlines()
    assert Path(environment, "bin", "python").exists()
    assert (project / "pylock.lading.toml").exists()
    asked = len(index.requests)
    second = lading("install", project)
    assert (second.stdout, second.stderr) == (
        first.stdout,
        "Nothing to do: the project is unchanged since its environment was built.\n",
    )
    assert len(index.requests) == asked
    index.stop()
    assert lading("install", "-q", project).stderr == ""


def test_install_as_json(project: Path):
    (first,) = answer("install", project)["environments"]
    assert first == {
        "variant": "",
        "apis": first["apis"],
        "lock": "pylock.lading.toml",
        "lock_changed": True,
        "path": first["path"],
        "python": f"{first['path']}/bin/python",
        "key": Path(first["path"]).name,
        "reused": False,
    }
    (second,) = answer("install", project)["environments"]
    assert second == {**first, "lock_changed": False, "reused": True}


def test_a_store_that_was_lost_is_built_again_from_the_lock_without_the_network(project: Path, index: LocalIndex, lading_home: Path):
    first = lading("install", project).stdout
    shutil.rmtree(lading_home)
    index.stop()
    assert lading("install", "--offline", project).stdout == first
    shutil.rmtree(lading_home / "envs")
    shutil.rmtree(lading_home / "stamps")
    assert lading("install", project).stdout == first  # begun ahead, as this machine's Pythons are known by now
    assert [entry.split("/")[0] for entry in snapshot(lading_home)] == ["envs"]


def test_a_lock_that_was_begun_ahead_and_turns_out_stale_is_thrown_away(project: Path, index: LocalIndex, lading_home: Path):
    lading("install", project)
    shutil.rmtree(lading_home / "envs")
    shutil.rmtree(lading_home / "stamps")
    index.add("demo", "2.0")
    (project / "requirements.txt").write_text("demo==2.0\n")
    (environment,) = lading("install", project).stdout.splitlines()
    assert list(Path(environment).glob("lib/*/site-packages/demo-2.0.dist-info"))
    assert len(snapshot(lading_home)) == 1


def test_a_mistake_after_beginning_ahead_leaves_nothing(project: Path, lading_home: Path):
    lading("install", project)
    shutil.rmtree(lading_home / "envs")
    shutil.rmtree(lading_home / "stamps")
    (project / "requirements.txt").write_text("demo==\n")
    lading("install", project, code=ExitCode.USAGE)
    assert snapshot(lading_home) == []
    assert left_about(lading_home) == []


def test_an_editable_package_of_the_project_follows_its_sources(project: Path):
    tree = source_tree("local", "0.1", files={"local_link.pth": f"{project / 'local'}\n"})
    for path, text in tree.items():
        (project / "local" / path).parent.mkdir(parents=True, exist_ok=True)
        (project / "local" / path).write_text(text)
    (project / "requirements.txt").write_text("demo==1.0\n-e ./local\n")
    first = answer("install", project)["environments"][0]
    (project / "local" / "state.py").write_text("STATE = 'changed'\n")
    second = answer("install", project)["environments"][0]
    assert second["key"] == first["key"]
    assert lading("exec", "-C", project, "python", "-c", "import state; print(state.STATE)").stdout == "changed\n"


def test_a_folder_of_wheels_in_the_project(project: Path):
    (project / "wheels").mkdir()
    torch = wheel("torch", "2.1.2+cpu")
    (project / "wheels" / torch.filename).write_bytes(torch.content)
    (project / "requirements.txt").write_text("--find-links ./wheels\ntorch==2.1.2+cpu\ndemo==1.0\n")
    lading("install", project)
    assert lading("exec", "-C", project, "python", "-c", "import torch; print(torch.__version__)").stdout == "2.1.2+cpu\n"


def test_exec_runs_in_the_environment_and_in_the_projects_folder(project: Path):
    (environment,) = lading("install", project).stdout.splitlines()
    code = "import os, sys; print(os.getcwd(), sys.prefix, os.environ['VIRTUAL_ENV'], os.environ['TOLD'])"
    assert lading("exec", "-C", project, "-e", "TOLD=yes", "python", "-c", code).stdout == f"{project} {environment} {environment} yes\n"
    assert lading("exec", "-C", project, "greet").stdout == "hello\n"
    assert lading("exec", "-C", project, "--", "sh", "-c", "exit 7", code=7).stdout == ""
    assert "no command nonsense" in lading("exec", "-C", project, "nonsense", code=ExitCode.USAGE).stderr


def started(project: Path, code: str) -> subprocess.Popen[str]:
    """``lading exec python -c code``, after its first line."""
    command = [*LADING, "exec", "-C", str(project), "python", "-u", "-c", code]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def test_env_list_and_prune_leave_what_runs(project: Path, lading_home: Path):
    (environment,) = lading("install", project).stdout.splitlines()
    process = started(project, "import time; print('ready'); time.sleep(100)")
    (listed,) = answer("env", "list")["environments"]
    assert (listed["path"], listed["held"], listed["packages"]) == (environment, True, 1)
    assert environment in lading("env", "list").stdout
    assert answer("env", "prune", "--all")["removed"] == []
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    assert answer("env", "prune")["removed"] == []  # it was used today
    dry = lading("env", "prune", "--all", "--dry-run")
    assert dry.stderr.startswith("Would remove 1 environment")
    assert Path(environment).exists()
    assert [one["path"] for one in answer("env", "prune", "--all")["removed"]] == [environment]
    assert snapshot(lading_home) == []
    assert list((lading_home / "stamps").iterdir()) == []
    assert lading("env", "list").stderr == "The store holds no environment.\n"
    assert lading("install", project).stdout == f"{environment}\n"


def test_what_is_served_is_left_alone(project: Path):
    (environment,) = lading("install", project).stdout.splitlines()
    server = subprocess.Popen([*LADING, "serve", "-q", "-p", "0", str(project)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 60
        while not answer("env", "list")["environments"][0]["held"]:
            assert server.poll() is None
            assert time.monotonic() < deadline
        assert answer("env", "prune", "--all")["removed"] == []
    finally:
        server.terminate()
        server.wait()
    assert [one["path"] for one in answer("env", "prune", "--all")["removed"]] == [environment]


def test_ctrl_c_reaches_the_command_and_its_status_is_ours(project: Path):
    lading("install", project)
    code = "import signal, sys, time; signal.signal(signal.SIGINT, lambda *_: sys.exit(9)); print('ready'); time.sleep(100)"
    process = started(project, code)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does
    process.communicate()
    assert process.returncode == 9


def test_a_command_that_ctrl_c_kills_reports_it(project: Path):
    lading("install", project)
    process = started(project, "import signal, time; signal.signal(signal.SIGINT, signal.SIG_DFL); print('ready'); time.sleep(100)")
    os.killpg(process.pid, signal.SIGINT)
    process.communicate()
    assert process.returncode == 128 + signal.SIGINT


def test_a_request_to_end_is_passed_on(project: Path, lading_home: Path):
    lading("install", project)
    process = started(project, "import time; print('ready'); time.sleep(100)")
    process.terminate()
    process.communicate()
    assert process.returncode == 128 + signal.SIGTERM
    assert left_about(lading_home) == []


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_interrupted_installing_leaves_the_project_locked_and_the_store_as_it_was(
    project: Path, index: LocalIndex, lading_home: Path, home: Path, number: int, status: int
):
    lading("lock", project)
    shutil.rmtree(home / "uv-cache")
    index.arrived.clear()
    index["simple"].delay = 60
    process = subprocess.Popen([*LADING, "install", str(project)], stderr=subprocess.PIPE, text=True, start_new_session=True)
    assert index.arrived.wait(60)
    time.sleep(0.1)
    process.send_signal(number)
    _, said = process.communicate(timeout=60)
    assert process.returncode == status, said
    assert "Traceback" not in said
    assert snapshot(lading_home) == []
    assert left_about(lading_home) == []


def test_lock_says_what_changed(project: Path, index: LocalIndex):
    first = lading("lock", project)
    assert "Locked 1 package in pylock.lading.toml." in first.stderr
    text = (project / "pylock.lading.toml").read_bytes()
    lading("lock", project)
    assert (project / "pylock.lading.toml").read_bytes() == text
    index.add("demo", "2.0")
    (project / "requirements.txt").write_text("demo==2.0\n")
    assert "pylock.lading.toml is out of date." in lading("lock", "--check", project, code=ExitCode.LOCK).stderr
    changed = lading("lock", project).stderr
    assert "~ demo 1.0 -> 2.0" in changed
    assert "requirements.txt has changed" in changed


def test_the_store_of_a_full_or_forbidden_place(project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    lading("lock", project)
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("LADING_HOME", str(tmp_path / "file"))
    (problem,) = answer("install", project, code=ExitCode.USAGE)["problems"]
    assert (problem["rule"], problem["origin"]) == ("store-not-writable", "LADING_HOME")
