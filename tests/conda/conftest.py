"""A conda channel made once for all tests, and projects in folders of their own."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from lading import pipeline
from lading.model.conda import CondaLock
from lading.model.events import Event
from lading.model.lock import Lock
from lading.model.plan import Plan
from lading.model.problems import LadingError, Problem
from tests.support.conda_channel import Channel, what_is_missing
from tests.support.index import LocalIndex

PYTHON = platform.python_version()
MINOR = ".".join(PYTHON.split(".")[:2])
TAG = "py" + MINOR.replace(".", "")
ACTIVATE = 'export BOOST_HOME="$CONDA_PREFIX/share/boost"\nexport PATH="$BOOST_HOME/bin:$PATH"\nunset LEFT_OVER\necho "boost is active"\n'


@dataclass(frozen=True)
class Channels:
    """``main`` has a CPython and packages for it, ``private`` a package that needs main's, ``old`` another CPython, where there is one."""

    main: Channel
    private: Channel
    old: Channel
    old_python: str | None


@pytest.fixture(scope="session")
def channels(tmp_path_factory: pytest.TempPathFactory) -> Channels:
    """Channels with real packages; skipped where they cannot be made."""
    reason = what_is_missing()
    if reason is not None:
        pytest.skip(reason)
    folder = tmp_path_factory.mktemp("channels")
    return Channels(_main(folder), _private(folder), *_old(folder))


def _main(folder: Path) -> Channel:
    channel = Channel(folder / "main")
    channel.add_cpython(Path(sys.base_prefix), PYTHON)
    for version in ("1.24.4", "1.26.4", "2.0.0"):
        module = {"numpy/__init__.py": f"__version__ = {version!r}\nround = round\n"}
        channel.add_python_package("numpy", version, build=f"{TAG}_0", python=MINOR, files=module)
    channel.add_python_package("six", "1.16.0", suffix=".tar.bz2")
    channel.add_python_package("shout", "1.0", entry_points=["shout = shout:main"], files={"shout/__init__.py": _SHOUT})
    channel.add_installed("msgspec", MINOR)
    rdkit: dict[str, Any] = {"build": f"{TAG}_0", "python": MINOR, "depends": ["numpy >=1.24,<2", "boost-cpp"], "files": _RDKIT}
    channel.add_python_package("rdkit", "2024.3.1", **rdkit)
    channel.add("boost-cpp", "1.84.0", "h1_0", files=_boost())
    channel.add_python_package("legacy", "1.0", constrains=["numpy <1.26"])
    for number, build in enumerate(("openblas", "mkl")):
        channel.add("blas", "1.0", build, build_number=number, files={f"share/blas-{build}": build})
    channel.add_python_package("pytorch", "2.1.0", distribution_name="torch", build=f"cpu_{TAG}_0", python=MINOR)
    cuda: dict[str, Any] = {"build": f"cuda121_{TAG}_1", "build_number": 1, "python": MINOR, "depends": ["__cuda >=12.1"]}
    channel.add_python_package("pytorch", "2.1.0", distribution_name="torch", **cuda)
    channel.add_python_package("matplotlib-base", "3.8.0", distribution_name="matplotlib", purls=["pkg:pypi/matplotlib"], depends=["numpy"])
    channel.add_python_package("uvicorn", "0.29.0")
    channel.add("tzdata", "2024a", "h0_0", noarch="generic", files={"share/zoneinfo/UTC": "TZif"})
    return channel.index()


_RDKIT = {
    "rdkit/Chem/__init__.py": """
class Mol:
    def __init__(self, smiles):
        self.smiles = smiles

    def GetNumAtoms(self):
        return len(self.smiles)


def MolFromSmiles(smiles):
    return Mol(smiles) if set(smiles) <= set("CNO") else None
""",
    "rdkit/Chem/Descriptors.py": """
def MolWt(molecule):
    heavy = {"C": (12.011, 4), "N": (14.007, 3), "O": (15.999, 2)}
    hydrogens = sum(heavy[one][1] for one in molecule.smiles) - 2 * (len(molecule.smiles) - 1)
    return sum(heavy[one][0] for one in molecule.smiles) + hydrogens * 1.008
""",
}
_SHOUT = "__version__ = '1.0'\n\n\ndef main():\n    print('HEY')\n"


def _boost() -> dict[str, str | bytes]:
    from tests.support.conda_channel import PLACEHOLDER

    return {
        "lib/libboost.bin": b"\0binary\0" + PLACEHOLDER.encode() + b"/share/boost\0" + bytes(300),
        "share/boost/where.txt": f"{PLACEHOLDER}/share/boost\n",
        "etc/conda/activate.d/boost.sh": ACTIVATE,
        "etc/conda/env_vars.d/boost.json": '{"BOOST_LEVEL": "3"}',
    }


def _private(folder: Path) -> Channel:
    channel = Channel(folder / "private")
    channel.add_python_package("corp", "1.0", depends=["numpy >=2"])
    channel.add_python_package("numpy", "2.0.0", build="corp_7", build_number=7, python=MINOR)
    return channel.index()


def _old(folder: Path) -> tuple[Channel, str | None]:
    from lading.environments.interpreters import find_interpreters

    channel = Channel(folder / "old")
    wanted = [one for one in find_interpreters(os.environ) if one.version.startswith("3.8.") and one.implementation == "cpython"]
    found = next((one for one in wanted if list(Path(one.path).resolve().parents[1].glob("lib/libpython3.8.so*"))), None)
    if found is not None:
        channel.add_cpython(Path(found.path).resolve().parents[1], found.version)
        channel.add_python_package("numpy", "1.24.4", build="py38_0", python="3.8")
    return channel.index(), found.version if found else None


def conda_of(lock: Lock) -> CondaLock:
    """A lock's conda part, which must be there."""
    assert lock.conda is not None
    return lock.conda


@dataclass
class Project:
    """A project's folder, used as the command line uses it."""

    root: Path
    events: list[Event]

    def hear(self, event: Event) -> None:
        """A reporter."""
        self.events.append(event)

    def write(self, files: Mapping[str, str | bytes]) -> None:
        """Put files into the folder."""
        for name, content in files.items():
            path = self.root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content.encode() if isinstance(content, str) else content)

    def options(self, **fields: Any) -> pipeline.Options:
        """The options of a command in this folder."""
        return pipeline.Options(directory=self.root, environ=os.environ, **fields)

    def plan(self, **fields: Any) -> Plan:
        """The plan of the only environment."""
        options = self.options(**fields)
        (planned,) = pipeline.plan(pipeline.read(options), options)
        return planned.plan

    def lock(self, **fields: Any) -> Lock:
        """The lock of the only environment, written."""
        options = self.options(**fields)
        project = pipeline.read(options, self.hear)
        (locked,) = pipeline.lock(pipeline.plan(project, options), project, options, self.hear)
        return locked.lock

    def install(self, **fields: Any) -> pipeline.Ready:
        """The environment, in the store."""
        options = self.options(**fields)
        project = pipeline.read(options, self.hear)
        locked = pipeline.lock(pipeline.plan(project, options), project, options, self.hear)
        return pipeline.remember(options, project, pipeline.install(locked, project, options, self.hear))

    def problems(self, **fields: Any) -> tuple[Problem, ...]:
        """Why it cannot be locked."""
        with pytest.raises(LadingError) as caught:
            self.lock(**fields)
        return caught.value.problems

    def problem(self, **fields: Any) -> Problem:
        """The only reason why it cannot be locked."""
        (problem,) = self.problems(**fields)
        return problem


PREDICT = "def predict(number: int = 1) -> int:\n    return 2 * number\n"
PREDICTOR = """import os
import sys

import numpy


class PythonPredictor:
    def __init__(self, config):
        self.boost = os.environ.get("BOOST_HOME")

    def predict(self, payload):
        return {"numpy": numpy.__version__, "python": sys.version.split()[0], "boost": self.boost, "number": payload["number"]}
"""
PLAIN = "class PythonPredictor:\n    def __init__(self, config):\n        pass\n\n    def predict(self, payload):\n        return payload\n"
CORTEX = "- name: doubler\n  kind: RealtimeAPI\n  predictor: {type: python, path: predictor.py}\n"


@pytest.fixture
def project(tmp_path: Path, channels: Channels, index: LocalIndex, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A plain project without dependencies; conda is configured to look into the main channel, uv into an index on loopback."""
    monkeypatch.setenv("UV_DEFAULT_INDEX", index.url)
    monkeypatch.setenv("LADING_TORCH_INDEX", "off")
    folder = tmp_path / "my project"
    made = Project(folder, [])
    made.write({"predict.py": PREDICT, ".condarc": f"channels:\n  - {channels.main.url}\n"})
    return made


@pytest.fixture
def cortex(project: Project) -> Project:
    """A Cortex project without dependencies, and with a predictor that imports nothing."""
    (project.root / "predict.py").unlink()
    project.write({"cortex.yaml": CORTEX, "predictor.py": PLAIN})
    return project
