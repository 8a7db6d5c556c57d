"""Files of outputs go to the upload URL, received by a real HTTP server."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tests.worker.harness import VERSIONS, running
from tests.worker.harness import python as interpreter

_CODE = """
    import io
    from typing import Any
    from cog import BasePredictor, BaseModel, Path

    class Predictor(BasePredictor):
        def predict(self, do: str) -> Any:
            first, second = Path("out.png"), Path("other/out.png")
            first.write_bytes(b"one")
            second.parent.mkdir(exist_ok=True)
            second.write_bytes(b"two" * 100000)
            handle = io.BytesIO(b"in memory")
            return {"one": first, "two": [first, second], "deep": {"file": handle}, "text": "as it is"}[do] if do != "gone" else Path("gone")
"""


class Store(ThreadingHTTPServer):
    """Takes what is put to it."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.got: list[tuple[str, dict[str, str], bytes]] = []
        self.location: str | None = None
        self.statuses: list[int] = []
        self.url = f"http://127.0.0.1:{self.server_address[1]}/bucket"


class _Handler(BaseHTTPRequestHandler):
    server: Store

    def do_PUT(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.got.append((self.path, {name.lower(): value for name, value in self.headers.items()}, body))
        status = self.server.statuses.pop(0) if self.server.statuses else 201
        self.send_response(status)
        if status in (307, 308):
            self.send_header("Location", "/moved/here.png?once=1")
        elif self.server.location:
            self.send_header("Location", self.server.location)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_args: object) -> None:
        pass


@pytest.fixture
def store() -> Iterator[Store]:
    with Store() as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield server
        server.shutdown()


@pytest.mark.parametrize("version", VERSIONS)
def test_files_are_put_under_their_names_and_answered_by_their_urls(version, tmp_path, store: Store):
    python = interpreter(version)
    head = {"scratch": str(tmp_path / "scratch"), "id": "the id ⚓", "trace": {"traceparent": "00-ab-cd-01"}}
    with running(tmp_path, _CODE, python=python, upload_url=store.url) as worker:
        assert worker.predict(do="one", head=head).output == f"{store.url}/out.png"
        assert worker.predict(do="two", head=head).output == [f"{store.url}/out.png", f"{store.url}/out-1.png"]
        assert worker.predict(do="deep", head=head).output == {"file": f"{store.url}/file"}
        assert worker.predict(do="text", head=head).output == "as it is"
    assert [(path, len(body)) for path, _, body in store.got] == [
        ("/bucket/out.png", 3),
        ("/bucket/out.png", 3),
        ("/bucket/out-1.png", 300000),
        ("/bucket/file", 9),
    ]
    headers = store.got[0][1]
    assert headers["content-type"] == "image/png"
    assert headers["x-prediction-id"] == "the%20id%20%E2%9A%93"
    assert headers["traceparent"] == "00-ab-cd-01"


def test_the_location_is_the_output_without_its_query(tmp_path, store: Store):
    store.location = "https://cdn.example/x.png?signature=secret"
    with running(tmp_path, _CODE, upload_url=store.url + "/") as worker:
        assert worker.predict(do="one").output == "https://cdn.example/x.png"


def test_a_redirect_takes_the_file_along(tmp_path, store: Store):
    store.statuses = [307]
    with running(tmp_path, _CODE, upload_url=store.url) as worker:
        assert worker.predict(do="one").output == store.url.replace("/bucket", "/moved/here.png")
    assert [body for _, _, body in store.got] == [b"one", b"one"]


def test_an_upload_that_fails_fails_its_prediction_alone(tmp_path, store: Store):
    store.statuses = [500]
    with running(tmp_path, _CODE, upload_url=store.url) as worker:
        failed = worker.predict(do="one")
        assert failed.status == "failed"
        assert failed.error == "output: the file out.png cannot be uploaded: the server answered 500"
        assert worker.predict(do="gone").error == "output: the file gone is not there"
        assert worker.predict(do="one").status == "succeeded"
    with running(tmp_path, _CODE, upload_url="http://127.0.0.1:1/x") as worker:
        assert "Connection refused" in (worker.predict(do="one").error or "")
    with running(tmp_path, _CODE, upload_url="s3://bucket") as worker:
        assert worker.predict(do="one").error == "output: the file out.png cannot be uploaded: s3 is no scheme to upload to"


def test_pieces_and_asynchronous_outputs_are_uploaded_as_they_come(tmp_path, store: Store):
    code = """
        from typing import AsyncIterator
        from cog import BasePredictor, Path

        class Predictor(BasePredictor):
            async def predict(self) -> AsyncIterator[Path]:
                for number in range(3):
                    path = Path(f"{number}.txt")
                    path.write_text(str(number))
                    yield path
    """
    with running(tmp_path, code, upload_url=store.url) as worker:
        answer = worker.predict()
    assert answer.chunks == answer.output == [f"{store.url}/{number}.txt" for number in range(3)]


def test_without_an_upload_url_files_are_data_urls(tmp_path):
    with running(tmp_path, _CODE) as worker:
        assert worker.predict(do="one").output == "data:image/png;base64,b25l"
