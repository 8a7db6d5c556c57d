"""Layers as bytes: headers that `tarfile` reads, wheels whose own compression is kept, and what becomes of the odd ones."""

from __future__ import annotations

import gzip
import hashlib
import io
import marshal
import string
import struct
import subprocess
import sys
import tarfile
import zipfile
import zlib
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from lading.images.arrange import arrange
from lading.images.bytecode import compile_sources, wheel_sources
from lading.images.layers import LayerWriter, Written
from lading.images.media import Compression
from lading.images.splice import Wheel, write_wheels
from lading.images.tar import END, FILE, FOLDER, LINK, Entry, header, padding
from lading.images.treemap import Box, squarify
from lading.images.wheels import Place
from lading.model.problems import LadingError
from tests.images.support import content_of
from tests.support.wheels import wheel

PLACE = Place(prefix="opt/venv", python="3.11")
SITE = "opt/venv/lib/python3.11/site-packages"
_NAMES = st.lists(
    st.text(string.ascii_letters + string.digits + "-_.é日", min_size=1, max_size=60).filter(lambda name: name.strip(".")),
    min_size=1,
    max_size=6,
)


@given(
    _NAMES.map("/".join),
    st.integers(0, 8**11 * 3),
    st.sampled_from([0o644, 0o755, 0o4755]),
    st.sampled_from([FILE, LINK, FOLDER]),
    st.text(string.ascii_lowercase + "/é", max_size=150),
    st.integers(0, 8**8),
)
def test_headers_read_back_as_they_were_written(path: str, size: int, mode: int, kind: bytes, target: str, uid: int) -> None:
    size, target = (size, "") if kind == FILE else (0, target if kind == LINK else "")
    entry = Entry(path=path, size=size, mode=mode, kind=kind, target=target, uid=uid)
    head = header(entry)
    assert len(head) % 512 == 0
    with tarfile.open(fileobj=io.BytesIO(head + END)) as archive:
        read = archive.next()
    assert read is not None
    assert (read.name, read.size, read.mode, read.linkname, read.uid) == (path, size, mode, target, uid)
    assert (read.mtime, read.gid, read.uname) == (0, 0, "")


def _write(path: Path, wheels: list[Path], compression: Compression = Compression.GZIP) -> Written:
    with path.open("wb") as stream, LayerWriter(stream, compression) as writer:
        write_wheels(writer, [Wheel(path=one, sha256="", name=one.name.split("-")[0], version="1.0") for one in wheels], PLACE)
        return writer.finish()


def _saved(folder: Path, name: str, files: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> Path:
    made = wheel(name, "1.0")
    path = folder / made.filename
    with zipfile.ZipFile(path, "w", method) as archive, zipfile.ZipFile(io.BytesIO(made.content)) as original:
        for info in original.infolist():
            archive.writestr(info.filename, original.read(info))
        for file, content in files.items():
            archive.writestr(file, content)
    return path


@settings(max_examples=25, deadline=None)
@given(
    files=st.dictionaries(st.text(string.ascii_lowercase, min_size=1, max_size=8), st.integers(0, 80_000), max_size=5),
    seed=st.binary(min_size=1, max_size=8),
)
def test_spliced_wheels_hold_their_files_and_both_formats_the_same_tar(
    tmp_path_factory: pytest.TempPathFactory, files: dict[str, int], seed: bytes
) -> None:
    folder = tmp_path_factory.mktemp("wheel")
    content = {f"pkg/{name}.bin": (seed * (size // len(seed) + 1))[:size] for name, size in files.items()}
    path = _saved(folder, "pkg", content)
    written = _write(folder / "gzip", [path])
    blob = (folder / "gzip").read_bytes()
    tar = gzip.decompress(blob)
    assert written.diff_id == f"sha256:{hashlib.sha256(tar).hexdigest()}"
    assert written.digest == f"sha256:{hashlib.sha256(blob).hexdigest()}"
    assert (written.size, written.unpacked) == (len(blob), len(tar))
    found = content_of(blob)
    assert {name: found[f"{SITE}/{name}"] for name in content} == content
    assert _write(folder / "zstd", [path], Compression.ZSTD).diff_id == written.diff_id


def test_a_large_file_keeps_the_wheels_own_compression(tmp_path: Path) -> None:
    noise = hashlib.sha256(b"x").digest() * 4096
    path = _saved(tmp_path, "pkg", {"pkg/big.bin": noise})
    _write(tmp_path / "layer", [path])
    with zipfile.ZipFile(path) as archive:
        info = archive.getinfo("pkg/big.bin")
    raw = path.read_bytes()
    start = info.header_offset + 30 + struct.unpack_from("<HH", raw, info.header_offset + 26)[0]
    assert raw[start : start + info.compress_size] in (tmp_path / "layer").read_bytes()


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_files_that_are_not_deflated(tmp_path: Path, method: int) -> None:
    content = bytes(range(256)) * 400
    _write(tmp_path / "layer", [_saved(tmp_path, "pkg", {"pkg/big.bin": content}, method)])
    assert content_of((tmp_path / "layer").read_bytes())[f"{SITE}/pkg/big.bin"] == content


def test_a_wheel_without_record_gets_one(tmp_path: Path) -> None:
    made = wheel("pkg", "1.0", files={"pkg/big.bin": b"x" * 50_000})
    path = tmp_path / made.filename
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive, zipfile.ZipFile(io.BytesIO(made.content)) as original:
        for info in original.infolist():
            if not info.filename.endswith("/RECORD"):
                archive.writestr(info.filename, original.read(info))
    _write(tmp_path / "layer", [path])
    record = content_of((tmp_path / "layer").read_bytes())[f"{SITE}/pkg-1.0.dist-info/RECORD"].decode()
    with_record = tmp_path / "other" / made.filename
    with_record.parent.mkdir()
    with_record.write_bytes(made.content)
    _write(tmp_path / "layer2", [with_record])
    assert record == content_of((tmp_path / "layer2").read_bytes())[f"{SITE}/pkg-1.0.dist-info/RECORD"].decode()
    assert "pkg/big.bin,sha256=" in record


def test_of_two_wheels_with_one_path_the_later_counts(tmp_path: Path) -> None:
    one = _saved(tmp_path, "one", {"shared/__init__.py": b"one", "shared/a.py": b"a"})
    two = _saved(tmp_path, "two", {"shared/__init__.py": b"two", "shared/b.py": b"b"})
    _write(tmp_path / "layer", [one, two])
    with tarfile.open(tmp_path / "layer") as archive:
        names = archive.getnames()
    assert names.count(f"{SITE}/shared/__init__.py") == 1
    found = content_of((tmp_path / "layer").read_bytes())
    assert (found[f"{SITE}/shared/__init__.py"], found[f"{SITE}/shared/a.py"], found[f"{SITE}/shared/b.py"]) == (b"two", b"a", b"b")


def test_scripts_data_and_headers_go_where_an_installer_puts_them(tmp_path: Path) -> None:
    files = {
        "pkg-1.0.data/scripts/run": b"#!python\nprint(1)\n",
        "pkg-1.0.data/scripts/other": b"#!/bin/sh\n",
        "pkg-1.0.data/data/share/x.txt": b"x",
        "pkg-1.0.data/headers/pkg.h": b"h",
        "pkg-1.0.data/purelib/pkg/extra.py": b"e",
    }
    _write(tmp_path / "layer", [_saved(tmp_path, "pkg", files)])
    found = content_of((tmp_path / "layer").read_bytes())
    assert found["opt/venv/bin/run"] == b"#!/opt/venv/bin/python\nprint(1)\n"
    assert found["opt/venv/bin/other"] == b"#!/bin/sh\n"
    assert found["opt/venv/share/x.txt"] == b"x"
    assert found["opt/venv/include/site/python3.11/pkg/pkg.h"] == b"h"
    assert found[f"{SITE}/pkg/extra.py"] == b"e"
    record = found[f"{SITE}/pkg-1.0.dist-info/RECORD"].decode()
    assert "../../../bin/run,sha256=" in record
    with tarfile.open(tmp_path / "layer") as archive:
        assert archive.getmember("opt/venv/bin/other").mode == 0o755


@pytest.mark.parametrize("path", ["../evil.py", "pkg/../../evil.py", "/etc/passwd", "pkg-1.0.data/scripts/../../../evil"])
def test_a_wheel_that_would_write_outside_is_refused(tmp_path: Path, path: str) -> None:
    with pytest.raises(LadingError) as caught:
        _write(tmp_path / "layer", [_saved(tmp_path, "pkg", {path: b"x"})])
    assert caught.value.problems[0].rule == "wheel-damaged"


def test_a_wheel_whose_directory_lies_is_refused(tmp_path: Path) -> None:
    path = _saved(tmp_path, "pkg", {"pkg/big.bin": b"x" * 50_000})
    with zipfile.ZipFile(path) as archive:
        crc = archive.getinfo("pkg/big.bin").CRC
    path.write_bytes(path.read_bytes().replace(struct.pack("<I", crc), struct.pack("<I", crc ^ 1)))
    with pytest.raises(LadingError) as caught:
        _write(tmp_path / "layer", [path])
    assert "pkg/big.bin" in caught.value.problems[0].what


def _append_zeros(archive: zipfile.ZipFile, name: str, size: int) -> None:
    """A deflated member of zeros, made of one compressed block over and over: gigabytes in a moment, and little disk."""
    block = 1 << 24
    compressor = zlib.compressobj(1, zlib.DEFLATED, -15)
    again = compressor.compress(bytes(block)) + compressor.flush(zlib.Z_FULL_FLUSH)
    last = zlib.compressobj(1, zlib.DEFLATED, -15)
    end = last.compress(bytes(size % block)) + last.flush()
    info = zipfile.ZipInfo(name)
    info.compress_type, info.file_size, info.compress_size = zipfile.ZIP_DEFLATED, size, size // block * len(again) + len(end)
    for _ in range(size // block):
        info.CRC = zlib.crc32(bytes(block), getattr(info, "CRC", 0))
    info.CRC = zlib.crc32(bytes(size % block), info.CRC)
    stream = cast("Any", archive.fp)
    info.header_offset = stream.tell()
    stream.write(info.FileHeader(zip64=True))
    for _ in range(size // block):
        stream.write(again)
    stream.write(end)
    archive.filelist.append(info)
    archive.start_dir = stream.tell()


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_member_of_more_than_four_gigabytes(tmp_path: Path) -> None:
    """gzip's own size field holds 32 bits; readers of chained members must not care, and tar's field holds 8 GiB."""
    size = (4 << 30) + 12_345
    made = wheel("pkg", "1.0")
    path = tmp_path / made.filename
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive, zipfile.ZipFile(io.BytesIO(made.content)) as original:
        for info in original.infolist():
            archive.writestr(info.filename, original.read(info))
        _append_zeros(archive, "pkg/huge.bin", size)
        archive.writestr("pkg/later.txt", "beyond it")
    written = _write(tmp_path / "layer", [path])
    assert written.unpacked > size
    sizes: dict[str, int] = {}
    later = b""
    with gzip.open(tmp_path / "layer") as unpacked, tarfile.open(fileobj=cast("Any", unpacked), mode="r|", bufsize=1 << 20) as archive_of:
        for entry in archive_of:
            sizes[entry.name] = entry.size
            if entry.name.endswith("/later.txt"):
                later = cast("Any", archive_of.extractfile(entry)).read()
    assert sizes[f"{SITE}/pkg/huge.bin"] == size
    assert later == b"beyond it"
    listed = subprocess.run(["tar", "-tvzf", tmp_path / "layer"], capture_output=True, text=True, check=True).stdout
    assert str(size) in next(line for line in listed.splitlines() if line.endswith("pkg/huge.bin"))


def test_padding_fills_blocks() -> None:
    assert [len(padding(size)) for size in (0, 1, 511, 512, 513)] == [0, 511, 1, 0, 511]


@given(
    st.dictionaries(st.text(string.ascii_lowercase, min_size=1, max_size=6), st.integers(1, 10**9), min_size=1, max_size=80),
    st.integers(1, 60),
)
def test_every_package_is_in_one_group_and_there_is_room_for_all(sizes: dict[str, int], room: int) -> None:
    groups = arrange(sizes, room)
    assert sorted(name for group in groups for name in group.names) == sorted(sizes)
    assert len(groups) <= room


@given(st.lists(st.floats(0.1, 1e9), min_size=1, max_size=40))
@example([455291170.0, 526801241.0, 153754709.53396806, 155065503.53396806, 0.1])
def test_rectangles_fill_the_picture_in_proportion(values: list[float]) -> None:
    values.sort(reverse=True)
    boxes = squarify(values, Box(0, 0, 1000, 600))
    assert len(boxes) == len(values)
    for value, box in zip(values, boxes, strict=True):
        assert box.area == pytest.approx(600_000 * value / sum(values), rel=1e-6, abs=1e-6)
        assert box.x >= -1e-6
        assert box.x + box.width <= 1000 + 1e-3
        assert box.y + box.height <= 600 + 1e-3


def test_in_a_box_without_room_every_value_still_has_a_rectangle() -> None:
    assert [box.area for box in squarify([3.0, 2.0, 1.0], Box(0, 0, 10, 0))] == [0, 0, 0]


def test_the_bytecode_of_a_file_in_two_wheels_is_that_of_the_source_in_the_layer(tmp_path: Path) -> None:
    """Nothing looks at the source again, so that of the other wheel would run unseen."""
    wheels = []
    for name, text in (("first", "WHO = 'first'\n"), ("second", "WHO = 'second'\n")):
        archive = wheel(name, "1.0", files={"shared/who.py": text, f"shared/{name}.py": f"{text * 20000}"})
        path = tmp_path / archive.filename
        path.write_bytes(archive.content)
        wheels.append(Wheel(path=path, sha256="", name=name, version="1.0"))
    for ordered in (wheels, wheels[::-1]):
        with (tmp_path / "layer").open("w+b") as stream, LayerWriter(stream, Compression.GZIP) as writer:
            write_wheels(writer, ordered, PLACE)
            writer.finish()
        source = content_of((tmp_path / "layer").read_bytes())[f"{SITE}/shared/who.py"]
        sources = wheel_sources(ordered, PLACE)
        assert [one.path for one in sources].count(f"{SITE}/shared/who.py") == 1
        compiled = compile_sources(sys.executable, sources)
        code = marshal.loads(next(data for path, data in compiled.items() if "/who." in path)[16:])
        assert code.co_consts[0] == source.decode().split("'")[1] == ordered[-1].name
