"""Credentials through the whole command, against servers that ask for them: data, talk, events, the lock, the store, every failure."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.test_lock_options import PREDICTOR
from tests.resolvers.test_resolve import commit, write_tree
from tests.support.command import Ran, lading, write_files
from tests.support.index import LocalIndex
from tests.support.wheels import project

SECRET = "pl4nted-s3cret-0f-the-test"
WRONG = "wr0ng-s3cret-0f-the-test"


def hides(*texts: str) -> bool:
    return not any(secret in text for text in texts for secret in (SECRET, WRONG))


def files_of(*folders: Path) -> Iterator[tuple[Path, bytes]]:
    for folder in folders:
        for path in folder.rglob("*"):
            if path.is_file() and not path.is_symlink():
                yield path, path.read_bytes()


def found_in(*folders: Path) -> list[Path]:
    return [path for path, content in files_of(*folders) if SECRET.encode() in content or WRONG.encode() in content]


@pytest.fixture
def private(tmp_path: Path, index: LocalIndex) -> Path:
    """A project that takes a package from each kind of place, each behind a password."""
    for name in ("default", "extra", "line", "links", "direct"):
        index.add(f"from-{name}", "1.0", to=name)
        index.protect(name, "bob", SECRET)
    write_tree(tmp_path / "repo", project("from-git", "1.0"))
    commit(tmp_path / "repo")
    index.share("git", tmp_path / "repo" / ".git", git=True)
    index.protect("git", "bob", SECRET)
    links = index.url_of("links", user="bob", password=SECRET).replace("/links/", "/links/links/")
    direct = index.url_of("direct", user="bob", password=SECRET).replace("/direct/", "/files/direct/")
    lines = [
        f"--index-url {index.url_of('default', user='bob', password=SECRET)}",
        f"--extra-index-url {index.url_of('extra', user='bob', password=SECRET)}",
        f"--find-links {links}",
        "from-default",
        "from-extra",
        f"from-line --index-url {index.url_of('line', user='bob', password=SECRET)}",
        "from-links",
        f"from-direct @ {direct}from_direct-1.0-py3-none-any.whl",
        f"from-git @ git+{index.url_of('git', user='bob', password=SECRET)}",
    ]
    return write_files(tmp_path / "model", {"predict.py": PREDICTOR, "requirements.txt": "".join(f"{line}\n" for line in lines)})


def shown(ran: Ran) -> str:
    return ran.out + ran.err


def test_from_plan_to_store_nothing_holds_a_password(private: Path, lading_home: Path):
    names = ["from-default", "from-direct", "from-extra", "from-git", "from-line", "from-links"]
    plan = lading("plan", private, "--json")
    assert [one["rule"] for one in plan.data["plans"][0]["decisions"]].count("credentials-in-file") >= 1
    install = lading("install", private, "-v", "--progress", "json")
    assert install.code == 0, install.err
    lock = (private / "pylock.lading.toml").read_text()
    assert [line for line in lock.splitlines() if line.startswith("name = ")] == [f'name = "{name}"' for name in names]
    again = [
        lading(*words, private)
        for words in (
            ("plan",),
            ("plan", "--json"),
            ("lock", "--upgrade", "--json"),
            ("explain", "from-line"),
            ("doctor",),
            ("pin", "--dry-run"),
        )
    ]
    assert hides(shown(plan), shown(install), lock, *map(shown, again))
    assert found_in(lading_home) == []
    assert found_in(private) == [private / "requirements.txt"]


@pytest.mark.parametrize("refusing", ["default", "extra", "line", "links", "direct", "git"])
@pytest.mark.parametrize("form", ["text", "json"])
def test_a_server_that_refuses_the_password_shows_it_to_nobody(
    private: Path, index: LocalIndex, lading_home: Path, refusing: str, form: str
):
    index[refusing].credentials = ("bob", "another")
    ran = lading("lock", private, "-v", "--progress", "json", *(["--json"] if form == "json" else []))
    assert ran.code in (3, 5)
    assert hides(shown(ran))
    assert found_in(lading_home) == []
    assert not (private / "pylock.lading.toml").exists()


@pytest.mark.parametrize(
    ("reference", "rule"),
    [
        ("git+{place}", "git-failed"),
        ("git+{place}@no-such-branch", "git-failed"),
        ("git+{place}#subdirectory=nowhere", "no-python-project"),
    ],
)
@pytest.mark.parametrize("wrong", [True, False])
def test_a_clone_that_fails_shows_it_to_nobody(private: Path, index: LocalIndex, reference: str, rule: str, *, wrong: bool):
    if not wrong and reference == "git+{place}":
        reference = "git+{place}missing"
    place = index.url_of("git", user="bob", password=WRONG if wrong else SECRET)
    (private / "requirements.txt").write_text(f"from-git @ {reference.format(place=place)}\n")
    ran = lading("lock", private, "--json", "-v", "--progress", "json")
    assert ran.code in (3, 5)
    assert ran.problem["rule"] == ("git-failed" if wrong else rule)
    assert ran.problem["origin"] == "requirements.txt:1"
    assert hides(shown(ran))


def test_a_lock_with_a_token_in_a_variable_is_installed_with_it_and_not_without(
    tmp_path: Path, index: LocalIndex, monkeypatch: pytest.MonkeyPatch
):
    index.add("corp", "1.0")
    host = index.protect("simple", "bob", SECRET).removeprefix("http://")
    folder = write_files(
        tmp_path / "model", {"predict.py": PREDICTOR, "requirements.txt": f"--index-url http://bob:${{INDEX_TOKEN}}@{host}\ncorp\n"}
    )
    monkeypatch.setenv("INDEX_TOKEN", SECRET)
    assert lading("install", folder).code == 0
    monkeypatch.setenv("INDEX_TOKEN", WRONG)
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "empty-cache"))
    monkeypatch.setenv("LADING_HOME", str(tmp_path / "empty-home"))
    refused = lading("install", folder, "--json", "-v", "--progress", "json")
    assert (refused.code, refused.problem["rule"]) == (5, "index-asks-for-password")
    assert hides(shown(refused))
    assert found_in(folder, tmp_path / "empty-home") == []


def test_a_script_and_a_secret_of_the_command_line(tmp_path: Path, lading_home: Path, index: LocalIndex, monkeypatch: pytest.MonkeyPatch):
    index.add("demo", "1.0")
    monkeypatch.setenv("CI_TOKEN", SECRET)
    monkeypatch.setenv("CI_HUB", WRONG)
    folder = write_files(
        tmp_path / "model",
        {
            "predict.py": PREDICTOR,
            "requirements.txt": f"--index-url {index.url}\ndemo\n",
            "postBuild": "echo using $MODEL_TOKEN and $HUB\nfalse\n",
        },
    )
    ran = lading(
        "install",
        folder,
        "--allow-scripts",
        "--secret",
        "id=model-token,env=CI_TOKEN",
        "--secret",
        "id=hub,env=CI_HUB",
        "--progress",
        "json",
        "--json",
    )
    assert (ran.code, ran.problem["rule"], ran.problem["detail"]) == (6, "script-failed", "using **** and ****")
    assert hides(shown(ran))
    assert found_in(folder, lading_home) == []
    assert os.environ["CI_TOKEN"] == SECRET
