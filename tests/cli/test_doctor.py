"""`lading doctor --fix`: a diff, a yes, and files that mean the same as before."""

from __future__ import annotations

import json
from pathlib import Path

from tests.cli.process import run_lading as run

_FILES = {
    "cog.yaml": '# mine\nbuild:\n  python_version: "3.11"\npredict: predict.py:Predictor  # here\n',
    "predict.py": "from cog import BasePredictor\n\n\nclass Predictor(BasePredictor):\n    def predict(self, name: str) -> str:\n        return name\n",
}


def write(folder: Path) -> Path:
    for name, text in _FILES.items():
        (folder / name).write_text(text)
    return folder


def test_advice_alone_changes_nothing_and_is_no_failure(tmp_path):
    done = run("doctor", "--offline", cwd=write(tmp_path))
    assert done.code == 0
    assert "cog.yaml:4: predict names the predictor." in done.out
    assert {name: (tmp_path / name).read_text() for name in _FILES} == _FILES


def test_fix_shows_a_diff_and_writes_after_a_yes(tmp_path):
    done = run("doctor", "--offline", "--fix", "--yes", cwd=write(tmp_path))
    assert done.code == 0
    assert "-predict: predict.py:Predictor  # here\n+run: predict.py:Predictor  # here" in done.out
    assert (tmp_path / "cog.yaml").read_text() == _FILES["cog.yaml"].replace("predict:", "run:")
    assert (tmp_path / "predict.py").read_text() == _FILES["predict.py"].replace("def predict", "def run").replace(
        "BasePredictor", "BaseRunner"
    )
    again = run("doctor", "--offline", "--fix", "--yes", cwd=tmp_path)
    assert "There is nothing to fix." in again.err


def test_a_dry_run_writes_nothing_and_nobody_to_ask_is_told(tmp_path):
    dry = run("doctor", "--offline", "--fix", "--dry-run", cwd=write(tmp_path))
    assert (dry.code, "+run: predict.py" in dry.out) == (0, True)
    assert run("doctor", "--offline", "--fix", cwd=tmp_path).code == 2
    assert {name: (tmp_path / name).read_text() for name in _FILES} == _FILES


def test_json_lists_advice_and_what_was_written(tmp_path):
    done = run("doctor", "--offline", "--fix", "--yes", "--json", cwd=write(tmp_path))
    told = json.loads(done.out)
    assert told["healthy"] is True
    assert told["written"] == ["cog.yaml", "predict.py"]
    advice = next(finding["advice"] for finding in told["findings"] if finding["subject"] == "advice")
    assert [one["fixable"] for one in advice] == [True, True]
