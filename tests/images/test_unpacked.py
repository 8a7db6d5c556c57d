"""Layers that others made, unpacked: nothing outside the folder is touched, whatever they hold."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pytest

from lading.images.media import LAYER, Descriptor, Kind, Layer
from lading.images.store import Store
from lading.images.unpacked import unpack
from lading.model.problems import LadingError


def _layer(store: Store, *entries: tuple[str, bytes | str]) -> Layer:
    """A layer of files (bytes) and symbolic links (text)."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for name, content in entries:
            info = tarfile.TarInfo(name)
            if isinstance(content, str):
                info.type, info.linkname = tarfile.SYMTYPE, content
                archive.addfile(info)
            else:
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))
    store.prepare()
    digest = store.add(stream.getvalue())
    descriptor = Descriptor(media_type=LAYER, digest=digest, size=len(stream.getvalue()))
    return Layer(descriptor=descriptor, diff_id=digest, kind=Kind.BASE, title="made for a test")


def _chain(length: int, end: str) -> list[tuple[str, str]]:
    """Links one behind the other, the last to ``end``."""
    return [(f"l{number}", f"l{number + 1}") for number in range(length - 1)] + [(f"l{length - 1}", end)]


@pytest.mark.parametrize("name", ["l0/victim", "l0/.wh.victim", "l0/.wh..wh..opq"])
def test_a_long_chain_of_links_leads_nowhere(name: str, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "victim").write_text("precious")
    store = Store(tmp_path / "store")
    with pytest.raises(LadingError) as caught:
        unpack(store, [_layer(store, *_chain(41, str(outside)), (name, b"owned"))], tmp_path / "root")
    assert caught.value.problems[0].rule == "layer-damaged"
    assert "too many symbolic links" in caught.value.problems[0].what
    assert (outside / "victim").read_text() == "precious"


def test_links_that_name_places_of_the_image_are_followed_in_it(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    layer = _layer(store, *_chain(40, "/usr/share"), ("up", "../../../usr"), ("l0/a", b"a"), ("up/b", b"b"))
    unpack(store, [layer], tmp_path / "root")
    assert (tmp_path / "root/usr/share/a").read_bytes() == b"a"
    assert (tmp_path / "root/usr/b").read_bytes() == b"b"


def test_an_entry_named_like_the_folder_itself_does_not_replace_it(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    store = Store(tmp_path / "store")
    unpack(store, [_layer(store, (".", str(outside)), ("owned", b"x"))], tmp_path / "root")
    assert list(outside.iterdir()) == []
    assert (tmp_path / "root/owned").is_file()


@pytest.mark.parametrize("name", [".wh.", ".wh..", ".wh...", "usr/.wh."])
def test_a_whiteout_of_no_file_removes_nothing(name: str, tmp_path: Path) -> None:
    (tmp_path / "beside").write_text("precious")
    store = Store(tmp_path / "store")
    unpack(store, [_layer(store, ("usr/a", b"a")), _layer(store, (name, b""))], tmp_path / "root")
    assert (tmp_path / "beside").read_text() == "precious"
    assert (tmp_path / "root/usr/a").read_bytes() == b"a"


def test_whiteouts_remove_what_they_name(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    layers = [
        _layer(store, ("a/x", b"x"), ("b/y", b"y"), ("c", b"c")),
        _layer(store, ("a/.wh.x", b""), ("b/.wh..wh..opq", b""), (".wh.c", b"")),
    ]
    unpack(store, layers, tmp_path / "root")
    assert sorted(path.name for path in (tmp_path / "root").rglob("*")) == ["a", "b"]
