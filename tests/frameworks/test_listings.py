"""Asking indexes over real sockets: what a page says, how long a copy of it holds, and what is said when nobody answers."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from packaging.version import Version

from lading.frameworks.offers import File, Page, Status
from lading.frameworks.places import base
from lading.model.secrets import SecretUrl
from lading.resolvers.listings import Door, fetch, from_copies, sizes
from tests.support.index import LocalIndex
from tests.support.pytorch import PyTorch

TORCH = Page(base(), "torch")


@pytest.fixture
def pytorch(index: LocalIndex) -> PyTorch:
    made = PyTorch(index)
    made.build("torch", "2.4.1", "cpu", pythons=("3.10", "3.11"))
    made.build("torch", "2.4.1", "cu121")
    return made


def door(address: str, tmp_path: Path, *, timeout: float = 60.0) -> Door:
    return Door(address={base(): SecretUrl(address)}, root=tmp_path, cache=tmp_path / "copies", timeout=timeout)


def only(page: Page, through: Door) -> tuple[File, ...]:
    files = fetch([page], through).files(page)
    assert files is not None
    return files


def test_a_page_tells_versions_labels_tags_and_where_each_wheel_is(pytorch: PyTorch, tmp_path: Path):
    files = only(TORCH, door(pytorch.url, tmp_path))
    assert sorted((str(one.version), one.label, one.folder) for one in files) == [
        ("2.4.1+cpu", "cpu", "cpu"),
        ("2.4.1+cpu", "cpu", "cpu"),
        ("2.4.1+cu121", "cu121", "cu121"),
    ]
    assert {str(tag) for one in files for tag in one.tags} == {f"cp3{minor}-cp3{minor}-manylinux_2_28_x86_64" for minor in (10, 11)}
    assert {one.release for one in files} == {Version("2.4.1")}
    assert all(one.url.startswith("http://127.0.0.1") and one.has_metadata for one in files)


def test_json_and_html_say_the_same_but_for_sizes(index: LocalIndex, tmp_path: Path):
    index.add("demo", "1.0", requires_python=">=3.9")
    index.add("demo", "2.0", yanked="broken")
    page = Page(index.url.rstrip("/"), "demo")
    spoken = only(page, door("http://unused.example", tmp_path / "json"))
    index["simple"].json = False
    in_html = only(page, door("http://unused.example", tmp_path / "html"))
    assert [(one.filename, one.requires_python, one.has_metadata, one.url) for one in spoken] == [
        (one.filename, one.requires_python, one.has_metadata, one.url) for one in in_html
    ]
    assert [str(one.version) for one in spoken] == ["1.0"]  # what was withdrawn is not offered
    assert spoken[0].size is not None
    assert in_html[0].size is None


def test_several_pages_are_asked_at_once(index: LocalIndex, tmp_path: Path):
    names = [f"demo{number}" for number in range(6)]
    for name in names:
        index.add(name, "1.0")
    index["simple"].delay = 2
    begun = time.monotonic()
    offers = fetch([Page(index.url.rstrip("/"), name) for name in names], door("http://unused.example", tmp_path))
    assert time.monotonic() - begun < 2 * len(names)
    assert all(listing.status is Status.READ for listing in offers.pages.values())


def test_a_page_of_links_gives_the_wheels_of_one_package(pytorch: PyTorch, tmp_path: Path):
    pytorch.add("torchaudio", "0.7.2")
    page = Page(f"{base()}/torch_stable.html", "torchaudio", "links")
    assert [str(one.version) for one in only(page, door(pytorch.url, tmp_path))] == ["0.7.2"]


def test_a_folder_of_the_project_is_a_page_too(index: LocalIndex, tmp_path: Path):
    archive = index.add("torch", "2.4.1+mine")
    (tmp_path / "wheels").mkdir()
    (tmp_path / "wheels" / archive.filename).write_bytes(archive.content)
    files = only(Page("./wheels", "torch", "links"), door("http://unused.example", tmp_path))
    assert [(str(one.version), one.size) for one in files] == [("2.4.1+mine", len(archive.content))]
    assert index.requests == []


def test_metadata_tells_what_a_wheel_requires(pytorch: PyTorch, tmp_path: Path):
    pytorch.build("torchvision", "0.19.1", "cpu", requires=["torch==2.4.1", "numpy"])
    (file,) = only(Page(base(), "torchvision"), door(pytorch.url, tmp_path))
    page = Page(base(), file.url, "metadata")
    assert fetch([page], door(pytorch.url, tmp_path)).pages[page].requires == ("torch==2.4.1", "numpy")


# Copies


def test_a_fresh_copy_is_not_asked_again(pytorch: PyTorch, tmp_path: Path):
    through = door(pytorch.url, tmp_path)
    first = only(TORCH, through)
    asked = len(pytorch.index.requests)
    assert only(TORCH, through) == first
    assert len(pytorch.index.requests) == asked


def test_an_older_copy_is_asked_whether_it_has_changed(pytorch: PyTorch, tmp_path: Path):
    pytorch.index["whl"].etags, pytorch.index["whl"].max_age = True, 0
    through = door(pytorch.url, tmp_path)
    first = only(TORCH, through)
    assert only(TORCH, through) == first
    assert [request.status for request in pytorch.index.requests] == [200, 304]
    pytorch.build("torch", "2.5.0", "cpu")
    assert Version("2.5.0") in {one.release for one in only(TORCH, through)}


def test_a_server_that_says_how_long_a_page_holds_is_believed(pytorch: PyTorch, tmp_path: Path):
    pytorch.index["whl"].max_age = 0
    through = door(pytorch.url, tmp_path)
    only(TORCH, through)
    only(TORCH, through)
    assert len(pytorch.index.requests) == 2


def test_where_the_server_is_gone_the_older_copy_has_to_do_and_its_day_is_told(pytorch: PyTorch, tmp_path: Path):
    pytorch.index["whl"].max_age = 0
    through = door(pytorch.url, tmp_path)
    files = only(TORCH, through)
    pytorch.index.stop()
    listing = fetch([TORCH], through).pages[TORCH]
    assert listing.files == files
    assert listing.as_of == time.strftime("%Y-%m-%d", time.gmtime())


def test_offline_nothing_is_asked(pytorch: PyTorch, tmp_path: Path):
    through = door(pytorch.url, tmp_path)
    nothing = from_copies([TORCH], through).pages[TORCH]
    assert (nothing.status, nothing.why, pytorch.index.requests) == (Status.UNREACHABLE, "--offline", [])
    files = only(TORCH, through)
    asked = len(pytorch.index.requests)
    assert from_copies([TORCH], through).files(TORCH) == files
    assert len(pytorch.index.requests) == asked


def test_a_damaged_copy_is_asked_anew(pytorch: PyTorch, tmp_path: Path):
    through = door(pytorch.url, tmp_path)
    files = only(TORCH, through)
    (copy,) = (tmp_path / "copies").iterdir()
    for content in ("", "{", "[]", '{"format": 99}', '{"format": 1, "surprise": 2}'):
        copy.write_text(content)
        assert only(TORCH, through) == files


def test_a_store_that_cannot_be_written_costs_the_copy_alone(pytorch: PyTorch, tmp_path: Path):
    (tmp_path / "copies").write_text("a file where a folder should be")
    assert only(TORCH, door(pytorch.url, tmp_path))


# Nobody answers


@pytest.mark.parametrize(
    ("status", "found", "why"), [(404, Status.ABSENT, None), (403, Status.ABSENT, None), (500, Status.UNREACHABLE, "500")]
)
def test_what_a_server_refuses_is_told_apart(pytorch: PyTorch, tmp_path: Path, status: int, found: Status, why: str | None):
    pytorch.index["whl"].status = status
    listing = fetch([TORCH], door(pytorch.url, tmp_path)).pages[TORCH]
    assert listing.status is found
    assert (why or "") in (listing.why or "")


def test_a_server_that_is_silent_is_given_up_soon(pytorch: PyTorch, tmp_path: Path):
    pytorch.index["whl"].delay = 60
    begun = time.monotonic()
    listing = fetch([TORCH], door(pytorch.url, tmp_path, timeout=0.3)).pages[TORCH]
    assert time.monotonic() - begun < 30
    assert listing.status is Status.UNREACHABLE


@pytest.mark.parametrize("address", ["http://127.0.0.1:1/whl", "http://no-such-host.invalid/whl", "http://[::1/whl", "ftp://127.0.0.1/whl"])
def test_an_address_that_leads_nowhere_is_a_reason_and_no_error(tmp_path: Path, address: str):
    listing = fetch([TORCH], door(address, tmp_path)).pages[TORCH]
    assert (listing.status, bool(listing.why)) == (Status.UNREACHABLE, True)


def test_a_page_that_is_no_page_has_no_wheels(index: LocalIndex, tmp_path: Path):
    (tmp_path / "shared" / "torch").mkdir(parents=True)
    for content in (b"\xff\xfe\x00", b'{"files": 3', b"<a href=>torch</a><a>", b'{"files": [{}]}'):
        (tmp_path / "shared" / "torch" / "index.html").write_bytes(content)
        index.share("odd", tmp_path / "shared")
        page = Page(index.url_of("odd").rstrip("/"), "torch/index.html")
        listing = fetch([page], door("http://unused.example", tmp_path / str(len(content)))).pages[page]
        assert listing.files == ()


# Credentials


def test_a_mirror_with_a_password_is_asked_with_it_and_no_copy_holds_it(pytorch: PyTorch, tmp_path: Path):
    pytorch.index.protect("whl", "bob", "pass/word")
    refused = fetch([TORCH], door(pytorch.url, tmp_path)).pages[TORCH]
    assert (refused.status, refused.why) == (Status.UNREACHABLE, "it asks for a user name and a password")
    address = pytorch.index.url_of("whl", user="bob", password="pass/word").rstrip("/")
    through = door(address, tmp_path)
    files = only(TORCH, through)
    assert not any("bob" in one.url for one in files)
    (copy,) = (tmp_path / "copies").iterdir()
    assert "pass" not in copy.read_text()
    assert json.loads(copy.read_text())["url"].startswith("http://127.0.0.1")
    metadata = Page(base(), files[0].url, "metadata")
    pytorch.index.protect("whl/cpu", "bob", "pass/word")
    assert fetch([metadata], through).pages[metadata].status is Status.READ
    assert {request.user for request in pytorch.index.requests if request.status == 200} == {"bob"}


def test_what_one_user_saw_is_not_shown_to_another(pytorch: PyTorch, tmp_path: Path):
    pytorch.index.protect("whl", "bob", "word")
    only(TORCH, door(pytorch.index.url_of("whl", user="bob", password="word").rstrip("/"), tmp_path))
    other = door(pytorch.index.url_of("whl", user="eve", password="guess").rstrip("/"), tmp_path)
    assert fetch([TORCH], other).pages[TORCH].status is Status.UNREACHABLE


# Sizes


def test_sizes_are_asked_by_head_where_a_page_tells_none(pytorch: PyTorch, tmp_path: Path):
    through = door(pytorch.url, tmp_path)
    urls = [one.url for one in only(TORCH, through)]
    told = sizes([*urls, f"{pytorch.url}/cpu/nothing.whl", "file:///nowhere.whl"], through)
    assert told.keys() == set(urls)
    assert all(size > 500 for size in told.values())
    assert {request.method for request in pytorch.index.requests[1:]} == {"HEAD"}


# Servers that are not what they seem


@contextmanager
def speaking(answer: bytes) -> Iterator[str]:
    """A server that says one thing to everybody, whatever they ask; its address."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            with suppress(OSError):
                while True:
                    connection, _ = listener.accept()
                    with connection, suppress(OSError):
                        connection.recv(65536)
                        connection.sendall(answer)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/whl"
        listener.shutdown(socket.SHUT_RDWR)
        thread.join(60)


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nhalf",
        b"HTTP/1.1 abc\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"x" * 99_999,
    ],
)
def test_what_is_no_http_is_a_reason_and_no_error(tmp_path: Path, answer: bytes):
    with speaking(answer) as address:
        listing = fetch([TORCH], door(address, tmp_path)).pages[TORCH]
        assert (listing.status, bool(listing.why)) == (Status.UNREACHABLE, True)
        assert sizes([f"{address}/torch.whl"], door(address, tmp_path)).keys() <= ({f"{address}/torch.whl"} if b"half" in answer else set())


def test_a_redirection_to_another_host_does_not_take_the_password_along(pytorch: PyTorch, tmp_path: Path):
    with speaking(f"HTTP/1.1 302 Found\r\nLocation: {pytorch.url}/torch/\r\nContent-Length: 0\r\n\r\n".encode()) as address:
        files = only(TORCH, door(address.replace("http://", "http://bob:word@"), tmp_path))
    assert files
    assert {request.user for request in pytorch.index.requests} == {None}
