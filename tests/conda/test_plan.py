"""What conda will be asked for: channels, virtual packages, platforms. Pure: a dict in, a plan or problems out."""

from __future__ import annotations

from dataclasses import replace

import pytest

from lading.formats import conda_lock_yml, conda_packages, environment_yml
from lading.model.conda import CondaPlan
from lading.model.decisions import Decision
from lading.model.files import MemoryFiles
from lading.model.target import Target
from lading.planner.conda import complete, expected_python, virtual_packages
from tests.formats.reading import problems

LINUX = Target(python="3.11.7", platform="x86_64-manylinux_2_36")
FORGE = "https://conda.anaconda.org/conda-forge"


def planned(
    text: str,
    *,
    target: Target = LINUX,
    files: dict[str, str] | None = None,
    path: str = "environment.yml",
    environ: dict[str, str] | None = None,
) -> tuple[CondaPlan, dict[str, Decision]]:
    reader = environment_yml if path.endswith(".yml") else conda_packages
    project, environ = MemoryFiles({path: text, **(files or {})}), environ or {}
    declaration = reader.parse(path, project, environ)
    assert declaration.conda is not None
    plan, decisions = complete(declaration.conda, target, project, environ, path=path)
    return plan, {decision.rule: decision for decision in decisions}


def channels(text: str) -> list[str]:
    return [str(channel) for channel in planned(text)[0].channels]


def test_without_channels_it_is_conda_forge_and_that_is_said():
    for path, text in (("environment.yml", "dependencies: [numpy]\n"), ("conda-packages.txt", "numpy\n")):
        plan, decisions = planned(text, path=path)
        assert [str(channel) for channel in plan.channels] == [FORGE]
        assert decisions["conda-channel-chosen"].chose == "conda-forge"
        assert decisions["conda-channel-chosen"].asked == f"{path} names no channel"


def test_names_become_urls_as_conda_makes_them():
    text = "channels: [pytorch, conda-forge/label/dev, pkgs/main, defaults, 'https://h.org/x/', 'file:///srv/c', ./here]\ndependencies: [numpy]\n"
    assert channels(text) == [
        "https://conda.anaconda.org/pytorch",
        "https://conda.anaconda.org/conda-forge/label/dev",
        "https://repo.anaconda.com/pkgs/main",
        "https://repo.anaconda.com/pkgs/r",
        "https://h.org/x",
        "file:///srv/c",
        "file:///here",
    ]


CONDARC = """\
channels: [corp, conda-forge]
channel_alias: https://mirror.org/conda
custom_channels:
  corp: https://${USER_NAME}:${PASSWORD}@corp.org/conda
mirrored_channels:
  conda-forge: [https://near.org/conda-forge]
channel_priority: strict
"""
MACHINE = {"HOME": "/home/me", "USER_NAME": "me", "PASSWORD": "pa55word"}


def test_the_machines_configuration_adds_channels_as_for_conda_and_that_is_said():
    text = "channels: [pytorch]\ndependencies: [numpy, corp::tool]\n"
    plan, decisions = planned(text, files={"/home/me/.condarc": CONDARC}, environ=MACHINE)
    assert [str(channel) for channel in plan.channels] == [
        "https://mirror.org/conda/pytorch",
        "https://${USER_NAME}:${PASSWORD}@corp.org/conda/corp",
        "https://mirror.org/conda/conda-forge",
    ]
    assert plan.channels[1].reveal() == "https://me:pa55word@corp.org/conda/corp"
    assert plan.specs[1].channel == plan.channels[1]
    assert [(name, str(place)) for name, place in plan.mirrors] == [
        ("https://mirror.org/conda/conda-forge", "https://near.org/conda-forge")
    ]
    assert plan.priority == "strict"
    assert decisions["conda-channels-from-condarc"].because == "~/.condarc on this machine adds them, as it does for conda"
    assert "pa55word" not in f"{plan!r}{plan.as_json()}{plan.facts()}{decisions}"


def test_nodefaults_keeps_the_machines_channels_out():
    text = "channels: [pytorch, nodefaults]\ndependencies: [numpy]\n"
    assert channels(text) == ["https://conda.anaconda.org/pytorch"]
    plan, _ = planned(text, files={"/home/me/.condarc": CONDARC}, environ=MACHINE)
    assert [str(channel) for channel in plan.channels] == ["https://mirror.org/conda/pytorch"]


def test_what_belongs_to_a_machine_makes_no_lock_stale():
    text = "channels: [pytorch]\ndependencies: [numpy]\n"
    here, _ = planned(text, files={"/home/me/.condarc": CONDARC}, environ=MACHINE)
    there, _ = planned(text)
    assert here.channels != there.channels
    assert replace(here, priority="flexible").facts() == there.facts()
    assert planned("channels: [other]\ndependencies: [numpy]\n")[0].facts() != there.facts()


def test_cortex_adds_conda_forge_to_what_the_machine_has():
    plan, _ = planned(
        "numpy\n", path="conda-packages.txt", files={"/home/me/.condarc": "channels: [defaults]\n"}, environ={"HOME": "/home/me"}
    )
    assert [str(channel) for channel in plan.channels] == ["https://repo.anaconda.com/pkgs/main", "https://repo.anaconda.com/pkgs/r", FORGE]


def test_a_projects_own_configuration_counts_as_the_projects():
    plan, decisions = planned("numpy\n", path="conda-packages.txt", files={".condarc": "channels: [bioconda, conda-forge]\n"})
    assert [str(channel) for channel in plan.channels] == ["https://conda.anaconda.org/bioconda", FORGE]
    assert plan.asked[:2] == ("bioconda", "conda-forge")
    assert decisions == {}


@pytest.mark.parametrize(
    ("target", "environ", "expected"),
    [
        (LINUX, {}, "__glibc=2.36=0 __linux=5.10=0 __unix=0=0 __archspec=1=x86_64"),
        (replace(LINUX, accelerator="cu124"), {}, "__cuda=12.4=0 __glibc=2.36=0 __linux=5.10=0 __unix=0=0 __archspec=1=x86_64"),
        (replace(LINUX, accelerator="cu124"), {"CONDA_OVERRIDE_CUDA": ""}, "__glibc=2.36=0 __linux=5.10=0 __unix=0=0 __archspec=1=x86_64"),
        (
            LINUX,
            {"CONDA_OVERRIDE_CUDA": "11.8", "CONDA_OVERRIDE_GLIBC": "2.17"},
            "__cuda=11.8=0 __glibc=2.17=0 __linux=5.10=0 __unix=0=0 __archspec=1=x86_64",
        ),
        (replace(LINUX, platform="aarch64-apple-darwin"), {}, "__osx=11.0=0 __unix=0=0 __archspec=1=arm64"),
    ],
)
def test_virtual_packages_are_the_targets(target: Target, environ: dict[str, str], expected: str):
    assert " ".join(virtual_packages(target, environ)) == expected


def test_lines_for_other_platforms_do_not_count():
    files = MemoryFiles({"conda-lock.yml": _LOCK})
    declaration = conda_lock_yml.parse("conda-lock.yml", files)
    assert declaration.conda is not None
    for platform, version in (("x86_64-manylinux_2_36", "==3.11.7"), ("x86_64-apple-darwin", "==3.11.6")):
        plan, _ = complete(declaration.conda, replace(LINUX, platform=platform), files, {}, path="conda-lock.yml")
        assert [spec.version for spec in plan.specs] == [version]
    other = replace(LINUX, platform="aarch64-manylinux_2_36")
    (problem,) = problems(lambda: complete(declaration.conda, other, files, {}, path="conda-lock.yml"))  # type: ignore[arg-type] # it is there
    assert problem.rule == "conda-platform-not-locked"
    assert problem.what == "conda-lock.yml holds packages for linux-64, osx-64, and none for linux-aarch64."


_LOCK = """\
version: 1
package:
- {name: python, version: 3.11.7, manager: conda, platform: linux-64, url: 'https://h.org/c/linux-64/python-3.11.7-0.conda', hash: {md5: a}}
- {name: python, version: 3.11.6, manager: conda, platform: osx-64, url: 'https://h.org/c/osx-64/python-3.11.6-0.conda', hash: {md5: a}}
"""


def test_files_of_another_platform_cannot_be_exchanged():
    text = f"@EXPLICIT\nhttps://h.org/c/osx-64/numpy-1.26.4-py311_0.conda#{'a' * 32}\n"
    (problem,) = problems(lambda: planned(text, path="conda-packages.txt"))
    assert problem.rule == "conda-files-of-another-platform"


def test_a_platform_without_conda_packages_is_named():
    target = replace(LINUX, platform="riscv64-manylinux_2_36")
    (problem,) = problems(lambda: planned("numpy\n", path="conda-packages.txt", target=target))
    assert problem.rule == "conda-platform-unknown"


def test_keys_of_condas_configuration_without_effect_are_told():
    _, decisions = planned("numpy\n", path="conda-packages.txt", files={".condarc": "client_ssl_cert: me.pem\npinned_packages: [a]\n"})
    assert decisions["condarc-keys-not-used"].asked == "client_ssl_cert, pinned_packages"


def test_that_certificates_are_not_checked_is_told_and_no_part_of_what_is_locked():
    plain, _ = planned("numpy\n", path="conda-packages.txt", files={})
    plan, decisions = planned(
        "numpy\n", path="conda-packages.txt", files={"/home/me/.condarc": "ssl_verify: false\nproxy_servers: {http: 'http://me:pw@p:1'}\n"},
        environ={"HOME": "/home/me"},
    )  # fmt: skip
    assert decisions["conda-certificates-not-checked"].because.startswith("a .condarc says so; ")
    assert plan.facts() == plain.facts()
    assert "pw" not in str(plan.as_json()) + repr(plan)
    assert [secret.reveal() for secret in plan.secrets()] == ["http://me:pw@p:1"]


@pytest.mark.parametrize(
    ("specifier", "version"), [("", "3.13.0"), ("==3.8.5", "3.8.5"), (">=3.9,<3.11", "3.10.0"), ("==3.20.*", "3.20.0")]
)
def test_a_python_is_expected_until_it_is_known(specifier: str, version: str):
    assert expected_python(specifier) == version
