"""A tiny ONNX model, written byte by byte (protobuf): ``y = x + number`` for float tensors of any length."""

from __future__ import annotations

import struct


def _varint(number: int) -> bytes:
    out = b""
    while number > 0x7F:
        out += bytes([number & 0x7F | 0x80])
        number >>= 7
    return out + bytes([number])


def _field(number: int, value: int | bytes | str) -> bytes:
    if isinstance(value, int):
        return _varint(number << 3) + _varint(value)
    data = value.encode() if isinstance(value, str) else value
    return _varint(number << 3 | 2) + _varint(len(data)) + data


def add(number: float) -> bytes:
    """The model's file."""
    node = _field(1, "x") + _field(1, "c") + _field(2, "y") + _field(4, "Add")
    constant = _field(1, 1) + _field(2, 1) + _field(8, "c") + _field(9, struct.pack("<f", number))
    shape = _field(1, _field(2, "n"))
    kind = _field(1, _field(1, 1) + _field(2, shape))
    graph = _field(1, node) + _field(2, "g") + _field(5, constant)
    graph += _field(11, _field(1, "x") + _field(2, kind)) + _field(12, _field(1, "y") + _field(2, kind))
    return _field(1, 8) + _field(7, graph) + _field(8, _field(1, "") + _field(2, 13))
