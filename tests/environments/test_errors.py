"""What cannot be built: one clear problem with the class of its exit code, the user's own line, and the store as it was."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from lading.environments.verify import Question, verify
from lading.model.environment import Environment
from lading.model.events import Event, Phase
from lading.model.lock import Lock
from lading.model.origin import Origin
from lading.model.problems import ExitCode, LadingError, Problem
from lading.model.target import Interpreter
from tests.environments.support import FOUND, Builder, installed, lock_of, package
from tests.support.index import LocalIndex
from tests.support.plans import plan_of
from tests.support.wheels import Archive, wheel

Create = Callable[..., Environment]
Fail = Callable[..., Problem]


@pytest.fixture
def demo(index: LocalIndex) -> Archive:
    return index.add("demo", "1.0")


def test_another_hash(index: LocalIndex, demo: Archive, fail: Fail, events: list[Event]):
    problem = fail(lock_of(package(index, demo, sha256="0" * 64)), plan_of("flask", "demo"))
    assert (problem.rule, problem.code, problem.origin) == ("hash-mismatch", ExitCode.RESOLUTION, Origin("requirements.txt", 2))
    assert problem.detail is not None
    assert demo.sha256 in problem.detail
    assert (events[-1].step, events[-1].phase) == ("Installing", Phase.FAILED)


def test_another_hash_than_that_of_the_cached_file(index: LocalIndex, demo: Archive, create: Create, fail: Fail):
    create(lock_of(package(index, demo)))
    problem = fail(lock_of(package(index, demo, sha256="0" * 64)))
    assert (problem.rule, problem.code) == ("hash-mismatch", ExitCode.RESOLUTION)


def test_a_wheel_for_another_machine(index: LocalIndex, fail: Fail):
    misfit = index.add("misfit", "1.0", tag="cp39-cp39-win_amd64")
    problem = fail(lock_of(package(index, misfit)), plan_of("misfit"))
    assert (problem.rule, problem.code, problem.origin) == ("wheel-does-not-fit", ExitCode.RESOLUTION, Origin("requirements.txt", 1))
    assert problem.why is not None
    assert "cp39" in problem.why


def test_a_lock_for_another_python(index: LocalIndex, demo: Archive, fail: Fail):
    problem = fail(lock_of(package(index, demo), python="==3.5.*"))
    assert (problem.rule, problem.code, problem.origin) == ("lock-for-another-python", ExitCode.LOCK, Origin("pylock.lading.toml"))
    assert "==3.5.*" in problem.what


def test_a_lock_that_uv_does_not_take(index: LocalIndex, demo: Archive, fail: Fail):
    problem = fail(lock_of({**package(index, demo), "index": "no address"}))
    assert (problem.rule, problem.code, problem.origin) == ("lock-damaged", ExitCode.LOCK, Origin("pylock.lading.toml"))
    assert "no address" in (problem.detail or "")


def test_a_build_that_fails_shows_its_last_lines_and_the_users_line(index: LocalIndex, fail: Fail):
    broken = index.add_sdist("broken", "1.0", fails_with="fatal error: ffi.h: No such file or directory")
    problem = fail(lock_of(package(index, broken)), plan_of("flask", "broken==1.0"))
    assert (problem.rule, problem.code, problem.origin) == ("build-failed", ExitCode.BUILD, Origin("requirements.txt", 2))
    assert problem.detail is not None
    assert problem.detail.endswith("fatal error: ffi.h: No such file or directory")


def test_a_build_that_fails_is_not_tried_twice(index: LocalIndex, fail: Fail, events: list[Event]):
    """The cache first, then the network: but only where that could help."""
    lock = lock_of(package(index, index.add_sdist("broken", "1.0", fails_with="no")))
    for _ in range(2):
        events.clear()
        fail(lock)
        assert [event.message for event in events if event.phase is Phase.OUTPUT] == ["Building broken==1.0"]


def test_an_index_that_is_down(index: LocalIndex, demo: Archive, fail: Fail):
    lock = lock_of(package(index, demo))
    host = index.host
    index.stop()
    problem = fail(lock)
    assert (problem.rule, problem.code) == ("index-unreachable", ExitCode.NETWORK)
    assert problem.what == f"{host} cannot be reached."


@pytest.mark.parametrize(
    ("status", "rule"), [(401, "index-asks-for-password"), (403, "index-asks-for-password"), (404, "url-not-found"), (500, "index-failing")]
)
def test_an_index_in_trouble(index: LocalIndex, demo: Archive, fail: Fail, status: int, rule: str):
    lock = lock_of(package(index, demo))
    index["simple"].status = status
    problem = fail(lock)
    assert (problem.rule, problem.code) == (rule, ExitCode.NETWORK)


def test_offline_what_was_never_downloaded(index: LocalIndex, demo: Archive, fail: Fail):
    problem = fail(lock_of(package(index, demo)), plan_of("demo"), offline=True)
    assert (problem.rule, problem.code) == ("offline-not-cached", ExitCode.NETWORK)
    assert problem.what.startswith("demo ")
    assert index.requests == []


def test_offline_what_was_downloaded_before(index: LocalIndex, demo: Archive, create: Create, lading_home: Path):
    create(lock_of(package(index, demo)))
    shutil.rmtree(lading_home)
    index.stop()
    assert not create(lock_of(package(index, demo)), offline=True).reused


def test_a_folder_that_is_not_there(fail: Fail):
    problem = fail(lock_of({"name": "local", "directory": {"path": "nowhere"}}))
    assert (problem.rule, problem.code) == ("path-not-found", ExitCode.RESOLUTION)
    assert problem.what == "There is no ./nowhere."


def test_a_file_that_is_not_there(fail: Fail):
    file = {"path": "wheels/demo-1.0-py3-none-any.whl", "hashes": {"sha256": "0" * 64}}
    problem = fail(lock_of({"name": "demo", "version": "1.0", "wheels": [file]}))
    assert (problem.rule, problem.code) == ("path-not-found", ExitCode.RESOLUTION)
    assert problem.what == "There is no ./wheels/demo-1.0-py3-none-any.whl."


def test_what_nobody_knows_is_shown_as_it_is(fail: Fail):
    problem = fail(lock_of({"name": "demo", "version": "1.0", "wheels": [{"url": "nonsense://x/demo-1.0-py3-none-any.whl", "hashes": {}}]}))
    assert problem.code in (ExitCode.BUILD, ExitCode.NETWORK)
    assert problem.detail or problem.why


@pytest.mark.parametrize("spoil", ["file", "missing"])
def test_a_store_that_cannot_be_written(
    index: LocalIndex, demo: Archive, create: Create, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spoil: str
):
    place = tmp_path / "store"
    place.write_text("not a folder")
    monkeypatch.setenv("LADING_HOME", str(place if spoil == "file" else place / "below"))
    with pytest.raises(LadingError) as caught:
        create(lock_of(package(index, demo)))
    (problem,) = caught.value.problems
    assert (problem.rule, problem.origin) == ("store-not-writable", Origin("LADING_HOME"))
    assert str(place) in problem.what
    assert place.read_text() == "not a folder"


@pytest.mark.parametrize("megabytes", [0, 1])
def test_a_full_disk(index: LocalIndex, interpreter: Interpreter, root: Path, tmp_path: Path, megabytes: int):
    """A store of its own small file system: full before uv begins, or while it works."""
    small = tmp_path / "small"
    small.mkdir()
    size = "16k" if megabytes == 0 else "1m"
    mounted = ["unshare", "-Urm", "sh", "-c", f'mount -t tmpfs -o size={size} none "$0" && exec "$@"', str(small)]
    if shutil.which("unshare") is None or subprocess.run([*mounted, "true"], check=False, capture_output=True).returncode:
        pytest.skip("this machine lets nobody mount a file system of his own")
    large = index.publish(wheel("large", "1.0", files={"large/data.bin": bytes(4_000_000)}))
    builder = Builder(lock_of(package(index, large)), interpreter, root, before=mounted, LADING_HOME=str(small / "lading"))
    (problem,) = builder.result()["problems"]
    assert (problem["rule"], problem["exit_code"]) == ("disk-full", ExitCode.BUILD)


def test_the_python_went_away(index: LocalIndex, demo: Archive, fail: Fail, tmp_path: Path, interpreter: Interpreter):
    problem = fail(lock_of(package(index, demo)), interpreter=Interpreter(path=str(tmp_path / "python"), version=interpreter.version))
    assert problem.rule == "python-does-not-run"
    assert str(tmp_path / "python") in problem.what


# What uv says is finished is looked at


def differences(environment: Environment, lock: Lock, interpreter: Interpreter) -> str:
    place = Path(environment.path)
    with pytest.raises(LadingError) as caught, Question(place) as question:
        verify(place, lock, question.differences(interpreter))
    (problem,) = caught.value.problems
    assert (problem.rule, problem.code) == ("environment-incomplete", ExitCode.BUILD)
    return problem.why or ""


def test_a_package_that_is_missing_or_other(index: LocalIndex, demo: Archive, create: Create, interpreter: Interpreter):
    lock = lock_of(package(index, demo), package(index, index.add("other", "1.0")))
    environment = create(lock)
    wanted = lock_of({"name": "Demo", "version": "2.0"}, {"name": "missing"}, {"name": "elsewhere", "marker": "sys_platform == 'win32'"})
    why = differences(environment, wanted, interpreter)
    assert why == "Other is installed and not in the lock; demo 1.0 is installed, the lock has 2.0; missing is missing."


def test_a_record_that_is_missing(index: LocalIndex, demo: Archive, create: Create, interpreter: Interpreter):
    lock = lock_of(package(index, demo))
    environment = create(lock)
    (record,) = Path(environment.path).glob("lib/*/site-packages/demo-1.0.dist-info/RECORD")
    record.unlink()
    assert differences(environment, lock, interpreter) == "Demo is missing."


@pytest.mark.parametrize("text", ["#!/bin/sh\necho broken >&2; exit 3\n", "not a program"])
def test_a_python_that_does_not_run(create: Create, interpreter: Interpreter, text: str):
    environment = create(lock_of())
    python = Path(environment.python)
    python.unlink()
    python.write_text(text)
    python.chmod(0o755)
    assert differences(environment, lock_of(), interpreter).startswith("Its Python does not run: ")


@pytest.mark.skipif(len(FOUND) < 2, reason="this machine has one Python")
def test_another_python_than_asked_for(create: Create, interpreter: Interpreter):
    environment = create(lock_of())
    other = next(one for one in FOUND.values() if one.version != interpreter.version)
    assert f"not {other.version}" in differences(environment, lock_of(), other)


def test_versions_that_are_spelled_otherwise_are_the_same(index: LocalIndex, create: Create):
    archive = index.add("demo", "1.0.0+cpu.x")
    environment = create(lock_of({**package(index, archive), "version": "1.0.0+cpu-x"}))
    assert installed(environment) == {"demo": "1.0.0+cpu.x"}
