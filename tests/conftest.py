"""Fixtures for every test: a home of its own, and a real package index on loopback."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from tests.support.index import LocalIndex

# How long an example takes depends on what else the machine does; a test that hangs meets pytest's own timeout.
settings.register_profile("lading", deadline=None)
settings.load_profile("lading")

# A shell without job control starts what runs in the background with Ctrl-C ignored, and each process inherits that: tests of Ctrl-C want it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

_LEAKS = ("UV_", "PIP_", "LADING_", "VIRTUAL_ENV", "CONDA_", "NETRC", "PYTHONPATH", "PYTHONDONTWRITEBYTECODE", "XDG_")


@pytest.fixture(autouse=True)
def home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home folder, a store (``LADING_HOME``) and a uv cache that belong to this test alone; nobody's settings leak in."""
    real_pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    folder = tmp_path_factory.mktemp("home")
    for variable in [name for name in os.environ if name.startswith(_LEAKS)]:
        monkeypatch.delenv(variable)
    if real_pyenv.is_dir():
        monkeypatch.setenv("PYENV_ROOT", str(real_pyenv))
    monkeypatch.setenv("HOME", str(folder))
    monkeypatch.setenv("LADING_HOME", str(folder / "lading"))
    monkeypatch.setenv("UV_CACHE_DIR", str(folder / "uv-cache"))
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    return folder


@pytest.fixture
def uv_cache(home: Path) -> Path:
    """uv's cache of this test."""
    return home / "uv-cache"


@pytest.fixture
def lading_home(home: Path) -> Path:
    """The store of this test."""
    return home / "lading"


@pytest.fixture
def index() -> Iterator[LocalIndex]:
    """A package index on loopback, empty."""
    with LocalIndex() as running:
        yield running
