"""Between a typed predictor and the tensors of the Open Inference Protocol (v2): which signatures have tensors, and how values become them.

A single value is a tensor of shape ``[1]``, a list one of ``[-1]``, a list of lists one of ``[-1, -1]``. Texts, files (as URLs) and choices
are ``BYTES``. A signature with anything else (``dict``, ``Any``) has no tensors.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

_SCALARS = {
    "bool": "BOOL",
    "int": "INT64",
    "float": "FP64",
    "str": "BYTES",
    "path": "BYTES",
    "file": "BYTES",
    "secret": "BYTES",
}
_WHOLE = frozenset(("INT8", "INT16", "INT32", "INT64", "UINT8", "UINT16", "UINT32", "UINT64"))
_REAL = frozenset(("FP16", "FP32", "FP64", "BF16"))
DATATYPES = _WHOLE | _REAL | {"BOOL", "BYTES"}


class TensorError(ValueError):
    """A tensor of a request, or a value of a model, that does not fit; the message says which and why."""


@dataclass(frozen=True, slots=True)
class Tensor:
    """A tensor that a model takes or gives. ``dimensions`` 0 is a single value."""

    name: str
    datatype: str
    dimensions: int
    optional: bool = False

    def describe(self) -> dict[str, Any]:
        """As the model's metadata show it."""
        record: dict[str, Any] = {"name": self.name, "datatype": self.datatype, "shape": [-1] * self.dimensions or [1]}
        return {**record, "parameters": {"optional": True}} if self.optional else record


def tensors_of(signature: Mapping[str, Any]) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]] | None:
    """The inputs and outputs of a signature as tensors; None if one of them is none."""
    inputs = [_tensor(field["name"], field["type"], optional=not field["required"]) for field in signature["inputs"]]
    output = signature["output"]
    parts = [(field["name"], field["type"]) for field in output["fields"]] if output["kind"] == "object" else [("output", output)]
    outputs = [_tensor(name, kind) for name, kind in parts]
    if None in inputs or None in outputs or not outputs:
        return None
    return tuple(one for one in inputs if one), tuple(one for one in outputs if one)


def _tensor(name: str, kind: Mapping[str, Any], *, optional: bool = False) -> Tensor | None:
    found = _shape(kind)
    return None if found is None else Tensor(name, found[0], found[1], optional)


def _shape(kind: Mapping[str, Any]) -> tuple[str, int] | None:
    name = kind["kind"]
    if name in _SCALARS:
        return _SCALARS[name], 0
    if name in ("list", "iterator"):
        inner = _shape(kind["items"])
        return None if inner is None else (inner[0], inner[1] + 1)
    if name in ("literal", "enum"):
        return _of_values(kind["values"] if name == "literal" else list(kind["members"].values()))
    if name == "union":
        rest = [part for part in kind["types"] if part["kind"] != "null"]
        return _shape(rest[0]) if len(rest) == 1 else None
    return None


def _of_values(values: Sequence[object]) -> tuple[str, int] | None:
    kinds = {type(value) for value in values}
    names = {str: "BYTES", int: "INT64", bool: "BOOL", float: "FP64"}
    return (names[kinds.pop()], 0) if len(kinds) == 1 and kinds <= names.keys() else None


def value_of(tensor: Tensor, given: Mapping[str, Any]) -> Any:
    """The value that a request's tensor stands for: ``shape``, ``datatype`` and ``data``, flat in row-major order or nested.

    Raises:
        TensorError: if it does not fit.
    """
    shape, datatype, data = given.get("shape"), given.get("datatype"), given.get("data")
    if not isinstance(shape, list) or not all(type(size) is int and size >= 0 for size in shape):
        raise TensorError(f"{tensor.name}: its shape is a list of sizes")
    if datatype not in DATATYPES or not _fits(str(datatype), tensor.datatype):
        raise TensorError(f"{tensor.name}: it is {tensor.datatype}, and {datatype} came")
    if not isinstance(data, list):
        raise TensorError(f"{tensor.name}: its data is a list")
    flat = list(_flat(data))
    if len(flat) != math.prod(shape):
        raise TensorError(f"{tensor.name}: a shape of {shape} has {math.prod(shape)} elements, and {len(flat)} came")
    return _reshaped(flat, _squeezed(tensor, shape))


def _fits(datatype: str, wanted: str) -> bool:
    if wanted == "FP64":
        return datatype in _REAL or datatype in _WHOLE
    return datatype in _WHOLE if wanted == "INT64" else datatype == wanted


def _squeezed(tensor: Tensor, shape: list[int]) -> list[int]:
    """Without leading sizes of 1: clients that batch everything send ``[1, 3]`` for a list."""
    extra = len(shape) - tensor.dimensions
    if extra < 0 or any(size != 1 for size in shape[:extra]):
        wanted = [-1] * tensor.dimensions or [1]
        raise TensorError(f"{tensor.name}: its shape is {wanted}, and {shape} came")
    return shape[extra:]


def _flat(data: list[Any]) -> Iterator[Any]:
    for item in data:
        if isinstance(item, list):
            yield from _flat(item)
        else:
            yield item


def _reshaped(flat: list[Any], shape: list[int]) -> Any:
    if not shape:
        return flat[0]
    if len(shape) == 1:
        return flat
    step = math.prod(shape[1:])
    return [_reshaped(flat[start * step : (start + 1) * step], shape[1:]) for start in range(shape[0])]


def to_tensor(tensor: Tensor, value: Any) -> dict[str, Any]:
    """A model's value as a tensor of an answer.

    Raises:
        TensorError: if it is not rectangular, or nothing.
    """
    shape: list[int] = []
    inner = value
    for _ in range(tensor.dimensions):
        if not isinstance(inner, list):
            raise TensorError(f"{tensor.name}: the model gave no list")
        shape.append(len(inner))
        inner = inner[0] if inner else []
    flat = list(_flat(value)) if tensor.dimensions else [value]
    if tensor.dimensions and (len(flat) != math.prod(shape) or not _is_rectangular(value, shape)):
        raise TensorError(f"{tensor.name}: the model gave rows of different lengths, which is no tensor")
    return {"name": tensor.name, "datatype": tensor.datatype, "shape": shape or [1], "data": flat}


def _is_rectangular(value: Any, shape: list[int]) -> bool:
    if not shape:
        return not isinstance(value, list)
    return isinstance(value, list) and len(value) == shape[0] and all(_is_rectangular(item, shape[1:]) for item in value)
