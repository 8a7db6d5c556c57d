"""`.cortexignore` means what the same lines mean to git, and `.dockerignore` what they mean to Docker."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from lading.formats.cortex_yaml import parse_config
from lading.formats.ignore_files import CORTEX, DOCKER, IgnoreRules
from lading.model.files import MemoryFiles
from lading.model.problems import LadingError

PATHS = (
    *("a.py", "a.log", "keep.log", "data/x.csv", "data/keep/y.csv", "src/data/z.csv", "src/a.log", "src/lib/b.py", "docs/x/y/z.md"),
    *("build", "src/build/out.o", "with space.txt", "#hash", "!bang", "trailing ", "logs/today.log", "foo/bar/baz", "deep/foo/bar/qux"),
)
LINES = [
    ["*.log", "!keep.log"],
    ["data/"],
    ["/data"],
    ["data/", "!data/keep/y.csv"],
    ["data/*", "!data/keep"],
    ["**/build"],
    ["docs/**/z.md"],
    ["docs/**"],
    ["foo/bar"],
    ["**/foo/bar", "# a comment", "", "   "],
    [r"\#hash", r"\!bang", "with space.txt", r"trailing\ "],
    ["src/*.py", "src/?ib", "[a-c].py", "[!k]*.log"],
    ["*", "!*.py", "!src/"],
    ["build/"],
    ["logs/*.log", "!/logs/today.log"],
]


@pytest.mark.parametrize("lines", LINES, ids=[" ".join(lines) for lines in LINES])
def test_the_lines_mean_what_they_mean_to_git(tmp_path: Path, lines: list[str]):
    if shutil.which("git") is None:
        pytest.skip("git is not there to compare with")
    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    (tmp_path / ".gitignore").write_text("\n".join(lines) + "\n")
    for path in PATHS:
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).touch()
    asked = "\0".join(PATHS).encode()
    answer = subprocess.run(["git", "check-ignore", "-z", "--stdin"], cwd=tmp_path, input=asked, capture_output=True, check=False)
    expected = {path for path in answer.stdout.decode().split("\0") if path}
    rules = IgnoreRules(git=lines)
    assert {path for path in PATHS if rules(path)} == expected


def test_dockers_exceptions_reach_into_ignored_folders():
    rules = IgnoreRules(["notes", "!notes/keep.txt", "*.tmp"], ["notes2/", "!notes2/keep.txt"])
    assert [rules(path) for path in ("notes/a.txt", "notes/keep.txt", "a.tmp", "b/a.tmp")] == [True, False, True, False]
    assert (rules.may_hold("notes"), rules.may_hold("notes2")) == (True, False)
    assert (rules.named_by("notes2/keep.txt"), rules.named_by("a.tmp"), rules.named_by("a.py")) == (CORTEX, DOCKER, None)


def test_a_predictor_that_is_left_out_of_the_project_is_a_problem():
    files = {".cortexignore": "models/\n", "models/predictor.py": "", "models/requirements.txt": "", ".dockerignore": "*\n"}
    section = "{type: python, path: models/predictor.py, dependencies: {pip: models/requirements.txt}}"
    text = f"- name: a\n  kind: RealtimeAPI\n  predictor: {section}\n"
    with pytest.raises(LadingError) as caught:
        parse_config("cortex.yaml", MemoryFiles({**files, "cortex.yaml": text}))
    assert [(str(one.origin), one.what) for one in caught.value.problems] == [
        ("cortex.yaml:3", "a (RealtimeAPI): predictor: path: models/predictor.py: file is left out of the project by .cortexignore"),
        (
            "cortex.yaml:3",
            "a (RealtimeAPI): predictor: dependencies: pip: models/requirements.txt: file is left out of the project by .cortexignore",
        ),
    ]
    below = {f"api/{path}": content for path, content in files.items()} | {"api/cortex.yaml": text.replace("models/", "")}
    below |= {"api/predictor.py": "", "api/requirements.txt": ""}
    assert parse_config("api/cortex.yaml", MemoryFiles(below)).apis[0].file == "api/predictor.py"
