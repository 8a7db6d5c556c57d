"""From a plan to a lock, with the real uv and a real index."""

from __future__ import annotations

import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lading.locks.lockfile import read, write
from lading.model.events import Event, Phase
from lading.model.lock import Lock
from lading.model.plan import BoundIndex
from lading.model.problems import LadingError
from lading.model.requirements import IndexOptions
from lading.model.secrets import SecretUrl
from lading.model.target import Interpreter, Target
from lading.resolvers.command import uv_platform
from lading.resolvers.uv import resolve
from tests.environments.support import left_about
from tests.support.index import LocalIndex
from tests.support.plans import declared, local, plan_of
from tests.support.wheels import project, wheel

Resolve = Callable[..., Lock]


def write_tree(folder: Path, files: dict[str, str]) -> None:
    for path, text in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)


def commit(folder: Path) -> str:
    git = ["git", "-c", "user.name=A", "-c", "user.email=a@example.org"]
    for arguments in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "all"]):
        subprocess.run([*git, *arguments], cwd=folder, check=True)
    return subprocess.run([*git, "rev-parse", "HEAD"], cwd=folder, check=True, capture_output=True, text=True).stdout.strip()


def package(lock: Lock, name: str) -> dict[str, Any]:
    return dict(next(one for one in lock.packages if one["name"] == name))


def test_what_i_need_and_what_that_needs_is_locked_with_hashes(index: LocalIndex, lock: Resolve, events: list[Event]):
    other = index.add("other", "1.5")
    index.add("demo", "1.0", requires=["other>=1"], extras={"fast": ["speed"]})
    index.add("speed", "2.0")
    locked = lock(plan_of("demo[fast]>=1", index=index.url))
    assert locked.versions == {"demo": "1.0", "other": "1.5", "speed": "2.0"}
    (file,) = package(locked, "other")["wheels"]
    assert file == {"url": index.file_url(other), "size": len(other.content), "hashes": {"sha256": other.sha256}}
    assert [event.phase for event in events] == [Phase.STARTED, Phase.FINISHED]
    assert (events[-1].step, events[-1].done, events[-1].unit) == ("Resolving", 3, "packages")


def test_the_lock_says_who_needs_a_package_and_which_index_it_is_from(index: LocalIndex, lock: Resolve):
    index.add("demo", "1.0", requires=["corp", "other ; extra == 'no'"])
    index.add("corp", "1.0", to="private")
    index.add("corp", "9.0")
    index.add("bound", "1.0", to="special")
    index.add("linked", "1.0", to="links", requires=["demo"])
    private = SecretUrl(index.protect("private", "bob", "pw").replace("http://", "http://bob:pw@"))
    links = SecretUrl(index.links_of("links"))
    plan = plan_of(
        declared("bound", index=SecretUrl(index.url_of("special"))),
        "linked",
        options=IndexOptions(index_url=SecretUrl(index.url), extra_index_urls=(private,), find_links=(links,)),
    )
    locked = lock(plan)
    assert {one["name"]: one["index"] for one in locked.packages} == {
        "demo": index.url,
        "corp": index.url_of("private"),
        "bound": index.url_of("special"),
        "linked": index.links_of("links"),
    }
    needs = {one["name"]: [need["name"] for need in one.get("dependencies", ())] for one in locked.packages}
    assert needs == {"demo": ["corp"], "linked": ["demo"], "corp": [], "bound": []}
    assert read(write(locked), "pylock.lading.toml") == locked


def test_a_project_without_requirements_has_an_empty_lock(lock: Resolve):
    assert lock(plan_of()).packages == ()


def test_the_lock_is_the_same_bytes_each_time(index: LocalIndex, lock: Resolve, tmp_path: Path):
    index.add("demo", "1.0", requires=["other"])
    index.add("other", "1.0")
    index.add_sdist("other", "1.0")
    texts = {write(lock(plan_of("demo", index=index.url), cache_dir=tmp_path / str(number))) for number in range(2)}
    assert len(texts) == 1


def test_an_index_that_speaks_html_alone_gives_the_same_lock_without_sizes(index: LocalIndex, lock: Resolve, tmp_path: Path):
    index.add("demo", "1.0", requires=["other"])
    index.add("other", "1.0")
    spoken = write(lock(plan_of("demo", index=index.url), cache_dir=tmp_path / "json"))
    index["simple"].json = False
    in_html = write(lock(plan_of("demo", index=index.url), cache_dir=tmp_path / "html"))
    assert in_html == "".join(line for line in spoken.splitlines(keepends=True) if not line.startswith("size ="))


def test_a_marker_that_is_false_for_the_target_locks_nothing(index: LocalIndex, lock: Resolve):
    index.add("demo", "1.0")
    locked = lock(plan_of("demo", "only-windows ; sys_platform == 'win32'", index=index.url))
    assert locked.versions == {"demo": "1.0"}


def test_constraints_hold_versions_down(index: LocalIndex, lock: Resolve):
    index.add("demo", "1.0")
    index.add("demo", "2.0")
    assert lock(plan_of("demo", index=index.url, constraints=(declared("demo<2", path="constraints.txt"),))).versions == {"demo": "1.0"}


def test_prereleases_only_when_asked_for(index: LocalIndex, lock: Resolve):
    index.add("demo", "1.0")
    index.add("demo", "2.0rc1")
    plan = plan_of("demo", index=index.url)
    assert lock(plan).versions == {"demo": "1.0"}
    assert lock(replace(plan, options=replace(plan.options, pre=True))).versions == {"demo": "2.0rc1"}


def test_no_binary_and_only_binary_choose_the_files(index: LocalIndex, lock: Resolve):
    index.add("demo", "1.0")
    index.add_sdist("demo", "1.0")
    index.add("demo", "1.0", tag="cp311-cp311-win_amd64")
    plan = plan_of("demo", index=index.url)
    assert set(package(lock(plan), "demo")) == {"name", "version", "index", "sdist", "wheels"}
    assert len(package(lock(plan), "demo")["wheels"]) == 1
    assert "wheels" not in package(lock(replace(plan, options=replace(plan.options, no_binary=("demo",)))), "demo")
    assert "sdist" not in package(lock(replace(plan, options=replace(plan.options, only_binary=(":all:",)))), "demo")


def test_another_python_and_platform_than_this_one(index: LocalIndex, lock: Resolve):
    index.add("demo", "1.0", tag="cp38-cp38-macosx_11_0_arm64")
    index.add("demo", "2.0", requires_python=">=3.11")
    locked = lock(plan_of("demo", index=index.url, target=Target(python="3.8.18", platform="aarch64-apple-darwin")))
    assert locked.versions == {"demo": "1.0"}
    assert locked.document["requires-python"] == "==3.8.*"


@pytest.mark.parametrize(
    ("platform", "name"),
    [
        ("x86_64-manylinux_2_36", "x86_64-manylinux_2_36"),
        ("x86_64-manylinux_2_99", "x86_64-manylinux_2_40"),
        ("aarch64-manylinux_2_30", "aarch64-manylinux_2_28"),
        ("x86_64-manylinux_2_12", "x86_64-manylinux_2_17"),
        ("aarch64-apple-darwin", "aarch64-apple-darwin"),
    ],
)
def test_a_glibc_that_uv_has_no_name_for_is_the_next_lower_one(platform: str, name: str):
    assert uv_platform(platform) == name


def test_a_source_distribution_is_built_with_the_interpreter_of_the_project(index: LocalIndex, root: Path):
    index.add_sdist("demo", "1.0", requires=["other"], static=False)
    index.add("other", "1.0")
    python = Interpreter(path=sys.executable, version=".".join(map(str, sys.version_info[:3])))
    plan = plan_of("demo", index=index.url, target=Target(python=python.version, platform="x86_64-manylinux_2_28"))
    assert resolve(plan, python, root).versions == {"demo": "1.0", "other": "1.0"}


def test_a_folder_of_the_project_is_locked_by_its_relative_path(index: LocalIndex, lock: Resolve, root: Path):
    index.add("other", "1.0")
    write_tree(root / "libs" / "mine", project("mine", "0.1", requires=["other"], extras={"more": ["another"]}))
    index.add("another", "1.0")
    locked = lock(plan_of(local("./libs/mine", editable=True, extras=("more",)), index=index.url))
    mine = package(locked, "mine")
    assert mine["directory"] == {"path": "libs/mine", "editable": True}
    assert mine["dependencies"] == [{"name": "another"}, {"name": "other"}]
    assert locked.versions == {"other": "1.0", "another": "1.0"}
    assert locked.has_local_packages
    assert str(root) not in write(locked)


def test_a_wheel_in_the_project_and_a_wheelhouse(index: LocalIndex, lock: Resolve, root: Path):
    (root / "wheels").mkdir()
    for archive in (one := wheel("one", "1.0"), two := wheel("two", "1.0+local.1")):
        (root / "wheels" / archive.filename).write_bytes(archive.content)
    options = IndexOptions(index_url=SecretUrl(index.url), find_links=(SecretUrl("./wheels"),))
    locked = lock(plan_of(local(f"./wheels/{one.filename}"), "two", options=options))
    assert package(locked, "one")["archive"]["path"] == f"wheels/{one.filename}"
    assert package(locked, "two")["wheels"] == [{"path": f"wheels/{two.filename}", "hashes": {"sha256": two.sha256}}]
    assert str(root) not in write(locked)


def test_an_absolute_path_into_the_project_becomes_relative(index: LocalIndex, lock: Resolve, root: Path):
    write_tree(root / "mine", project("mine", "0.1"))
    locked = lock(plan_of(local(str(root / "mine"), name="mine"), index=index.url))
    assert package(locked, "mine")["directory"] == {"path": "mine"}


def test_a_folder_of_this_machine_alone_is_left_out_and_said(
    index: LocalIndex, lock: Resolve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    house = tmp_path / "house"
    house.mkdir()
    newer = wheel("demo", "9.0")
    (house / newer.filename).write_bytes(newer.content)
    index.add("demo", "1.0")
    monkeypatch.setenv("PIP_FIND_LINKS", str(house))
    options = IndexOptions(index_url=SecretUrl(index.url), find_links=(SecretUrl(str(house)),))
    locked = lock(plan_of("demo", options=options))
    assert locked.versions == {"demo": "1.0"}
    assert [decision.rule for decision in locked.decisions] == ["machine-folder-left-out"]
    assert str(house) not in write(locked)


def test_a_git_repository_is_locked_to_its_commit(index: LocalIndex, lock: Resolve, root: Path):
    write_tree(root / "repo" / "sub", project("mine", "0.1", requires=["other"]))
    hash_ = commit(root / "repo")
    index.add("other", "1.0")
    place = f"git+file://{root}/repo#subdirectory=sub".replace(" ", "%20")
    locked = lock(plan_of(declared(f"mine @ {place}", editable=True), index=index.url))
    assert package(locked, "mine")["vcs"] == {"type": "git", "path": "repo", "commit-id": hash_, "subdirectory": "sub"}
    assert [decision.rule for decision in locked.decisions] == ["git-not-editable"]


def test_torch_comes_from_its_own_index_and_nothing_else_does(index: LocalIndex, lock: Resolve):
    index.add("torch", "2.1.0")
    index.add("torch", "2.1.0+cpu", to="cpu")
    index.add("numpy", "1.0", to="cpu")
    index.add("numpy", "2.0")
    bound = (BoundIndex("pytorch", SecretUrl(index.url_of("cpu")), ("torch", "torchvision")),)
    locked = lock(plan_of("torch==2.1.0", "numpy", index=index.url, bound=bound))
    assert locked.versions == {"torch": "2.1.0+cpu", "numpy": "2.0"}


def test_torch_comes_from_its_index_too_when_only_another_package_wants_it(index: LocalIndex, lock: Resolve):
    index.add("torch", "2.1.0")
    index.add("torch", "2.1.0+cpu", to="cpu")
    index.add("lightning", "1.0", requires=["torch>=2"])
    bound = (BoundIndex("pytorch", SecretUrl(index.url_of("cpu")), ("torch",)),)
    assert lock(plan_of("lightning", index=index.url, bound=bound)).versions == {"lightning": "1.0", "torch": "2.1.0+cpu"}


def test_torch_that_only_its_own_index_has_and_only_another_package_wants(index: LocalIndex, lock: Resolve):
    index.add("torch", "2.1.0+cpu", to="cpu")
    index.add("lightning", "1.0", requires=["torch>=2"])
    bound = (BoundIndex("pytorch", SecretUrl(index.url_of("cpu")), ("torch",)),)
    assert lock(plan_of("lightning", index=index.url, bound=bound)).versions == {"lightning": "1.0", "torch": "2.1.0+cpu"}


def test_a_bound_package_under_a_false_marker_is_not_installed(index: LocalIndex, lock: Resolve):
    index.add("torch", "2.1.0+cpu", to="cpu")
    bound = (BoundIndex("pytorch", SecretUrl(index.url_of("cpu")), ("torch",)),)
    assert lock(plan_of("torch ; sys_platform == 'win32'", index=index.url, bound=bound)).packages == ()


def test_an_index_on_a_requirements_own_line_serves_that_line(index: LocalIndex, lock: Resolve):
    index.add("demo", "1.0", to="special")
    index.add("demo", "2.0")
    index.add("linked", "1.0+x", to="links")
    special = declared("demo", 1, index=SecretUrl(index.url_of("special")))
    linked = declared("linked", 2, find_links=SecretUrl(index.links_of("links")))
    assert lock(plan_of(special, linked, index=index.url)).versions == {"demo": "1.0", "linked": "1.0+x"}


def test_an_extra_index_that_lacks_the_version_is_passed_over_and_that_is_said(index: LocalIndex, lock: Resolve):
    index.add("numpy", "1.0", to="extra")
    index.add("numpy", "2.0")
    options = IndexOptions(index_url=SecretUrl(index.url), extra_index_urls=(SecretUrl(index.url_of("extra")),))
    assert lock(plan_of("numpy", options=options)).versions == {"numpy": "1.0"}
    locked = lock(plan_of("numpy>=2", options=options))
    assert locked.versions == {"numpy": "2.0"}
    assert [decision.rule for decision in locked.decisions] == ["searched-every-index"]


def test_no_public_package_takes_the_place_of_a_private_one(index: LocalIndex, lock: Resolve, root: Path):
    index.add("corp", "1.0", to="private")
    index.add("corp", "9.0")
    index.protect("private", "bob", "pw")
    private = SecretUrl(index.url_of("private", user="bob", password="pw"))
    options = IndexOptions(index_url=SecretUrl(index.url), extra_index_urls=(private,))
    assert lock(plan_of("corp", options=options)).versions == {"corp": "1.0"}
    with pytest.raises(LadingError) as caught:
        lock(plan_of("corp>=2", options=options))
    (problem,) = caught.value.problems
    assert (problem.rule, str(problem.origin)) == ("version-on-another-index", "requirements.txt:1")
    assert f"corp>=2 --index-url {index.url}" in (problem.instead or "")
    bound = declared("corp>=2", index=SecretUrl(index.url))
    assert lock(plan_of(bound, options=options)).versions == {"corp": "9.0"}


def test_what_was_locked_stays_until_an_upgrade_is_asked_for(index: LocalIndex, lock: Resolve, root: Path):
    write_tree(root / "mine", project("mine", "0.1"))
    index.add("demo", "1.0", requires=["other"])
    index.add("other", "1.0")
    plan = plan_of("demo", local("mine", 2), index=index.url)
    before = lock(plan)
    index.add("demo", "2.0", requires=["other"])
    index.add("other", "2.0")
    reread = read(write(before), "pylock.lading.toml")
    assert lock(plan, previous=reread) == before
    assert lock(plan, previous=reread, upgrade=frozenset({"other"})).versions == {"demo": "1.0", "other": "2.0"}
    assert lock(plan, previous=reread, upgrade=True).versions == {"demo": "2.0", "other": "2.0"}
    moved = plan_of("demo>=2", local("mine", 2), index=index.url)
    assert lock(moved, previous=reread).versions == {"demo": "2.0", "other": "1.0"}


def test_a_damaged_hash_in_the_old_lock_does_not_stop_a_new_one(index: LocalIndex, lock: Resolve):
    index.add("demo", "1.0")
    plan = plan_of("demo", index=index.url)
    old = lock(plan)
    spoiled = {
        **old.document,
        "packages": [{**old.packages[0], "wheels": [{"url": "http://x/demo-1.0-py3-none-any.whl", "hashes": {"sha256": "1"}}]}],
    }
    assert lock(plan, previous=replace(old, document=spoiled)) == old


def test_as_of_a_day_nothing_newer_is_seen(index: LocalIndex, lock: Resolve):
    for number, day in (("1.0", "2022-03-01"), ("2.0", "2024-03-01")):
        index.publish(wheel("demo", number), upload_time=f"{day}T00:00:00Z")
    locked = lock(plan_of("demo", index=index.url), as_of="2023-01-01T23:59:59Z")
    assert locked.versions == {"demo": "1.0"}
    assert locked.decisions == ()
    assert lock(plan_of("demo", index=index.url), as_of="2025-01-01T23:59:59Z").versions == {"demo": "2.0"}


def test_an_index_that_tells_no_dates_is_used_as_it_is_and_that_is_said(index: LocalIndex, lock: Resolve):
    index["build"].json = False
    index.add("torch", "2.1.0+cpu", to="build")
    index.add("linked", "3.0", to="links")
    index.publish(wheel("demo", "1.0"), upload_time="2022-03-01T00:00:00Z")
    plan = plan_of(
        "demo",
        "torch",
        "linked",
        options=IndexOptions(index_url=SecretUrl(index.url), find_links=(SecretUrl(index.links_of("links")),)),
        bound=(BoundIndex("pytorch", SecretUrl(index.url_of("build")), ("torch",)),),
    )
    locked = lock(plan, as_of="2023-01-01T23:59:59Z")
    assert locked.versions == {"demo": "1.0", "torch": "2.1.0+cpu", "linked": "3.0"}
    (decision,) = locked.decisions
    assert (decision.rule, decision.chose) == ("as-of-unknown", "any version of linked, torch")


def test_a_yanked_version_that_is_pinned_is_used_and_said(index: LocalIndex, lock: Resolve):
    index.add("demo", "1.0", yanked="breaks numpy")
    (decision,) = lock(plan_of("demo==1.0", index=index.url)).decisions
    assert (decision.rule, str(decision.origin)) == ("version-yanked", "requirements.txt:1")
    assert "breaks numpy" in decision.because


def test_declared_hashes_leave_only_their_files(index: LocalIndex, lock: Resolve):
    archive = index.add("demo", "1.0")
    index.add_sdist("demo", "1.0")
    index.add("free", "1.0")
    locked = lock(plan_of(declared("demo==1.0", hashes=(f"sha256:{archive.sha256}",)), "free", index=index.url))
    assert set(package(locked, "demo")) == {"name", "version", "index", "wheels"}


def test_build_settings_stay_with_their_package(index: LocalIndex, lock: Resolve):
    index.add_sdist("demo", "1.0", static=False)
    locked = lock(plan_of(declared("demo", options=(("--config-settings", "cuda=off"),)), index=index.url))
    assert package(locked, "demo")["tool"] == {"lading": {"config-settings": {"cuda": "off"}}}
    assert read(write(locked), "pylock.lading.toml") == locked


def test_settings_of_uv_and_pip_on_this_machine_do_not_change_the_lock(
    index: LocalIndex, lock: Resolve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    index.add("demo", "1.0")
    index.add("demo", "2.0")
    limits = tmp_path / "limits.txt"
    limits.write_text("demo<2\n")
    for name, value in {
        "UV_CONSTRAINT": str(limits),
        "UV_EXCLUDE_NEWER": "2001-01-01",
        "UV_RESOLUTION": "lowest",
        "UV_OFFLINE": "1",
    }.items():
        monkeypatch.setenv(name, value)
    assert lock(plan_of("demo", index=index.url)).versions == {"demo": "2.0"}


def test_offline_uses_what_was_downloaded_before(index: LocalIndex, lock: Resolve):
    index.add("demo", "1.0")
    plan = plan_of("demo", index=index.url)
    before = lock(plan)
    index.stop()
    assert lock(plan, offline=True) == before


def test_ctrl_c_while_an_index_is_slow_leaves_no_process_and_no_folder(index: LocalIndex, root: Path, tmp_path: Path):
    index["simple"].delay = 60
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    script = textwrap.dedent(f"""
        import tempfile
        from pathlib import Path
        from lading.resolvers.uv import resolve
        from tests.support.plans import plan_of
        tempfile.tempdir = {str(temporary)!r}
        resolve(plan_of("demo", index={index.url!r}), None, Path({str(root)!r}))
    """)
    repository = Path(__file__).parents[2]
    child = subprocess.Popen([sys.executable, "-c", script], cwd=repository, stderr=subprocess.PIPE, text=True)
    assert index.arrived.wait(60)
    child.send_signal(signal.SIGINT)
    _, complaint = child.communicate(timeout=60)
    assert "KeyboardInterrupt" in complaint
    assert list(temporary.iterdir()) == []
    assert left_about(temporary) == []
