"""What of the cache of conda packages no environment needs, and its removal."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from lading.environments.store import prune
from lading.model.events import Phase
from lading.model.problems import ExitCode, LadingError
from tests.conda.conftest import MINOR, PYTHON, TAG, Channels, Project
from tests.support.command import lading
from tests.support.conda_channel import Served


@pytest.fixture
def used(project: Project, lading_home: Path) -> Project:
    """A project whose environment needs python and six, where numpy was installed before and is needed no more."""
    project.write({"environment.yml": f"dependencies:\n  - python={MINOR}\n  - numpy=1.26\n"})
    project.install()
    prune()
    project.write({"environment.yml": f"dependencies:\n  - python={MINOR}\n  - six\n"})
    project.install()
    assert cached(lading_home) == {f"numpy-1.26.4-{TAG}_0", f"python-{PYTHON}-0_cpython", "six-1.16.0-0"}
    return project


def cached(home: Path) -> set[str]:
    return {place.name for place in (home / "conda" / "pkgs").iterdir() if place.is_dir()}


def test_pruning_tells_what_stays_in_the_cache_and_removes_it_when_asked(used: Project, lading_home: Path):
    told = lading("env", "prune")
    assert "The cache still holds 1 conda package that no environment needs, " in told.err
    dry = lading("env", "prune", "--cache", "--dry-run")
    assert "Would remove 1 conda package from the cache" in dry.err
    assert len(cached(lading_home)) == 3
    done = lading("env", "prune", "--cache", "--json")
    (package,) = done.data["removed_packages"]
    assert package["name"] == f"numpy-1.26.4-{TAG}_0"
    assert package["bytes"] > 100
    assert cached(lading_home) == {f"python-{PYTHON}-0_cpython", "six-1.16.0-0"}
    assert lading("exec", "-C", used.root, "python", "-c", "import six").code == 0
    assert "conda package" not in lading("env", "prune").err
    used.write({"environment.yml": f"dependencies:\n  - python={MINOR}\n  - numpy=1.26\n"})
    assert lading("exec", "-C", used.root, "python", "-c", "import numpy").code == 0


def test_a_cache_of_several_programs_is_left_alone(used: Project, lading_home: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("RATTLER_CACHE_DIR", str(lading_home / "conda"))
    assert "RATTLER_CACHE_DIR names one that other programs may use too" in lading("env", "prune", "--cache").err
    assert len(cached(lading_home)) == 3


def test_a_package_that_something_else_cleaned_up_is_fetched_again(used: Project, lading_home: Path):
    for gone in ("six-1.16.0-0/site-packages/six", f"python-{PYTHON}-0_cpython/lib/python{MINOR}/os.py"):
        path = lading_home / "conda" / "pkgs" / gone
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    prune()
    place = used.install().variants[0].environment.path
    assert subprocess.run([f"{place}/bin/python", "-c", "import six"], check=False).returncode == 0
    assert [event.message for event in used.events if event.phase is Phase.FAILED] == []


def test_a_damaged_cache_offline_says_what_to_do(used: Project, lading_home: Path, channels: Channels):
    with Served(channels.main.folder) as server:
        used.write({".condarc": f"channels: ['http://{server.host}']\n"})
        used.install(upgrade=True)
    prune()
    shutil.rmtree(lading_home / "conda" / "pkgs" / "six-1.16.0-0" / "site-packages")
    with pytest.raises(LadingError) as caught:
        used.install(offline=True)
    (problem,) = caught.value.problems
    assert problem.code is ExitCode.NETWORK
    assert "six" in problem.what
