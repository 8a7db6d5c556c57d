"""Other programs are heard while they run, and do not outlive an interruption."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from lading.resolvers.process import run


def test_every_line_is_heard_and_the_exit_code_kept(tmp_path: Path):
    heard: list[str] = []
    finished = run(["sh", "-c", "echo one >&2; echo out; echo two >&2; exit 3"], env=os.environ, cwd=tmp_path, heard=heard.append)
    assert (finished.returncode, finished.stderr, heard) == (3, "one\ntwo\n", ["one", "two"])


def test_bytes_that_are_no_text_do_no_harm(tmp_path: Path):
    finished = run(["sh", "-c", r"printf '\377\n' >&2"], env=os.environ, cwd=tmp_path, heard=lambda _: None)
    assert finished.stderr == "\N{REPLACEMENT CHARACTER}\n"


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="reads /proc")
@pytest.mark.parametrize("stubborn", ["", "trap '' TERM; "])
def test_an_interruption_ends_the_program_and_its_children(tmp_path: Path, stubborn: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("lading.resolvers.process.PATIENCE", 0.2)
    groups = []

    def interrupted(line: str) -> None:
        groups.append(int(line))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(["sh", "-c", f"{stubborn}sleep 100 & echo $$ >&2; wait; sleep 100"], env=os.environ, cwd=tmp_path, heard=interrupted)
    while left := alive_in(groups[0]):  # a killed process takes a moment to go; the suite's time limit is the bound
        os.sched_yield()
    assert left == []


def alive_in(group: int) -> list[str]:
    """Names of the processes of a group that still run; those killed and not yet collected by their parent do not."""
    found = []
    for file in Path("/proc").glob("[0-9]*/stat"):
        try:
            name, _, rest = file.read_text().rpartition(")")
        except OSError:
            continue
        state, _, process_group = rest.split()[:3]
        found += [name] if int(process_group) == group and state not in "ZX" else []
    return found


def test_a_program_that_is_not_there(tmp_path: Path):
    with pytest.raises(OSError, match="No such file"):
        run([str(tmp_path / "nothing")], env=os.environ, cwd=tmp_path, heard=lambda _: None)
