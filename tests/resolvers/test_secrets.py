"""A credential that reaches Lading in any way leaves it in none: not in a lock, an error, an event, a command line or a file."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from lading.locks.lockfile import write
from lading.model.events import Event
from lading.model.lock import Lock
from lading.model.plan import BoundIndex, Plan
from lading.model.problems import LadingError
from lading.model.requirements import IndexOptions
from lading.model.secrets import SecretUrl
from lading.resolvers import settings
from lading.resolvers.bindings import bindings
from lading.resolvers.command import Call, prepare
from tests.resolvers.test_resolve import commit, write_tree
from tests.support.index import LocalIndex
from tests.support.plans import declared, plan_of
from tests.support.wheels import project, wheel

SECRET = "pl4nted/s3cret"
SPELLINGS = (SECRET, "pl4nted%2Fs3cret", "s3cret")


def hides(*texts: object) -> bool:
    return not any(spelling in str(text) or spelling in repr(text) for text in texts for spelling in SPELLINGS)


def everything(index: LocalIndex, password: str = SECRET) -> Plan:
    """A plan with a credential at every place that can hold one."""
    index.add("from-default", "1.0")
    index.add("from-extra", "1.0", to="extra")
    index.add("from-bound", "1.0", to="bound")
    index.add("from-line", "1.0", to="line")
    index.add("from-links", "1.0", to="links")
    index.add_sdist("from-url", "1.0", to="urls", static=False)
    index.publish(wheel("by-wheel", "1.0"), to="urls")
    for name in ("simple", "extra", "bound", "line", "links", "urls"):
        index.protect(name, "bob", SECRET)

    def url(name: str) -> SecretUrl:
        return SecretUrl(index.url_of(name, user="bob", password=password))

    links = SecretUrl(url("links").reveal().replace("/links/", "/links/links/"))
    files = url("urls").reveal().replace("/urls/", "/files/urls/")
    return plan_of(
        "from-default",
        "from-extra",
        "from-bound",
        declared("from-line", 4, index=url("line")),
        "from-links",
        f"from-url @ {files}from_url-1.0.tar.gz",
        f"by-wheel @ {files}by_wheel-1.0-py3-none-any.whl",
        options=IndexOptions(index_url=url("simple"), extra_index_urls=(url("extra"),), find_links=(links,)),
        bound=(BoundIndex("corp", url("bound"), ("from-bound",)),),
    )


def test_a_lock_from_private_places_holds_no_password(index: LocalIndex, lock: Callable[..., Lock], events: list[Event]):
    locked = lock(everything(index))
    assert sorted(locked.versions) == ["by-wheel", "from-bound", "from-default", "from-extra", "from-line", "from-links", "from-url"]
    text = write(locked)
    assert hides(text, locked, *events)
    assert "bob" not in text
    assert "@127.0.0.1" not in text


@pytest.mark.parametrize("refusing", ["simple", "extra", "bound", "line", "links", "urls"])
def test_a_refused_password_is_in_no_message(index: LocalIndex, lock: Callable[..., Lock], events: list[Event], refusing: str):
    plan = everything(index)
    index[refusing].credentials = ("bob", "another")
    with pytest.raises(LadingError) as caught:
        lock(plan)
    problems = caught.value.problems
    assert hides(caught.value, *problems, *(problem.as_json() for problem in problems), *events)
    assert any("401" in f"{problem.why} {problem.what} {problem.detail}" or "refused" in problem.what for problem in problems)


@pytest.mark.parametrize("status", [403, 404, 500])
def test_an_index_in_trouble_tells_no_password(index: LocalIndex, lock: Callable[..., Lock], status: int):
    plan = everything(index)
    index["simple"].status = status
    with pytest.raises(LadingError) as caught:
        lock(plan)
    assert hides(caught.value, *caught.value.problems)


def test_a_build_that_prints_my_index_is_shown_without_the_password(index: LocalIndex, lock: Callable[..., Lock], events: list[Event]):
    index.add_sdist("spy", "1.0", static=False, fails_with=f"UV_DEFAULT_INDEX is http://bob:{SECRET}@host/ and the password {SECRET}")
    index.protect("simple", "bob", SECRET)
    with pytest.raises(LadingError) as caught:
        lock(plan_of("spy", index=index.url_of("simple", user="bob", password=SECRET)))
    (problem,) = caught.value.problems
    assert problem.rule == "build-failed"
    assert "the password ****" in (problem.detail or "")
    assert hides(problem, *events)


def test_a_password_of_the_environment_is_masked_too(index: LocalIndex, lock: Callable[..., Lock], monkeypatch: pytest.MonkeyPatch):
    index.protect("simple", "bob", SECRET)
    index.add_sdist("spy", "1.0", static=False, fails_with=f"found {SECRET}")
    monkeypatch.setenv("UV_DEFAULT_INDEX", f"corp={index.url}")
    monkeypatch.setenv("UV_INDEX_CORP_USERNAME", "bob")
    monkeypatch.setenv("UV_INDEX_CORP_PASSWORD", SECRET)
    with pytest.raises(LadingError) as caught:
        lock(plan_of("spy", index=index.url))
    assert caught.value.problems[0].rule == "build-failed"
    assert hides(*caught.value.problems)


def test_a_token_alone_is_a_secret(index: LocalIndex, lock: Callable[..., Lock]):
    index.add("demo", "1.0")
    index.protect("simple", SECRET, "")
    locked = lock(plan_of("demo", index=index.url_of("simple", user=SECRET)))
    assert hides(write(locked))
    index.protect("simple", "nobody", "knows")
    with pytest.raises(LadingError) as caught:
        lock(plan_of("demo2", index=index.url_of("simple", user=SECRET)))
    assert hides(*caught.value.problems)


def test_neither_the_process_list_nor_a_file_on_disk_shows_it(index: LocalIndex, tmp_path: Path):
    plan = everything(index)
    bound = bindings(plan)
    call = Call(
        uv="uv",
        python="python",
        root=tmp_path,
        bound=bound,
        named=frozenset({"from-bound", "from-line"}),
        offline=False,
        upgrade=False,
        cache_dir=None,
        previous=None,
        left_out=frozenset(),
    )
    command, variables = prepare(plan, call, tmp_path)
    assert hides(command, *(file.read_text() for file in tmp_path.iterdir()))
    env = settings.environment(plan, bound, tmp_path, frozenset(), os.environ) | variables
    assert sum(any(spelling in value for spelling in SPELLINGS) for value in env.values()) == 7


def test_a_build_is_not_told_what_opens_the_cluster_that_it_runs_on(index: LocalIndex, tmp_path: Path):
    private = {"RAY_AUTH_TOKEN": SECRET, "RAY_AUTH_TOKEN_PATH": "/token", "RAY_REDIS_PASSWORD": SECRET}
    env = settings.environment(plan_of("demo", index=index.url), [], tmp_path, frozenset(), {"PATH": "/bin", **private})
    assert env["PATH"] == "/bin"
    assert not private.keys() & env.keys()


def test_a_git_url_with_a_token_is_locked_without_it(index: LocalIndex, lock: Callable[..., Lock], tmp_path: Path):
    write_tree(tmp_path / "repo", project("mine", "0.1"))
    hash_ = commit(tmp_path / "repo")
    place = index.share("git", tmp_path / "repo" / ".git", git=True)
    index.protect("git", "bob", SECRET)
    with_token = place.replace("http://", f"git+http://bob:{SPELLINGS[1]}@")
    locked = lock(plan_of(f"mine @ {with_token}", index=index.url))
    assert locked.packages[0]["vcs"] == {"type": "git", "url": place, "commit-id": hash_}
    assert hides(write(locked))
