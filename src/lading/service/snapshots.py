"""A prediction as Cog shows it: in answers, when it is read, in webhooks. The model's output is never decoded."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

import msgspec

from lading.service.calls import Call, Result, Status, nest


class _Answer(msgspec.Struct, omit_defaults=True):
    id: str
    input: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    output: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    logs: str | None = None
    error: str | None = None
    status: str = ""
    metrics: dict[str, Any] | None = None
    created_at: str | None = None
    started_at: str | None = None
    completed_at: str | None = None


_encode = msgspec.json.Encoder().encode


def snapshot(call: Call, *, with_input: bool = True) -> bytes:
    """A prediction as JSON, finished or not."""
    result = call.result
    output = result.output if result is not None else b""
    if not output:
        output = b"[" + b",".join(call.chunks) + b"]" if call.chunks else b"null"
    answer = _Answer(
        id=call.id,
        input=msgspec.Raw(call.input) if with_input and call.input else msgspec.UNSET,
        output=msgspec.Raw(output),
        logs=result.logs if result is not None else call.log_text(),
        error=_error(result),
        # Cog knows no "invalid": in a record (the request itself got a 422) such a prediction has failed.
        status="failed" if call.status is Status.INVALID else str(call.status),
        metrics=_metrics(call),
        created_at=iso(call.created),
        started_at=iso(call.started),
        completed_at=iso(call.finished),
    )
    return _encode(answer)


def _error(result: Result | None) -> str | None:
    if result is None:
        return None
    if result.status is Status.INVALID:
        return "the input does not fit: " + result.detail.decode("utf-8", "replace")
    return result.error


def _metrics(call: Call) -> dict[str, Any] | None:
    if call.result is None:
        return nest(call.metrics) or None
    if call.result.predict_time is None:
        return nest(call.result.metrics)
    return {**nest(call.result.metrics), "predict_time": call.result.predict_time}


def iso(seconds: float | None) -> str | None:
    """A time since the epoch as ISO 8601, in UTC, with microseconds."""
    if seconds is None:
        return None
    whole = int(seconds)
    return f"{_second(whole)}.{int((seconds - whole) * 1e6):06d}+00:00"


@lru_cache(maxsize=16)
def _second(whole: int) -> str:
    return datetime.fromtimestamp(whole, UTC).strftime("%Y-%m-%dT%H:%M:%S")
