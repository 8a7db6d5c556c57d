"""Where a request may send the server, and how much of it."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from lading_worker.downloads import Limits, download
from lading_worker.files import InputFiles
from tests.worker.everywhere import evaluate
from tests.worker.harness import VERSIONS, running
from tests.worker.harness import python as interpreter


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        if self.path.startswith("/to/"):
            self.send_response(302)
            self.send_header("Location", self.path[len("/to/") :])
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        self.send_response(200)
        if self.path == "/announced":
            self.send_header("Content-Length", "5000")
        self.end_headers()
        for _ in range(50 if self.path != "/slow" else 600):
            self.wfile.write(b"x" * 100)
            if self.path == "/slow":
                time.sleep(0.1)

    def log_message(self, *_args: object) -> None:
        pass


@pytest.fixture
def site() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Handler) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "0.0.0.0",
        "10.1.2.3",
        "172.16.0.1",
        "192.168.1.1",
        "100.64.0.1",
        "169.254.169.254",
        "224.0.0.1",
        "255.255.255.255",
        "::1",
        "::",
        "fe80::1",
        "fe80::1%eth0",
        "fd00::1",
        "ff02::1",
        "::ffff:127.0.0.1",
        "::ffff:169.254.169.254",
        "::127.0.0.1",
        "64:ff9b::a9fe:a9fe",
        "2002:7f00:1::",
    ],
)
def test_addresses_that_are_not_public_are_refused(address: str):
    assert not Limits({}).allows("name.example", address)
    assert Limits({"LADING_DOWNLOAD_ALLOW": "all"}).allows("name.example", address)


@pytest.mark.parametrize("address", ["1.1.1.1", "93.184.216.34", "2606:4700::1111", "::ffff:1.1.1.1"])
def test_public_addresses_are_not(address: str):
    assert Limits({}).allows("name.example", address)


@pytest.mark.parametrize(
    ("allow", "host", "address", "allowed"),
    [
        ("10.0.0.0/8", "a", "10.9.8.7", True),
        ("10.0.0.0/8", "a", "192.168.0.1", False),
        (" 10.0.0.0/8 , 192.168.0.1", "a", "192.168.0.1", True),
        ("minio.local", "MINIO.local.", "10.0.0.1", True),
        ("minio.local", "evil-minio.local", "10.0.0.1", False),
        ("*.svc.cluster.local", "s3.data.svc.cluster.local", "10.0.0.1", True),
        ("*.svc.cluster.local", "svc.cluster.local", "10.0.0.1", False),
        ("fd00::/8", "a", "fd12::1", True),
        ("10.0.0.0/8", "a", "fd12::1", False),
        ("nonsense/99", "a", "10.0.0.1", False),
        (",,", "a", "10.0.0.1", False),
    ],
)
def test_what_the_operator_allows_is_exactly_that(allow: str, host: str, address: str, allowed: bool):  # noqa: FBT001
    assert Limits({"LADING_DOWNLOAD_ALLOW": allow}).allows(host, address) is allowed


def test_a_request_for_a_private_address_names_the_variable_and_connects_nowhere(tmp_path, monkeypatch):
    monkeypatch.delenv("LADING_DOWNLOAD_ALLOW")
    with socket.create_server(("127.0.0.1", 0)) as listening:
        url = f"http://localhost:{listening.getsockname()[1]}/latest/meta-data"
        with pytest.raises(ValueError, match=r"(127\.0\.0\.1|::1) is no public address; allow it with LADING_DOWNLOAD_ALLOW"):
            InputFiles(str(tmp_path / "scratch")).path(url)
        listening.settimeout(0.1)
        with pytest.raises(TimeoutError):
            listening.accept()


def test_a_redirect_is_looked_at_as_well(tmp_path, site: str):
    port = site.rpartition(":")[2]
    limits = Limits({"LADING_DOWNLOAD_ALLOW": "127.0.0.1"})
    download(f"{site}/to/{site}/x", str(tmp_path / "fine"), None, limits)
    for target in (f"http://127.0.0.2:{port}/x", "http://169.254.169.254/latest", f"http://[::ffff:127.0.0.2]:{port}/"):
        with pytest.raises(ValueError, match="is no public address"):
            download(f"{site}/to/{target}", str(tmp_path / "place"), None, limits)
        assert not (tmp_path / "place").exists()


def test_a_proxy_is_the_operators_and_its_target_is_looked_at(tmp_path, site: str, monkeypatch):
    monkeypatch.setenv("http_proxy", site)
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    limits = Limits({})
    download("http://name.invalid/x", str(tmp_path / "fine"), None, limits)
    assert (tmp_path / "fine").read_bytes() == b"x" * 5000
    with pytest.raises(ValueError, match=r"10\.0\.0\.1 is no public address"):
        download("http://10.0.0.1/x", str(tmp_path / "place"), None, limits)


@pytest.mark.parametrize("path", ["/announced", "/streamed"])
def test_a_file_that_is_too_large_is_refused_and_removed(tmp_path, site: str, path: str):
    limits = Limits({"LADING_DOWNLOAD_ALLOW": "all", "LADING_DOWNLOAD_MAX_BYTES": "4999"})
    with pytest.raises(ValueError, match=r"larger than 4999 bytes \(LADING_DOWNLOAD_MAX_BYTES\)"):
        download(site + path, str(tmp_path / "place"), None, limits)
    assert list(tmp_path.iterdir()) == []


def test_a_download_that_drips_has_an_end(tmp_path, site: str):
    limits = Limits({"LADING_DOWNLOAD_ALLOW": "all", "LADING_DOWNLOAD_SECONDS": "0.5"})
    began = time.monotonic()
    with pytest.raises(ValueError, match=r"took longer than 0\.5 seconds"):
        download(site + "/slow", str(tmp_path / "place"), None, limits)
    assert time.monotonic() - began < 30
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("text", ["", "nonsense", "-1", "0"])
def test_a_limit_that_is_no_number_is_the_usual_one(text: str):
    limits = Limits({"LADING_DOWNLOAD_MAX_BYTES": text, "LADING_DOWNLOAD_SECONDS": text})
    assert (limits.size, limits.seconds) == (8 << 30, 3600.0)


def test_the_authors_own_default_may_be_anywhere_and_the_same_url_of_a_request_may_not(tmp_path, site: str, monkeypatch):
    monkeypatch.delenv("LADING_DOWNLOAD_ALLOW")
    code = f"""
        from cog import BasePredictor, Input, Path

        class Predictor(BasePredictor):
            def predict(self, own: Path = Input(default="{site}/own"), other: Path = None) -> int:
                return len(own.read_bytes())
    """
    with running(tmp_path, code) as worker:
        assert worker.predict().output == 5000
        answer = worker.predict(other=f"{site}/own")
        assert answer.head["detail"][0]["loc"] == ["body", "input", "other"]
        assert "is no public address" in answer.head["detail"][0]["msg"]


@pytest.mark.parametrize("version", VERSIONS)
def test_every_python_refuses_and_allows(version, tmp_path, site: str):
    setup = f"""
        from lading_worker.downloads import Limits, download

        def told(allow, url):
            try:
                download(url, {str(tmp_path / "place")!r}, None, Limits({{"LADING_DOWNLOAD_ALLOW": allow}}))
            except ValueError as error:
                return str(error).partition(": ")[2]
            return "fine"
    """
    expected = {
        f"told('127.0.0.0/8', {site + '/x'!r})": "fine",
        f"told('', {site + '/x'!r})": "127.0.0.1 is no public address; allow it with LADING_DOWNLOAD_ALLOW",
        f"told('127.0.0.1', {site + '/to/http://127.0.0.9/'!r})": "127.0.0.9 is no public address; allow it with LADING_DOWNLOAD_ALLOW",
        "told('', 'https://127.0.0.1:1/')": "127.0.0.1 is no public address; allow it with LADING_DOWNLOAD_ALLOW",
    }
    assert evaluate(interpreter(version), setup, expected) == expected
