"""A predictor behind gRPC as the worker loads it: what it may ask for, and what its environment must have."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import pytest

from lading.service.protoc import compile_proto
from tests.worker import harness
from tests.worker.harness import running

PROTO = 'syntax = "proto3"; package a; message M { string text = 1; } service S { rpc Predict (M) returns (M); rpc Other (M) returns (M); }'
INIT = "    def __init__(self, config): pass\n"
PREDICTOR = f"class PythonPredictor:\n{INIT}    def predict(self, payload): return payload\n"
ONE, TWO = (("Predict",), ("Predict", "Other"))


def _cortex(root: Path, names: tuple[str, ...]) -> dict[str, Any]:
    (root / "a.proto").write_text(PROTO)
    methods = {name: {"takes_stream": False, "gives_stream": False} for name in names}
    descriptors = base64.b64encode(compile_proto(root, "a.proto")).decode()
    return {
        "kind": "RealtimeAPI",
        "type": "python",
        "grpc": {"path": "a.proto", "service": "a.S", "methods": methods, "descriptors": descriptors},
    }


@pytest.mark.parametrize("version", ["3.6", "3.12"])
def test_an_environment_without_protobuf_is_told_what_it_lacks(version, tmp_path):
    options: dict[str, Any] = {"style": "cortex", "cortex": _cortex(tmp_path, ONE), "python": harness.python(version), "ready": False}
    with running(tmp_path, PREDICTOR, **options) as worker:
        assert worker.failure is not None
        assert worker.failure["error"].startswith("predictor.protobuf_path needs protobuf, which the model's environment lacks")
        assert worker.failure["file"] == "a.proto"


@pytest.mark.parametrize(
    ("name", "methods", "code", "message"),
    [
        (
            "PythonPredictor",
            ONE,
            PREDICTOR.replace("payload)", "payload, headers)"),
            'invalid signature for method "predict(self, payload, headers)": "headers" is not a supported argument',
        ),
        ("PythonPredictor", ONE, f"class PythonPredictor:\n{INIT}", 'required method "predict" is not defined'),
        ("Handler", TWO, f"class Handler:\n{INIT}    def Predict(self, payload): pass\n", 'required method "Other" is not defined'),
        (
            "PythonPredictor",
            ONE,
            PREDICTOR.replace("def predict", "async def predict"),
            'invalid signature for method "predict(self, payload)": it is asynchronous, and Cortex calls it as a plain function',
        ),
    ],
)
def test_a_wrong_signature_is_an_error_at_the_start(name, methods, code, message, tmp_path):
    options: dict[str, Any] = {"style": "cortex", "cortex": _cortex(tmp_path, methods), "object": name, "ready": False}
    with running(tmp_path, code, **options) as worker:
        assert worker.failure is not None
        assert worker.failure["error"] == f"error in predict.py: class {name}: {message}"


def test_the_module_of_messages_goes_before_a_generated_one_beside_the_predictor(tmp_path):
    (tmp_path / "a_pb2.py").write_text("raise RuntimeError('generated for another protobuf')\n")
    code = f"import a_pb2\nclass PythonPredictor:\n{INIT}    def predict(self, payload): return a_pb2.M(text=payload.text + '!')\n"
    with running(tmp_path, code, style="cortex", cortex=_cortex(tmp_path, ONE)) as worker:
        answer = worker.predict(head={"rpc": "Predict", "metadata": [], "peer": "", "deadline": None}, body=b"\x0a\x01x")
        assert (answer.status, answer.head["headers"][:2], answer.body) == (
            200,
            [["grpc-status", "0"], ["grpc-message", ""]],
            b"\x0a\x02x!",
        )


def test_the_log_of_a_failure_begins_at_the_users_code(tmp_path):
    code = PREDICTOR.replace("return payload", "raise ValueError('why')")
    with running(tmp_path, code, style="cortex", cortex=_cortex(tmp_path, ONE)) as worker:
        answer = worker.predict(head={"rpc": "Predict"}, body=b"")
        assert answer.head["headers"][0] == ["grpc-status", "13"]
        text = "".join(text for _, text in answer.logs)
        assert "predict.py" in text.splitlines()[1]
        assert "lading_worker" not in text
