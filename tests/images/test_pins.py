"""``base.lock``: a base that is named by a tag stays the image that the tag stood for, until somebody asks for a newer one."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from lading.images.interpreters import host_platform
from lading.images.media import digest_of
from lading.images.pins import read_pins
from lading.images.reference import parse_reference
from lading.locks.bases import read_bases, write_bases
from lading.model.problems import LadingError
from tests.images.support import PROJECT, Command, RunningRegistry, manifest_of, push_base, write
from tests.support.index import LocalIndex


@pytest.fixture
def moving(tmp_path: Path) -> Iterator[RunningRegistry]:
    """A registry of its own, which a test may stop."""
    with RunningRegistry(tmp_path / "moving") as running:
        yield running


@pytest.fixture
def small(tmp_path: Path) -> Path:
    return write(tmp_path / "model", {**PROJECT, "requirements.txt": "greeting==1.0\n"})


def test_a_build_after_the_tag_has_moved_gives_the_same_bytes(
    lading: Command, small: Path, base: Path, market: LocalIndex, moving: RunningRegistry, tmp_path: Path
) -> None:
    name = f"{moving.host}/bases:slim"
    old = push_base(moving.host, base, host_platform(), tmp_path, "slim")["digest"]
    command = ["build", small, "-t", "model:v1", "--base", name, "--json"]
    first = lading(*command)
    assert f"Locked {name} at {old[:19]} in base.lock; keep the file with the project." in first.err
    assert read_bases((small / "base.lock").read_text(), "base.lock") == {name: old}

    newer = write(shutil.copytree(base, tmp_path / "newer", symlinks=True), {"etc/motd": "newer\n"})
    new = push_base(moving.host, newer, host_platform(), tmp_path, "slim")["digest"]
    assert new != old
    # On this machine, and on one that has only the project's folder.
    elsewhere = Command(tmp_path / "another-home", market.url, tmp_path)
    checkout = shutil.copytree(small, tmp_path / "elsewhere" / "model")
    for ran in (lading(*command), elsewhere("build", checkout, *command[2:], "--locked")):
        assert ran.data["digest"] == first.data["digest"]
        assert "base-pinned" in ran.err
        assert "Locked " not in ran.err

    moved = lading(*command, "--upgrade-base")
    assert f"Locked {name} at {new[:19]} in base.lock, and was {old[:19]}." in moved.err
    assert moved.data["digest"] != first.data["digest"]
    assert f"{name} is still {new[:19]}." in lading(*command, "--upgrade-base").err
    assert lading(*command).data["digest"] == moved.data["digest"]
    # An image of this name that was built here since does not count before the lock.
    lading("build", small, "-t", name, "--base", newer, cwd=tmp_path)
    assert lading(*command).data["digest"] == moved.data["digest"]
    assert f"FROM {name}@{new}\n" in lading("build", small, "--base", name, "--dockerfile").out

    # What is locked and here needs no registry; nor does going back need the tag.
    moving.process.terminate()
    moving.process.wait(60)
    for words in ([], ["--offline"]):
        assert lading(*command, *words).data["digest"] == moved.data["digest"]
    (small / "base.lock").write_text(write_bases({name: old}))
    assert lading(*command, "--offline").data["digest"] == first.data["digest"]


def test_locks_that_may_not_change_are_not_written(
    lading: Command, small: Path, base: Path, moving: RunningRegistry, tmp_path: Path
) -> None:
    name = f"{moving.host}/bases:slim"
    entry = push_base(moving.host, base, host_platform(), tmp_path, "slim")
    lading("lock", small)
    words = ["build", small, "-t", "model:v1", "--json", "--base"]
    refused = lading(*words, name, "--locked", check=False)
    assert (refused.code, refused.data["problems"][0]["rule"]) == (4, "lock-missing")
    assert name in refused.data["problems"][0]["what"]
    assert "base-not-pinned" in lading(*words, name, "--frozen").err
    lading(*words, f"{moving.host}/bases@{entry['digest']}", "--locked", "-o", f"oci:{tmp_path / 'image'}")  # nothing there that could move
    assert not (small / "base.lock").exists()
    assert manifest_of(tmp_path / "image")["annotations"]["org.opencontainers.image.base.digest"] == entry["digest"]
    for option in ("--locked", "--frozen", "--offline"):
        both = lading(*words, name, "--upgrade-base", option, check=False)
        assert both.data["problems"][0]["rule"] == "usage"
        assert option in both.data["problems"][0]["what"]

    (small / "base.lock").write_text(write_bases({name: digest_of(b"another")}))
    gone = lading(*words, name, check=False).data["problems"][0]
    assert gone["rule"] == "base-gone"
    assert "--upgrade-base" in gone["instead"]


@pytest.mark.parametrize(
    "text",
    [
        "version = 1\n<<<<<<< ours\n",
        "version = 2\n",
        '[bases]\nx = "y"\n',
        'version = 1\n[bases]\nx = "latest"\n',
        "version = 1\nbases = 3\n",
        "version = 1\nx = " + "[" * 100_000,
    ],
)
def test_a_damaged_lock_of_bases_is_named(text: str, tmp_path: Path) -> None:
    (tmp_path / "base.lock").write_text(text)
    with pytest.raises(LadingError) as caught:
        read_pins(tmp_path / "base.lock")
    (problem,) = caught.value.problems
    assert problem.rule == "lock-damaged"
    assert str(problem.origin) == "base.lock"


def test_a_name_is_locked_however_it_is_spelled_beside_the_others(tmp_path: Path) -> None:
    digests = {str(parse_reference(name)): digest_of(name.encode()) for name in ("python:3.11-slim", "ghcr.io/me/base")}
    path = write(tmp_path, {"base.lock": write_bases(digests)}) / "base.lock"
    pins = read_pins(path)
    assert pins.digest(parse_reference("docker.io/library/python:3.11-slim")) == digest_of(b"python:3.11-slim")
    assert pins.digest(parse_reference("python:3.12-slim")) is None
    said = pins.keep(parse_reference("python:3.12-slim"), digest_of(b"new"))
    assert said is not None
    assert read_bases(path.read_text(), "base.lock") == {**digests, "docker.io/library/python:3.12-slim": digest_of(b"new")}
    assert json.dumps(pins.decision("python:3.12-slim", digest_of(b"new")).as_json()) == json.dumps(
        read_pins(path).decision("python:3.12-slim", digest_of(b"new")).as_json()
    )


def test_builds_at_once_each_lock_their_base(tmp_path: Path) -> None:
    """All of them read the file before any has written it."""
    path = write(tmp_path, {"base.lock": write_bases({"docker.io/library/gone:v1": digest_of(b"gone")})}) / "base.lock"
    names = [f"docker.io/library/base{number}:v1" for number in range(8)]
    pins = [read_pins(path) for _ in names]
    path.unlink()
    with ThreadPoolExecutor(len(names)) as pool:
        said = list(pool.map(lambda pin, name: pin.keep(parse_reference(name), digest_of(name.encode())), pins, names))
    assert read_bases(path.read_text(), "base.lock") == {name: digest_of(name.encode()) for name in names}
    assert all(one is not None and one.startswith("Locked") for one in said)
    assert pins[0].keep(parse_reference(names[1]), digest_of(names[1].encode())) is None  # the build that locked it has said so
    assert [one.name for one in tmp_path.iterdir()] == ["base.lock"]
