"""`.env` read as data means what it means to bash, which Cortex let read it; what bash would run is refused."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from lading.formats._dotenv import read_dotenv
from lading.model.files import MemoryFiles
from lading.model.problems import ProblemCollector

SAME = [
    *("A=b", "A='b c'", 'A="b c"', "A=b # c", "A=b#c", "A=", "A=''", "export A=b", "A=b\\ c", 'A="x\\"y"', "A='x'\"y\"z", "  A=b  "),
    *("A=1\nB=$A/2\nC=${A}x", 'A="a\\nb"', "A='a\\nb'", "A=a*b", "A={x,y}", "A='http://h/x?a=1&b=2'", "A=!x", 'A="$"'),
    *("A=$", "A=a=b", "# only", "A=%20", "A=\\$x", "A='it'\\''s'", 'A="\\$x"'),
    *(
        'A=1\nB="\\\\$A"',
        'A=1\nB="\\\\\\$A"',
        "A=1\nB=\\\\$A",
        'A="a\\\nb"',
        'A="a\\\\\nb"',
        "A=1\nB=$A$A\\$A'$A'",
        'A="\\`"',
        "A=a~b",
        "A='~/x'",
    ),
    *('A="first\nsecond"', "A='first\n\n  # third'\nB=2", 'A="# no comment"', "A='one' # isn't open\nB=2"),
    "A='-----BEGIN KEY-----\nabc=\n-----END KEY-----\n'\nB=\"x\"",
]
REFUSED = [
    "export B",
    "A=$(echo hi)",
    "A=`echo hi`",
    "A=1 B=2",
    "A+=1",
    "if true; then A=1; fi",
    "A=$'x'",
    "A='never closed",
    "A=a;b",
    "A=b\\",
    *("A=$1", 'A="$1"', "A=$$", "A=$?", 'A="$@"', "A=${1}", "A=$[1+1]"),
]
ELSEWHERE = ["PATH=$PATH:/opt/bin", "A=$HOME/x", 'A="${HOME}/x"', "A=~/x", "A=x:~/y", 'A="$AFTER"', "A=x\\ $SECRET"]


def read(text: str) -> tuple[dict[str, str], ProblemCollector]:
    collector = ProblemCollector()
    return read_dotenv(".env", MemoryFiles({".env": text + "\n"}), collector), collector


@pytest.mark.parametrize("text", SAME)
def test_it_means_what_it_means_to_bash(tmp_path: Path, text: str):
    bash = shutil.which("bash")
    if bash is None:
        pytest.skip("bash is not there to compare with")
    (tmp_path / ".env").write_text(text + "\n")
    script = "set -a; source ./.env; env -0"
    told = subprocess.run([bash, "-c", script], cwd=tmp_path, env={"PATH": os.environ["PATH"]}, capture_output=True, check=True).stdout
    pairs = [pair.partition("=")[::2] for pair in told.decode().split("\0")]
    variables, problems = read(text)
    assert not problems.problems
    assert variables == {name: value for name, value in pairs if name in ("A", "B", "C")}


@pytest.mark.parametrize("line", REFUSED)
def test_what_is_no_plain_variable_is_refused_by_its_line(line: str):
    variables, problems = read(f"OK=1\n{line}\nAFTER=2")
    assert [(problem.rule, str(problem.origin)) for problem in problems.problems] == [("dotenv-invalid", ".env:2")]
    assert variables == {"OK": "1", "AFTER": "2"}


@pytest.mark.parametrize("line", ELSEWHERE)
def test_what_only_the_container_would_know_is_refused_and_not_left_out(line: str):
    variables, problems = read(f"OK=1\n{line}\nAFTER=2")
    assert [(problem.rule, str(problem.origin)) for problem in problems.problems] == [("dotenv-invalid", ".env:2")]
    assert problems.problems[0].what == "A line of .env refers to a variable that no line before it sets."
    assert "SECRET" not in str(problems.problems[0])
    assert variables == {"OK": "1", "AFTER": "2"}


def test_a_quote_that_is_never_closed_costs_no_time():
    variables, problems = read("A='" + "\n".join(f"B{number}=x" for number in range(5000)))
    assert len(problems.problems) == 1
    assert len(variables) == 4999
