"""Weights are what the lock says, though files that Lading has put somewhere can be written to."""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from lading.images.folders import Found, with_digests, write_found
from lading.images.layers import LayerWriter
from lading.model.problems import LadingError
from lading.weights.store import WeightStore
from tests.images.support import Command, Ran
from tests.weights.hub import Hub
from tests.weights.test_weights import BIG, one, problem, project

PUT = """\
import os, sys
from pathlib import Path
from lading import pipeline
from lading.cli.output import Output
from lading.cli.weights import put_in_place
from lading.environments.folder import FolderFiles
from lading.model.problems import LadingError
from lading.planner.find import find_config

place = Path(sys.argv[1])
try:
    put_in_place(pipeline.Options(directory=place), find_config(FolderFiles(place), None, {}), Output())
except LadingError as error:
    sys.exit("; ".join(f"{one.rule}: {one.what} {one.why}" for one in error.problems))
"""
"""What `lading serve`, `predict` and `train` do about weights before anything else."""
WITHOUT_POWERS = ("setpriv", "--bounding-set=-dac_override,-dac_read_search", "--inh-caps=-dac_override,-dac_read_search")


@pytest.fixture
def hub() -> Iterator[Hub]:
    with Hub({"org/model": {"main": {"config.json": b"{}", "model.bin": BIG}}}) as running:
        yield running


@pytest.fixture
def lading(tmp_path: Path, hub: Hub) -> Command:
    return Command(tmp_path / "home", "http://127.0.0.1:1/", tmp_path, {"HF_ENDPOINT": hub.url})


def put(lading: Command, place: Path, *, prefix: tuple[str, ...] = ()) -> Ran:
    return python(lading, *prefix, script=PUT, words=(str(place),))


def python(lading: Command, *prefix: str, script: str, words: tuple[str, ...] = ()) -> Ran:
    command = [*prefix, sys.executable, "-c", script, *words]
    ran = subprocess.run(command, env=lading.variables({}), cwd=lading.cwd, capture_output=True, text=True, check=False, timeout=170)
    return Ran(ran.returncode, ran.stdout, ran.stderr)


def as_a_user() -> tuple[str, ...]:
    """What keeps a command from writing to files that nobody may write to: nothing is needed for a user, and a program for root."""
    if os.geteuid():
        return ()
    if shutil.which("setpriv") is None or subprocess.run([*WITHOUT_POWERS, "true"], check=False, capture_output=True).returncode:
        pytest.skip("root without setpriv (util-linux), or that may not give powers away, may write to every file")
    return WITHOUT_POWERS


def rewrite(path: Path, content: bytes) -> None:
    """Write to a file where it lies, so that nothing but its content and the time of its status tells."""
    before = path.stat()
    path.chmod(0o644)
    while path.stat().st_ctime_ns == before.st_ctime_ns or path.read_bytes() != content:
        with path.open("r+b") as stream:
            stream.write(content)
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def stored(lading: Command, content: bytes = BIG) -> Path:
    return WeightStore(lading.home / "weights").path(f"sha256:{hashlib.sha256(content).hexdigest()}")


def downloads(hub: Hub) -> list[str]:
    return [path for path, _, _ in hub.requests if path.startswith("/cdn/")]


def test_a_file_of_the_store_that_was_written_to_is_fetched_again_and_told_of(lading: Command, hub: Hub, tmp_path: Path) -> None:
    place = project(tmp_path / "p", one("hf://org/model"))
    lading("weights", "import", "-C", place)
    link = tmp_path / "link"
    os.link(stored(lading), link)
    rewrite(link, BIG[::-1])
    assert "changed in Lading's store, to be fetched again: model.bin" in lading("weights", "status", "-C", place).out
    offline = lading("weights", "pull", "-C", place, "--offline", "--json", check=False)
    assert problem(offline)["rule"] == "offline-not-cached"
    hub.requests.clear()
    ran = lading("weights", "pull", "-C", place)
    assert "model.bin of w was changed in the store or cannot be read there, and is fetched again" in ran.err
    assert (stored(lading).read_bytes(), link.read_bytes()) == (BIG, BIG[::-1])
    assert len(downloads(hub)) == 1
    assert "changed" not in lading("weights", "pull", "-C", place, "--offline").err


@pytest.mark.parametrize("damage", ["shorter", "removed", "unreadable"])
def test_a_file_of_the_store_that_is_lost_is_fetched_again(lading: Command, hub: Hub, tmp_path: Path, damage: str) -> None:
    place = project(tmp_path / "p", one("hf://org/model"))
    lading("weights", "import", "-C", place)
    kept = stored(lading)
    if damage == "shorter":
        kept.chmod(0o644)
        os.truncate(kept, 1000)
    else:
        kept.unlink()
    if damage == "unreadable":
        kept.symlink_to(kept)  # opened by nobody, root included
    lading("weights", "pull", "-C", place)
    assert kept.read_bytes() == BIG
    assert not kept.is_symlink()


def test_a_user_gets_links_that_a_write_by_mistake_does_not_reach(lading: Command, hub: Hub, tmp_path: Path) -> None:
    place = project(tmp_path / "p", one("hf://org/model"))
    user = as_a_user()
    assert put(lading, place, prefix=user).code == 0
    file = place / "weights/w/model.bin"
    refused = python(lading, *user, script=f"open({str(file)!r}, 'r+b')")
    assert "PermissionError" in refused.err
    hub.requests.clear()
    assert put(lading, place, prefix=user).err == ""
    assert not hub.requests
    rewrite(file, BIG[::-1])  # on purpose; where it is a link, the store has it too
    ran = put(lading, place, prefix=user)
    assert ran.err.startswith("weights-in-the-way")  # before anything is fetched
    assert "was changed since" in ran.err
    assert file.read_bytes() == BIG[::-1]
    file.rename(tmp_path / "mine")
    assert put(lading, place, prefix=user).code == 0
    assert (file.read_bytes(), stored(lading).read_bytes(), (tmp_path / "mine").read_bytes()) == (BIG, BIG, BIG[::-1])
    assert len(downloads(hub)) <= 1  # none where files can be cloned


def test_who_may_write_to_all_files_gets_files_apart_from_the_store(lading: Command, hub: Hub, tmp_path: Path) -> None:
    place = project(tmp_path / "p", one("hf://org/model"))
    assert put(lading, place).code == 0
    file = place / "weights/w/model.bin"
    if not os.access(stored(lading), os.W_OK):
        pytest.skip("only root may write to files that nobody may write to")
    file.write_bytes(BIG[::-1])
    assert stored(lading).read_bytes() == BIG
    assert put(lading, place).err.startswith("weights-in-the-way")
    file.unlink()
    hub.requests.clear()
    assert put(lading, place).code == 0
    assert file.read_bytes() == BIG
    assert not hub.requests


def test_files_that_lading_put_there_follow_a_new_lock(lading: Command, hub: Hub, tmp_path: Path) -> None:
    """Also those of another folder of this machine, which stays apart from the project's."""
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere/a.bin").write_bytes(b"one")
    both = one("hf://org/model") + one(f"file://{tmp_path}/elsewhere", "/src/extra").replace("name: w", "name: e")
    place = project(tmp_path / "p", both)
    assert put(lading, place).code == 0
    hub.repositories["org/model"]["main"] = {"config.json": b"{}", "model.bin": BIG[::-1]}
    with (tmp_path / "elsewhere/a.bin").open("r+b") as stream:
        stream.write(b"two")
    assert (place / "extra/a.bin").read_bytes() == b"one"
    lading("weights", "import", "-C", place)
    lading("env", "prune", "--older-than", "0")  # what was put there is known without the store
    assert put(lading, place).code == 0
    assert ((place / "extra/a.bin").read_bytes(), (place / "weights/w/model.bin").read_bytes()) == (b"two", BIG[::-1])


def test_a_place_that_cannot_be_written_is_named(lading: Command, tmp_path: Path) -> None:
    place = project(tmp_path / "p", one("hf://org/model"))
    (place / "weights").write_text("a file where a folder is to be")
    ran = put(lading, place)
    assert "weights-not-written" in ran.err
    assert "Not a directory" in ran.err or "File exists" in ran.err


def test_a_file_that_changes_while_a_layer_is_made_is_refused(tmp_path: Path) -> None:
    """The layer is kept under the digest, and must never have another content."""
    place = tmp_path / "a.bin"
    place.write_bytes(BIG)
    (found,) = with_digests([Found(path="src/a.bin", source=str(place), size=len(BIG))])
    assert found.sha256 == hashlib.sha256(BIG).hexdigest()
    rewrite(place, BIG[::-1])
    with LayerWriter(io.BytesIO()) as writer, pytest.raises(LadingError) as caught:
        write_found(writer, [found])
    assert caught.value.problems[0].rule == "file-changed"


def test_weights_in_a_place_of_other_machines_are_theirs(lading: Command, hub: Hub, tmp_path: Path) -> None:
    """As a deployment to Ray has it: what is in the project goes along, the rest is on the nodes."""
    both = one("hf://org/model") + one("hf://org/model", "/weights-of-a-test/w").replace("name: w", "name: e")
    place = project(tmp_path / "p", both)
    assert put(lading, place).err.splitlines()[-1].startswith("weights-not-in-place")
    elsewhere = python(lading, script=PUT.replace("Output())", "Output(), here=False)"), words=(str(place),))
    assert (elsewhere.code, (place / "weights/w/model.bin").read_bytes()) == (0, BIG)


def test_a_file_that_lies_where_it_comes_from_is_told_of_as_the_source(lading: Command, tmp_path: Path) -> None:
    place = project(tmp_path / "p", one("w", "/src/w"), w__a=b"aa")
    assert put(lading, place).code == 0
    (place / "w/a").write_bytes(b"ab")
    assert put(lading, place).err.startswith("weights-changed")
    lading("weights", "import", "-C", place)
    assert put(lading, place).err == ""
