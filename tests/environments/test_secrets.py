"""Credentials reach uv and git, and stay nowhere: not in the store, not in uv's cache, in no event and no error."""

from __future__ import annotations

import base64
import shutil
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

import pytest

from lading.environments.access import make_access
from lading.locks.lockfile import write
from lading.model.environment import Environment
from lading.model.events import Event
from lading.model.lock import Lock
from lading.model.problems import LadingError
from lading.model.requirements import IndexOptions
from lading.model.secrets import SecretUrl
from lading.resolvers.uv import resolve
from tests.environments.support import installed, lock_of, package
from tests.resolvers.test_resolve import commit, write_tree
from tests.resolvers.test_secrets import SECRET, SPELLINGS, everything
from tests.support.index import LocalIndex
from tests.support.plans import declared, plan_of
from tests.support.wheels import project

Create = Callable[..., Environment]
TOKEN = base64.b64encode(f"bob:{SECRET}".encode()).decode()


def hides(*texts: object) -> bool:
    return not any(spelling in str(text) or spelling in repr(text) for text in texts for spelling in (*SPELLINGS, TOKEN))


def leaks(folder: Path) -> list[str]:
    """Files below a folder that hold a credential, or are named by it."""
    spellings = [spelling.encode() for spelling in (*SPELLINGS, TOKEN)]
    files = [path for path in folder.rglob("*") if path.is_file()]
    found = [str(path) for path in files if any(spelling in path.read_bytes() for spelling in spellings)]
    return found + [str(path) for path in files if not hides(path)]


def cleared(home: Path) -> None:
    """Forget what resolving downloaded, so that installing must ask for it."""
    shutil.rmtree(home / "uv-cache")


def test_everything_behind_passwords_is_installed_and_no_password_is_kept(
    index: LocalIndex, create: Create, root: Path, home: Path, events: list[Event]
):
    plan = everything(index)
    lock = resolve(plan, None, root)
    cleared(home)
    environment = create(lock, plan)
    assert sorted(name.replace("_", "-") for name in installed(environment)) == sorted(lock.versions)
    assert leaks(home) == []
    assert hides(*events)


@pytest.mark.parametrize("refusing", ["simple", "extra", "bound", "line", "links", "urls"])
def test_a_refused_password_is_in_no_message(index: LocalIndex, create: Create, root: Path, home: Path, events: list[Event], refusing: str):
    plan = everything(index)
    lock = resolve(plan, None, root)
    cleared(home)
    index[refusing].credentials = ("bob", "another")
    with pytest.raises(LadingError) as caught:
        create(lock, plan)
    problems = caught.value.problems
    assert problems[0].rule == "index-asks-for-password"
    assert hides(caught.value, *problems, *(problem.as_json() for problem in problems), *events)
    assert leaks(home) == []


def test_a_build_that_prints_its_variables_is_shown_without_the_password(index: LocalIndex, create: Create, events: list[Event]):
    spy = index.add_sdist("spy", "1.0", fails_with=f"http://bob:{SECRET}@host/ and the password {SECRET}")
    index.protect("simple", "bob", SECRET)
    with pytest.raises(LadingError) as caught:
        create(lock_of(package(index, spy)), plan_of("spy", index=index.url_of("simple", user="bob", password=SECRET)))
    (problem,) = caught.value.problems
    assert problem.rule == "build-failed"
    assert "the password ****" in (problem.detail or "")
    assert hides(problem, *events)


def test_a_git_repository_behind_a_password(index: LocalIndex, create: Create, root: Path, home: Path, tmp_path: Path):
    write_tree(tmp_path / "repo", project("mine", "0.1"))
    hash_ = commit(tmp_path / "repo")
    place = index.share("git", tmp_path / "repo" / ".git", git=True)
    index.protect("git", "bob", SECRET)
    url = place.replace("http://", f"git+http://bob:{SPELLINGS[1]}@")
    plan = plan_of(declared(f"mine @ {url}@{hash_}"))
    lock = lock_of({"name": "mine", "vcs": {"type": "git", "url": place, "commit-id": hash_}})
    with pytest.raises(LadingError):
        create(lock, plan_of())
    assert installed(create(lock, plan)) == {"mine": "0.1"}
    assert leaks(home) == []


def test_a_password_of_the_environment(index: LocalIndex, create: Create, home: Path, monkeypatch: pytest.MonkeyPatch):
    index.protect("simple", "bob", SECRET)
    lock = lock_of(package(index, index.add("demo", "1.0")))
    monkeypatch.setenv("UV_DEFAULT_INDEX", f"corp={index.url}")
    monkeypatch.setenv("UV_INDEX_CORP_USERNAME", "bob")
    monkeypatch.setenv("UV_INDEX_CORP_PASSWORD", SECRET)
    assert installed(create(lock, plan_of("demo", index=index.url))) == {"demo": "1.0"}
    assert leaks(home) == []


def test_a_password_of_netrc(index: LocalIndex, create: Create, home: Path, monkeypatch: pytest.MonkeyPatch):
    index.protect("simple", "bob", "netrc-password")
    netrc = home / "netrc"
    netrc.write_text("machine 127.0.0.1 login bob password netrc-password\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    assert installed(create(lock_of(package(index, index.add("demo", "1.0"))))) == {"demo": "1.0"}


def test_the_one_thing_that_holds_credentials_is_uvs_environment(index: LocalIndex, root: Path):
    access = make_access(everything(index), root, {})
    assert hides(access.doors, access.bound, access.left_out)
    assert not hides(access.env)
    assert access.redact(f"the password {SECRET} of http://bob:{SPELLINGS[1]}@host/") == "the password **** of http://bob:****@host/"


def test_settings_of_uv_that_would_change_what_is_installed_are_not_handed_on(root: Path):
    environ = {"UV_EXCLUDE_NEWER": "2020-01-01", "UV_TORCH_BACKEND": "cu118", "PIP_INDEX_URL": "https://x", "PYTHONPATH": "/x", "A": "1"}
    access = make_access(plan_of(), root, {**environ, "UV_LINK_MODE": "copy"})
    assert not access.env.keys() & environ.keys() - {"A"}
    assert (access.env["UV_LINK_MODE"], access.env["A"]) == ("copy", "1")


def test_git_settings_of_the_user_stay(root: Path):
    plan = plan_of(
        declared("a @ git+https://t0ken@host.example/a.git@v1#subdirectory=x"), declared("b @ git+ssh://git@host.example/b.git", 2)
    )
    env = make_access(plan, root, {"GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "k", "GIT_CONFIG_VALUE_0": "v"}).env
    token = base64.b64encode(b"t0ken:").decode()
    assert [env[f"GIT_CONFIG_{part}"] for part in ("COUNT", "KEY_0", "VALUE_0")] == ["2", "k", "v"]
    assert env["GIT_CONFIG_KEY_1"] == "http.https://host.example/a.git.extraHeader"
    assert env["GIT_CONFIG_VALUE_1"] == f"Authorization: Basic {token}"


def doors(*urls: str) -> Iterable[str]:
    plan = replace(plan_of(*urls), options=IndexOptions(index_url=SecretUrl("https://bob:pw@index.example/simple")))
    return make_access(plan, Path("/"), {}).doors.values()


def test_a_place_without_credentials_is_no_door():
    assert list(doors("demo", "demo @ https://host.example/files/demo-1.0-py3-none-any.whl")) == []
    assert list(doors("demo @ https://t0ken@host.example/files/demo-1.0-py3-none-any.whl#sha256=0")) == ["https://host.example/files/"]


def test_the_lock_that_is_installed_holds_none_to_begin_with(index: LocalIndex, root: Path):
    lock: Lock = resolve(everything(index), None, root)
    assert hides(write(lock))
