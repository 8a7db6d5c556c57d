"""The store between processes: built once, whole or not at all whatever kills the builder, nothing left running."""

from __future__ import annotations

import fcntl
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from lading.environments.store import list_environments, prune
from lading.model.environment import Environment
from lading.model.lock import Lock
from lading.model.target import Interpreter
from tests.environments.conftest import snapshot
from tests.environments.support import Builder, left_about, lock_of, package, processes_about
from tests.support.index import LocalIndex
from tests.support.wheels import wheel

Create = Callable[..., Environment]

needs_proc = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="this machine has no /proc to look for processes in")
FILES = 3000


@pytest.fixture
def many(index: LocalIndex) -> Lock:
    """A lock whose installation takes a while, for being interrupted in the midst."""
    parts = [
        index.publish(wheel(f"part{number}", "1.0", files={f"part{number}/m{one}.py": "" for one in range(FILES // 3)}))
        for number in range(3)
    ]
    return lock_of(*(package(index, part) for part in parts))


@pytest.fixture
def slow(index: LocalIndex) -> Lock:
    """A lock whose file the index takes a minute to give."""
    lock = lock_of(package(index, index.add("demo", "1.0")))
    index["simple"].delay = 60
    return lock


def is_whole(path: str) -> bool:
    modules = sum(1 for _ in Path(path).glob("lib/*/site-packages/part*/m*.py"))
    return modules == FILES and Path(path, "bin", "python").exists()


def gone(place: Path) -> bool:
    """Whether the processes that mention a path end within a minute, and let go of its locks.

    A process that ends has no command line any more a moment before its files are closed.
    """
    for _ in range(1200):
        if not processes_about(place) and not any(is_locked(lock) for lock in (place / "locks").glob("*")):
            return True
        time.sleep(0.05)
    return False


def is_locked(path: Path) -> bool:
    with path.open("rb") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def test_two_processes_build_the_same_once(slow: Lock, index: LocalIndex, interpreter: Interpreter, root: Path):
    first = Builder(slow, interpreter, root)
    first.until("Installing", "started")
    assert index.arrived.wait(60)
    second = Builder(slow, interpreter, root)
    second.until("Waiting", "started")
    assert second.events[-1]["message"] == f"for another process, which installs the same 1 package for Python {interpreter.version}"
    index.closing.set()  # ends the delay
    one, two = first.result(), second.result()
    assert (one["reused"], two["reused"], one["path"]) == (False, True, two["path"])
    assert ("Waiting", "finished") in second.steps()
    assert ("Installing", "started") not in second.steps()
    assert sum(path.endswith(".whl") for path in index.paths) == 1


def test_many_processes_at_once(many: Lock, interpreter: Interpreter, root: Path, lading_home: Path):
    builders = [Builder(many, interpreter, root) for _ in range(4)]
    results = [builder.result() for builder in builders]
    assert [result["reused"] for result in results].count(False) == 1
    assert len({result["path"] for result in results}) == 1
    assert is_whole(results[0]["path"])
    assert len(snapshot(lading_home)) == 1


def test_different_environments_do_not_wait(slow: Lock, many: Lock, index: LocalIndex, interpreter: Interpreter, root: Path):
    waiting = Builder(slow, interpreter, root)
    assert index.arrived.wait(60)
    index["simple"].delay = 0
    other = Builder(many, interpreter, root).result()
    assert is_whole(other["path"])
    assert waiting.process.poll() is None
    index.closing.set()
    assert waiting.result()["reused"] is False


def test_killed_at_any_moment_it_leaves_all_or_nothing(
    many: Lock, create: Create, interpreter: Interpreter, root: Path, lading_home: Path, monkeypatch: pytest.MonkeyPatch
):
    create(many)
    prune()
    seed = random.randrange(2**32)
    dice = random.Random(seed)
    seen = set()
    for number in range(14):
        builder = Builder(many, interpreter, root)
        builder.until("Installing", "started")
        if number > 3:  # the first ones at once: a fast machine has it all done in a moment
            time.sleep(dice.uniform(0, 0.25))
        builder.process.kill()
        builder.process.communicate()
        found = list_environments()
        seen.add(len(found))
        assert all(is_whole(one.path) for one in found), f"seed {seed}"
        assert gone(lading_home), "what was started ends by itself"
        prune()
    assert is_whole(create(many).path)
    assert len(snapshot(lading_home)) == 1
    assert 0 in seen, f"no kill came early enough (seed {seed})"


@needs_proc
def test_what_a_killed_builder_left_is_not_swept_while_its_uv_works(
    slow: Lock, index: LocalIndex, interpreter: Interpreter, root: Path, lading_home: Path
):
    builder = Builder(slow, interpreter, root)
    assert index.arrived.wait(60)
    builder.process.kill()
    builder.process.communicate()
    assert processes_about(lading_home / "building")
    prune()
    assert [entry.split("/")[0] for entry in snapshot(lading_home)] == ["building", "locks"]
    index.closing.set()
    assert gone(lading_home)
    prune()
    assert snapshot(lading_home) == []


@needs_proc
@pytest.mark.parametrize("again", [False, True])
def test_ctrl_c_ends_uv_and_leaves_nothing(
    slow: Lock, index: LocalIndex, interpreter: Interpreter, root: Path, lading_home: Path, *, again: bool
):
    builder = Builder(slow, interpreter, root)
    assert index.arrived.wait(60)
    builder.process.send_signal(signal.SIGINT)
    if again:
        builder.process.send_signal(signal.SIGINT)
    assert builder.result() == {"interrupted": True}
    assert builder.process.returncode == 130
    assert left_about(lading_home) == []
    assert again or snapshot(lading_home) == []  # who does not wait for the tidying up leaves it to the next run
    assert list_environments() == ()


def test_ctrl_c_while_waiting(slow: Lock, index: LocalIndex, interpreter: Interpreter, root: Path):
    first = Builder(slow, interpreter, root)
    assert index.arrived.wait(60)
    second = Builder(slow, interpreter, root)
    second.until("Waiting", "started")
    second.process.send_signal(signal.SIGINT)
    assert second.result() == {"interrupted": True}
    assert first.process.poll() is None
    index.closing.set()
    assert first.result()["reused"] is False


def test_the_one_that_waits_builds_when_the_builder_is_killed(slow: Lock, index: LocalIndex, interpreter: Interpreter, root: Path):
    first = Builder(slow, interpreter, root)
    assert index.arrived.wait(60)
    second = Builder(slow, interpreter, root)
    second.until("Waiting", "started")
    first.process.kill()
    first.process.communicate()
    index.closing.set()
    assert second.result()["reused"] is False


def test_a_process_that_was_killed_holds_nothing(many: Lock, create: Create):
    environment = create(many)
    code = (
        "import sys, time; from lading.environments.store import hold; from lading.model.environment import Environment\n"
        "with hold(Environment(path=sys.argv[1], python='', key='k')): print('held', flush=True); time.sleep(100)"
    )
    command = [sys.executable, "-c", code, environment.path]
    holder = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    assert prune() == ()
    holder.kill()
    holder.communicate()
    assert [one.key for one in prune()] == [environment.key]


def test_holding_and_pruning_at_the_same_time(index: LocalIndex, create: Create):
    """Whoever holds has the files; whoever comes too late is told."""
    lock = lock_of(package(index, index.add("demo", "1.0")))
    code = (
        "import os, sys\n"
        "from lading.environments.store import hold\n"
        "from lading.model.environment import Environment\n"
        "from lading.model.problems import LadingError\n"
        "while True:\n"
        "    try:\n"
        "        with hold(Environment(path=sys.argv[1], python='', key='k')):\n"
        "            for _ in range(20): assert os.path.exists(os.path.join(sys.argv[1], 'bin', 'python'))\n"
        "    except LadingError as error:\n"
        "        sys.exit(error.problems[0].rule != 'environment-removed')\n"
    )
    for _ in range(3):
        environment = create(lock)
        holders = [subprocess.Popen([sys.executable, "-c", code, environment.path], stderr=subprocess.PIPE, text=True) for _ in range(2)]
        deadline = time.monotonic() + 60
        while not prune():
            assert time.monotonic() < deadline
        for holder in holders:
            _, said = holder.communicate(timeout=60)
            assert holder.returncode == 0, said
