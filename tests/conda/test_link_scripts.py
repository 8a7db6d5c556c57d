"""Scripts that conda packages bring for after they are linked: run with a yes, as conda runs them, and told of otherwise."""

from __future__ import annotations

import io
import json
import os
import sys
from pathlib import Path

import pytest

from lading.cli.install import prepare
from lading.cli.output import Output
from lading.cli.scripts import Scripts
from lading.environments.scripts import Policy
from lading.environments.store import list_environments
from lading.model.problems import ExitCode
from tests.conda.conftest import MINOR, Channels, Project
from tests.support.command import lading
from tests.support.conda_channel import Channel

REGISTERS = """\
# tells the fonts where they are
set -e
echo "registering $PKG_NAME $PKG_VERSION $PKG_BUILDNUM"
python -c "import sys; print(sys.prefix)" > "$PREFIX/share/fonts.conf"
echo changed >> "$PREFIX/share/fonts/list"
echo "Fonts were found in $PREFIX." >> "$PREFIX/.messages.txt"
echo "$PKG_NAME" >> "$PREFIX/order"
"""


@pytest.fixture
def fonts(project: Project, channels: Channels, tmp_path: Path) -> Project:
    """A project that needs a package with a script, which needs another one with a script."""
    extra = Channel(tmp_path / "extra")
    extra.add(
        "fonts", "1.2", build_number=3, files={"bin/.fonts-post-link.sh": REGISTERS, "share/fonts/list": "a\n"}, depends=["python", "zlib"]
    )
    extra.add("zlib", "1.0", files={"bin/.zlib-post-link.sh": 'echo "$PKG_NAME" >> "$PREFIX/order"\n'})
    extra.index()
    lines = "".join(f"  - {line}\n" for line in (f"python={MINOR}", "fonts", "zlib"))
    project.write({"environment.yml": f"channels:\n  - {extra.url}\n  - {channels.main.url}\ndependencies:\n{lines}"})
    return project


def test_they_run_where_that_is_allowed_as_conda_runs_them(fonts: Project, lading_home: Path):
    done = lading("install", fonts.root, "--allow-scripts")
    assert done.code == 0, done.err
    place = Path(done.out.strip())
    assert (place / "share/fonts.conf").read_text() == f"{place}\n"
    assert (place / "order").read_text() == "zlib\nfonts\n"
    assert "Running bin/.fonts-post-link.sh of fonts 1.2\n  registering fonts 1.2 3\n" in done.err
    assert f"  Fonts were found in {place}.\n" in done.err
    assert not (place / ".messages.txt").exists()
    assert not place.is_symlink()
    assert (place / "share/fonts/list").read_text() == "a\nchanged\n"
    (cached,) = (lading_home / "conda" / "pkgs").glob("fonts-*/share/fonts/list")
    assert cached.read_text() == "a\n"


def test_they_are_told_of_where_nobody_allows_them_and_run_later(fonts: Project):
    first = lading("install", fonts.root)
    assert first.code == 0, first.err
    place = Path(first.out.strip())
    assert "bin/.fonts-post-link.sh of fonts 1.2 was not run." in first.err
    assert "`lading install --allow-scripts` runs it." in first.err
    assert not (place / "order").exists()
    second = lading("install", fonts.root, "--allow-scripts")
    assert Path(second.out.strip()) == place
    assert (place / "order").read_text() == "zlib\nfonts\n"
    third = lading("install", fonts.root, "--allow-scripts")
    assert "Running" not in third.err
    assert (place / "order").read_text() == "zlib\nfonts\n"
    assert "was not run" not in lading("exec", "-C", fonts.root, "true").err


def test_one_that_fails_stops_the_installation_and_what_was_there_stays(fonts: Project, channels: Channels, tmp_path: Path):
    broken = Channel(tmp_path / "broken")
    broken.add("fonts", "1.3", files={"bin/.fonts-post-link.sh": "echo no fonts here\nexit 7\n"})
    broken.index()
    fonts.write({"environment.yml": (fonts.root / "environment.yml").read_text().replace("channels:\n", f"channels:\n  - {broken.url}\n")})
    without = Path(lading("install", fonts.root).out.strip())
    failed = lading("install", fonts.root, "--allow-scripts", "--json")
    assert (failed.code, failed.problem["rule"]) == (ExitCode.BUILD, "script-failed")
    assert failed.problem["detail"] == "no fonts here"
    assert failed.problem["why"] == "It ended with status 7."
    assert "fonts 1.3" in failed.problem["what"]
    (still,) = list_environments()
    assert (Path(still.path), without.is_symlink()) == (without, False)
    assert lading("exec", "-C", fonts.root, "python", "-c", "print(1)").code == 0


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(("answer", "runs"), [("y\n", True), ("n\n", False)])
def test_on_a_terminal_each_is_asked_once_and_the_answer_holds_for_every_prefix(
    fonts: Project, monkeypatch: pytest.MonkeyPatch, answer: str, *, runs: bool
):
    asked = []
    text = (fonts.root / "environment.yml").read_text()
    for number in range(2):
        fonts.write({"environment.yml": f"{text}variables:\n  NUMBER: '{number}'\n"})
        monkeypatch.setattr(sys, "stdin", Terminal(answer * 2))
        terminal = Terminal()
        monkeypatch.setattr(sys, "stderr", terminal)
        ready = prepare(fonts.options(), Output(no_color=True), scripts=Scripts.ASK)
        (variant,) = ready.variants
        assert Path(variant.environment.path, "order").exists() is runs
        asked.append(terminal.getvalue().count("on this machine? The answer is remembered for this content. [y/N]"))
    assert asked == [2, 0]
    assert len(list_environments()) == 2


def test_verbs_that_do_not_ask_run_what_was_allowed_before(fonts: Project, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sys, "stdin", Terminal("y\ny\n"))
    monkeypatch.setattr(sys, "stderr", Terminal())
    prepare(fonts.options(), Output(no_color=True), scripts=Scripts.ASK)
    fonts.write({"environment.yml": (fonts.root / "environment.yml").read_text() + "variables:\n  OTHER: prefix\n"})
    ran = lading("exec", "-C", fonts.root, "sh", "-c", "cp $CONDA_PREFIX/order order")
    assert (fonts.root / "order").read_text() == "zlib\nfonts\n", ran.err


def test_what_they_print_hides_secrets_and_they_do_not_see_another_prefix(
    project: Project, channels: Channels, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    extra = Channel(tmp_path / "extra")
    extra.add("chatty", "1.0", files={"bin/.chatty-post-link.sh": "echo ${CONDA_SHLVL:-none} ${PYTHONPATH:-none} $MY_TOKEN\n"})
    extra.index()
    project.write({"environment.yml": f"channels: ['{extra.url}', '{channels.main.url}']\ndependencies: ['python={MINOR}', chatty]\n"})
    for name, value in {"MY_TOKEN": "s3cr3t-token", "PYTHONPATH": "/else", "CONDA_SHLVL": "4"}.items():
        monkeypatch.setenv(name, value)
    told: list[str] = []
    options = project.options()
    from lading import pipeline

    read = pipeline.read(options)
    locked = pipeline.lock(pipeline.plan(read, options), read, options)
    pipeline.install(locked, read, options, scripts=Policy(lambda _script: True, told.append))
    assert told == ["Running bin/.chatty-post-link.sh of chatty 1.0", "  none none ****"]
    assert json.dumps(os.environ.get("MY_TOKEN")) not in "".join(told)
