"""The server's packages in an image are those that the tests run with."""

from __future__ import annotations

import re
from pathlib import Path

import grpc
import pytest
from grpc._cython import cygrpc

from lading.images.front import needs_grpc, pins
from tests.images.support import Command, container, podman, with_libraries, write


def test_the_pins_are_those_of_the_development_lock() -> None:
    lock = Path(__file__).parents[2] / "requirements-dev.lock"
    locked = dict(re.findall(r"^([a-z0-9-]+)==([^ \\;]+)", lock.read_text(), re.MULTILINE))
    assert {name: locked[name] for name in pins(grpc=True)} == pins(grpc=True)


def test_a_service_that_is_called_by_http_alone_brings_no_grpc() -> None:
    assert not needs_grpc({"apis": [{"worker": {"cortex": {"grpc": None}}}, {"worker": {}}]})
    assert needs_grpc({"apis": [{"worker": {"cortex": {}}}, {"worker": {"cortex": {"grpc": {"path": "a.proto"}}}}]})
    assert not {"grpcio", "protobuf"} & set(pins())


_GRPC_PROJECT = {
    "cortex.yaml": "- name: echo\n  kind: RealtimeAPI\n  predictor: {type: python, path: predictor.py, protobuf_path: echo.proto}\n",
    "echo.proto": 'syntax = "proto3"; package echo; message Text { string text = 1; }\nservice Echo { rpc Predict (Text) returns (Text); }\n',
    "predictor.py": "class PythonPredictor:\n    def __init__(self, config): pass\n    def predict(self, payload):\n"
    "        payload.text *= 2\n        return payload\n",
}


@pytest.mark.slow
def test_an_image_of_an_api_that_is_called_by_grpc_answers(
    lading: Command, base: Path, tmp_path: Path, podman_environ: dict[str, str]
) -> None:
    project, archive = write(tmp_path / "echo", _GRPC_PROJECT), tmp_path / "image.tar"
    base = with_libraries(base, tmp_path / "base", cygrpc.__file__)
    lading("build", project, "-t", "echo:v1", "--base", base, "-o", f"docker-archive:{archive}")
    podman(podman_environ, "load", "-q", "-i", str(archive))
    with container(podman_environ, "echo:v1", "--read-only", "--tmpfs", "/tmp") as (_, port):
        channel = grpc.insecure_channel(f"127.0.0.1:{port}")
        answer = channel.unary_unary("/echo.Echo/Predict")(b"\x0a\x02ab", wait_for_ready=True, timeout=60)
        assert answer == b"\x0a\x04abab"
        channel.close()
