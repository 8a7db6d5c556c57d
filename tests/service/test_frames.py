"""The wire's frames, cut from any pieces."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lading.service.frames import CONTROL_KINDS, SLOT_KINDS, Frame, FrameError, FrameReader, Kind, encode

frames = st.builds(Frame, st.sampled_from(sorted(SLOT_KINDS)), st.integers(0, 2**64 - 1), st.binary(max_size=200), st.binary(max_size=200))


@given(st.lists(frames, max_size=6), st.lists(st.integers(1, 50), min_size=1, max_size=50))
def test_frames_are_the_same_however_the_bytes_arrive(sent: list[Frame], sizes: list[int]):
    data = b"".join(encode(*frame) for frame in sent)
    reader, got, at = FrameReader(SLOT_KINDS), [], 0
    while at < len(data):
        size = sizes[at % len(sizes)]
        got += reader.feed(data[at : at + size])
        at += size
    assert got == sent


@given(st.binary(min_size=17, max_size=300))
def test_garbage_is_refused_or_waited_for_and_never_anything_else(data: bytes):
    reader = FrameReader(CONTROL_KINDS)
    try:
        got = reader.feed(data)
    except FrameError:
        return
    assert all(frame.kind in CONTROL_KINDS for frame in got)


def test_a_frame_of_the_other_channel_is_refused():
    with pytest.raises(FrameError, match="kind 11"):
        FrameReader(SLOT_KINDS).feed(encode(Kind.READY, 0, b"{}"))


@pytest.mark.parametrize(("length", "head"), [(4, 1), (3, 0), (2**31 + 1, 0), (10, 7)])
def test_impossible_lengths_are_refused_before_they_are_waited_for(length: int, head: int):
    with pytest.raises(FrameError, match="lengths"):
        FrameReader(SLOT_KINDS).feed(struct.pack("!IBQI", length, Kind.DONE, 1, head))


def test_a_large_frame_in_many_pieces_is_whole():
    body = bytes(range(256)) * 8192
    data = encode(Kind.DONE, 7, b"{}", body)
    reader = FrameReader(SLOT_KINDS)
    got = [frame for at in range(0, len(data), 65536) for frame in reader.feed(data[at : at + 65536])]
    assert got == [Frame(Kind.DONE, 7, b"{}", body)]
