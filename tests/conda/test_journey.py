"""A Cortex project with both files, and an environment.yml project, from the folder to answers over HTTP."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.conda.conftest import CORTEX, MINOR, PREDICTOR, PYTHON, TAG, Channels
from tests.journey.conftest import lading, project, served
from tests.support.index import LocalIndex

__all__ = ["lading", "project", "served"]

EXAMPLE = Path(__file__).parents[2] / "examples" / "molecules"
PREDICT = """import os
import sys

import numpy
import greets


def predict(number: int = 1) -> str:
    return f"{numpy.__version__} {greets.__version__} {os.environ['BOOST_HOME'] == sys.prefix + '/share/boost'} {os.environ['LEVEL']}"
"""


@pytest.fixture(autouse=True)
def packages(index: LocalIndex) -> None:
    """What the package index has."""
    index.add("greets", "1.0", requires=["numpy>=1.20"])


def test_a_cortex_project_with_both_files_is_locked_installed_and_served(
    channels: Channels, project: Callable[..., Any], lading: Callable[..., Any], served: Callable[..., Any]
):
    folder = project(
        {
            "cortex.yaml": CORTEX,
            "predictor.py": PREDICTOR,
            "conda-packages.txt": f"rdkit\nsix=1.16.0\npython={MINOR}\n",
            "requirements.txt": "greets==1.0\nnumpy>=1.20\n",
            ".condarc": f"channels: ['{channels.main.url}']\n",
        }
    )
    planned = lading("plan", folder)
    assert planned.code == 0, planned.err
    assert "conda-packages.txt  used  conda's packages come before pip's" in planned.out
    shown = [f"{text:13}  conda-packages.txt:{line}" for line, text in enumerate(("rdkit", "six 1.16.0.*", f"python {MINOR}.*"), start=1)]
    assert "Conda packages\n  " + "\n  ".join(shown) in planned.out
    locked = lading("lock", folder)
    assert locked.code == 0, locked.err
    assert "Resolving conda packages" in locked.err
    assert "= numpy>=1.20: numpy 1.26.4 by conda (requirements.txt:2)" in locked.err
    assert "Locked 6 packages in pylock.lading.toml." in locked.err
    installed = lading("install", folder)
    assert installed.code == 0, installed.err
    with served(folder) as service:
        answer = service.client.post("/predict", json={"number": 3})
        place = installed.out.strip()
        assert answer.json() == {"numpy": "1.26.4", "python": PYTHON, "boost": f"{place}/share/boost", "number": 3}
    ran = lading("exec", "-C", folder, "sh", "-c", "echo $CONDA_PREFIX $BOOST_LEVEL ${VIRTUAL_ENV:-none}", VIRTUAL_ENV="/else")
    assert ran.out == f"{place} 3 none\n"
    explained = lading("explain", "numpy", folder)
    assert explained.out.startswith("numpy 1.26.4 by conda\n  asked for: numpy>=1.20 (requirements.txt:2)")


def test_an_environment_yml_project_is_predicted_and_told_what_changed(
    channels: Channels, project: Callable[..., Any], lading: Callable[..., Any]
):
    text = f"""\
channels:
  - {channels.main.url}
  - nodefaults
dependencies:
  - python={MINOR}
  - numpy=1.24
  - boost-cpp
  - pip:
      - greets
variables:
  LEVEL: high
prefix: /home/somebody/envs/model
"""
    folder = project({"predict.py": PREDICT, "environment.yml": text})
    first = lading("predict", folder, "-i", "number=2")
    assert first.code == 0, first.err
    assert first.out == "1.24.4 1.0 True high\n"
    assert "[conda-prefix-ignored]" in first.err
    (folder / "environment.yml").write_text(text.replace("numpy=1.24", "numpy=1.26"))
    assert lading("lock", folder, "--check").code == 4
    second = lading("lock", folder)
    assert f"~ numpy (conda) 1.24.4 {TAG}_0 -> 1.26.4 {TAG}_0" in second.err
    assert lading("predict", folder, "-q").out == "1.26.4 1.0 True high\n"


def test_a_second_run_has_nothing_to_do(channels: Channels, project: Callable[..., Any], lading: Callable[..., Any]):
    folder = project(
        {
            "predict.py": PREDICT,
            "environment.yml": f"channels: ['{channels.main.url}']\ndependencies: ['python={MINOR}', 'numpy', 'boost-cpp']\n",
        }
    )
    assert lading("install", folder).code == 0
    again = lading("install", folder)
    assert "Nothing to do" in again.err
    home = folder.parent / "home"
    home.mkdir()
    (home / ".condarc").write_text("channels: [nowhere]\n")
    changed = lading("install", folder, HOME=str(home))
    assert "Nothing to do" not in changed.err


def test_a_project_that_brings_an_old_python_is_served_by_it(channels: Channels, project: Callable[..., Any], lading: Callable[..., Any]):
    if channels.old_python is None:
        pytest.skip("there is no CPython 3.8 with a shared library on this machine")
    folder = project(
        {
            "cortex.yaml": CORTEX,
            "predictor.py": PREDICTOR,
            "conda-packages.txt": f"python={channels.old_python}\nnumpy\n",
            ".python-version": "3.12\n",
            ".condarc": f"channels: ['{channels.old.url}']\n",
        }
    )
    answer = lading("predict", folder, "--json", "-i", "number=3")
    assert answer.code == 0, answer.err
    assert answer.data["output"] == {"numpy": "1.24.4", "python": channels.old_python, "boost": None, "number": 3}
    assert f"Python {channels.old_python}, by conda" in answer.err


def test_contradictions_stop_before_anything_is_written(channels: Channels, project: Callable[..., Any], lading: Callable[..., Any]):
    folder = project(
        {
            "cortex.yaml": CORTEX,
            "predictor.py": PREDICTOR,
            "conda-packages.txt": "numpy=1.26\n",
            "requirements.txt": "numpy>=2\n",
            ".condarc": f"channels: ['{channels.main.url}']\n",
        }
    )
    failed = lading("install", folder)
    assert (failed.code, failed.out) == (3, "")
    assert "Conda and pip contradict each other about numpy" in failed.err
    assert "[conda-pip-conflict]" in failed.err or "conda-packages.txt:1: numpy=1.26" in failed.err
    assert not (folder / "pylock.lading.toml").exists()


def test_the_example_runs_as_its_readme_says(
    channels: Channels, project: Callable[..., Any], lading: Callable[..., Any], index: LocalIndex
):
    index.add("humanize", "4.9.0", files={"humanize/__init__.py": "def intcomma(number):\n    return str(number)\n"})
    files = {path.name: path.read_text() for path in EXAMPLE.iterdir() if path.is_file()}
    folder = project({**files, ".condarc": f"channel_alias: {channels.main.folder.parent.as_uri()}\ncustom_channels: {{}}\n"})
    listed = files["conda-packages.txt"].replace("conda-forge::", "main::").replace("python=3.11", f"python={MINOR}")
    (folder / "conda-packages.txt").write_text(listed)
    (folder / ".condarc").write_text(f"channel_alias: {channels.main.folder.parent.as_uri()}\nchannels: [main]\n")
    answer = lading("predict", folder, "--json", f"@{folder / 'sample.json'}")
    assert answer.code == 0, answer.err
    assert answer.data == {"weight": 46.07, "atoms": 3, "says": "46.07 g/mol"}
    assert "numpy 1.26.4 by conda" in answer.err
    assert '{"weight": 46.07, "atoms": 3, "says": "46.07 g/mol"}' in files["README.md"]


def test_without_py_rattler_the_extra_is_named(channels: Channels, project: Callable[..., Any], lading: Callable[..., Any], tmp_path):
    (tmp_path / "no").mkdir()
    (tmp_path / "no" / "rattler.py").write_text("raise ImportError('No module named rattler')\n")
    folder = project({"predict.py": PREDICT, "environment.yml": "dependencies:\n  - numpy\n"})
    failed = lading("lock", folder, PYTHONPATH=str(tmp_path / "no"))
    assert failed.code == 2
    assert "Run: pip install 'lading[conda]'" in failed.err
    assert "environment.yml:2" in failed.err
    assert lading("plan", folder, PYTHONPATH=str(tmp_path / "no")).code == 0


def test_doctor_tells_of_py_rattler_and_of_channels_that_do_not_answer(
    channels: Channels, project: Callable[..., Any], lading: Callable[..., Any]
):
    text = f"channels: ['{channels.main.url}', nodefaults]\ndependencies: ['python={MINOR}', six]\n"
    folder = project({"predict.py": PREDICT, "environment.yml": text})
    fine = lading("doctor", folder, "--json")
    (seen,) = [one["seen"] for one in fine.data["findings"] if one["subject"] == "conda"]
    assert re.fullmatch(rf"py-rattler \d[\d.]+; {re.escape(channels.main.url)}", seen)
    (folder / "environment.yml").write_text(text.replace(channels.main.url, "http://127.0.0.1:1/gone"))
    down = lading("doctor", folder)
    assert down.code == 5
    assert "x conda: py-rattler " in down.out
    assert "The channel http://127.0.0.1:1/gone does not answer." in down.out
    assert "http://127.0.0.1:1/gone (not asked)" in lading("doctor", folder, "--offline").out
