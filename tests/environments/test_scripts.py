"""Install scripts that are run, and what is remembered of them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from lading.environments.scripts import Consent, consent_to, has_run, remember, run_script
from lading.model.events import Event, silent
from lading.model.files import content_hash
from lading.model.origin import Origin
from lading.model.problems import ExitCode, LadingError
from lading.model.scripts import Script, When
from tests.service.support import is_alive


def script(root: Path, text: str) -> Script:
    (root / "dependencies.sh").write_text(text)
    digest = content_hash(text.encode())
    origin = Origin("dependencies.sh")
    return Script(path="dependencies.sh", origin=origin, sha256=digest, commands=(), when=When.BEFORE, harmless=False, because="it must")


def run(one: Script, root: Path, **environ: str) -> list[str]:
    heard: list[str] = []
    run_script(one, root, {**os.environ, **environ}, silent, heard.append)
    return heard


def test_it_runs_in_the_projects_folder_and_that_is_remembered_for_its_content(tmp_path: Path):
    one = script(tmp_path, "pwd\necho to-stderr >&2\ntouch made\n")
    assert not has_run(one, tmp_path)
    assert run(one, tmp_path) == [str(tmp_path.resolve()), "to-stderr"]
    assert (tmp_path / "made").exists()
    assert has_run(one, tmp_path)
    assert not has_run(one, tmp_path / "elsewhere")
    assert not has_run(script(tmp_path, "true\n"), tmp_path)


def test_the_first_command_that_fails_ends_it_and_the_output_is_shown_without_secrets(tmp_path: Path):
    one = script(tmp_path, "echo about $API_TOKEN\nfalse\ntouch never\n")
    with pytest.raises(LadingError) as caught:
        run(one, tmp_path, API_TOKEN="s3cret-token")
    (problem,) = caught.value.problems
    assert (problem.rule, problem.code, problem.detail) == ("script-failed", ExitCode.BUILD, "about ****")
    assert problem.why == "It ended with status 1."
    assert not (tmp_path / "never").exists()
    assert not has_run(one, tmp_path)


def test_pip_in_a_script_cannot_fill_the_machines_own_python(tmp_path: Path):
    assert run(script(tmp_path, "echo $PIP_REQUIRE_VIRTUALENV\n"), tmp_path) == ["1"]


def test_an_answer_is_kept_beside_what_has_run(tmp_path: Path):
    one = script(tmp_path, "true\n")
    assert consent_to(one) == Consent()
    remember(one, Consent(allowed=True))
    run(one, tmp_path)
    assert consent_to(one) == Consent(True, (str(tmp_path),))


def test_a_damaged_record_is_no_record(tmp_path: Path, lading_home: Path):
    one = script(tmp_path, "true\n")
    remember(one, Consent(allowed=True))
    (record,) = (lading_home / "scripts").iterdir()
    record.write_text("{")
    assert consent_to(one) == Consent()


def test_events_name_the_script(tmp_path: Path):
    events: list[Event] = []

    def heard(event: Event) -> None:
        events.append(event)

    run_script(script(tmp_path, "true\n"), tmp_path, os.environ, heard, lambda line: None)
    assert [(event.step, str(event.phase), event.message) for event in events] == [
        ("Running", "started", "dependencies.sh"),
        ("Running", "finished", "dependencies.sh"),
    ]


def test_ctrl_c_ends_the_script_and_its_children(tmp_path: Path):
    script(tmp_path, "echo $$ > pid\nsleep 60 & echo $! > child\nwait\n")
    code = textwrap.dedent(f"""
        import os
        from pathlib import Path
        from tests.environments.test_scripts import script, run
        root = Path({str(tmp_path)!r})
        run(script(root, (root / "dependencies.sh").read_text()), root)
    """)
    child = subprocess.Popen([sys.executable, "-c", code], cwd=Path(__file__).parents[2], stderr=subprocess.PIPE, text=True)
    until = time.monotonic() + 60
    while not (tmp_path / "child").exists() or not (tmp_path / "child").read_text().strip():
        assert time.monotonic() < until
        time.sleep(0.02)
    child.send_signal(signal.SIGINT)
    _, complaint = child.communicate(timeout=60)
    assert "KeyboardInterrupt" in complaint
    for name in ("pid", "child"):
        pid = int((tmp_path / name).read_text())
        until = time.monotonic() + 60
        while is_alive(pid):
            assert time.monotonic() < until, name
            time.sleep(0.02)


@pytest.mark.parametrize("output", ["", ">/dev/null 2>&1"])
def test_what_a_script_leaves_running_ends_with_it(tmp_path: Path, output: str):
    one = script(tmp_path, f"sleep 1000 {output} & echo $! >> children\necho done\n")
    for _ in range(20):
        assert run(one, tmp_path) == ["done"]
    until = time.monotonic() + 60
    for child in (tmp_path / "children").read_text().split():
        while is_alive(int(child)):
            assert time.monotonic() < until
            time.sleep(0.02)
