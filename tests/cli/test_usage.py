"""The command line itself: verbs, options, help, wrong words, colour, pipes."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from lading import __version__
from lading.cli.options import make_parser
from lading.cli.run import split_verb
from lading.cli.verbs import ALIASES, VERBS
from lading.model.problems import LadingError
from tests.cli.process import run_lading
from tests.support.command import write_files

PREDICT = "def predict(number: int = 1) -> int:\n    return 2 * number\n"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    return write_files(tmp_path, {"predict.py": PREDICT, "requirements.txt": "numpy==2.0.0\npandas\n"})


@pytest.mark.parametrize(
    ("words", "verb", "rest"),
    [
        (["plan"], "plan", []),
        (["run", "-i", "a=1"], "predict", ["-i", "a=1"]),
        (["-C", "folder", "plan", "x"], "plan", ["-C", "folder", "x"]),
        (["--directory", "plan", "plan"], "plan", ["--directory", "plan"]),
        (["--python", "3.11", "-q", "lock", "--upgrade"], "lock", ["--python", "3.11", "-q", "--upgrade"]),
        (["-C=plan", "serve"], "serve", ["-C=plan"]),
        (["exec", "python", "-c", "x"], "exec", ["python", "-c", "x"]),
        (["help", "plan"], "plan", ["--help"]),
    ],
)
def test_options_may_stand_before_the_verb(words: list[str], verb: str, rest: list[str]):
    assert split_verb(words) == (verb, rest)


@pytest.mark.parametrize("words", [[], ["-q"], ["-C", "plan"], ["plna"], [""], ["help", "nothing"], ["Plan"], ["--", "plan"]])
def test_what_names_no_verb_is_refused(words: list[str]):
    if words == ["--", "plan"]:
        assert split_verb(words) == ("plan", ["--"])
        return
    with pytest.raises(LadingError, match="verb"):
        split_verb(words)


def test_help_and_version_need_nothing(tmp_path: Path):
    for words in ((), ("--help",), ("-h",), ("help",)):
        shown = run_lading(*words, cwd=tmp_path)
        assert (shown.code, shown.err) == (0, "")
        assert all(f"\n  {verb} " in shown.out for verb in VERBS)
    for word in ("--version", "-V"):
        assert run_lading(word, cwd=tmp_path).out == f"lading {__version__}\n"


def test_what_every_start_imports_is_next_to_nothing(tmp_path: Path):
    for words in (["--version"], ["--help"]):
        program = f"import sys; sys.argv[1:] = {words}; from lading.__main__ import main; main(); print(len(sys.modules), 'argparse' in sys.modules)"
        done = subprocess.run([sys.executable, "-I", "-S", "-c", program], cwd=tmp_path, capture_output=True, text=True, check=False)
        bare = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=True)
        assert bare.stdout.splitlines()[-1].endswith("False"), (done.stderr, bare.stdout)


@pytest.mark.parametrize("verb", [*VERBS, *ALIASES])
def test_every_verb_has_a_help_that_lists_the_common_options(tmp_path: Path, verb: str):
    shown = run_lading(verb, "--help", cwd=tmp_path)
    assert (shown.code, shown.err) == (0, "")
    for option in ("--directory", "--file", "--quiet", "--verbose", "--no-color", "--progress", "--json"):
        assert option in shown.out or (verb == "exec" and option == "--json")


def test_every_option_that_may_stand_before_the_verb_takes_a_value():
    from lading.cli.options import WITH_VALUE

    parser = make_parser("plan", "")
    takes_value = {name for action in parser._actions if action.nargs is None and action.const is None for name in action.option_strings}
    assert set(WITH_VALUE) == takes_value - {"-v", "--verbose"}


def test_an_unknown_verb_suggests_the_nearest(tmp_path: Path):
    shown = run_lading("plna", cwd=tmp_path)
    assert (shown.code, shown.out) == (2, "")
    assert shown.err == 'error: There is no verb "plna".\n  fix: Did you mean `lading plan`?\n'


@pytest.mark.parametrize(
    "words",
    [
        ("--json", "nonsense"),
        ("plan", "--json", "--nonsense"),
        ("--json",),
        ("explain", "--json"),
        ("plan", "--json", "-C", "/nowhere/at/all"),
        ("serve", "--json", "-p", "x"),
    ],
)
def test_wrong_words_are_json_too_when_json_was_asked_for(tmp_path: Path, words: tuple[str, ...]):
    shown = run_lading(*words, cwd=tmp_path)
    assert (shown.code, shown.err) == (2, "")
    assert (shown.data["error"], shown.data["exit_code"]) == ("usage", 2)
    (problem,) = shown.data["problems"]
    assert problem["what"]
    assert problem["instead"]


def test_an_input_after_json_is_no_wish_for_json(tmp_path: Path):
    shown = run_lading("predict", "--json", '{"a": 1}', "--nonsense", cwd=tmp_path)
    assert (shown.code, shown.out) == (2, "")
    assert shown.err.startswith("error: lading predict: Unrecognized arguments: --nonsense.")


def test_problems_go_to_standard_error_even_when_quiet(tmp_path: Path):
    shown = run_lading("plan", "-q", cwd=tmp_path)
    assert (shown.code, shown.out) == (2, "")
    assert "There is nothing to serve" in shown.err


def test_several_problems_are_shown_at_once(tmp_path: Path):
    write_files(tmp_path, {"predict.py": PREDICT, "requirements.txt": "numpy=1\nscipy^1\n"})
    shown = run_lading("plan", cwd=tmp_path)
    assert shown.code == 2
    assert "requirements.txt:1: " in shown.err
    assert "requirements.txt:2: " in shown.err
    assert shown.err.endswith("2 problems.\n")
    assert len(run_lading("plan", "--json", cwd=tmp_path).data["problems"]) == 2


@pytest.mark.parametrize(("words", "variable"), [((), ""), (("--no-color",), ""), ((), "NO_COLOR"), ((), "COG_NO_COLOR")])
def test_colour_is_for_terminals_that_want_it(project: Path, words: tuple[str, ...], variable: str):
    controller, terminal = pty.openpty()
    environ = {**os.environ, "TERM": "xterm", "NO_COLOR": "", **({variable: "1"} if variable else {})}
    with subprocess.Popen(
        [sys.executable, "-m", "lading", "plan", *words], cwd=project, env=environ, stdout=terminal, stderr=subprocess.DEVNULL
    ) as process:
        os.close(terminal)
        seen = b""
        while piece := _read(controller):
            seen += piece
        assert process.wait(60) == 0
    os.close(controller)
    assert (b"\x1b[" in seen) is (not words and not variable)
    assert b"Requirements" in seen


def _read(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, 65536)
    except OSError:  # Linux says so when the other side has been closed
        return b""


def test_there_is_no_colour_in_a_pipe(project: Path):
    assert "\x1b" not in run_lading("plan", cwd=project, env={"TERM": "xterm"}).out


@pytest.mark.parametrize("verb", ["plan", "explain", "doctor"])
def test_a_narrow_terminal_gets_narrow_lines(project: Path, verb: str):
    words = ("explain", "pandas") if verb == "explain" else (verb, "--offline") if verb == "doctor" else (verb,)
    shown = run_lading(*words, cwd=project, env={"COLUMNS": "40"})
    assert shown.code == 0
    assert [line for line in shown.out.splitlines() if len(line) > 40 and " " in line.strip()] == []
    wrong = run_lading("plan", "nowhere", cwd=project, env={"COLUMNS": "40"})
    assert max(map(len, wrong.err.splitlines())) <= 40


@pytest.mark.parametrize("words", [("--help",), ("plan",), ("plan", "--json"), ("schema",), ("nonsense", "--json")])
def test_a_reader_that_goes_away_is_no_error(project: Path, words: tuple[str, ...]):
    with subprocess.Popen([sys.executable, "-m", "lading", *words], cwd=project, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        talk = process.stderr.read()
        assert (process.wait(60), talk) == (0, b"")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
@pytest.mark.parametrize("words", [("--help",), ("plan",), ("schema",)])
def test_a_full_disk_behind_standard_output_is_said(project: Path, words: tuple[str, ...]):
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            [sys.executable, "-m", "lading", *words], cwd=project, stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    assert done.returncode == 2
    assert done.stderr == "error: Standard output cannot be written: No space left on device.\n"


def test_an_encoding_without_our_characters_stops_nothing(tmp_path: Path):
    write_files(tmp_path, {"predict.py": PREDICT, "requirements.txt": "# é\nnumpy=1é\n"})
    shown = run_lading("plan", cwd=tmp_path, env={"PYTHONIOENCODING": "ascii"})
    assert shown.code == 2
    assert "numpy=1\\xe9" in shown.err
    as_json = run_lading("plan", "--json", cwd=tmp_path, env={"PYTHONIOENCODING": "ascii"})
    assert "numpy=1é" in as_json.data["problems"][0]["what"]


WRONG = [
    ("plan", ":"),
    ("plan", "::"),
    ("plan", "predict.py:Nobody"),
    ("plan", "predict.py:predict:x"),
    ("plan", "nowhere.py:x"),
    ("plan", "requirements.txt"),
    ("plan", "x" * 5000),
    ("plan", b"\xff\xfe"),
    ("plan", "-f", ""),
    ("plan", "-f", "/etc/passwd"),
    ("plan", "-f", "../.."),
    ("plan", "-f", "sub"),
    ("plan", "-f", "requirements.txt"),
    ("plan", "-f", "binary.yaml"),
    ("plan", "predict.py", "-f", "predict.py"),
    ("plan", "-C", "predict.py"),
    ("plan", "-C", "/proc/1/root"),
    ("plan", "--python", "2.7"),
    ("plan", "--python", "9.9.9"),
    ("plan", "--python", "3.x"),
    ("plan", "--python", "9" * 5000),
    ("plan", "--python", "/nowhere/python"),
    ("plan", "--python", "./predict.py"),
    ("plan", "--python", "/"),
    ("plan", "--accelerator", ""),
    ("plan", "--accelerator", "gpu"),
    ("plan", "--progress", ""),
    ("plan", "--locked"),
    ("explain", ""),
    ("explain", "\n"),
    ("explain", "../x"),
    ("explain", "é" * 300),
    ("explain", "numpy", "nowhere"),
    ("schema", "predict.py:Nobody"),
    ("predict", "-i", "="),
    ("predict", "-i", "number"),
    ("predict", "-i", "number=x"),
    ("predict", "-i", "nobody=1"),
    ("predict", "-i", "number=@nowhere"),
    ("predict", "-i", "number=@sub"),
    ("predict", "--json", "{"),
    ("predict", "--json", "[1]"),
    ("predict", "--json", "@nowhere.json"),
    ("predict", "--json", '{"number": 1e999}'),
    ("predict", "--json", "[" * 3000),
    ("predict", "--json", "-"),
    ("predict", "--api", "nobody"),
    ("predict", "--timeout", "0"),
    ("predict", "--timeout", "nan"),
    ("predict", "--setup-timeout", "-1"),
    ("serve", "-p", "-1"),
    ("serve", "-p", "65536"),
    ("serve", "-p", "80 80"),
    ("serve", "-p", "9" * 5000),
    ("init", "--style", "flask"),
    ("init", "predict.py"),
    ("init", "predict.py/sub"),
    ("init", "a", "b"),
]


@pytest.mark.parametrize("words", WRONG, ids=lambda words: " ".join(str(word)[:24] for word in words))
def test_whatever_is_wrong_is_said_in_a_message_and_changes_nothing(project: Path, words: tuple[str | bytes, ...]):
    write_files(project, {"sub/keep": "", "binary.yaml": bytes(range(256))})
    before = {path: path.read_bytes() for path in project.rglob("*") if path.is_file()}
    shown = run_lading(*words, cwd=project)
    assert shown.code in (2, 3, 4), (shown.out, shown.err)
    assert "error: " in shown.err
    assert "has a defect" not in shown.err
    assert {path: path.read_bytes() for path in project.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize("words", [("",), (".",), ("predict.py:",), ("-f", "./predict.py"), ("-C", ""), ("--python", "")])
def test_what_says_nothing_new_is_the_same_as_saying_nothing(project: Path, words: tuple[str, ...]):
    assert run_lading("explain", "pandas", *words, cwd=project).out == run_lading("explain", "pandas", cwd=project).out


@pytest.mark.parametrize("text", ["abc", "-1", "65536", "5000.0", "٣", "9" * 5000])
def test_a_port_variable_that_is_no_port_is_refused(project: Path, text: str):
    shown = run_lading("serve", "--offline", "--frozen", cwd=project, env={"PORT": text})
    assert shown.code == 2
    assert shown.err.startswith("error: PORT: The port is not a number")


def test_interrupting_leaves_a_word_and_the_status_130(project: Path):
    program = "import os, signal, threading, sys; sys.argv[1:] = ['schema']; import lading.cli.schema as s\n"
    program += "s.run = lambda *_: (os.kill(os.getpid(), signal.SIGINT), threading.Event().wait(20))\n"
    program += "from lading.__main__ import main; sys.exit(main())"
    done = subprocess.run([sys.executable, "-c", program], cwd=project, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "interrupted\n")
