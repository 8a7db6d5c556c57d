"""Every kind of bad input: one clear message, the right exit code, no traceback, and nothing left behind."""

from __future__ import annotations

import pytest

from tests.journey.conftest import names_in

PREDICT = "def predict(x: int) -> int:\n    return x\n"
COG = {"cog.yaml": "build:\n  python_version: '3.11'\n  python_requirements: requirements.txt\npredict: predict.py:Predictor\n"}
CLASS = "class Predictor:\n    def predict(self, x: int) -> int:\n        return x\n"
CORTEX = "- name: one\n  kind: RealtimeAPI\n  predictor:\n    type: python\n    path: predictor.py\n"

# What is wrong, the files, the exit code, and what the message must name.
CASES = [
    (
        "unknown key",
        {**COG, "cog.yaml": COG["cog.yaml"] + "predicter: x\n", "requirements.txt": "", "predict.py": CLASS},
        2,
        ["cog.yaml:5", "predicter"],
    ),
    ("wrong type", {"cog.yaml": "build:\n  gpu: perhaps\npredict: predict.py:Predictor\n", "predict.py": CLASS}, 2, ["cog.yaml:2", "gpu"]),
    ("missing requirements", {**COG, "predict.py": CLASS}, 2, ["cog.yaml:3", "requirements.txt"]),
    (
        "both lists",
        {
            "cog.yaml": "build:\n  python_packages: [a==1]\n  python_requirements: requirements.txt\npredict: predict.py:Predictor\n",
            "requirements.txt": "",
            "predict.py": CLASS,
        },
        2,
        ["cog.yaml", "python_packages", "python_requirements"],
    ),
    ("missing predictor file", {**COG, "requirements.txt": ""}, 2, ["cog.yaml:4", "predict.py"]),
    ("missing class", {**COG, "requirements.txt": "", "predict.py": "class Other:\n    pass\n"}, 2, ["predict.py", "Predictor"]),
    (
        "syntax error",
        {"requirements.txt": "", **COG, "predict.py": "class Predictor:\n  def predict(self, x: int -> int\n"},
        2,
        ["predict.py:2"],
    ),
    ("no annotation", {"requirements.txt": "", **COG, "predict.py": CLASS.replace("x: int", "x")}, 2, ["predict.py:2", "x"]),
    ("nothing to serve", {"notes.txt": "hello"}, 2, ["cog.yaml", "cortex.yaml"]),
    ("missing cortex file", {"cortex.yaml": CORTEX}, 2, ["cortex.yaml:5", "predictor.py"]),
    ("missing cortex class", {"cortex.yaml": CORTEX, "predictor.py": "x = 1\n"}, 2, ["predictor.py", "PythonPredictor"]),
    (
        "missing cortex dependencies",
        {
            "cortex.yaml": CORTEX + "    dependencies:\n      pip: requirement-gpu.txt\n",
            "predictor.py": "class PythonPredictor:\n    def __init__(self, config): pass\n    def predict(self, payload): pass\n",
        },
        2,
        ["cortex.yaml:7", "requirement-gpu.txt"],
    ),
    ("not a requirement", {"requirements.txt": "numpy=1.0\n", "predict.py": PREDICT}, 2, ["requirements.txt:1", "numpy==1.0"]),
    ("no such version", {"requirements.txt": "shout==9.0\n", "predict.py": PREDICT}, 3, ["requirements.txt:1", "9.0"]),
    ("no such package", {"requirements.txt": "whisper-nobody==1.0\n", "predict.py": PREDICT}, 3, ["requirements.txt:1", "whisper-nobody"]),
    (
        "conflict",
        {"requirements.txt": "loud==1.0\nshout==1.0\n", "predict.py": PREDICT},
        3,
        ["requirements.txt:1", "requirements.txt:2", "shout"],
    ),
    ("no such Python", {".python-version": "3.6.99\n", "requirements.txt": "", "predict.py": PREDICT}, 3, [".python-version:1", "3.6.99"]),
]


@pytest.fixture(autouse=True)
def packages(index):
    index.add("shout", "1.0")
    index.add("shout", "2.0")
    index.add("loud", "1.0", requires=["shout>=2"])


@pytest.mark.parametrize(("files", "code", "said"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_it_is_told_with_its_place_and_nothing_is_left(project, lading, lading_home, files, code, said):
    folder = project(files)
    before = names_in(folder)
    done = lading("install", folder)
    assert done.code == code, done.err
    for word in said:
        assert word in done.err, done.err
    assert "fix:" in done.err
    assert done.out == ""
    assert names_in(folder) == before
    assert not (lading_home / "envs").exists() or names_in(lading_home / "envs") == []
    as_json = lading("install", folder, "--json")
    assert as_json.code == code
    assert as_json.data["exit_code"] == code
    assert all({"rule", "what", "code"} <= set(problem) for problem in as_json.data["problems"])


def test_several_mistakes_are_told_in_one_run(project, lading):
    files = {"cog.yaml": "buidl: {}\nbuild:\n  gpu: 3\npredict: predict.py:Predictor\n", "predict.py": CLASS}
    done = lading("plan", project(files))
    assert done.code == 2
    assert "cog.yaml:1" in done.err
    assert "cog.yaml:3" in done.err
    assert "2 problems." in done.err


def test_an_index_that_is_down(project, lading, index):
    index.stop()
    done = lading("install", project({"requirements.txt": "shout==1.0\n", "predict.py": PREDICT}))
    assert done.code == 5
    assert index.host in done.err
    assert "cannot be reached" in done.err


def test_an_index_that_asks_for_a_password(project, lading, index):
    index["simple"].credentials = ("ada", "s3cret-enough")
    folder = project({"requirements.txt": "shout==1.0\n", "predict.py": PREDICT})
    done = lading("install", folder)
    assert done.code == 5
    assert "password" in done.err
    wrong = lading("install", folder, UV_DEFAULT_INDEX=index.url_of("simple", user="ada", password="wr0ng-password"))
    assert wrong.code == 5
    assert "wr0ng-password" not in wrong.err + wrong.out
    right = lading("install", folder, UV_DEFAULT_INDEX=index.url_of("simple", user="ada", password="s3cret-enough"))
    assert right.code == 0, right.err
    assert "s3cret-enough" not in right.err + right.out + (folder / "pylock.lading.toml").read_text()


def test_a_stale_lock_is_named_by_plan_and_refused_by_locked(project, lading):
    folder = project({"requirements.txt": "shout==1.0\n", "predict.py": PREDICT})
    assert lading("lock", folder).code == 0
    assert "up to date" in lading("plan", folder).out
    (folder / "requirements.txt").write_text("# a comment\nshout==1.0\n")
    assert "up to date" in lading("plan", folder).out
    (folder / "requirements.txt").write_text("shout==2.0\n")
    planned = lading("plan", folder)
    assert planned.code == 0
    assert "out of date: requirements.txt has changed" in planned.out
    refused = lading("serve", folder, "--locked")
    assert refused.code == 4
    assert "requirements.txt has changed" in refused.err
    assert lading("install", folder, "--frozen").code == 0
    assert lading("install", folder).code == 0
    assert 'version = "2.0"' in (folder / "pylock.lading.toml").read_text()


def test_a_store_that_cannot_be_written(project, lading, tmp_path):
    (tmp_path / "occupied").write_text("a file, no folder")
    done = lading("install", project({"requirements.txt": "shout==1.0\n", "predict.py": PREDICT}), LADING_HOME=str(tmp_path / "occupied"))
    assert done.code == 2
    assert "occupied" in done.err
    assert "LADING_HOME" in done.err


def test_offline_without_a_cache_names_what_is_missing(project, lading):
    done = lading("install", project({"requirements.txt": "shout==1.0\n", "predict.py": PREDICT}), "--offline")
    assert done.code == 5
    assert "shout" in done.err
    assert "--offline" in done.err
