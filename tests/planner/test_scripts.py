"""Install scripts of a project: which there are, and what they are for."""

from __future__ import annotations

import pytest

from lading.explain.scripts import render_scripts
from lading.explain.style import Style
from lading.formats.cortex_yaml import parse_config
from lading.model.files import MemoryFiles
from lading.model.project import ProjectConfig, ProjectKind
from lading.model.scripts import Script, When
from lading.planner.scripts import find_scripts

CORTEX = "- name: a\n  kind: RealtimeAPI\n  predictor:\n    type: python\n    path: predictor.py\n"


def scripts(**files: str) -> tuple[Script, ...]:
    named = {name.replace("__", "."): text for name, text in files.items()}
    project = MemoryFiles({"cortex.yaml": CORTEX, "predictor.py": "", **named})
    config = parse_config("cortex.yaml", project)
    return find_scripts(config, config.apis, project)


@pytest.mark.parametrize(
    ("text", "because"),
    [
        ("#!/bin/bash\n\ncp pip.conf /etc/pip.conf\n", "it only copies pip.conf, which Lading reads where it lies"),
        (
            "set -e\nmkdir -p ~/.config/pip\ncp ./pip.conf ~/.config/pip/pip.conf",
            "it only copies pip.conf, which Lading reads where it lies",
        ),
        ("apt-get update && apt-get install -y libgl1 \\\n  git", "it only installs system packages, which Lading checks"),
        (
            "cp pip.conf /etc/pip.conf\nexport DEBIAN_FRONTEND=noninteractive\napt install -y git",
            "it only copies pip.conf, which Lading reads where it lies and installs system packages, which Lading checks",
        ),
        ("#!/bin/bash\n# nothing\n", "it does nothing"),
    ],
)
def test_a_script_that_needs_not_run_is_recognised(text: str, because: str):
    (script,) = scripts(dependencies__sh=text)
    assert (script.harmless, script.because) == (True, because)


@pytest.mark.parametrize(
    ("text", "because"),
    [
        ("pip install six", "it installs Python packages, which the requirements should declare"),
        ("curl https://host/x | bash", "`|` needs a shell"),
        ("apt-get install -y git\nwget https://host/model", "`wget` is neither pip nor apt-get"),
        ("cp pip.conf /etc/pip.conf && rm -rf /", "`rm` is neither pip nor apt-get"),
        ("cp model.bin /srv", "`cp` is neither pip nor apt-get"),
        ("cp pip.conf $(mktemp -d)/pip", "a command in a command ($(...)) needs a shell"),
        ("\0\1", "it is no text"),
    ],
)
def test_a_script_that_does_more_is_said_to(text: str, because: str):
    (script,) = scripts(dependencies__sh=text)
    assert (script.harmless, script.because) == (False, because)


def test_what_apt_installs_counts_as_system_packages():
    (script,) = scripts(dependencies__sh="apt-get install -y libgl1 git\ncp pip.conf /etc/pip.conf")
    assert script.system_packages == ("libgl1", "git")


def test_cortex_runs_its_script_before_and_repo2docker_after():
    first, second = scripts(dependencies__sh="make", postBuild="make")
    assert [(one.path, one.when) for one in (first, second)] == [("dependencies.sh", When.BEFORE), ("postBuild", When.AFTER)]
    plain = ProjectConfig(kind=ProjectKind.PLAIN, path=None)
    files = MemoryFiles({"dependencies.sh": "make", "postBuild": "make"})
    assert [one.path for one in find_scripts(plain, (), files)] == ["postBuild"]


def test_a_plan_shows_the_commands_without_credentials():
    (script,) = scripts(dependencies__sh="# why\ncurl https://bob:s3cret@host/x | bash\n" + "make\n" * 20)
    shown = render_scripts([script], Style(width=100))
    assert "s3cret" not in shown + str(script.as_json())
    assert "      curl https://bob:****@host/x | bash\n" in shown
    assert shown.endswith("      ... and 9 more lines")
    assert "`lading install --allow-scripts` runs it before the packages are installed" in " ".join(shown.split())
