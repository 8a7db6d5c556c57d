"""What uv itself exports of its lock, and what `packaging` selects from a standard one, is what ours selects for the same target."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path

import pytest
import uv
from packaging.markers import Marker
from packaging.pylock import Pylock
from packaging.requirements import Requirement

from lading.formats import pylock_toml, requirements_txt, uv_lock
from lading.frameworks.tags import ordered_tags
from lading.model.files import MemoryFiles
from lading.model.markers import marker_environment
from lading.model.requirements import Declared
from lading.model.target import Target
from lading.planner.locked import select
from tests.formats.test_projects import PROJECTS, load
from tests.support.command import write_files
from tests.support.index import LocalIndex
from tests.support.wheels import project

TARGETS = [
    Target(python="3.11.7", platform="x86_64-manylinux_2_36"),
    Target(python="3.9.18", platform="aarch64-manylinux_2_28"),
    Target(python="3.12.1", platform="aarch64-apple-darwin"),
    Target(python="3.9.13", platform="x86_64-pc-windows-msvc"),
]


def _exported(folder: Path, target: Target) -> dict[str, frozenset[str]]:
    """Requirement and hashes, as ``uv export`` writes them for every platform, cut down to the target."""
    command = [
        uv.find_uv_bin(),
        "export",
        "--frozen",
        "--no-dev",
        "--group",
        "lading",
        "--no-emit-project",
        "--no-header",
        "--offline",
        "-q",
    ]
    text = subprocess.run([*command, "--no-config"], cwd=folder, check=True, capture_output=True, text=True).stdout
    folders = {f"{path.parent.relative_to(folder).as_posix()}/pyproject.toml": "" for path in folder.rglob("pyproject.toml")}
    found = requirements_txt.parse("requirements.txt", MemoryFiles({**folders, "requirements.txt": text})).requirements
    environment = marker_environment(target)
    fitting = [declared for declared in found if declared.marker is None or Marker(declared.marker).evaluate(environment)]
    return _by_meaning(fitting)


def _by_meaning(pins: Iterable[Declared]) -> dict[str, frozenset[str]]:
    return {pin.path or f"{pin.name}{pin.specifier}": frozenset(pin.hashes) for pin in pins}


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: f"{target.python}-{target.platform}")
def test_a_lock_of_uv_is_read_as_uv_exports_it(target: Target, tmp_path: Path):
    for name in ("uv.lock", "pyproject.toml"):
        shutil.copy(PROJECTS / "lock_uv" / name, tmp_path / name)
    ours = select(uv_lock.parse("uv.lock", load("lock_uv")), target)
    assert _by_meaning(ours) == _exported(tmp_path, target)


@pytest.mark.parametrize("folder", ["lock_pylock_uv", "lock_pylock_pip"])
@pytest.mark.parametrize("target", TARGETS[:3], ids=lambda target: f"{target.python}-{target.platform}")
def test_a_standard_lock_is_read_as_packaging_selects_from_it(folder: str, target: Target):
    import tomllib

    pylock = Pylock.from_dict(tomllib.loads((PROJECTS / folder / "pylock.toml").read_text()))
    minor = ".".join(target.python.split(".")[:2])
    selected = {
        f"{package.name}=={package.version}"
        for package, _ in pylock.select(environment=marker_environment(target), tags=list(ordered_tags(minor, target.platform)))  # type: ignore[arg-type] # a plain dict
    }
    ours = select(pylock_toml.parse("pylock.toml", load(folder)), target)
    assert {_versioned(pin.pep508, pin.name) for pin in ours} == selected


def _versioned(text: str, name: str | None) -> str:
    """``name==version`` of a pin, from its file's name where it is a URL."""
    requirement = Requirement(text)
    if requirement.url is None:
        return text
    return f"{name}=={requirement.url.rpartition('/')[2].split('-')[1]}"


# A project with everything that makes a graph hard: forks, extras that exclude each other, explicit indexes, members, groups


PROJECT = """\
[project]
name = "app"
version = "0.1"
requires-python = ">=3.9,<3.13"
dependencies = [
  "framework[fast]>=2 ; python_version >= '3.10' and sys_platform != 'darwin'",
  "framework<2 ; python_version < '3.10'",
  "member",
  "folder",
  "old ; python_version < '3.10'",
  "new ; python_version >= '3.10'",
]

[project.optional-dependencies]
cpu = ["torch==2.0+cpu"]
gpu = ["torch==2.0+cu121"]
docs = ["sphinx"]

[dependency-groups]
dev = ["checker"]
lading = ["server"]

[tool.uv]
package = false
conflicts = [[{{ extra = "cpu" }}, {{ extra = "gpu" }}]]

[tool.uv.workspace]
members = ["packages/*"]

[tool.uv.sources]
torch = [{{ index = "cpu", extra = "cpu" }}, {{ index = "gpu", extra = "gpu" }}]
member = {{ workspace = true }}
folder = {{ path = "vendored/folder" }}

[[tool.uv.index]]
name = "cpu"
url = "{cpu}"
explicit = true
[[tool.uv.index]]
name = "gpu"
url = "{gpu}"
explicit = true
"""


def _publish(index: LocalIndex) -> None:
    index.add("framework", "1.5", requires=["base<2"])
    index.add(
        "framework",
        "2.5",
        requires=["base>=2", "helper ; python_version < '3.11'"],
        extras={"fast": ["speed", "loop ; sys_platform != 'win32'"]},
    )
    for name, version in (("base", "1.0"), ("base", "2.0"), ("torch", "2.0"), ("old", "1.0"), ("new", "1.0")):
        index.add(name, version, requires=["shared"] if name in ("old", "new") else [])
    for name in ("helper", "speed", "loop", "sphinx", "checker", "server", "shared", "deep"):
        index.add(name, "1.0")
    index.add("torch", "2.0+cpu", to="cpu")
    index.add("torch", "2.0+cu121", to="gpu")


def test_a_hard_graph_is_walked_as_uv_exports_it(index: LocalIndex, tmp_path: Path):
    _publish(index)
    urls = {name: index.url_of(name) for name in ("cpu", "gpu")}
    member = project("member", "0.1", requires=["deep"])
    member["pyproject.toml"] += '[project]\nname = "member"\nversion = "0.1"\ndependencies = ["deep"]\n'
    files = {"pyproject.toml": PROJECT.format(**urls)}
    files |= {f"packages/member/{path}": text for path, text in member.items()}
    files |= {f"vendored/folder/{path}": text for path, text in project("folder", "0.2", requires=["shared"]).items()}
    write_files(tmp_path, files)
    lock = [uv.find_uv_bin(), "lock", "-q", "--no-config", "--no-python-downloads", "--default-index", index.url]
    subprocess.run(lock, cwd=tmp_path, check=True)
    written = {path: (tmp_path / path).read_text() for path in [*files, "uv.lock"]}
    for target in TARGETS:
        ours = select(uv_lock.parse("uv.lock", MemoryFiles(written)), target)
        assert _by_meaning(ours) == _exported(tmp_path, target), target
