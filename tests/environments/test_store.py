"""The store: an environment is built once, is what its lock names, is found again, and can be removed when nobody uses it."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lading.environments.store import hold, list_environments, prune
from lading.model.decisions import Decision, Kind
from lading.model.environment import Environment
from lading.model.events import Event, Phase
from lading.model.lock import Lock
from lading.model.problems import LadingError
from lading.model.requirements import IndexOptions
from lading.model.target import Interpreter
from tests.environments.conftest import snapshot
from tests.environments.support import FOUND, installed, lock_of, package, run_in
from tests.support.index import LocalIndex
from tests.support.plans import plan_of
from tests.support.wheels import project, sdist, wheel

Create = Callable[..., Environment]


@pytest.fixture
def demo(index: LocalIndex) -> Lock:
    """A lock of two packages, one with a command."""
    tool = index.add("tool", "2.0", entry_points={"greet": "tool:main"}, files={"tool/__init__.py": "def main():\n    print('hello')\n"})
    return lock_of(package(index, index.add("demo", "1.0")), package(index, tool))


def test_an_environment_is_what_the_lock_names_and_nothing_else(demo: Lock, create: Create, lading_home: Path):
    environment = create(demo)
    assert not environment.reused
    assert installed(environment) == {"demo": "1.0", "tool": "2.0"}
    assert environment.path == str(lading_home / "envs" / environment.key)
    assert environment.python == str(lading_home / "envs" / environment.key / "bin" / "python")
    assert run_in(environment, "import demo, sys; print(demo.__version__, sys.prefix)") == f"1.0 {environment.path}"
    assert run_in(environment, "import importlib.util as u; print(u.find_spec('lading'), u.find_spec('lading_worker'))") == "None None"
    assert snapshot(lading_home) == [f"envs/{environment.key}"]


def test_its_commands_run_where_it_lies(demo: Lock, create: Create):
    done = subprocess.run([Path(create(demo).path, "bin", "greet")], capture_output=True, text=True, check=True)
    assert done.stdout == "hello\n"


def test_the_second_time_it_is_found_without_uv_and_without_the_index(demo: Lock, create: Create, index: LocalIndex, events: list[Event]):
    first = create(demo)
    asked = len(index.requests)
    events.clear()
    second = create(demo)
    assert second == replace(first, reused=True)
    assert (len(index.requests), events) == (asked, [])


def test_an_empty_lock_gives_an_empty_environment(create: Create):
    environment = create(lock_of())
    assert installed(environment) == {}
    assert run_in(environment, "print(1)") == "1"


def test_progress_is_told(index: LocalIndex, create: Create, events: list[Event], interpreter: Interpreter):
    large = index.publish(wheel("large", "1.0", files={"large/data.bin": os.urandom(3_000_000)}))
    built = index.add_sdist("built", "1.0")
    create(lock_of(package(index, large), package(index, built), package(index, index.add("small", "1.0"))))
    steps = [(event.step, event.phase) for event in events]
    assert steps[0] == ("Installing", Phase.STARTED)
    assert steps[-1] == ("Installing", Phase.FINISHED)
    assert events[0].message == events[-1].message == f"3 packages for Python {interpreter.version}"
    downloads = [event for event in events if event.step == "Downloading"]
    assert downloads[0].phase is Phase.STARTED
    assert any(event.message.startswith("large (2.9MiB)") for event in downloads)
    assert (downloads[-1].phase, downloads[-1].message, downloads[-1].done) == (Phase.FINISHED, "1 large file", 1)
    assert any(event.phase is Phase.OUTPUT and event.message == "Built built==1.0" for event in events)
    counts = [(event.done, event.total) for event in events if event.step == "Installing" and event.phase is Phase.PROGRESS]
    assert counts[-1] == (3, 3)


def test_files_are_hard_links_into_the_cache(demo: Lock, create: Create):
    (module,) = Path(create(demo).path).glob("lib/*/site-packages/demo/__init__.py")
    assert module.stat().st_nlink == 2


def test_a_cache_on_another_disk_is_copied_from_without_a_word(
    demo: Lock, create: Create, events: list[Event], lading_home: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    memory = Path("/dev/shm")
    if not memory.is_dir() or memory.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("this machine has no second file system at /dev/shm")
    cache = memory / f"lading-test-{os.getpid()}"
    monkeypatch.setenv("UV_CACHE_DIR", str(cache))
    try:
        (module,) = Path(create(demo).path).glob("lib/*/site-packages/demo/__init__.py")
    finally:
        subprocess.run(["rm", "-rf", cache], check=True)
    assert module.read_text() == '__version__ = "1.0"\n'
    assert not any("link" in event.message for event in events)


@pytest.mark.parametrize("minor", [f"3.{minor}" for minor in range(6, 15)])
def test_every_python_from_3_6_on(minor: str, demo: Lock, create: Create):
    if minor not in FOUND:
        pytest.skip(f"this machine has no CPython {minor}")
    environment = create(demo, interpreter=FOUND[minor])
    assert run_in(environment, "import sys, demo; print(sys.version.split()[0], demo.__version__)") == f"{FOUND[minor].version} 1.0"
    assert subprocess.run([Path(environment.path, "bin", "greet")], capture_output=True, text=True, check=True).stdout == "hello\n"


# What an environment is found by


def decided(lock: Lock) -> Lock:
    decision = Decision(rule="r", kind=Kind.CHOSEN, subject="s", asked="a", chose="c", because="b")
    return replace(lock, decisions=(decision,), fingerprint="another", sources={"requirements.txt": "0" * 64}, tools={"uv": "0"})


def mirrored(lock: Lock) -> Lock:
    def moved(one: Mapping[str, Any]) -> dict[str, Any]:
        (file,) = one["wheels"]
        return {**one, "wheels": [{**file, "url": file["url"].replace("http://127.0.0.1", "https://mirror"), "size": 1}]}

    return replace(lock, document={**lock.document, "created-by": "uv", "packages": [moved(one) for one in lock.packages]})


@pytest.mark.parametrize("change", [decided, mirrored])
def test_what_does_not_change_the_content_does_not_count(demo: Lock, create: Create, change: Callable[[Lock], Lock]):
    first = create(demo)
    assert create(change(demo)) == replace(first, reused=True)


def test_other_content_is_another_environment(demo: Lock, index: LocalIndex, create: Create):
    keys = {create(demo).key}
    keys.add(create(lock_of(*demo.packages[:1])).key)
    other = wheel("demo", "1.0", files={"demo/more.py": ""})
    index.publish(other, to="other")
    keys.add(create(lock_of(package(index, other, "other"), demo.packages[1])).key)
    keys.add(create(demo, plan_of(options=IndexOptions(no_binary=("something-else",)))).key)
    assert len(keys) == 4


@pytest.mark.skipif(len(FOUND) < 2, reason="this machine has one Python")
def test_another_python_is_another_environment(demo: Lock, create: Create):
    first, second, *_ = FOUND.values()
    assert create(demo, interpreter=first).key != create(demo, interpreter=second).key


def test_a_damaged_environment_is_built_again(demo: Lock, create: Create):
    environment = create(demo)
    Path(environment.path, "lading.json").unlink()
    (module,) = Path(environment.path).glob("lib/*/site-packages/demo/__init__.py")
    module.unlink()
    again = create(demo)
    assert (again.path, again.reused) == (environment.path, False)
    assert run_in(again, "import demo; print(demo.__version__)") == "1.0"


# Packages of the project itself


def write_package(folder: Path, text: str, **options: object) -> None:
    for path, content in project("local", "0.1", files={"local/__init__.py": text}, **options).items():  # type: ignore[arg-type]
        place = folder / path
        place.parent.mkdir(parents=True, exist_ok=True)
        if not place.exists() or path != "pyproject.toml":  # its time stays, which is all that uv looks at
            place.write_text(text if path == "local/__init__.py" else content)


def test_a_folder_of_the_project_is_built_again_when_its_sources_change(root: Path, create: Create):
    lock = lock_of({"name": "local", "directory": {"path": "local"}})
    write_package(root / "local", "STATE = 1\n")
    first = create(lock)
    assert run_in(first, "import local; print(local.STATE)") == "1"
    assert create(lock).reused
    write_package(root / "local", "STATE = 'changed'\n")  # of another length: the build's own bytecode goes by seconds
    second = create(lock)
    assert (second.reused, run_in(second, "import local; print(local.STATE)")) == (False, "changed")
    assert [one.key for one in list_environments()] == [second.key]  # the state before is of no more use


def test_it_is_built_again_when_data_in_it_change(root: Path, create: Create):
    lock = lock_of({"name": "local", "directory": {"path": "local"}})
    write_package(root / "local", "STATE = 1\n")
    (root / "local" / "local" / "labels.json").write_text("[]")
    create(lock)
    assert create(lock).reused
    (root / "local" / "local" / "labels.json").write_text("[1]")
    assert not create(lock).reused


def test_the_state_before_stays_while_it_is_used(root: Path, create: Create):
    lock = lock_of({"name": "local", "directory": {"path": "local"}})
    write_package(root / "local", "STATE = 1\n")
    first = create(lock)
    write_package(root / "local", "STATE = 2\n")
    with hold(first):
        second = create(lock)
    assert {one.key for one in list_environments()} == {first.key, second.key}


def test_an_editable_folder_shows_every_change_and_is_built_once(root: Path, create: Create, index: LocalIndex):
    lock = lock_of({"name": "local", "directory": {"path": "local", "editable": True}})
    folder = root / "local"
    link = {"local_link.pth": f"{folder}\n"}
    for path, content in project("local", "0.1", files=link).items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(content)
    first = create(lock)
    (folder / "state.py").write_text("STATE = 'new'\n")
    assert run_in(first, "import state; print(state.STATE)") == "new"
    assert create(lock).reused
    (folder / "pyproject.toml").write_text((folder / "pyproject.toml").read_text() + "\n# other metadata\n")
    assert not create(lock).reused


def test_two_checkouts_have_an_environment_each(tmp_path: Path, create: Create, root: Path):
    lock = lock_of({"name": "local", "directory": {"path": "local"}})
    other = tmp_path / "elsewhere"
    for folder in (root, other):
        write_package(folder / "local", "STATE = 1\n")
    first, second = create(lock), create(lock, root=other)
    assert first.key != second.key
    assert {one.checkout for one in list_environments()} == {str(root), str(other)}


def test_a_wheel_of_the_project_is_found_from_its_folder(root: Path, create: Create):
    archive = wheel("demo", "3.0")
    (root / "wheels").mkdir()
    (root / "wheels" / archive.filename).write_bytes(archive.content)
    file = {"path": f"wheels/{archive.filename}", "hashes": {"sha256": archive.sha256}}
    environment = create(lock_of({"name": "demo", "version": "3.0", "wheels": [file]}))
    assert installed(environment) == {"demo": "3.0"}
    assert list_environments()[0].checkout is None


def test_config_settings_reach_the_build(index: LocalIndex, create: Create):
    tree = sdist("told", "1.0")
    index.publish(tree)
    told = {**package(index, tree), "tool": {"lading": {"config-settings": {"speed": "high"}}}}
    assert installed(create(lock_of(told))) == {"told": "1.0"}


# What the store tells, and removing


def test_the_list_says_what_is_there(demo: Lock, create: Create):
    before = time.time() - 1
    environment = create(demo)
    (stored,) = list_environments()
    assert (stored.key, stored.path, stored.packages, stored.held) == (environment.key, environment.path, 2, False)
    assert before < stored.created <= stored.used + 1
    assert stored.bytes >= sum(len(file) for file in contents(environment.path))
    assert set(stored.as_json()) == {"key", "path", "python_version", "packages", "bytes", "created", "used", "held"}
    with hold(environment):
        assert list_environments()[0].held


def contents(folder: str) -> Iterable[bytes]:
    return [path.read_bytes() for path in Path(folder).rglob("*") if path.is_file() and not path.is_symlink()]


def test_nothing_is_in_a_store_that_is_not_there():
    assert list_environments() == ()
    assert prune() == ()


def test_prune_removes_what_was_not_used_for_long(demo: Lock, create: Create, lading_home: Path):
    old, new = create(demo), create(lock_of(demo.packages[0]))
    long_ago = time.time() - 1000
    os.utime(Path(old.path, "lading.json"), (long_ago, long_ago))
    assert [one.key for one in prune(older_than=500, dry_run=True)] == [old.key]
    assert len(list_environments()) == 2
    assert [one.key for one in prune(older_than=500)] == [old.key]
    assert snapshot(lading_home) == [f"envs/{new.key}"]


@pytest.mark.parametrize("use", ["create", "hold"])
def test_using_an_environment_keeps_it_young(demo: Lock, create: Create, use: str):
    environment = create(demo)
    long_ago = time.time() - 1000
    os.utime(Path(environment.path, "lading.json"), (long_ago, long_ago))
    if use == "create":
        assert create(demo).reused
    else:
        with hold(environment):
            pass
    assert prune(older_than=500) == ()


def test_prune_leaves_what_is_held(demo: Lock, create: Create):
    environment = create(demo)
    with hold(environment):
        assert prune() == ()
        assert run_in(environment, "import demo; print(demo.__version__)") == "1.0"
    assert [one.key for one in prune()] == [environment.key]


def test_several_hold_the_same(demo: Lock, create: Create):
    environment = create(demo)
    with hold(environment, environment):
        with hold(environment):
            assert prune() == ()
        assert prune() == ()
    assert len(prune()) == 1


def test_what_was_removed_cannot_be_held(demo: Lock, create: Create):
    environment = create(demo)
    prune()
    with pytest.raises(LadingError) as caught, hold(environment):
        pass
    assert caught.value.problems[0].rule == "environment-removed"
    assert not create(demo).reused


def test_prune_sweeps_what_killed_processes_left(demo: Lock, create: Create, lading_home: Path):
    environment = create(demo)
    for folder in ("building/py311-0", "removed/py311-0-1-2"):
        (lading_home / folder / "env").mkdir(parents=True)
    assert prune(older_than=1000) == ()
    assert snapshot(lading_home) == [f"envs/{environment.key}"]
