"""Locks that other tools made, from the lock to the environment: with the real uv, a real index, and newer releases that must not count."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import uv

from tests.resolvers.test_builds import sdist_that_runs
from tests.support.command import lading, write_files
from tests.support.index import LocalIndex

PREDICTOR = "def predict(x: int) -> int:\n    return x\n"
MINOR = ".".join(map(str, sys.version_info[:2]))


@pytest.fixture
def folder(tmp_path: Path, index: LocalIndex) -> Path:
    """A project that uv has locked, before newer releases came out."""
    index.add("demo", "1.0", requires=["other>=1"], extras={"fast": ["speed"]})
    for name in ("other", "speed", "checker"):
        index.add(name, "1.0")
    project = (
        f'[project]\nname = "app"\nversion = "0.1"\nrequires-python = ">=3.9"\ndependencies = ["demo[fast]"]\n'
        f'[dependency-groups]\ndev = ["checker"]\n[[tool.uv.index]]\nurl = "{index.url}"\ndefault = true\n'
    )
    made = write_files(tmp_path / "model", {"predict.py": PREDICTOR, "pyproject.toml": project, ".python-version": f"{MINOR}\n"})
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("UV_", "PIP_"))}
    command = [uv.find_uv_bin(), "lock", "-q", "--no-config", "--python", sys.executable, "--default-index", index.url]
    subprocess.run(command, cwd=made, check=True, env={**environ, "UV_PYTHON_DOWNLOADS": "never"})
    for name in ("demo", "other", "speed"):
        index.add(name, "2.0")
    return made


def versions(folder: Path) -> dict[str, str]:
    document = tomllib.loads((folder / "pylock.lading.toml").read_text())
    return {package["name"]: package["version"] for package in document["packages"]}


def test_what_uv_has_locked_is_what_is_installed(folder: Path, index: LocalIndex):
    done = lading("install", folder, "--json")
    assert done.code == 0, done.err
    assert versions(folder) == {"demo": "1.0", "other": "1.0", "speed": "1.0"}
    python = done.data["environments"][0]["python"]
    code = "import demo, other, speed; print(demo.__version__, other.__version__, speed.__version__)"
    assert subprocess.run([python, "-c", code], check=True, capture_output=True, text=True).stdout == "1.0 1.0 1.0\n"
    assert subprocess.run([python, "-c", "import checker"], check=False, capture_output=True).returncode == 1


def test_a_file_that_was_changed_on_the_index_is_refused(folder: Path, index: LocalIndex):
    index["simple"].files[:] = [one for one in index["simple"].files if one.archive.name != "other"]
    index.add("other", "1.0", files={"other/changed.py": ""})
    refused = lading("lock", folder, "--json")
    assert (refused.code, refused.problem["rule"]) == (3, "hash-mismatch")
    assert refused.problem["origin"].startswith("uv.lock:")


def test_a_project_file_that_has_moved_on_is_told_with_what_it_asks_for(folder: Path):
    path = folder / "pyproject.toml"
    path.write_text(path.read_text().replace('["demo[fast]"]', '["demo[fast]>=2", "brand-new"]'))
    shown = lading("plan", folder, "--json")
    (told,) = [one for one in shown.data["plans"][0]["decisions"] if one["rule"] == "sources-differ"]
    assert [row.split()[0] for row in told["detail"].splitlines()] == ["package", "demo", "brand-new"]
    assert lading("plan", folder, "--strict").code == 2


def test_a_package_whose_build_imports_another_is_installed_from_the_lock_alone(tmp_path: Path, index: LocalIndex):
    index.add("torch", "2.0")
    index.add("torch", "2.1")
    index.publish(sdist_that_runs("import torch; assert torch.__version__ == '2.0'", "flash-attn", "1.0", ("torch",)))
    project = (
        '[project]\nname = "app"\nversion = "0.1"\ndependencies = ["torch==2.0", "flash-attn"]\n'
        f'[tool.uv]\nno-build-isolation-package = ["flash-attn"]\n[[tool.uv.index]]\nurl = "{index.url}"\ndefault = true\n'
    )
    folder = write_files(tmp_path / "model", {"predict.py": PREDICTOR, "pyproject.toml": project, ".python-version": f"{MINOR}\n"})
    done = lading("install", folder, "--json")
    assert done.code == 0, done.err
    python = done.data["environments"][0]["python"]
    assert (
        subprocess.run(
            [python, "-c", "import flash_attn, torch; print(torch.__version__)"], check=True, capture_output=True, text=True
        ).stdout
        == "2.0\n"
    )
