"""uv and pip read our lock and install just that."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import uv
from packaging.version import Version

from lading.locks.lockfile import write
from lading.model.requirements import Declared
from lading.model.target import Target
from lading.resolvers.uv import resolve
from tests.resolvers.test_resolve import commit, write_tree
from tests.support.index import LocalIndex
from tests.support.plans import declared, local, plan_of
from tests.support.wheels import project, wheel

PIP_PYTHON = os.environ.get("LADING_TEST_PIP_PYTHON", sys.executable)
"""A Python whose pip is new enough, where this one's is not."""

FILED = wheel("filed", "1.0+x.1")
HERE = Target(python=".".join(map(str, sys.version_info[:3])), platform="x86_64-manylinux_2_28")


@pytest.fixture
def root(index: LocalIndex, tmp_path: Path) -> Path:
    """A project's folder with a package of every kind at hand."""
    folder = tmp_path / "my project"
    write_tree(folder / "mine", project("mine", "0.1"))
    write_tree(folder / "repo", project("cloned", "0.2"))
    commit(folder / "repo")
    (folder / FILED.filename).write_bytes(FILED.content)
    index.add("demo", "1.0", requires=["built"])
    index.add_sdist("built", "2.0")
    index.add("demo", "2.0")
    return folder


def locked(root: Path, *requirements: str | Declared, index: LocalIndex) -> Path:
    plan = plan_of(*requirements, index=index.url, target=HERE)
    path = root / plan.lock_path
    path.write_text(write(resolve(plan, None, root)))
    return path


def installed(python: Path) -> dict[str, str]:
    script = "import importlib.metadata as m; print(*(f'{d.name}={d.version}' for d in m.distributions()))"
    out = subprocess.run([python, "-c", script], check=True, capture_output=True, text=True).stdout
    return dict(word.split("=") for word in out.split())


def test_uv_installs_it_from_any_folder(root: Path, index: LocalIndex, tmp_path: Path):
    repository = f"git+file://{root}/repo".replace(" ", "%20")
    path = locked(root, "demo<2", local("mine", 2), local(FILED.filename, 3), declared(f"cloned @ {repository}", 4), index=index)
    environment = tmp_path / "environment"
    subprocess.run([uv.find_uv_bin(), "venv", "-q", "--no-config", "--python", sys.executable, environment], check=True)
    python = environment / "bin" / "python"
    subprocess.run([uv.find_uv_bin(), "pip", "sync", "-q", "--no-config", "--python", python, path], check=True, cwd=tmp_path)
    assert installed(python) == {"demo": "1.0", "built": "2.0", "mine": "0.1", "filed": "1.0+x.1", "cloned": "0.2"}


def test_pip_installs_it(root: Path, index: LocalIndex, tmp_path: Path):
    version = subprocess.run([PIP_PYTHON, "-m", "pip", "--version"], check=True, capture_output=True, text=True).stdout.split()[1]
    if Version(version) < Version("26.1"):
        pytest.skip(f"pip {version} does not read lock files; 26.1 is the first that does")
    # pip refuses folders and repositories beside files with hashes, whoever wrote the lock.
    path = locked(root, "demo<2", local(FILED.filename, 2), index=index)
    target = tmp_path / "target"
    pip = [PIP_PYTHON, "-m", "pip", "install", "--isolated", "--no-cache-dir", "-q", "--target", str(target), "-r", str(path)]
    subprocess.run(pip, check=True, cwd=tmp_path)
    assert {path.name for path in target.iterdir()} >= {"demo", "built", "filed", "filed-1.0+x.1.dist-info"}
