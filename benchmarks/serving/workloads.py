"""What is asked of every server: bodies in each server's own shape, and the text that only a right answer contains."""

from __future__ import annotations

import base64
import json
import random
from dataclasses import dataclass

NAMES = ("echo", "sleep", "matmul", "blob", "stream", "batch")
TITLES = {
    "echo": "echo: a text in, a text out",
    "sleep": "sleep: a predictor that sleeps for 1 ms",
    "matmul": "matmul: 784 JSON floats times a 784 x 10 matrix",
    "blob": "blob: 1 MB in, as base64 in JSON",
    "stream": "stream: 20 tokens as they are made",
    "batch": "batch: a model that takes 5 ms a call and 0.1 ms an item",
}
TOKENS = 20
_BLOB = 1 << 20


@dataclass(frozen=True)
class Request:
    """One request of a workload. An answer is right if its status is 200 and it contains ``expected``."""

    body: bytes
    expected: str
    headers: dict[str, str]


def numbers() -> list[float]:
    """The 784 numbers."""
    generator = random.Random(1)
    return [generator.random() for _ in range(784)]


def weight(row: int, column: int) -> float:
    """One number of the matrix: everybody can make it without a file."""
    return ((row * 7 + column * 13) % 23 - 11) / 8


def _product() -> str:
    """The beginning of the answer to `numbers`: enough digits to be sure, few enough to be the same in every precision."""
    total = sum(number * weight(row, 0) for row, number in enumerate(numbers()))
    return "[" + str(total)[:6]


def make(workload: str, dialect: str) -> Request:
    """The request of a workload in a dialect: ``cog``, ``plain`` (the inputs alone), ``list`` (lists of them), ``v2`` (Open Inference)."""
    field, value, expected = {
        "matmul": ("x", numbers(), _product()),
        "blob": ("data", None, f"{_BLOB} bytes"),
        "stream": ("text", "bob", f"bob{TOKENS - 1}"),
    }.get(workload, ("text", "bob", "hello bob"))
    if workload == "blob":
        value = base64.b64encode(random.Random(2).randbytes(_BLOB)).decode()
        if dialect == "cog":
            value = "data:application/octet-stream;base64," + value
    body = {
        "cog": {"input": {field: value}},
        "plain": {field: value},
        "list": {field: [value]},
        "v2": {"inputs": [_tensor(field, value)]},
    }[dialect]
    headers = {"Content-Type": "application/json"}
    if workload == "stream" and dialect == "cog":
        headers["Accept"] = "text/event-stream"
    return Request(json.dumps(body).encode(), expected, headers)


def _tensor(field: str, value: object) -> dict[str, object]:
    if isinstance(value, list):
        return {"name": field, "shape": [1, len(value)], "datatype": "FP32", "data": value}
    return {"name": field, "shape": [1], "datatype": "BYTES", "data": [value]}
