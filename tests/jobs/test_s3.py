"""Jobs whose files lie on an S3 server: moto's, on loopback."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lading.jobs.batches import ListingError, lines_of, list_files
from tests.service.support import free_port

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    pytest.importorskip("moto.server", reason="this Python has no moto")
    pytest.importorskip("s3fs", reason="this Python has no s3fs")
    port = free_port()
    server = subprocess.Popen([sys.executable, "-m", "moto.server", "-p", str(port)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    yield f"http://127.0.0.1:{port}"
    server.terminate()
    server.wait(60)


@pytest.fixture
def bucket(address: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A client of a bucket, and an environment that leads to it."""
    boto3, s3fs = pytest.importorskip("boto3"), pytest.importorskip("s3fs")
    given = {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b", "AWS_DEFAULT_REGION": "us-east-1", "AWS_ENDPOINT_URL": address}
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    s3fs.S3FileSystem.clear_instance_cache()
    client = boto3.client("s3")
    until = time.monotonic() + 60
    while True:
        try:
            client.create_bucket(Bucket="data")
            break
        except Exception:
            if time.monotonic() > until:
                raise
            time.sleep(0.1)
    for key in ("in/a.json", "in/deep/b.json", "in/deep/c.txt", "in-other/d.json", "e.json"):
        client.put_object(Bucket="data", Key=key, Body=json.dumps({"key": key}).encode() + b"\n[1]\n")
    return client


def test_prefixes_are_listed_then_included_then_excluded(bucket, tmp_path):
    def listed(*paths: str, includes: tuple[str, ...] = (), excludes: tuple[str, ...] = ()) -> list[str]:
        return [path.removeprefix("s3://data/") for path in list_files(paths, includes, excludes, tmp_path)]

    assert listed("s3://data/in/") == ["in/a.json", "in/deep/b.json", "in/deep/c.txt"]
    assert listed("s3://data/in") == ["in-other/d.json", "in/a.json", "in/deep/b.json", "in/deep/c.txt"]
    assert listed("s3://data/in/de") == ["in/deep/b.json", "in/deep/c.txt"]
    assert listed("s3://data/e.json") == ["e.json"]
    assert listed("s3://data/") == ["e.json", "in-other/d.json", "in/a.json", "in/deep/b.json", "in/deep/c.txt"]
    assert listed("s3://data/in/", includes=("s3://data/**.json",)) == ["in/a.json", "in/deep/b.json"]
    assert listed("s3://data/in/", includes=("s3://data/**.json",), excludes=("**/deep/*",)) == ["in/a.json"]
    assert listed("s3://data/nothing") == []


def test_lines_are_read_from_there(bucket, tmp_path):
    files = list_files(["s3://data/in/deep/b.json", "s3://data/e.json"], (), (), tmp_path)
    assert list(lines_of(files)) == ['{"key": "in/deep/b.json"}', "[1]", '{"key": "e.json"}', "[1]"]


def test_a_bucket_that_is_not_there_is_told_to_the_client(bucket, tmp_path):
    with pytest.raises(ListingError, match="s3://gone/"):
        list(list_files(["s3://gone/x"], (), (), tmp_path))


def test_what_has_to_be_installed_is_named(tmp_path):
    with pytest.raises(ListingError, match="Install fsspec"):
        list(list_files(["nonsense://a/b"], (), (), Path(tmp_path)))
