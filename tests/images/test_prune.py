"""`lading env prune` and images: what no name needs goes once it is old; what is named or used stays."""

from __future__ import annotations

import json
import os
import time
from functools import partial
from pathlib import Path

import pytest

from lading.images.media import digest_of
from lading.images.store import Store
from lading.weights.store import Part, WeightStore
from tests.images.support import PREDICTOR, PROJECT, Command, write
from tests.support.index import LocalIndex


def _age(folder: Path, days: float) -> None:
    then = time.time() - days * 86400
    for path in [*folder.rglob("*"), folder]:
        os.utime(path, (then, then), follow_symlinks=False)


def _blobs(home: Path) -> dict[str, int]:
    return {path.name: path.stat().st_size for path in (home / "images/blobs/sha256").iterdir()}


def test_what_no_name_needs_goes_and_the_next_build_is_as_before(base: Path, market: LocalIndex, tmp_path: Path) -> None:
    lading = Command(tmp_path / "home", market.url, tmp_path)
    project = write(tmp_path / "model", {**PROJECT, "requirements.txt": "greeting==1.0\n"})
    words = ["build", project, "-t", "model:v1", "--base", base, "--json"]
    first = lading(*words).data
    (project / "predict.py").write_text(PREDICTOR.replace("hello", "good day"))
    second = lading(*words).data
    listed = json.loads(lading("env", "list", "--json").out)["images"]
    assert [(one["name"], one["digest"]) for one in listed] == [("model:v1", second["digest"])]
    assert listed[0]["bytes"] > 100_000
    assert lading("env", "prune", "--json").data["removed_images"] == []  # all of it is new
    _age(lading.home / "images", 40)
    before = _blobs(lading.home)
    dry = lading("env", "prune", "--dry-run", "--json").data["removed_images"]
    assert _blobs(lading.home) == before
    removed = lading("env", "prune", "--json").data["removed_images"]
    assert removed == dry
    assert {one["kind"] for one in removed} == {"layer", "wheel"}
    gone = set(before) - set(_blobs(lading.home))
    old, new = ({layer["digest"].removeprefix("sha256:") for layer in ran["images"][0]["layers"]} for ran in (first, second))
    assert (old - new) <= gone  # the first image's own layer
    assert not new & gone
    again = lading(*words)
    assert again.data["digest"] == second["digest"]


@pytest.mark.slow
def test_a_name_goes_where_it_is_asked_for_and_nothing_while_a_build_runs(base: Path, market: LocalIndex, tmp_path: Path) -> None:
    lading = Command(tmp_path / "home", market.url, tmp_path)
    project = write(tmp_path / "model", {**PROJECT, "requirements.txt": "greeting==1.0\n"})
    lading("build", project, "-t", "model:v1", "--base", base)
    lading("env", "prune", "--all")
    assert lading("env", "list").out.count("image  model:v1") == 1
    with Store(lading.home / "images").in_use():
        ran = lading("env", "prune", "--all", "--images")
        assert "one is being built" in ran.err
    lading("env", "prune", "--all", "--images")
    assert not _blobs(lading.home)
    assert "model:v1" not in lading("env", "list").out
    assert lading("push", "model:v1", "127.0.0.1:1/x", "--json", check=False).data["problems"][0]["rule"] == "image-unknown"


def test_weights_that_nothing_used_for_long_go_and_links_to_them_stay(tmp_path: Path) -> None:
    store = WeightStore(tmp_path / "weights")
    digests = [store.discover(text.decode(), partial(Part.add, piece=text))[0] for text in (b"one", b"two")]
    link = tmp_path / "link"
    os.link(store.path(digests[0]), link)
    _age(store.root, 40)
    store.use(digests[1])
    assert store.prune(30 * 86400, dry_run=True) == (1, 3)
    assert store.has(digests[0])
    assert store.prune(30 * 86400) == (1, 3)
    assert [store.has(digest) for digest in digests] == [False, True]
    assert link.read_bytes() == b"one"


@pytest.mark.parametrize("known", [True, False])
def test_a_file_that_is_arriving_stays_and_what_nobody_goes_on_with_goes(tmp_path: Path, *, known: bool) -> None:
    store = WeightStore(tmp_path / "weights")
    parts = store.root / "parts"
    digest = digest_of(b"content")
    with pytest.raises(ConnectionError):
        store.discover("http://example.com/broken", _break_off)
    pruned: list[tuple[int, int]] = []

    def receive(part: Part) -> None:
        part.tagged('"state"')
        part.add(b"content")
        pruned.append(WeightStore(store.root).prune(0))
        assert len(list(parts.iterdir())) == (1 if known else 2)  # the tag of one whose digest is not known lies beside it

    taken = store.take(digest, receive) if known else store.discover("http://example.com/whole", receive)
    assert taken == (digest, 7)
    assert store.path(digest).read_bytes() == b"content"
    assert pruned == [(2, len("half") + len('"state"'))]
    assert not list(parts.iterdir())


def _break_off(part: Part) -> None:
    part.tagged('"state"')
    part.add(b"half")
    raise ConnectionError("the connection broke")
