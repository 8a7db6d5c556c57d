"""Conda packages solved, as a lock holds them; what cannot be solved, in the user's lines."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from lading.locks.lockfile import read, write
from lading.model.events import Phase
from lading.model.lock import Lock
from lading.model.problems import ExitCode
from tests.conda.conftest import MINOR, PYTHON, TAG, Channels, Project, conda_of
from tests.support.command import lading
from tests.support.conda_channel import Served


def environment(*lines: str, channels: str = "") -> dict[str, str]:
    return {"environment.yml": f"{channels}dependencies:\n" + "".join(f"  - {line}\n" for line in lines)}


def conda(lock: Lock) -> dict[str, str]:
    return {package.name: f"{package.version} {package.build}" for package in conda_of(lock).packages}


def test_a_solution_is_locked_with_urls_and_hashes_under_our_own_table(project: Project, channels: Channels):
    project.write(environment(f"python={MINOR}", "rdkit"))
    lock = project.lock()
    assert conda(lock) == {
        "boost-cpp": "1.84.0 h1_0",
        "numpy": f"1.26.4 {TAG}_0",
        "python": f"{PYTHON} 0_cpython",
        "rdkit": f"2024.3.1 {TAG}_0",
    }
    text = (project.root / "pylock.lading.toml").read_text()
    assert read(text, "pylock.lading.toml") == lock
    assert write(read(text, "pylock.lading.toml")) == text
    for package in conda_of(lock).packages:
        assert len(package.sha256) == 64
        assert package.url.startswith(channels.main.url)
    assert lock.target["python"] == PYTHON
    assert lock.tools["py-rattler"]
    assert f"environment.yml:2: python={MINOR}" in lock.requirements


def test_solving_again_changes_nothing_and_an_upgrade_forgets(project: Project):
    project.write(environment("numpy=1.24.4", f"python={MINOR}"))
    project.lock()
    project.write(environment("numpy", f"python={MINOR}"))
    assert conda(project.lock())["numpy"] == f"1.24.4 {TAG}_0"
    assert conda(project.lock(upgrade=frozenset({"numpy"})))["numpy"] == f"2.0.0 {TAG}_0"
    assert project.lock() == project.lock()


def test_without_a_python_in_the_list_the_project_says_which(project: Project):
    project.write({**environment("numpy"), ".python-version": f"{MINOR}\n"})
    assert conda_of(project.lock()).python == PYTHON
    project.write({".python-version": "3.7\n"})
    problem = project.problem(upgrade=True)
    assert (problem.rule, str(problem.origin)) == ("conda-version-not-found", ".python-version:1")


def test_the_python_in_the_list_rules_over_a_file_for_other_tools(project: Project):
    project.write({**environment("numpy", f"python={MINOR}"), ".python-version": "3.7\n"})
    assert conda_of(project.lock()).python == PYTHON


def test_an_accelerator_is_asked_of_the_target_and_not_of_this_machine(project: Project):
    project.write(environment("pytorch"))
    assert conda(project.lock(accelerator="cpu"))["pytorch"] == f"2.1.0 cpu_{TAG}_0"
    lock = project.lock(accelerator="cu121")
    assert conda(lock)["pytorch"] == f"2.1.0 cuda121_{TAG}_1"
    assert "__cuda=12.1=0" in conda_of(lock).virtual
    (decision,) = [one for one in lock.decisions if one.rule == "conda-build-chosen"]
    assert decision.because == "it is for CUDA 12.1, Python 3.11".replace("3.11", MINOR)
    assert (project.root / "pylock.lading-cu121.toml").exists()


def test_a_build_that_the_target_cannot_run_is_a_problem(project: Project):
    project.write(environment("pytorch=2.1.0=cuda*"))
    problem = project.problem(accelerator="cpu")
    assert problem.rule == "conda-not-for-target"
    assert problem.what == "pytorch needs a GPU with CUDA >=12.1, and the target has none."
    assert "--accelerator" in (problem.instead or "")


def test_two_builds_of_one_version_are_told_apart(project: Project):
    project.write(environment("blas=1.0=openblas", "six"))
    assert conda(project.lock())["blas"] == "1.0 openblas"
    project.write(environment("blas", "six"))
    assert conda(project.lock(upgrade=True))["blas"] == "1.0 mkl"


def test_a_run_constraint_counts(project: Project):
    project.write(environment("legacy", "numpy"))
    assert conda(project.lock())["numpy"].startswith("1.24.4")


def test_names_that_no_channel_has_are_all_told_with_their_neighbours(project: Project):
    project.write(environment("rdkitt", "nump", "six"))
    first, second = project.problems()
    assert (first.rule, str(first.origin), first.code) == ("conda-package-not-found", "environment.yml:2", ExitCode.RESOLUTION)
    assert "Packages of like names: rdkit." in (first.why or "")
    assert (second.instead or "").startswith("Write numpy, or add")


def test_a_version_that_does_not_exist_is_told_with_those_that_do(project: Project):
    project.write(environment("numpy=1.27"))
    problem = project.problem()
    assert (problem.rule, str(problem.origin)) == ("conda-version-not-found", "environment.yml:2")
    assert problem.why == "The channels have 1.24.4, 1.26.4, 2.0.0."
    assert problem.instead == "Write numpy=2.0.0, or another version that exists, or add a channel that has this one."


def test_lines_that_contradict_each_other_are_named(project: Project):
    project.write(environment("rdkit", "six", "numpy>=2"))
    problem = project.problem()
    assert problem.rule == "conda-requirements-conflict"
    assert set(problem.what.split(" cannot")[0].split(" and ")) == {"rdkit", "numpy"}
    assert "environment.yml:2: rdkit\nenvironment.yml:4: numpy>=2\n" in (problem.detail or "")
    assert "six" not in (problem.detail or "")


def test_channels_count_in_their_order(project: Project, channels: Channels):
    both = f"channels:\n  - {channels.private.url}\n  - {channels.main.url}\n"
    project.write(environment("numpy", channels=both))
    assert conda(project.lock())["numpy"] == "2.0.0 corp_7"
    other = f"channels:\n  - {channels.main.url}\n  - {channels.private.url}\n"
    project.write(environment("numpy", channels=other))
    assert conda(project.lock(upgrade=True))["numpy"] == f"2.0.0 {TAG}_0"


def test_one_package_may_come_from_a_channel_of_its_own(project: Project, channels: Channels):
    project.write(environment(f"{channels.private.url}::numpy", "six"))
    lock = project.lock()
    assert conda(lock)["numpy"] == "2.0.0 corp_7"
    assert [package.name for package in conda_of(lock).packages if package.url.startswith(channels.private.url)] == ["numpy"]


def test_a_strict_priority_is_kept_and_a_flexible_one_yields_with_a_word(project: Project, channels: Channels):
    first = channels.old.url if channels.old_python else channels.main.url
    both = f"channels:\n  - {first}\n  - {channels.private.url}\n  - {channels.main.url}\n"
    lines = (f"python={MINOR}", "corp")
    project.write(environment(*lines, channels=both))
    lock = project.lock()
    assert conda(lock)["corp"] == "1.0 0"
    if channels.old_python:
        assert "conda-priority-relaxed" in [decision.rule for decision in lock.decisions]
        project.write(environment(*lines, channels=both + "channel_priority: strict\n"))
        assert project.problem(upgrade=True).rule in ("conda-requirements-conflict", "conda-version-not-found")


def test_a_list_of_another_platform_loses_its_builds_with_a_word(project: Project):
    header = (
        "# This file may be used to create an environment using:\n# $ conda create --name <env> --file <this file>\n# platform: osx-64\n"
    )
    listed = "numpy=1.26.4=py311h4fd60f9_0\nlibgfortran-osx=5.0.0=1_0\nsix=1.16.0=0\n"
    project.write({"conda-packages.txt": header + listed})
    lock = project.lock()
    assert conda(lock)["numpy"] == f"1.26.4 {TAG}_0"
    (decision,) = [one for one in lock.decisions if one.rule == "conda-builds-dropped"]
    assert decision.asked == "numpy=1.26.4=py311h4fd60f9_0, libgfortran-osx=5.0.0=1_0, six=1.16.0=0"
    assert decision.because == "the list was made on osx-64, whose builds do not exist for linux-64"
    (left_out,) = [one for one in lock.decisions if one.rule == "conda-packages-of-another-platform"]
    assert left_out.asked == "libgfortran-osx"


def test_frozen_builds_that_are_gone_are_exchanged_with_a_word(project: Project):
    project.write({"conda-packages.txt": "numpy=1.26.4=py311h4fd60f9_0\nsix=1.16.0=0\n"})
    lock = project.lock()
    assert conda(lock) | {"python": ""} == {"numpy": f"1.26.4 {TAG}_0", "six": "1.16.0 0", "python": ""}
    (decision,) = [one for one in lock.decisions if one.rule == "conda-builds-dropped"]
    assert decision.subject == "numpy"
    assert f"there are {TAG}_0" in decision.because


def test_progress_is_told_channel_by_channel(project: Project, channels: Channels):
    first, second = channels.main.url, channels.private.url
    project.write(environment("six", channels=f"channels:\n  - {first}\n  - {second}\n"))
    project.lock()
    told = [event for event in project.events if event.step == "Resolving conda packages"]
    assert [event.phase for event in told] == [Phase.STARTED, *3 * [Phase.PROGRESS], Phase.FINISHED]
    assert [(event.done, event.total, event.unit) for event in told[1:-1]] == [(0, 2, "channels"), (1, 2, "channels"), (2, 2, "channels")]
    assert told[2].message in (f"reading {first}", f"reading {second}")
    assert told[3].message in (f"{first} is read", f"{second} is read")


def test_every_channel_that_does_not_answer_is_named_at_once(project: Project):
    places = ("https://127.0.0.1:1/one", "https://127.0.0.1:1/two")
    project.write(environment("six", channels="channels:\n" + "".join(f"  - {place}\n" for place in places)))
    problems = project.problems()
    assert {problem.rule for problem in problems} == {"conda-channel-unreachable"}
    assert [any(place in problem.what for problem in problems) for place in places] == [True, True]


@pytest.mark.parametrize("line", ["https://127.0.0.1:1/nothing", "file:///no/such/channel"])
def test_a_channel_that_does_not_answer_is_named(project: Project, line: str):
    project.write(environment("six", channels=f"channels:\n  - {line}\n"))
    problem = project.problem()
    assert (problem.rule, problem.code) == (
        "conda-channel-not-found" if line.startswith("file") else "conda-channel-unreachable",
        ExitCode.NETWORK,
    )
    assert line in problem.what
    assert str(problem.origin) == "environment.yml:2"


def test_a_channel_of_the_configuration_is_named_by_its_line_there(project: Project):
    project.write({**environment("six"), ".condarc": "channel_priority: strict\nchannels:\n  - https://127.0.0.1:1/nothing\n"})
    assert str(project.problem().origin) == ".condarc:3"


def test_a_page_in_place_of_an_index_is_told_as_one(project: Project, tmp_path: Path):
    for subdir in ("noarch", "linux-64"):
        (tmp_path / "page" / subdir).mkdir(parents=True)
        (tmp_path / "page" / subdir / "repodata.json").write_text("<html>Please log in.</html>")
    project.write(environment("six", channels=f"channels: [{(tmp_path / 'page').as_uri()}]\n"))
    problem = project.problem()
    assert (problem.rule, problem.code) == ("conda-channel-not-found", ExitCode.NETWORK)
    assert "is no index of a channel" in problem.what


def test_an_interpreter_of_the_machine_cannot_take_condas_place(project: Project):
    project.write(environment("numpy"))
    problem = project.problem(python="/usr/bin/python3")
    assert (problem.rule, str(problem.origin)) == ("conda-python-path", "--python")


def test_a_version_of_python_on_the_command_line_must_agree_with_the_list(project: Project):
    project.write(environment("numpy", f"python={MINOR}"))
    assert project.problem(python="3.7").rule == "python-requests-disagree"
    assert conda_of(project.lock(python=MINOR)).python == PYTHON


def test_conda_is_resolved_as_of_a_day_as_well(project: Project):
    project.write(environment("six", f"python={MINOR}"))
    assert project.problem(as_of="2020-01-01").rule in ("conda-requirements-conflict", "conda-version-not-found")
    assert conda(project.lock(as_of="2099-01-01"))["six"] == "1.16.0 0"


@pytest.mark.slow
def test_a_process_that_ends_while_py_rattler_lets_go_ends_with_its_own_status(project: Project):
    project.write(environment("rdkitt", "six"))
    command = [sys.executable, "-m", "lading", "lock", "-q", "-C", str(project.root)]
    for _ in range(10):
        started = [subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) for _ in range(4)]
        said = [process.communicate()[1] for process in started]
        assert [process.returncode for process in started] == 4 * [ExitCode.RESOLUTION], said


def test_a_cache_that_cannot_be_written_is_no_fault_of_the_channel(project: Project, lading_home: Path, channels: Channels):
    with Served(channels.main.folder) as server:
        project.write(environment("six", channels=f"channels:\n  - http://{server.host}\n"))
        lading_home.mkdir(parents=True, exist_ok=True)
        (lading_home / "conda").write_text("a file where a folder should be")
        problem = project.problem()
    assert (problem.rule, problem.code, str(problem.origin)) == ("conda-cache-not-writable", ExitCode.USAGE, "LADING_HOME")


def test_offline_the_package_that_is_not_known_is_named(project: Project, channels: Channels):
    with Served(channels.main.folder) as server:
        place = f"channels:\n  - http://{server.host}\n"
        project.write(environment("six", channels=place))
        project.lock()
        project.write(environment("rdkit", channels=place))
        problem = project.problem(offline=True)
    assert (problem.rule, problem.code) == ("conda-not-cached", ExitCode.NETWORK)
    assert problem.what == f"What the channel http://{server.host} has of rdkit is not in the cache, and the network is off (--offline)."


def test_condas_names_of_platforms_are_understood(project: Project):
    project.write(environment("six"))
    for name, missing in (("linux-64", False), ("osx-arm64", True), ("linux-aarch64", True)):
        done = lading("lock", project.root, "--platform", name, "--json")
        assert done.code == (ExitCode.RESOLUTION if missing else 0), done.err
        assert f" for {name}\n" in done.err
