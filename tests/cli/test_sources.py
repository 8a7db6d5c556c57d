"""Which file counts, through the command: named, compared, and not changed unnoticed."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from tests.support.command import lading, write_files
from tests.support.index import LocalIndex

PREDICTOR = "def predict(x: int) -> int:\n    return x\n"


@pytest.fixture
def folder(tmp_path: Path, index: LocalIndex) -> Path:
    index.add("demo", "1.0")
    index.add("other", "1.0")
    files = {
        "predict.py": PREDICTOR,
        "requirements.txt": f"--index-url {index.url}\ndemo==1.0\n",
        "more.txt": f"--index-url {index.url}\ndemo==1.0\nother==1.0\n",
    }
    return write_files(tmp_path / "model", files)


def locked(folder: Path) -> dict[str, str]:
    document = tomllib.loads((folder / "pylock.lading.toml").read_text())
    return {"source": document["tool"]["lading"]["source"], **{one["name"]: one["version"] for one in document["packages"]}}


def test_another_source_than_the_locks_stops_the_run_until_it_is_locked(folder: Path):
    assert lading("lock", folder).code == 0
    assert locked(folder) == {"source": "requirements.txt", "demo": "1.0"}
    lock = 'lock-version = "1.0"\ncreated-by = "x"\n[[packages]]\nname = "demo"\nversion = "1.0"\n'
    lock += f'wheels = [{{ url = "https://example.org/demo-1.0-py3-none-any.whl", hashes = {{ sha256 = "{"0" * 64}" }} }}]\n'
    (folder / "pylock.toml").write_text(lock)
    stopped = lading("install", folder, "--json")
    assert (stopped.code, stopped.problem["rule"]) == (4, "source-changed")
    assert stopped.problem["what"] == (
        "The dependencies come from another file: pylock.toml counts now, and requirements.txt did when the lock was made."
    )
    assert lading("lock", folder, "--check").code == 4
    assert lading("lock", folder, "--source", "requirements.txt").code == 0
    assert locked(folder) == {"source": "requirements.txt", "demo": "1.0"}


def test_a_source_that_is_gone_stops_the_run_too(folder: Path):
    assert lading("lock", folder).code == 0
    (folder / "requirements.txt").unlink()
    stopped = lading("install", folder, "--json")
    assert (stopped.code, stopped.problem["rule"]) == (4, "source-changed")
    assert "no dependency file counts now" in stopped.problem["what"]


def test_the_command_line_names_the_source(folder: Path):
    assert lading("lock", folder, "--source", "more.txt").code == 0
    assert locked(folder) == {"source": "more.txt", "demo": "1.0", "other": "1.0"}
    missing = lading("plan", folder, "--source", "gone.txt", "--json")
    assert (missing.code, missing.problem["rule"]) == (2, "requirements-not-found")


def test_strict_refuses_an_ignored_file_that_says_something_else(folder: Path):
    (folder / "Pipfile").write_text('[packages]\nother = "*"\n')
    assert lading("plan", folder).code == 0
    refused = lading("plan", folder, "--strict", "--json")
    assert (refused.code, refused.problem["rule"]) == (2, "sources-differ")
    assert "other" in refused.problem["detail"]
