"""The index that other tests stand on is a true one: uv and pip read it alike."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import uv

from tests.support.index import LocalIndex
from tests.support.wheels import sdist, wheel


def compiled(*arguments: str, requirements: str) -> str:
    command = [
        uv.find_uv_bin(),
        "pip",
        "compile",
        "--no-config",
        "--no-header",
        "--no-annotate",
        "--python",
        sys.executable,
        *arguments,
        "-",
    ]
    done = subprocess.run(command, input=requirements, capture_output=True, text=True, check=False)
    return done.stdout if done.returncode == 0 else done.stderr


@pytest.mark.parametrize("pages", ["json", "html"])
def test_uv_reads_versions_metadata_and_yanks(index: LocalIndex, pages: str):
    index["simple"].json = pages == "json"
    index.add("other", "1.0")
    index.add("other", "3.0", yanked="broken")
    index.add("demo", "1.0", requires=["other>=1"], extras={"fast": ["speed"]})
    index.add("speed", "2.0", requires_python=">=3.8")
    assert compiled("--default-index", index.url, requirements="demo[fast]") == "demo==1.0\nother==1.0\nspeed==2.0\n"
    assert "/files/simple/demo-1.0-py3-none-any.whl.metadata" in index.paths


def test_pip_installs_what_the_index_serves(index: LocalIndex, tmp_path: Path):
    index.add("demo-pkg", "1.0", requires=["other"], entry_points={"demo": "demo_pkg:main"})
    index.add_sdist("other", "1.5")
    pip = [sys.executable, "-m", "pip", "install", "--isolated", "--no-cache-dir", "--disable-pip-version-check"]
    subprocess.run([*pip, "--index-url", index.url, "--target", str(tmp_path), "demo-pkg"], check=True, capture_output=True)
    assert (tmp_path / "demo_pkg" / "__init__.py").read_text() == '__version__ = "1.0"\n'
    assert (tmp_path / "other" / "__init__.py").read_text() == '__version__ = "1.5"\n'
    assert (tmp_path / "bin" / "demo").exists()


def test_a_protected_index_opens_for_its_password_alone(index: LocalIndex):
    index.add("secret-tool", "1.0", to="private")
    index.protect("private", "bob", "pass/word")
    assert "401" in compiled("--default-index", index.url_of("private"), requirements="secret-tool")
    with_password = index.url_of("private", user="bob", password="pass/word")
    assert compiled("--default-index", with_password, requirements="secret-tool") == "secret-tool==1.0\n"
    assert {request.status for request in index.requests if request.user == "bob"} == {200}


def test_links_pages_and_local_versions(index: LocalIndex):
    index.add("torch", "1.11.0+cpu", to="cpu")
    answer = compiled("--no-index", "--find-links", index.links_of("cpu"), requirements="torch==1.11.0")
    assert answer == "torch==1.11.0+cpu\n"


def test_the_same_arguments_make_the_same_bytes():
    assert wheel("a", "1", requires=["b"]).content == wheel("a", "1", requires=["b"]).content
    assert sdist("a", "1").content == sdist("a", "1").content
