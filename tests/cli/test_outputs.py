"""What becomes of a prediction's output: standard output, or files."""

from __future__ import annotations

import base64
import json
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from lading.cli.output import Output
from lading.cli.outputs import write_output
from lading.model.problems import LadingError
from lading.service.calls import Result, Status
from lading.service.once import Outcome

PNG = b"\x89PNG\r\n\x1a\n\x00"
URL = "data:image/png;base64," + base64.b64encode(PNG).decode()


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def typed(value: object) -> Outcome:
    return Outcome(Result(id="1", status=Status.SUCCEEDED, output=json.dumps(value).encode()))


def cortex(body: bytes) -> Outcome:
    return Outcome(Result(id="1", status=Status.SUCCEEDED, output=body, http_status=200), cortex=True)


@pytest.mark.parametrize(
    ("value", "printed"),
    [
        ("Hello, é", "Hello, é\n"),
        ("", "\n"),
        (None, "null\n"),
        (3, "3\n"),
        (["a", "b"], '[\n  "a",\n  "b"\n]\n'),
        ({"é": 1}, '{\n  "é": 1\n}\n'),
        ([], "[]\n"),
        ("data: foo, bar", "data: foo, bar\n"),
        ("data:image/png;base64,not base64!", "data:image/png;base64,not base64!\n"),
        ([URL, "text"], json.dumps([URL, "text"], indent=2) + "\n"),
    ],
)
def test_what_is_no_file_is_printed(capsys: pytest.CaptureFixture[str], here: Path, value: object, printed: str):
    write_output(typed(value), None, Output())
    assert capsys.readouterr() == (printed, "")
    assert list(here.iterdir()) == []


def test_text_that_no_encoding_can_carry_is_written_as_escapes(here: Path):
    write_output(typed("half a pair: \ud800"), "out.txt", Output())
    assert (here / "out.txt").read_text() == "half a pair: \\ud800\n"


@pytest.mark.parametrize(
    ("url", "name", "content"),
    [
        (URL, "output.png", PNG),
        ("data:text/plain;charset=utf-8;base64,aGk=", "output.txt", b"hi"),
        ("data:text/plain,a%20b", "output.txt", b"a b"),
        ("data:application/x-nobody-knows;base64,aGk=", "output", b"hi"),
    ],
)
def test_a_file_is_written_beside_and_named_by_its_type(
    capsys: pytest.CaptureFixture[str], here: Path, url: str, name: str, content: bytes
):
    write_output(typed(url), None, Output())
    assert capsys.readouterr().out == f"{name}\n"
    assert {path.name: path.read_bytes() for path in here.iterdir()} == {name: content}


@pytest.mark.parametrize(
    ("path", "names"),
    [
        (None, ["output.0.png", "output.1.png"]),
        ("made/a.jpg", ["made/a.0.jpg", "made/a.1.jpg"]),
        ("made/a", ["made/a.0.png", "made/a.1.png"]),
    ],
)
def test_several_files_are_numbered(capsys: pytest.CaptureFixture[str], here: Path, path: str | None, names: list[str]):
    write_output(typed([URL, URL]), path, Output())
    assert capsys.readouterr().out.splitlines() == names
    assert all((here / name).read_bytes() == PNG for name in names)


def test_a_named_file_is_replaced_and_talk_says_so(capsys: pytest.CaptureFixture[str], here: Path):
    (here / "out.json").write_text("before")
    write_output(typed({"a": 1}), "out.json", Output())
    assert json.loads((here / "out.json").read_text()) == {"a": 1}
    assert capsys.readouterr() == ("", "Wrote out.json (13 bytes).\n")
    assert [path.name for path in here.iterdir()] == ["out.json"]


def test_a_link_stays_a_link(here: Path):
    (here / "real.txt").write_text("before")
    (here / "link.txt").symlink_to("real.txt")
    write_output(typed("after"), "link.txt", Output())
    assert (here / "real.txt").read_text() == "after\n"
    assert (here / "link.txt").is_symlink()


def test_what_is_no_file_is_written_to_as_it_is(here: Path):
    write_output(typed("gone"), os.devnull, Output())
    assert not Path(os.devnull).is_file()
    assert list(here.iterdir()) == []


@pytest.mark.parametrize("path", [".", "file/below", ""])
def test_a_place_that_cannot_be_written_is_told(here: Path, path: str):
    (here / "file").write_text("")
    with pytest.raises(LadingError, match="cannot be written") as failed:
        write_output(cortex(b"x"), path or "x" * 300, Output())
    assert str(failed.value.problems[0].origin) == "-o"


def test_a_full_disk_leaves_the_file_as_it_was(here: Path):
    (here / "out.txt").write_text("before")
    program = (
        "import sys; from lading.cli.output import Output; from lading.cli.outputs import _write_file; from pathlib import Path\n"
        "_write_file(Path('out.txt'), b'x' * 1000, Output())"
    )

    def small_files_only() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))

    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, preexec_fn=small_files_only)
    assert "out.txt cannot be written: File too large." in done.stderr
    assert {path.name: path.read_text() for path in here.iterdir()} == {"out.txt": "before"}


@pytest.mark.parametrize(("body", "printed"), [(b'{"a": 1}', b'{"a": 1}\n'), (b"text\n", b"text\n"), (PNG, PNG), (b"", b"\n")])
def test_a_cortex_answer_is_printed_as_it_is(capfdbinary: pytest.CaptureFixture[bytes], body: bytes, printed: bytes):
    write_output(cortex(body), None, Output())
    assert capfdbinary.readouterr().out == printed


def test_a_cortex_answer_can_go_to_a_file(capfdbinary: pytest.CaptureFixture[bytes], here: Path):
    write_output(cortex(PNG), "a/b.png", Output(quiet=True))
    assert (here / "a/b.png").read_bytes() == PNG
    assert capfdbinary.readouterr() == (b"", b"")
