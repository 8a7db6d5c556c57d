"""The lock file: the same bytes for the same lock, read back whole, fit to travel, and clear when damaged."""

from __future__ import annotations

import tomllib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lading.locks.lockfile import read, write
from lading.model.decisions import Decision, Kind
from lading.model.lock import Lock
from lading.model.origin import Origin
from lading.model.problems import ExitCode, LadingError, Problem

SHA = "a" * 64
PATH = "pylock.lading.toml"

names = st.from_regex(r"[a-z][a-z0-9]{0,8}(-[a-z0-9]{1,5}){0,2}", fullmatch=True)
versions = st.from_regex(r"[0-9]{1,3}(\.[0-9]{1,3}){1,2}(\+(cpu|cu[0-9]{3}))?", fullmatch=True)
digests = st.from_regex(r"[0-9a-f]{64}", fullmatch=True)
words = st.text(st.characters(exclude_categories=["Cs"]), max_size=30).filter(lambda text: "@" not in text)


@st.composite
def packages(draw: st.DrawFn, name: str) -> dict[str, Any]:
    version = draw(versions)
    hashes = {"sha256": draw(digests)}
    module = name.replace("-", "_")
    url = f"https://host.example/{module}-{version.replace('+', '%2B')}-py3-none-any.whl"
    kind = draw(st.sampled_from(["wheels", "sdist", "directory", "vcs", "archive"]))
    if kind == "directory":
        return {"name": name, "directory": {"path": f"libs/{name}", "editable": draw(st.booleans())}}
    if kind == "vcs":
        commit = draw(digests)[:40]
        return {"name": name, "version": version, "vcs": {"type": "git", "url": "ssh://git@host.example/x.git", "commit-id": commit}}
    if kind == "archive":
        return {"name": name, "version": version, "archive": {"url": url, "hashes": hashes}}
    if kind == "sdist":
        sdist = {"path": f"wheels/{module}-{version}.tar.gz", "hashes": hashes}
        return {"name": name, "version": version, "sdist": sdist}
    return {"name": name, "version": version, "wheels": [{"url": url, "size": draw(st.integers(0, 10**10)), "hashes": hashes}]}


origins = st.one_of(st.none(), st.builds(Origin, st.just("requirements.txt"), st.one_of(st.none(), st.integers(1, 99))))
decisions = st.builds(
    Decision,
    rule=names,
    kind=st.sampled_from(Kind),
    subject=words,
    asked=words,
    chose=words,
    because=words,
    origin=origins,
    instead=st.one_of(st.none(), words),
)


@st.composite
def locks(draw: st.DrawFn) -> Lock:
    chosen = sorted(draw(st.sets(names, max_size=5)))
    document = {
        "lock-version": "1.0",
        "created-by": "lading",
        "requires-python": "==3.11.*",
        "packages": [draw(packages(name)) for name in chosen],
    }
    return Lock(
        document=document,
        fingerprint=draw(digests),
        target={"python": "3.11.7", "platform": "x86_64-manylinux_2_28", "accelerator": "cpu", "implementation": "cpython"},
        sources=draw(st.dictionaries(words, digests, max_size=3)),
        decisions=tuple(draw(st.lists(decisions, max_size=3))),
        tools={"lading": "1", "uv": "2"},
        requirements=tuple(draw(st.lists(words, max_size=3))),
        as_of=draw(st.sampled_from([None, "2024-05-01T23:59:59Z"])),
    )


@given(locks())
def test_a_lock_is_read_back_as_it_was_written(lock: Lock):
    text = write(lock)
    assert read(text, PATH) == lock
    assert write(read(text, PATH)) == text


@given(locks(), st.randoms())
def test_the_order_in_which_things_were_found_leaves_no_trace(lock: Lock, random: Any):
    def shuffled(table: Any) -> Any:
        if isinstance(table, dict):
            keys = list(table)
            random.shuffle(keys)
            return {key: shuffled(table[key]) for key in keys}
        return table

    document = {**shuffled(lock.document), "packages": [shuffled(package) for package in lock.packages]}
    random.shuffle(document["packages"])
    again = Lock(
        document=document,
        fingerprint=lock.fingerprint,
        target=lock.target,
        sources=shuffled(lock.sources),
        decisions=lock.decisions,
        tools=shuffled(lock.tools),
        requirements=lock.requirements,
        as_of=lock.as_of,
    )
    assert write(again) == write(lock)


@given(locks(), st.sampled_from(["url", "index", "decision", "unknown"]))
def test_no_credential_gets_in_by_any_door(lock: Lock, door: str):
    planted = "https://bob:pl4nted@host.example/demo-1.0-py3-none-any.whl"
    package: dict[str, Any] = {"name": "demo", "version": "1.0", "wheels": [{"url": planted, "hashes": {"sha256": SHA}}]}
    package |= {"index": planted} if door == "index" else {}
    package |= {"tool": {"other": {"seen": [f"at {planted}"]}}} if door == "unknown" else {}
    decision = Decision(rule="x", kind=Kind.KEPT, subject="demo", asked=planted, chose=planted, because=planted, instead=planted)
    full = Lock(
        document={**lock.document, "packages": [*lock.packages, package]},
        fingerprint=lock.fingerprint,
        target=lock.target,
        sources=lock.sources,
        decisions=(*lock.decisions, decision) if door == "decision" else lock.decisions,
        tools=lock.tools,
    )
    text = write(full)
    assert "pl4nted" not in text
    assert 'url = "https://host.example/demo-1.0-py3-none-any.whl"' in text


def made_of(*packages_: dict[str, Any]) -> Lock:
    return Lock(document={"lock-version": "1.0", "created-by": "x", "packages": list(packages_)}, fingerprint="f", target={})


@pytest.mark.parametrize(
    "place",
    [
        {"directory": {"path": "/home/me/demo"}},
        {"directory": {"path": "C:\\me\\demo"}},
        {"archive": {"path": "/srv/demo-1.0-py3-none-any.whl", "hashes": {"sha256": SHA}}},
        {"version": "1.0", "wheels": [{"url": "file:///srv/demo-1.0-py3-none-any.whl", "hashes": {"sha256": SHA}}]},
        {"version": "1.0", "sdist": {"url": "FILE:///srv/demo-1.0.tar.gz", "hashes": {"sha256": SHA}}},
        {"vcs": {"type": "git", "url": "file:///srv/demo", "commit-id": "1"}},
    ],
)
def test_a_path_of_this_machine_alone_is_refused(place: dict[str, Any]):
    with pytest.raises(LadingError) as caught:
        write(made_of({"name": "demo", **place}))
    (problem,) = caught.value.problems
    assert (problem.rule, problem.code) == ("lock-machine-path", ExitCode.RESOLUTION)
    assert problem.what.startswith("demo comes from ")


def test_the_first_lines_say_what_it_is_and_how_to_change_it():
    head = write(made_of()).split("lock-version")[0]
    assert all(line.startswith("#") for line in head.strip().splitlines())
    assert "lading lock" in head


def test_what_others_wrote_into_it_stays():
    text = write(
        made_of({"name": "demo", "version": "1.0", "wheels": [{"url": "https://h/demo-1.0-py3-none-any.whl", "hashes": {"sha256": SHA}}]})
    )
    more = (
        text.replace('created-by = "x"', 'created-by = "x"\nfuture = "key"')
        + '\n[tool.lading.note]\nby = "a newer one"\n[tool.scanner]\nok = true\n'
    )
    again = tomllib.loads(write(read(more, PATH)))
    assert again["future"] == "key"
    assert again["tool"]["scanner"] == {"ok": True}
    assert again["tool"]["lading"]["note"] == {"by": "a newer one"}


def test_a_lock_of_another_tool_is_read():
    text = 'lock-version = "1.0"\ncreated-by = "pip"\n[[packages]]\nname = "demo"\nversion = "1.0"\n[[packages.wheels]]\nupload-time = 2024-01-01T00:00:00Z\n'
    text += f'url = "https://h/demo-1.0-py3-none-any.whl"\nhashes = {{ sha256 = "{SHA}" }}\n'
    lock = read(text, "pylock.toml")
    assert (lock.fingerprint, lock.versions) == ("", {"demo": "1.0"})
    assert "upload-time = 2024-01-01" in write(lock)


def refusal(text: str) -> Problem:
    with pytest.raises(LadingError) as caught:
        read(text, PATH)
    (problem,) = caught.value.problems
    assert problem.code is ExitCode.LOCK
    assert problem.instead
    return problem


def test_a_merge_conflict_is_called_by_its_name():
    text = write(made_of())
    problem = refusal(text.replace("lock-version", "<<<<<<< HEAD\nlock-version"))
    assert (problem.rule, str(problem.origin)) == ("lock-merge-conflict", f"{PATH}:4")


def test_a_line_that_is_no_toml_is_named():
    problem = refusal('lock-version = "1.0"\ncreated-by = = "x"\n')
    assert (problem.rule, str(problem.origin)) == ("lock-damaged", f"{PATH}:2")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "Missing required value"),
        ('lock-version = "1.0"\ncreated-by = "x"\npackages = [{}]\n', "packages"),
        (
            'lock-version = "1.0"\ncreated-by = "x"\npackages = [{name = "demo", wheels = [{url = "https://h/demo-1-py3-none-any.whl"}]}]\n',
            "hashes",
        ),
        ('lock-version = "1.0"\ncreated-by = "x"\npackages = []\ntool = 3\n', "tool"),
        ('lock-version = 1\ncreated-by = "x"\npackages = []\n', "lock-version"),
    ],
)
def test_a_lock_against_the_standard_is_refused_with_the_place(text: str, words: str):
    problem = refusal(text)
    assert problem.rule == "lock-damaged"
    assert words in (problem.why or "")


@pytest.mark.parametrize(
    "table",
    [
        "tool.lading = 3",
        "tool.lading.target = 3",
        "tool.lading.sources = {a = 1}",
        "tool.lading.decisions = [{}]",
        'tool.lading.decisions = [{rule="a", kind="?", subject="", asked="", chose="", because=""}]',
    ],
)
def test_records_that_lading_did_not_write_are_refused(table: str):
    problem = refusal(f'lock-version = "1.0"\ncreated-by = "x"\npackages = []\n{table}\n')
    assert problem.rule == "lock-damaged"


@pytest.mark.parametrize("change", [('lock-version = "1.0"', 'lock-version = "2.0"'), ("format = 1", "format = 2")])
def test_a_lock_of_a_newer_lading_is_refused(change: tuple[str, str]):
    assert refusal(write(made_of()).replace(*change)).rule == "lock-too-new"


@given(st.text(max_size=200))
def test_no_text_makes_it_fail_in_another_way(text: str):
    with pytest.raises(LadingError) as caught:  # no short text is a whole lock
        read(text, PATH)
    assert caught.value.exit_code is ExitCode.LOCK
