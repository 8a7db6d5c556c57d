"""The worker's end of the wire, against the front's, however the bytes are cut."""

from __future__ import annotations

import os
import socket
import threading

from hypothesis import given
from hypothesis import strategies as st

from lading.service.frames import SLOT_KINDS, FrameReader, Kind, encode
from lading_worker.channel import Channel

_FRAMES = st.lists(
    st.tuples(st.sampled_from(sorted(SLOT_KINDS)), st.integers(0, 2**64 - 1), st.binary(max_size=50), st.binary(max_size=300)), max_size=8
)


@given(_FRAMES, st.lists(st.integers(1, 400), min_size=1, max_size=20))
def test_frames_are_read_as_they_were_written(frames, cuts):
    ours, theirs = socket.socketpair()
    channel = Channel(theirs.detach())
    data = b"".join(encode(*frame) for frame in frames)
    read = []
    with ours:
        position = 0
        for index in range(len(data)):
            size = cuts[index % len(cuts)]
            ours.sendall(data[position : position + size])
            position += size
            if data[position - size : position]:
                assert channel.fill()
            while (frame := channel.take()) is not None:
                read.append(frame)
            if position >= len(data):
                break
    assert read == frames
    assert channel.read() is None
    os.close(channel.number)


@given(_FRAMES)
def test_frames_are_written_as_the_front_reads_them(frames):
    ours, theirs = socket.socketpair()
    channel = Channel(theirs.detach())
    with ours:
        for frame in frames:
            channel.send(*frame)
        os.close(channel.number)
        data = b"".join(iter(lambda: ours.recv(1 << 16), b""))
    assert [tuple(frame) for frame in FrameReader(SLOT_KINDS).feed(data)] == frames


def test_large_frames_from_many_threads_stay_whole():
    ours, theirs = socket.socketpair()
    channel = Channel(theirs.detach())
    bodies = [bytes([number]) * 3_000_000 for number in range(4)]

    def write() -> None:
        threads = [threading.Thread(target=channel.send, args=(Kind.LOG, 1, b"{}", body)) for body in bodies for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        os.close(channel.number)

    writer = threading.Thread(target=write)
    writer.start()
    reader = FrameReader(SLOT_KINDS)
    frames = []
    with ours:
        while data := ours.recv(1 << 20):
            frames += reader.feed(data)
    writer.join()
    assert sorted(frame.body for frame in frames) == sorted(bodies * 3)


def test_a_front_that_is_gone_is_no_error_to_writers():
    ours, theirs = socket.socketpair()
    channel = Channel(theirs.detach())
    ours.close()
    for _ in range(3):
        channel.send(Kind.LOG, 1, {"source": "stdout"}, b"x")
    assert channel.read() is None
    os.close(channel.number)
