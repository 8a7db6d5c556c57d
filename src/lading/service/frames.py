"""The wire between front and worker: frames of a length, a kind and a call id, then a JSON head and an undecoded body.

See ``docs/explanation/worker-protocol.md``. Standard library only and quick to import: workers are started before anything heavy.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from enum import IntEnum
from typing import Any, NamedTuple

_PREFIX = struct.Struct("!IBQI")  # payload length, kind, call id, and the payload's first field: the head's length
_HEAD_LENGTH = 4
LONGEST = 2**31
"""No payload is longer than this, in bytes: a larger length is a sign of garbage."""


class Kind(IntEnum):
    """What a frame says."""

    LOAD = 1
    CANCEL = 2
    QUIT = 3
    CHECK = 4
    HELLO = 10
    READY = 11
    SETUP_FAILED = 12
    LOG = 13
    HEALTH = 14
    PREDICT = 20
    CHUNK = 21
    DONE = 22
    INVALID = 23
    METRIC = 24
    SHARED = 25
    MORE = 26


CONTROL_KINDS = frozenset({Kind.HELLO, Kind.READY, Kind.SETUP_FAILED, Kind.LOG, Kind.HEALTH})
SLOT_KINDS = frozenset({Kind.LOG, Kind.CHUNK, Kind.DONE, Kind.INVALID, Kind.METRIC})


class Frame(NamedTuple):
    """One frame. ``head`` is a JSON object, still encoded; ``body`` belongs to the model and stays as it is."""

    kind: int
    call: int
    head: bytes
    body: bytes


class FrameError(Exception):
    """What arrived is no frame of this protocol."""


def encode(kind: int, call: int, head: bytes, body: bytes = b"") -> bytes:
    """One frame as bytes."""
    length = _HEAD_LENGTH + len(head) + len(body)
    return _PREFIX.pack(length, kind, call, len(head)) + head + body


def encode_json(kind: int, call: int, head: Mapping[str, Any]) -> bytes:
    """One frame without a body, its head given as data."""
    return encode(kind, call, json.dumps(head).encode())


class FrameReader:
    """Cuts a stream of bytes into frames; refuses what cannot be one as soon as that shows.

    ``kinds`` are those the other side may send on this channel.
    """

    __slots__ = ("_kinds", "_needed", "_parts", "_size")

    def __init__(self, kinds: frozenset[Kind]) -> None:
        self._kinds = kinds
        self._parts: list[bytes] = []
        self._size = 0
        self._needed = _PREFIX.size

    def feed(self, data: bytes) -> list[Frame]:
        """The frames that are complete with ``data``.

        Raises:
            FrameError: if a frame has an unknown kind or impossible lengths.
        """
        if self._parts:
            self._parts.append(data)
            self._size += len(data)
            if self._size < self._needed:
                return []
            data = b"".join(self._parts)
            self._parts.clear()
        return self._cut(data)

    def _cut(self, data: bytes) -> list[Frame]:
        frames = []
        start, size = 0, len(data)
        self._needed = _PREFIX.size
        while size - start >= _PREFIX.size:
            length, kind, call, head_length = _PREFIX.unpack_from(data, start)
            self._check(length, kind, head_length)
            end = start + _PREFIX.size - _HEAD_LENGTH + length
            if end > size:
                self._needed = end - start
                break
            body = start + _PREFIX.size + head_length
            frames.append(Frame(kind, call, data[start + _PREFIX.size : body], data[body:end]))
            start = end
        if start < size:
            self._parts.append(data[start:] if start else data)
            self._size = size - start
        return frames

    def _check(self, length: int, kind: int, head_length: int) -> None:
        if kind not in self._kinds:
            raise FrameError(f"a frame of the unknown kind {kind}")
        if length > LONGEST or head_length > length - _HEAD_LENGTH:
            raise FrameError(f"a frame with impossible lengths ({length}, {head_length})")
