"""Whether a value fits a signature, asked of the very code that the worker runs, with nothing made or downloaded."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from lading_worker import inputs

_bind: Callable[..., dict[str, Any]] = inputs.bind
_unknown: Callable[..., list[str]] = inputs.unknown_inputs


def misfits(signature: Mapping[str, Any], value: object) -> list[dict[str, Any]]:
    """What the worker would answer with 422: ``loc``, ``msg`` and ``type`` of each part that does not fit; empty if all fits."""
    try:
        _bind(signature, value, inputs.Verbatim())
    except inputs.InvalidInput as error:
        return list(error.detail)
    return []


def unknown_names(signature: Mapping[str, Any], value: object) -> list[str]:
    """Names in ``value`` that the predictor does not have."""
    return _unknown(signature, value)
