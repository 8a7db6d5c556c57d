"""`lading lock` with its options: what is upgraded, as of when, for which target, with which secrets."""

from __future__ import annotations

import os
import re
import stat
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest

from tests.resolvers.test_builds import sdist_that_runs
from tests.support.command import lading, write_files
from tests.support.index import LocalIndex
from tests.support.wheels import wheel

PREDICTOR = "def predict(x: int) -> int:\n    return x\n"


@pytest.fixture
def folder(tmp_path: Path, index: LocalIndex) -> Path:
    for name, day in (("1.0", "2022-03-01"), ("2.0", "2024-03-01")):
        index.publish(wheel("demo", name, requires=["other"]), upload_time=f"{day}T00:00:00Z")
        index.publish(wheel("other", name), upload_time=f"{day}T00:00:00Z")
    return write_files(tmp_path / "model", {"predict.py": PREDICTOR, "requirements.txt": f"--index-url {index.url}\ndemo  # the model's\n"})


def locked(folder: Path, name: str = "pylock.lading.toml") -> dict[str, Any]:
    return tomllib.loads((folder / name).read_text())


def versions(folder: Path, name: str = "pylock.lading.toml") -> dict[str, str]:
    return {package["name"]: package["version"] for package in locked(folder, name)["packages"]}


def test_a_day_is_recorded_and_kept_until_it_is_taken_away(folder: Path):
    assert lading("lock", folder, "--as-of", "2023-01-01").code == 0
    assert versions(folder) == {"demo": "1.0", "other": "1.0"}
    assert locked(folder)["tool"]["lading"]["as-of"] == "2023-01-01T23:59:59Z"
    with (folder / "requirements.txt").open("a") as stream:
        stream.write("other>=1\n")
    again = lading("lock", folder)
    assert again.code == 0
    assert "the lock was made as of then, and stays so" in " ".join(again.err.split())
    assert versions(folder) == {"demo": "1.0", "other": "1.0"}
    check = lading("lock", folder, "--check", "--as-of", "2024-12-31", "--json")
    assert (check.code, check.problem["rule"]) == (4, "lock-out-of-date")
    assert check.problem["why"] == "it is wanted as of 2024-12-31T23:59:59Z, and was made as of 2023-01-01T23:59:59Z"
    none = lading("lock", folder, "--as-of", "none")
    assert (none.code, "[as-of]" in none.err) == (0, False)
    assert versions(folder) == {"demo": "2.0", "other": "2.0"}
    assert "as-of" not in locked(folder)["tool"]["lading"]


@pytest.mark.parametrize(("line", "version"), [("demo", "2.0"), ("demo==1.0", "1.0")])
def test_a_day_before_anything_was_uploaded_is_told_with_a_day_that_would_do(folder: Path, line: str, version: str):
    text = (folder / "requirements.txt").read_text().replace("demo  # the model's", line)
    (folder / "requirements.txt").write_text(text)
    ran = lading("lock", folder, "--as-of", "2020-01-01", "--json")
    assert (ran.code, ran.problem["rule"], ran.problem["origin"]) == (3, "uploaded-later", "requirements.txt:2")
    day = "2024-03-01" if version == "2.0" else "2022-03-01"
    assert ran.problem["instead"].startswith(f"Resolve as of a later day: --as-of {day}")
    assert lading("lock", folder, "--as-of", day).code == 0
    assert versions(folder)["demo"] == version


def test_the_last_commit_of_what_declares_is_the_day(folder: Path, monkeypatch: pytest.MonkeyPatch):
    outside = lading("lock", folder, "--as-of", "commit", "--json")
    assert (outside.code, outside.problem["rule"]) == (2, "as-of-invalid")
    assert "not in a git repository" in outside.problem["what"]
    monkeypatch.setenv("GIT_COMMITTER_DATE", "2022-06-01T12:00:00+02:00")
    git = ["git", "-c", "user.name=A", "-c", "user.email=a@example.org"]
    for words in (["init", "-q"], ["add", "requirements.txt"], ["commit", "-q", "-m", "all"]):
        subprocess.run([*git, *words], cwd=folder, check=True)
    assert lading("lock", folder, "--as-of", "commit").code == 0
    assert locked(folder)["tool"]["lading"]["as-of"] == "2022-06-01T10:00:00Z"
    assert versions(folder) == {"demo": "1.0", "other": "1.0"}


@pytest.mark.parametrize("text", ["yesterday", "2024-13-01", "9999-01-01T00:00:00Z"])
def test_a_day_that_is_none(folder: Path, text: str):
    ran = lading("lock", folder, "--as-of", text, "--json")
    assert (ran.code, ran.problem["rule"]) == (2, "as-of-invalid")
    assert not (folder / "pylock.lading.toml").exists()


def test_one_package_is_upgraded_and_no_other(folder: Path):
    lading("lock", folder, "--as-of", "2023-01-01")
    text = (folder / "pylock.lading.toml").read_text().replace('as-of = "2023-01-01T23:59:59Z"\n', "")
    (folder / "pylock.lading.toml").write_text(text)
    assert lading("lock", folder, "--upgrade-package", "Other").code == 0
    assert versions(folder) == {"demo": "1.0", "other": "2.0"}
    wrong = lading("lock", folder, "--upgrade-package", "othr", "--json")
    assert wrong.problem["instead"] == "Did you mean other?"
    assert lading("lock", folder, "--upgrade").code == 0
    assert versions(folder) == {"demo": "2.0", "other": "2.0"}


def test_a_lock_for_another_platform_has_a_name_of_its_own_and_is_not_installed_here(folder: Path, index: LocalIndex):
    index.add("demo", "3.0", tag="py3-none-manylinux_2_17_aarch64")
    assert lading("lock", folder, "--platform", "linux/arm64").code == 0
    name = "pylock.lading-aarch64-manylinux_2_28.toml"
    assert versions(folder, name)["demo"] == "3.0"
    assert locked(folder, name)["tool"]["lading"]["target"]["platform"] == "aarch64-manylinux_2_28"
    if os.uname().machine == "x86_64":
        install = lading("install", folder, "--platform", "linux/arm64", "--json")
        assert (install.code, install.problem["rule"]) == (2, "platform-not-this-machine")
    assert lading("lock", folder, "--platform", "amiga", "--json").problem["rule"] == "platform-not-supported"


def test_a_lock_for_another_accelerator_and_python_has_a_name_of_its_own(folder: Path):
    assert lading("lock", folder, "--accelerator", "cpu").code == 0
    assert versions(folder, "pylock.lading-cpu.toml") == {"demo": "2.0", "other": "2.0"}


@pytest.fixture
def private(folder: Path, index: LocalIndex) -> Path:
    """A project whose second package is on an index behind a password."""
    index.add("corp", "1.0", to="private")
    index.protect("private", "bob", "s3cret-token")
    host = index.url_of("private").removeprefix("http://")
    with (folder / "requirements.txt").open("a") as stream:
        stream.write(f"corp --index-url http://bob:${{INDEX_TOKEN}}@{host}\n")
    return folder


def test_a_secret_of_a_variable_or_a_file_stands_for_the_variable(private: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    unset = lading("lock", private, "--json")
    assert (unset.code, unset.problem["rule"]) == (2, "variable-not-set")
    monkeypatch.setenv("CI_PASSWORD", "s3cret-token")
    (tmp_path / "token.txt").write_text("s3cret-token\n")
    for given in (
        "id=index-token,env=CI_PASSWORD",
        f"id=index_token,src={tmp_path}/token.txt",
        f"type=file,id=INDEX_TOKEN,source={tmp_path}/token.txt",
    ):
        ran = lading("lock", private, "--upgrade", "--secret", given)
        assert ran.code == 0, ran.err
        assert versions(private)["corp"] == "1.0"
        assert "s3cret" not in ran.err + ran.out + (private / "pylock.lading.toml").read_text()


def test_a_netrc_as_a_secret(folder: Path, tmp_path: Path, index: LocalIndex, monkeypatch: pytest.MonkeyPatch):
    index.add("corp", "1.0", to="private")
    with (folder / "requirements.txt").open("a") as stream:
        stream.write(f"corp --index-url {index.protect('private', 'bob', 's3cret-token')}\n")
    monkeypatch.setenv("NETRC", os.devnull)
    refused = lading("lock", folder, "--json")
    assert (refused.code, refused.problem["rule"]) == (5, "index-asks-for-password")
    (tmp_path / "credentials").write_text("machine 127.0.0.1 login bob password s3cret-token\n")
    assert lading("lock", folder, "--secret", f"id=netrc,src={tmp_path}/credentials").code == 0
    assert versions(folder)["corp"] == "1.0"
    assert stat.S_IMODE(Path(os.environ["NETRC"]).stat().st_mode) == 0o600


def test_a_pip_conf_as_a_secret(tmp_path: Path, index: LocalIndex):
    index.add("corp", "1.0")
    index.protect("simple", "bob", "s3cret-token")
    folder = write_files(tmp_path / "model", {"predict.py": PREDICTOR, "requirements.txt": "corp==1.0\n"})
    conf = write_files(tmp_path, {"pip.conf": f"[global]\nindex-url = {index.url_of('simple', user='bob', password='s3cret-token')}\n"})
    ran = lading("lock", folder, "--secret", f"id=pip.conf,src={conf}/pip.conf")
    assert ran.code == 0, ran.err
    assert versions(folder) == {"corp": "1.0"}
    assert "s3cret" not in ran.err + ran.out + (folder / "pylock.lading.toml").read_text()


@pytest.mark.parametrize(
    "text", ["s3cret-token", "id=x,env=A,src=B", "id=x,file=y", "id=x,env=NOT_SET_ANYWHERE", "id=x,src=/no/such/file", "env=A"]
)
def test_a_secret_that_cannot_be_understood(folder: Path, text: str):
    ran = lading("lock", folder, "--secret", text, "--json")
    assert (ran.code, ran.problem["rule"]) == (2, "secret-invalid")
    assert "s3cret" not in ran.out


def test_a_keyring_is_asked_when_the_url_names_a_user_alone(tmp_path: Path, index: LocalIndex, monkeypatch: pytest.MonkeyPatch):
    index.add("corp", "1.0")
    index.protect("simple", "bob", "s3cret-token")
    programs = write_files(
        tmp_path / "bin", {"keyring": '#!/bin/sh\necho "$@" >> "$(dirname "$0")/asked"\n[ "$3" = bob ] && echo s3cret-token\n'}
    )
    (programs / "keyring").chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}{os.pathsep}{os.environ['PATH']}")
    url = index.url_of("simple", user="bob")
    folder = write_files(tmp_path / "model", {"predict.py": PREDICTOR, "requirements.txt": f"--index-url {url}\ncorp==1.0\n"})
    ran = lading("lock", folder)
    assert ran.code == 0, ran.err
    assert versions(folder) == {"corp": "1.0"}
    assert "get" in (programs / "asked").read_text()
    assert "s3cret" not in (folder / "pylock.lading.toml").read_text() + ran.err + ran.out


def test_what_is_imported_and_not_declared_is_said_until_it_is(folder: Path):
    (folder / "predict.py").write_text(f"import numpy\n{PREDICTOR}")
    first = lading("lock", folder)
    assert "no file declares numpy" in " ".join(first.err.split())
    assert "[imports-undeclared]" in lading("plan", folder).out
    (folder / "predict.py").write_text(PREDICTOR)
    assert "[imports-undeclared]" not in lading("plan", folder).out


def test_the_fix_for_no_build_isolation_does_what_the_option_was_for(tmp_path: Path, index: LocalIndex):
    index.add("torch", "2.0")
    index.publish(sdist_that_runs("import torch", "flash-attn", "1.0", ("torch",)))
    lines = f"--index-url {index.url}\ntorch==2.0\nflash-attn==1.0 --no-build-isolation\n"
    folder = write_files(tmp_path / "model", {"predict.py": PREDICTOR, "requirements.txt": lines})
    refused = lading("lock", folder, "--json")
    assert (refused.code, refused.problem["rule"], refused.problem["origin"]) == (2, "option-unknown", "requirements.txt:3")
    setting = re.search(r"write (?P<setting>\S+ = \[[^\]]+\]) under \[tool\.uv\]", refused.problem["instead"])
    assert setting is not None
    (folder / "requirements.txt").write_text(lines.replace(" --no-build-isolation", ""))
    (folder / "pyproject.toml").write_text(f"[tool.uv]\n{setting['setting']}\n")
    assert lading("lock", folder).code == 0
    assert versions(folder) == {"torch": "2.0", "flash-attn": "1.0"}
