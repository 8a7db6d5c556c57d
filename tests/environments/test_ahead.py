"""What is begun before the plan is known is taken over when the plan wants exactly that, and leaves no trace otherwise."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from lading.environments import ahead
from lading.environments.probe import probe
from lading.environments.store import prune
from lading.locks.lockfile import write
from lading.model.environment import Environment
from lading.model.events import Event, Phase
from lading.model.lock import Lock
from lading.model.problems import LadingError
from lading.model.requirements import IndexOptions
from lading.model.target import Interpreter
from tests.environments.conftest import snapshot
from tests.environments.support import FOUND, installed, left_about, lock_of, package
from tests.support.index import LocalIndex
from tests.support.plans import plan_of

Create = Callable[..., Environment]


@pytest.fixture
def demo(index: LocalIndex, interpreter: Interpreter) -> Lock:
    lock = lock_of(package(index, index.add("demo", "1.0")))
    return replace(lock, target={"python": interpreter.version})


@pytest.fixture(autouse=True)
def _nothing_is_left(lading_home: Path) -> Iterator[None]:
    yield
    if ahead.begun:
        ahead.begun.discard()
    assert [entry for entry in snapshot(lading_home) if not entry.startswith("envs")] == []


def begin(root: Path, lock: Lock) -> ahead.Ahead | None:
    (root / ahead.LOCK).write_text(write(lock))
    ahead.begin(str(root))
    return ahead.begun


def heard(events: list[Event]) -> list[str]:
    """What uv said in the ordinary way."""
    return [event.message for event in events if event.phase is Phase.PROGRESS]


@pytest.fixture
def cached(create: Create, demo: Lock) -> Lock:
    """The lock, with its files in uv's cache and no environment."""
    create(demo)
    prune()
    return demo


def test_it_is_taken_over(cached: Lock, root: Path, create: Create, events: list[Event], lading_home: Path):
    begun = begin(root, cached)
    assert begun is not None
    assert begun.wait()
    events.clear()
    environment = create(cached, ahead=begun)
    assert installed(environment) == {"demo": "1.0"}
    assert heard(events) == []
    assert [event.phase for event in events] == [Phase.STARTED, Phase.FINISHED]
    assert environment.path == str(lading_home / "envs" / environment.key)
    assert not Path(begun.environment).exists()


def test_it_is_taken_over_while_it_works(cached: Lock, root: Path, create: Create, events: list[Event]):
    begun = begin(root, cached)
    events.clear()
    assert installed(create(cached, ahead=begun)) == {"demo": "1.0"}
    assert heard(events) == []


def test_another_lock_is_installed_in_the_ordinary_way(cached: Lock, root: Path, create: Create, index: LocalIndex):
    begun = begin(root, cached)
    other = lock_of(package(index, index.add("other", "1.0")))
    assert installed(create(other, ahead=begun)) == {"other": "1.0"}


def test_options_that_choose_other_files_count(cached: Lock, root: Path, create: Create, events: list[Event]):
    begun = begin(root, cached)
    events.clear()
    create(cached, plan_of(options=IndexOptions(no_binary=("something",))), ahead=begun)
    assert heard(events) != []


@pytest.mark.skipif(len(FOUND) < 2, reason="this machine has one Python")
def test_another_python_counts(cached: Lock, root: Path, create: Create, interpreter: Interpreter):
    begun = begin(root, cached)
    other = next(one for one in FOUND.values() if one.version != interpreter.version)
    environment = create(cached, ahead=begun, interpreter=other)
    assert f"python{other.minor}" in str(next(Path(environment.path).glob("lib/*/site-packages")))


@pytest.mark.skipif(len(FOUND) < 2, reason="this machine has one Python")
def test_the_locks_python_is_used_where_it_is_known(cached: Lock, root: Path, create: Create, interpreter: Interpreter, lading_home: Path):
    other = next(one for one in FOUND.values() if one.version != interpreter.version)
    lock = replace(cached, target={"python": other.version})
    (lading_home / "interpreters.json").unlink(missing_ok=True)
    assert begin(root, lock) is None  # not known to be there
    probe([other.path])
    begun = begin(root, lock)
    assert begun is not None
    assert begun.python == os.path.realpath(other.path)
    environment = create(lock, ahead=begun, interpreter=other)
    assert installed(environment) == {"demo": "1.0"}


def test_what_was_not_downloaded_is_fetched_in_the_ordinary_way(
    demo: Lock, root: Path, create: Create, events: list[Event], lading_home: Path
):
    lading_home.mkdir(exist_ok=True)
    begun = begin(root, demo)
    assert begun is not None
    assert not begun.wait()
    assert installed(create(demo, ahead=begun)) == {"demo": "1.0"}
    assert heard(events) != []


def test_no_code_of_a_package_is_run(root: Path, create: Create, index: LocalIndex, interpreter: Interpreter, home: Path):
    lock = replace(lock_of(package(index, index.add_sdist("built", "1.0"))), target={"python": interpreter.version})
    create(lock)
    prune()
    for built in (home / "uv-cache").glob("sdists-*/**/*.whl"):
        shutil.rmtree(built, ignore_errors=True) if built.is_dir() else built.unlink()
    begun = begin(root, lock)
    assert begun is not None
    begun.wait()
    assert installed(create(lock, ahead=begun)) == {"built": "1.0"}


@pytest.mark.parametrize(
    "package_",
    [
        {"name": "local", "directory": {"path": "local"}},
        {"name": "mine", "vcs": {"type": "git", "url": "https://host.example/x.git", "commit-id": "0" * 40}},
        {
            "name": "told",
            "version": "1",
            "sdist": {"url": "https://host.example/told-1.tar.gz"},
            "tool": {"lading": {"config-settings": {}}},
        },
    ],
)
def test_what_needs_more_is_not_begun(root: Path, lading_home: Path, interpreter: Interpreter, package_: dict[str, object]):
    lading_home.mkdir(exist_ok=True)
    assert begin(root, replace(lock_of(package_), target={"python": interpreter.version})) is None


@pytest.mark.parametrize(
    "text", ["", "[tool.lading.target]\n", '\n[tool.lading.target]\npython = "9.9.9"\n', "\0", '\n[tool.lading.target]\npython = "']
)
def test_an_odd_lock_is_not_begun(root: Path, lading_home: Path, text: str):
    lading_home.mkdir(exist_ok=True)
    (root / ahead.LOCK).write_text(text)
    ahead.begin(str(root))
    assert ahead.begun is None


@pytest.mark.parametrize("content", ["", "[]", '{"interpreters": [1]}', json.dumps({"interpreters": {"a": {"version": "9.9.9"}}})])
def test_odd_answers_of_interpreters_are_not_used(root: Path, lading_home: Path, content: str):
    lading_home.mkdir(exist_ok=True)
    (lading_home / "interpreters.json").write_text(content)
    (root / ahead.LOCK).write_text('x = 1\n[tool.lading.target]\npython = "9.9.9"\n')
    ahead.begin(str(root))
    assert ahead.begun is None


def test_without_a_lock_or_a_store_nothing_is_begun(root: Path, demo: Lock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    ahead.begin(str(root))
    assert ahead.begun is None
    monkeypatch.setenv("LADING_HOME", str(tmp_path / "nowhere"))
    assert begin(root, demo) is None
    assert not (tmp_path / "nowhere").exists()


def test_thrown_away_in_the_midst_it_leaves_nothing(cached: Lock, root: Path, lading_home: Path):
    begun = begin(root, cached)
    assert begun is not None
    begun.discard()
    begun.discard()
    assert ahead.begun is None
    assert left_about(lading_home) == []
    assert snapshot(lading_home) == []


def test_what_a_killed_process_of_the_same_number_left_does_no_harm(
    cached: Lock, root: Path, create: Create, events: list[Event], lading_home: Path
):
    left = lading_home / "building" / f"ahead-{os.getpid()}" / "env"
    left.mkdir(parents=True)
    (left / "junk").write_text("")
    begun = begin(root, cached)
    events.clear()
    environment = create(cached, ahead=begun)
    assert heard(events) == []
    assert not Path(environment.path, "junk").exists()


def test_prune_leaves_it_alone(cached: Lock, root: Path, create: Create, events: list[Event]):
    begun = begin(root, cached)
    prune()
    events.clear()
    create(cached, ahead=begun)
    assert heard(events) == []


def test_a_package_that_the_lock_does_not_name_is_refused(cached: Lock, root: Path, create: Create):
    begun = begin(root, cached)
    assert begun is not None
    begun.wait()
    (site,) = Path(begun.environment).glob("lib/*/site-packages")
    (site / "extra-1.0.dist-info").mkdir()
    for name in ("RECORD", "METADATA"):
        (site / "extra-1.0.dist-info" / name).write_text("")
    with pytest.raises(LadingError) as caught:
        create(cached, ahead=begun)
    assert caught.value.problems[0].rule == "environment-incomplete"


def test_no_setting_of_the_user_but_the_cache_reaches_it(monkeypatch: pytest.MonkeyPatch):
    environ = {"UV_INDEX": "https://bob:pw@host/", "PIP_INDEX_URL": "x", "PYTHONPATH": "x", "UV_CACHE_DIR": "/cache", "A": "1"}
    kept = ahead._environ(environ)
    assert {name: value for name, value in kept.items() if name not in ahead._VARIABLES} == {"UV_CACHE_DIR": "/cache", "A": "1"}
    assert kept["UV_OFFLINE"] == "1"
