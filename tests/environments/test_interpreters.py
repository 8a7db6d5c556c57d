"""The machine's Pythons: found wherever they are installed, asked once, and chosen from by what the project allows."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from lading.environments.interpreters import choose_interpreter, find_interpreters, probe_named, running_one
from lading.environments.probe import probe
from lading.model.events import Event, Phase
from lading.model.origin import Origin
from lading.model.problems import ExitCode, LadingError, Problem
from lading.model.pythons import allows
from lading.model.target import Interpreter
from tests.environments.support import FOUND

RUNNING = os.path.realpath(getattr(sys, "_base_executable", None) or sys.executable)
HERE = ".".join(map(str, sys.version_info[:3]))
ASKED = Origin("cog.yaml", 3)


def program(path: Path, version: str, **facts: object) -> Path:
    """A program that answers Lading's question as a Python of some version would, and keeps a log of being asked."""
    answer = {
        "executable": str(path),
        "version": version,
        "implementation": "cpython",
        "base_prefix": str(path.parent.parent),
        "soabi": f"cpython-{version.replace('.', '')[:3]}-x86_64-linux-gnu",
        "platform": "linux-x86_64",
        "libc": "glibc 2.36",
        "bits": 64,
        "free_threaded": False,
        **facts,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\necho asked >> \"$0.log\"\necho '{json.dumps(answer)}'\n")
    path.chmod(0o755)
    return path


def python_there(path: Path, python: str = RUNNING) -> None:
    """A link to a Python, in a folder as installations have it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to(python)


@pytest.fixture
def hidden() -> Interpreter:
    """A Python that is found nowhere but where a test puts it."""
    everywhere = [one.path for one in find_interpreters({"HOME": "/nowhere", "PATH": ""})]
    for one in FOUND.values():
        if one.path not in everywhere:
            return one
    pytest.skip("this machine has no CPython outside of the system's folders")


def test_the_running_one_is_found_under_its_real_name():
    found = find_interpreters({"HOME": "/nowhere", "PATH": ""})
    running = next(one for one in found if one.path == RUNNING)
    assert (running.version, running.found_by, running.implementation) == (HERE, "running", sys.implementation.name)


def test_each_installation_comes_once_and_the_newest_first():
    found = find_interpreters(os.environ)
    versions = [tuple(int(part) for part in one.version.split(".")) for one in found if one.version.replace(".", "").isdigit()]
    assert versions == sorted(versions, reverse=True)
    assert len({one.path for one in found}) == len(found)
    assert all(Path(one.path).is_absolute() for one in found)


def test_events_tell_of_the_search():
    events: list[Event] = []

    def heard(event: Event) -> None:
        events.append(event)

    find_interpreters({"HOME": "/nowhere", "PATH": ""}, heard)
    assert [(event.step, event.phase) for event in events] == [("Finding Python", Phase.STARTED), ("Finding Python", Phase.FINISHED)]


@pytest.mark.parametrize("specifier", ["", ">=3.8", f"=={sys.version_info[0]}.{sys.version_info[1]}.*", "==3.6.*", ">=4", "<3.0"])
def test_the_running_one_is_taken_at_once_where_it_would_be_chosen_of_all(specifier: str):
    found = running_one(specifier, os.environ)
    assert (found is not None) == allows(specifier, HERE)
    if found is not None:
        assert found == choose_interpreter(specifier, find_interpreters(os.environ), None)


@pytest.mark.parametrize(
    ("place", "environ"),
    [
        (".pyenv/versions/3.9.1/bin/python3.9", {}),
        ("elsewhere/versions/3.9.1/bin/python3.9", {"PYENV_ROOT": "{home}/elsewhere"}),
        (".local/share/uv/python/cpython-3.9/bin/python3.9", {}),
        ("managed/cpython-3.9/bin/python3.9", {"UV_PYTHON_INSTALL_DIR": "{home}/managed"}),
        ("data/uv/python/cpython-3.9/bin/python3.9", {"XDG_DATA_HOME": "{home}/data"}),
        ("miniconda3/bin/python3.9", {}),
        ("miniforge3/envs/model/bin/python3.9", {}),
        ("active/bin/python3.9", {"CONDA_PREFIX": "{home}/active"}),
        ("bin/python3.9", {"PATH": "{home}/bin"}),
        ("bin/python3", {"PATH": "{home}/bin"}),
        ("bin/python", {"PATH": "{home}/bin"}),
    ],
)
def test_every_place_is_looked_into(tmp_path: Path, place: str, environ: dict[str, str], hidden: Interpreter):
    python_there(tmp_path / place, hidden.path)
    variables = {"HOME": str(tmp_path), "PATH": "", **{name: text.format(home=tmp_path) for name, text in environ.items()}}
    assert hidden.path in [one.path for one in find_interpreters(variables)]


@pytest.mark.parametrize("name", ["python3-config", "python3.9-gdb.py", "pythonw", "ipython3", "python2.7"])
def test_programs_that_only_sound_like_one_are_not_asked(tmp_path: Path, name: str, hidden: Interpreter):
    python_there(tmp_path / "bin" / name, hidden.path)
    assert hidden.path not in [one.path for one in find_interpreters({"HOME": "/nowhere", "PATH": str(tmp_path / "bin")})]


def test_scripts_of_version_managers_are_not_run(tmp_path: Path):
    script = tmp_path / "bin" / "python3.9"
    script.parent.mkdir()
    script.write_text('#!/bin/sh\necho asked >> "$0.log"\n')
    script.chmod(0o755)
    find_interpreters({"HOME": "/nowhere", "PATH": str(script.parent)})
    assert not script.with_name("python3.9.log").exists()


def test_links_to_one_installation_are_one_python(tmp_path: Path):
    for name in ("bin/python3", "bin/python3.11", "miniconda3/bin/python"):
        python_there(tmp_path / name)
    found = find_interpreters({"HOME": str(tmp_path), "PATH": str(tmp_path / "bin")})
    assert [one.path for one in found].count(RUNNING) == 1


# Named ones


def test_a_path_a_folder_and_an_environment_can_be_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    subprocess.run([RUNNING, "-m", "venv", "--without-pip", tmp_path / "venv"], check=True)
    for place in (RUNNING, tmp_path / "venv" / "bin" / "python", tmp_path / "venv"):
        named = probe_named(str(place))
        assert (named.path, named.version, named.found_by) == (RUNNING, HERE, "named")
    monkeypatch.chdir(tmp_path)
    assert probe_named("venv").path == RUNNING


def refused(path: Path | str) -> Problem:
    with pytest.raises(LadingError) as caught:
        probe_named(str(path))
    (problem,) = caught.value.problems
    assert (problem.origin, problem.code) == (Origin("--python"), ExitCode.RESOLUTION)
    return problem


def test_a_name_that_is_no_python(tmp_path: Path):
    assert refused(tmp_path / "nothing").rule == "python-not-found"
    assert refused(tmp_path).rule == "python-not-found"
    (tmp_path / "text").write_text("hello")
    assert refused(tmp_path / "text").rule == "python-not-usable"
    assert refused("/bin/true").rule == "python-not-usable"


def test_a_python_that_is_too_old(tmp_path: Path):
    problem = refused(program(tmp_path / "bin" / "python2.7", "2.7.18"))
    assert (problem.rule, problem.what) == ("python-too-old", f"{tmp_path}/bin/python2.7 is Python 2.7.18.")


# Asked once


def asked(path: Path) -> int:
    log = path.with_name(f"{path.name}.log")
    return len(log.read_text().splitlines()) if log.exists() else 0


def test_answers_are_remembered_until_the_program_changes(tmp_path: Path, lading_home: Path):
    path = program(tmp_path / "bin" / "python3.9", "3.9.1")
    for _ in range(3):
        assert probe([str(path)])[str(path)].version == "3.9.1"
    assert asked(path) == 1
    program(path, "3.9.18")
    assert probe([str(path)])[str(path)].version == "3.9.18"
    assert asked(path) == 2
    (lading_home / "interpreters.json").write_text("junk")
    assert probe([str(path)])[str(path)].version == "3.9.18"
    assert asked(path) == 3


@pytest.mark.parametrize(
    "content", ["", "[]", '{"format": 1}', '{"format": 1, "interpreters": {"x": {}}}', '{"format": 99, "interpreters": {}}']
)
def test_odd_memories_are_forgotten(lading_home: Path, content: str):
    lading_home.mkdir()
    (lading_home / "interpreters.json").write_text(content)
    assert probe([RUNNING])[RUNNING].version == HERE
    assert json.loads((lading_home / "interpreters.json").read_text())["format"] == 1


def test_a_store_that_cannot_be_written_is_no_error(tmp_path: Path):
    (tmp_path / "file").write_text("")
    assert probe([RUNNING], {"LADING_HOME": str(tmp_path / "file")})[RUNNING].version == HERE


def test_what_does_not_answer_is_left_out(tmp_path: Path):
    broken = {
        "fails": "exit 3\n",
        "says nothing": "true\n",
        "says nonsense": "echo hello\n",
        "says other json": "echo '{}'\n",
        "says a list": "echo '[1]'\n",
    }
    for name, text in broken.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{text}")
        (tmp_path / name).chmod(0o755)
    assert list(probe([*(str(tmp_path / name) for name in broken), RUNNING, str(tmp_path / "nothing")])) == [RUNNING]


def test_more_than_a_few_are_asked_at_once(tmp_path: Path):
    paths = [str(program(tmp_path / str(number) / "bin" / "python3.9", f"3.9.{number}")) for number in range(20)]
    assert {path: answer.version for path, answer in probe(paths).items()} == {path: f"3.9.{number}" for number, path in enumerate(paths)}


def test_a_variable_of_the_user_does_not_confuse_the_answer(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    (tmp_path / "json.py").write_text("raise SystemExit(1)\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setenv("PYTHONHOME", "/nowhere")
    assert probe([RUNNING])[RUNNING].version == HERE


# Chosen


def python(version: str, implementation: str = "cpython", found_by: str = "PATH") -> Interpreter:
    return Interpreter(path=f"/python/{implementation}-{version}", version=version, implementation=implementation, found_by=found_by)


OTHERS = [python("3.9.18"), python("3.10.13"), python("3.10.4"), python("3.14.0rc1"), python("3.12.1"), python("3.12.1", "pypy")]


@pytest.mark.parametrize(
    ("specifier", "version"),
    [
        ("==3.10.*", "3.10.13"),
        ("3.10", "3.10.13"),
        ("3.10.4", "3.10.4"),
        ("==3.10.4", "3.10.4"),
        (">=3.9,<3.11", "3.10.13"),
        (">=3.13", "3.14.0rc1"),
        ("3", "3.12.1"),
        (" ==3.9.* ", "3.9.18"),
    ],
)
def test_the_newest_that_is_allowed(specifier: str, version: str):
    chosen = choose_interpreter(specifier, OTHERS, None)
    assert (chosen.version, chosen.implementation) == (version, "cpython")


def test_ladings_own_python_is_preferred_where_it_is_allowed():
    own = python(HERE, found_by="running")
    minor = f"{sys.version_info[0]}.{sys.version_info[1]}"
    found = [*OTHERS, python("3.13.0"), python(f"{minor}.99"), own]
    assert choose_interpreter("", found, None) is own
    assert choose_interpreter(f">={minor}", found, None) is own
    assert choose_interpreter("==3.9.*", found, None).version == "3.9.18"


@pytest.mark.parametrize(
    ("specifier", "spoken", "suggested"),
    [
        ("==3.7.*", "3.7", "pyenv install 3.7`"),
        ("3.8.2", "3.8.2", "uv python install 3.8.2`"),
        (">=3.20", ">=3.20", "3.12"),
        ("<3.8", "<3.8", "3.7"),
    ],
)
def test_when_none_fits_it_is_said_what_is_there_and_how_to_get_it(specifier: str, spoken: str, suggested: str):
    with pytest.raises(LadingError) as caught:
        choose_interpreter(specifier, OTHERS[:1], ASKED)
    (problem,) = caught.value.problems
    assert (problem.rule, problem.origin, problem.code) == ("python-not-found", ASKED, ExitCode.RESOLUTION)
    assert problem.what == f"No Python {spoken} was found on this machine."
    assert problem.why == "cog.yaml:3 asks for it. The Pythons that were found: 3.9.18 (/python/cpython-3.9.18)."
    assert suggested in (problem.instead or "")


def test_when_there_is_none_at_all():
    with pytest.raises(LadingError) as caught:
        choose_interpreter("3.9", [], None)
    assert caught.value.problems[0].why == "The Pythons that were found: none."


@pytest.mark.parametrize("specifier", ["three", "3.x", ">=", "==3.10.*,", "3.10.4.5.x"])
def test_what_is_no_version(specifier: str):
    if specifier == "==3.10.*,":
        assert choose_interpreter(specifier, OTHERS, ASKED).version == "3.10.13"
        return
    with pytest.raises(LadingError) as caught:
        choose_interpreter(specifier, OTHERS, ASKED)
    assert (caught.value.problems[0].rule, caught.value.problems[0].origin) == ("python-version-invalid", ASKED)
