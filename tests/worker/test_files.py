"""Path, File and Secret inputs: downloads over real sockets, data URLs, safe names, and nothing left behind."""

from __future__ import annotations

import base64
import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from lading_worker.files import InputFiles, file_name, read_data_url
from tests.worker import harness
from tests.worker.everywhere import evaluate
from tests.worker.harness import VERSIONS, running


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.0"
    server: Site

    def do_GET(self):
        path = self.path.partition("?")[0]
        self.server.seen.append((self.path, self.headers.get("Authorization"), self.headers.get("User-Agent")))
        if path.startswith("/to/"):
            self.send_response(302)
            self.send_header("Location", self.server.targets[path])
            self.end_headers()
        elif path == "/gone":
            self.send_error(404)
        elif path == "/short":
            self._answer(b"only a part", 100)
        elif path.startswith("/together"):
            self.server.barrier.wait(60)
            self._answer(path.encode())
        elif path == "/break":
            self.wfile.write(b"this is no answer\r\n\r\n")
        else:
            self._answer(b"content of " + self.path.encode())

    def _answer(self, content: bytes, length: int | None = None) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(content) if length is None else length))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *arguments):
        pass


class Site(ThreadingHTTPServer):
    """A web site on loopback. ``seen`` is what was asked of it: path, Authorization, User-Agent."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.seen: list[tuple[str, str | None, str | None]] = []
        self.targets: dict[str, str] = {}
        self.barrier = threading.Barrier(3)
        self.host = f"127.0.0.1:{self.server_address[1]}"
        self.url = f"http://{self.host}"


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY", "COG_USER_AGENT"):
        monkeypatch.delenv(name, raising=False)
    with Site() as running_site:
        thread = threading.Thread(target=running_site.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        yield running_site
        running_site.shutdown()
        thread.join()


@pytest.fixture
def files(tmp_path: Path) -> Iterator[InputFiles]:
    files = InputFiles(str(tmp_path / "scratch"))
    yield files
    files.close()
    assert not (tmp_path / "scratch").exists()


_SETUP = """
    import os
    from lading_worker.files import InputFiles
    files = InputFiles("scratch")

    def refused(make, text):
        try:
            return make(text)
        except ValueError as error:
            return str(error)
"""


@pytest.mark.parametrize("version", VERSIONS)
def test_every_python_makes_files_and_removes_them(version, tmp_path, site):
    picture = "data:image/jpeg;base64,YWJj"
    expected = {
        f"files.path({picture!r}).read_text()": "abc",
        f"os.path.basename(str(files.path({picture!r})))": "file.jpg",
        f"files.path({site.url + '/a%20b.txt?x=1'!r}).read_text()": "content of /a%20b.txt?x=1",
        f"files.path({site.url + '/a%20b.txt?x=1'!r}).name": "a b.txt",
        f"type(files.path({picture!r})).__module__ + '.' + type(files.path({picture!r})).__name__": "cog.types.Path",
        f"files.file({site.url + '/f'!r}).read().decode()": "content of /f",
        f"[type(files.file({picture!r})).__name__, files.file({picture!r}).read().decode()]": ["BytesIO", "abc"],
        "[str(files.secret('s')), files.secret('s').get_secret_value()]": ["**********", "s"],
        "str(files.default_path('weights.bin'))": "weights.bin",
        f"refused(files.path, {site.url + '/gone'!r})": f'"{site.url}/gone" cannot be downloaded: the server answered 404 Not Found',
        f"refused(files.path, {site.url + '/short'!r})": (
            f'"{site.url}/short" cannot be downloaded: the connection ended after 11 of 100 bytes'
        ),
        "refused(files.path, '/etc/passwd')": '"/etc/passwd" is not a URL that can be read; send an http://, https:// or data: URL',
        "refused(files.default_file, 'gone.bin')": "the default file gone.bin cannot be opened: No such file or directory",
        "files.close()": None,
        "os.path.exists('scratch')": False,
    }
    assert evaluate(harness.python(version), _SETUP, expected, tmp_path) == expected


@pytest.mark.parametrize("text", ["/etc/passwd", "file:///etc/passwd", "predict.py", "", "ftp://host/x", "C:\\x", "gopher:x", "//host/x"])
@pytest.mark.parametrize("kind", ["path", "file"])
def test_a_request_cannot_name_a_file_of_the_machine(files: InputFiles, kind: str, text: str):
    with pytest.raises(ValueError, match="is not a URL that can be read; send an http://, https:// or data: URL"):
        getattr(files, kind)(text)


def test_credentials_go_to_their_host_alone_and_into_no_message(files: InputFiles, site: Site):
    with Site() as other:
        thread = threading.Thread(target=other.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        site.targets["/to/other"] = other.url + "/x"
        url = f"http://user:p%40ss@{site.host}/to/other"
        assert files.path(url).read_bytes() == b"content of /x"
        assert site.seen[-1][1] == "Basic " + base64.b64encode(b"user:p@ss").decode()
        assert other.seen == [("/x", None, "lading")]
        other.shutdown()
        thread.join()
    with pytest.raises(ValueError) as caught:
        files.path(f"http://user:secret@{site.host}/gone?signature=secret#secret")
    assert str(caught.value) == f'"{site.url}/gone?…" cannot be downloaded: the server answered 404 Not Found'


@pytest.mark.parametrize("target", ["file:///etc/passwd", "ftp://127.0.0.1/x", "data:,x"])
def test_a_redirect_leads_nowhere_else(files: InputFiles, site: Site, target: str):
    site.targets["/to/elsewhere"] = target
    with pytest.raises(ValueError, match=r"cannot be downloaded: (the server answered 302|unknown url type)"):
        files.path(site.url + "/to/elsewhere")


def test_cogs_user_agent_is_ours(files: InputFiles, site: Site, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("COG_USER_AGENT", "mine/1")
    files.path(site.url + "/")
    assert site.seen == [("/", None, "mine/1")]


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("http://127.0.0.1:1/x", "Connection refused"),
        ("http://[127.0.0.1/x", "it is not a valid URL"),
        ("http://host:port/x", "it is not a valid URL"),
        ("http://", "no host given"),
        ("SITE/break", "this is no answer"),
    ],
)
def test_why_a_download_fails(files: InputFiles, site: Site, url: str, reason: str):
    with pytest.raises(ValueError, match="cannot be downloaded: ") as caught:
        files.path(url.replace("SITE", site.url))
    assert reason in str(caught.value)


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("http://h/a/b.png?x=/c.jpg#d", "b.png"),
        ("http://h/a/..%2F..%2Fetc%2Fpasswd", ".._.._etc_passwd"),
        ("http://h/a/%2e%2e", "file"),
        ("http://h/", "file"),
        ("http://h", "file"),
        ("http://h/a%00b%0Ac\\d", "a_b_c_d"),
        ("http://h/zw%C3%B6lf+x.txt", "zwölf x.txt"),
        ("http://h/" + "ö" * 150 + ".tar.gz", "ö" * 98 + "~.gz"),
        ("http://h/a." + "x" * 400, "a~." + "x" * 49),
        ("data:image/png;base64,", "file.png"),
        ("data:;base64,", "file"),
        ("data:application/x-nothing-known,", "file"),
        ("data:text/csv;charset=utf-8,a", "file.csv"),
    ],
)
def test_names_are_kept_and_safe(url: str, name: str):
    assert file_name(url) == name
    assert len(name.encode()) <= 200


@pytest.mark.parametrize(
    ("url", "kind", "content"),
    [
        ("data:image/png;base64,YWJj", "image/png", b"abc"),
        ("data:image/png;base64,YW\n Jj", "image/png", b"abc"),
        ("data:;base64,YWI", "text/plain", b"ab"),
        ("data:;base64,YWI%3D", "text/plain", b"ab"),
        ("data:,a%20b%ff", "text/plain", b"a b\xff"),
        ("data:Text/HTML;charset=utf-8,<b>", "text/html", b"<b>"),
        ("data:text/plain;BASE64,YWJj", "text/plain", b"abc"),
        ("data:,", "text/plain", b""),
    ],
)
def test_data_urls(url: str, kind: str, content: bytes):
    assert read_data_url(url) == (kind, content)


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("data:image/png;base64", "the data: URL has no comma, after which its content would stand"),
        ("data:;base64,YW!j", "the content of the data: URL is not base64"),
        ("data:;base64,A", "the content of the data: URL is not base64"),
        ("data:;base64,é", "the content of the data: URL is not base64"),
    ],
)
def test_broken_data_urls(files: InputFiles, url: str, message: str):
    for make in (files.path, files.file):
        with pytest.raises(ValueError) as caught:
            make(url)
        assert str(caught.value) == message


def test_what_the_model_removed_or_moved_is_no_failure(tmp_path: Path):
    files = InputFiles(str(tmp_path / "scratch"))
    moved, removed = files.path("data:,a"), files.path("data:,b")
    moved.rename(tmp_path / "kept")
    removed.unlink()
    (tmp_path / "scratch" / "made-by-the-model").touch()
    files.close()
    assert [place.name for place in tmp_path.iterdir()] == ["kept"]


def test_a_folder_that_was_there_stays(tmp_path: Path):
    (tmp_path / "mine").touch()
    files = InputFiles(str(tmp_path))
    files.path("data:,a")
    files.close()
    assert [place.name for place in tmp_path.iterdir()] == ["mine"]


def test_without_a_scratch_folder_one_is_made_and_removed(monkeypatch: pytest.MonkeyPatch):
    files = InputFiles(None)
    place = files.path("data:,a")
    assert place.read_text() == "a"
    files.close()
    assert not place.parent.exists()


def _signature(**kinds: Any) -> dict[str, Any]:
    inputs = [{"name": name, "type": kind, "line": 1, "required": True, "nullable": False} for name, kind in kinds.items()]
    return {"inputs": inputs}


def test_several_files_are_fetched_at_once(files: InputFiles, site: Site):
    listed = {"kind": "list", "items": {"kind": "path"}}
    value = {"one": site.url + "/together/1", "more": [site.url + "/together/2", site.url + "/together/3", "data:,x"]}
    # Each answer waits for the two others.
    files.fetch(_signature(one={"kind": "file"}, more=listed), value)
    assert files.file(value["one"]).read() == b"/together/1"
    assert [files.path(url).read_bytes() for url in value["more"]] == [b"/together/2", b"/together/3", b"x"]
    assert len(site.seen) == 3


def test_a_failed_fetch_is_told_where_it_is_for(files: InputFiles, site: Site):
    value = {"a": site.url + "/gone", "b": site.url + "/gone", "c": site.url + "/fine"}
    files.fetch(_signature(**{name: {"kind": "path"} for name in value}), value)
    for name in "ab":
        with pytest.raises(ValueError, match="404"):
            files.path(value[name])
    assert files.path(value["c"]).read_bytes() == b"content of /fine"
    assert len(site.seen) == 3


def test_nothing_is_fetched_for_an_input_that_does_not_fit(files: InputFiles, site: Site):
    value = {"a": site.url + "/1", "b": site.url + "/2", "n": "no number"}
    files.fetch(_signature(a={"kind": "path"}, b={"kind": "path"}, n={"kind": "int"}), value)
    assert site.seen == []


_MODEL = """
    from typing import List
    from cog import BasePredictor, File, Path, Secret

    class Predictor(BasePredictor):
        def predict(self, images: List[Path], note: File, key: Secret) -> List[str]:
            assert all(type(image) is Path for image in images)
            print(images[0].parent)
            return [image.name + " " + image.read_text() for image in images] + [note.read().decode(), str(key)]
"""


@pytest.mark.parametrize("version", VERSIONS)
def test_a_prediction_has_its_files_and_leaves_none(version, tmp_path, site):
    with running(tmp_path, _MODEL, python=harness.python(version)) as worker:
        images = [site.url + "/a.txt", "data:text/plain,b"]
        answer = worker.predict(images=images, note=site.url + "/note", key="s")
        assert answer.output == ["a.txt content of /a.txt", "file.txt b", "content of /note", "**********"], answer
        folder = Path(answer.text.strip())
        assert str(folder).startswith(str(worker.scratch))
        harness.eventually(lambda: not folder.exists())
        invalid = worker.predict(images=[site.url + "/fine", site.url + "/gone"], note="data:,x", key="s")
        assert invalid.head["detail"] == [
            {
                "loc": ["body", "input", "images/1"],
                "msg": f'"{site.url}/gone" cannot be downloaded: the server answered 404 Not Found',
                "type": "value_error",
            }
        ]


@pytest.mark.parametrize("slot", [0, 1])
@pytest.mark.parametrize("count", [1, 2])
def test_slow_downloads_can_be_canceled(tmp_path, site, slot, count):
    with running(tmp_path, _MODEL, threads=2) as worker:
        number = worker.send(images=[site.url + "/together/never"] * count, note="data:,x", key="s", slot=slot)
        harness.eventually(lambda: len(site.seen) == count)
        began = time.monotonic()
        worker.cancel(number)
        answer = worker.answer(slot)
        assert answer is not None
        assert answer.status == "canceled"
        assert time.monotonic() - began < 30
        site.barrier.abort()
        assert json.loads(worker.predict(images=["data:,x"], note="data:,y", key="s", slot=slot).body)[1] == "y"


@pytest.mark.parametrize("version", VERSIONS)
def test_slow_downloads_of_an_asynchronous_predictor_can_be_canceled(tmp_path, site, version):
    code = """
        from cog import BasePredictor, Path

        class Predictor(BasePredictor):
            async def predict(self, image: Path) -> str:
                return image.read_text()
    """
    with running(tmp_path, code, python=harness.python(version), threads=2) as worker:
        number = worker.send(image=site.url + "/together/never")
        harness.eventually(lambda: site.seen)
        assert worker.predict(image="data:,meanwhile", slot=1).output == "meanwhile"
        began = time.monotonic()
        worker.cancel(number)
        answer = worker.answer()
        assert answer is not None
        assert answer.status == "canceled"
        assert time.monotonic() - began < 30
        assert worker.predict(image="data:,again").output == "again"
        site.barrier.abort()


def test_quoting_in_urls_is_mended(files: InputFiles, site: Site):
    files.path(site.url + "/zwölf drei.txt?a=b c")
    assert site.seen[0][0] == f"/{quote('zwölf drei.txt')}?a=b%20c"
