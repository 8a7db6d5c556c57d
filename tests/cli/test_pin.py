"""`lading pin` as a user runs it."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import pytest

from tests.cli.test_lock_options import PREDICTOR
from tests.support.command import lading, write_files
from tests.support.index import LocalIndex


@pytest.fixture
def folder(tmp_path: Path, index: LocalIndex) -> Path:
    for name, version in (("demo", "1.5"), ("other", "2.0"), ("extra", "0.1"), ("exact", "1.0")):
        index.add(name, version)
    requirements = (
        f"--index-url {index.url}\n"
        "# what the model needs\n"
        "demo>=1,<2   # arrays\n"
        "-r more/common.txt\n"
        "exact==1.0\n"
        "only-windows>1 ; sys_platform == 'win32'\n"
    )
    return write_files(
        tmp_path / "model",
        {"predict.py": PREDICTOR, "requirements.txt": requirements, "more/common.txt": "other ; python_version > '3'\r\nextra[x]~=0.1\r\n"},
    )


def test_the_diff_is_shown_and_nothing_is_written_without_a_yes(folder: Path):
    before = {path: path.read_bytes() for path in folder.rglob("*.txt")}
    shown = lading("pin", folder, "--dry-run")
    assert shown.code == 0
    assert "-demo>=1,<2   # arrays\n+demo==1.5   # arrays\n" in shown.out
    refused = lading("pin", folder)
    assert refused.code == 2
    assert "nobody is at a terminal" in refused.err
    assert {path: path.read_bytes() for path in folder.rglob("*.txt")} == before


def test_the_locked_versions_are_written_in_every_file_and_the_lock_stays_the_same(folder: Path):
    assert lading("lock", folder).code == 0
    ran = lading("pin", folder, "--yes")
    assert ran.code == 0, ran.err
    assert (folder / "requirements.txt").read_text().splitlines()[1:] == [
        "# what the model needs",
        "demo==1.5   # arrays",
        "-r more/common.txt",
        "exact==1.0",
        "only-windows>1 ; sys_platform == 'win32'",
    ]
    assert (folder / "more/common.txt").read_bytes() == b"other==2.0 ; python_version > '3'\r\nextra[x]==0.1\r\n"
    assert 'only-windows>1 ; sys_platform == "win32" stays: its marker (sys_platform == "win32") is false' in " ".join(ran.err.split())
    assert lading("lock", folder, "--check").code == 0
    again = lading("pin", folder, "--yes", "--json")
    assert (again.data["pins"], again.data["files"], again.data["written"]) == ([], [], False)


def test_what_was_pinned_as_data(folder: Path):
    told = lading("pin", folder, "--yes", "--json").data
    assert told["written"] is True
    assert told["files"] == ["requirements.txt", "more/common.txt"]
    assert {key: told["pins"][0][key] for key in ("name", "version", "origin")} == {
        "name": "demo",
        "version": "1.5",
        "origin": "requirements.txt:3",
    }
    assert [pin["name"] for pin in told["pins"]] == ["demo", "other", "extra"]


def test_packages_of_cog_yaml_are_pinned_where_they_stand(tmp_path: Path, index: LocalIndex, monkeypatch: pytest.MonkeyPatch):
    index.add("demo", "1.5")
    monkeypatch.setenv("PIP_INDEX_URL", index.url)
    text = "build:\n  python_packages:\n    - demo>=1  # arrays\npredict: predict.py:predict\n"
    folder = write_files(tmp_path / "model", {"predict.py": PREDICTOR, "cog.yaml": text})
    assert lading("pin", folder, "-y").code == 0
    assert (folder / "cog.yaml").read_text() == text.replace("demo>=1 ", "demo==1.5 ")


def test_a_question_on_a_terminal_is_answered(folder: Path, monkeypatch: pytest.MonkeyPatch):
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setattr(sys, "stdin", Terminal("n\n"))
    from lading.cli import changes
    from lading.cli.output import Output
    from lading.edits.changes import Change

    change = Change(path="requirements.txt", before=(folder / "requirements.txt").read_bytes(), after=b"demo==1\n")
    monkeypatch.setattr(sys, "stderr", Terminal())
    assert changes.write_changes([change], folder, Output(), yes=False, dry_run=False) is False
    monkeypatch.setattr(sys, "stdin", Terminal("y\n"))
    assert changes.write_changes([change], folder, Output(), yes=False, dry_run=False) is True
    assert (folder / "requirements.txt").read_text() == "demo==1\n"


def test_files_that_cannot_be_written_leave_everything_as_it_was(folder: Path):
    from lading.cli.changes import write_changes
    from lading.cli.output import Output
    from lading.edits.changes import Change
    from lading.model.problems import LadingError

    first = Change(path="requirements.txt", before=(folder / "requirements.txt").read_bytes(), after=b"demo==1\n")
    stale = Change(path="more/common.txt", before=b"something else", after=b"x")
    missing = Change(path="no/such/folder.txt", before=None, after=b"x")
    for second, rule in ((stale, "file-changed-meanwhile"), (missing, "file-not-written")):
        with pytest.raises(LadingError) as caught:
            write_changes([first, second], folder, Output(quiet=True), yes=True, dry_run=False)
        assert caught.value.problems[0].rule == rule
        assert (folder / "requirements.txt").read_bytes() == first.before
        assert sorted(path.name for path in folder.rglob("*")) == ["common.txt", "more", "predict.py", "requirements.txt"]
