"""Frames over one of the sockets that the front has passed; see ``docs/explanation/worker-protocol.md``.

Reads and writes the descriptors themselves: ``socket`` is not needed for that, and takes its time to import.
"""

# What is imported by name here stays what it is when a model patches the standard library (gevent does).
import contextlib
import os
import threading
from collections import deque
from json import dumps
from os import read, write
from struct import Struct

LOAD, CANCEL, QUIT, CHECK = 1, 2, 3, 4
HELLO, READY, SETUP_FAILED, LOG, HEALTH = 10, 11, 12, 13, 14
PREDICT, CHUNK, DONE, INVALID, METRIC, SHARED, MORE = 20, 21, 22, 23, 24, 25, 26

_PREFIX = Struct("!IBQI")  # payload length, kind, call id, and the payload's first field: the head's length
_HEAD_LENGTH = 4
_READ = 64 * 1024
_LARGE = 1024 * 1024
_JOINED = 16 * 1024  # larger bodies are written without being copied

_channels = []
_forked = False


class Channel:
    """One socket: blocking, read by one thread, written by any.

    ``lock`` keeps frames whole. It may be taken again by the thread that holds it: a signal handler of the model can print while
    the code that it interrupted was printing. ``eager`` is how `read` waits, if not by sleeping at once; see `Eager`.
    """

    def __init__(self, number):
        self.number = number
        self.eager = None
        self.lock = threading.RLock()
        self._buffer = b""
        self._kept = deque()
        self._writing = False
        self._later = deque()
        self._dead = False
        os.set_inheritable(number, False)
        _channels.append(self)

    # Reading

    def read(self):
        """The next frame as ``(kind, call, head, body)``, head and body as bytes; None when the front has closed its end."""
        if self._kept:
            return self._kept.popleft()
        while True:
            frame = self.take()
            if frame is not None:
                return frame
            if not (self.fill() if self.eager is None else self.eager.wait(self.fill)):
                return None

    def more(self, call):
        """The next MORE of a call that runs, as `read`; what comes for later calls is kept for them."""
        while True:
            frame = self.take()
            if frame is None:
                if not self.fill():
                    return None
            elif frame[0] != MORE:
                self._kept.append(frame)
            elif frame[1] == call:
                return frame

    def fill(self):
        """Wait for something to read; False at the end."""
        missing = self._missing()
        try:
            data = read(self.number, _READ) if missing <= _READ else self._read_large(missing)
        except OSError:
            return False
        if not data:
            return False
        self._buffer = self._buffer + data if self._buffer else data
        return True

    def _missing(self):
        if len(self._buffer) < _PREFIX.size:
            return 0
        return _PREFIX.size - _HEAD_LENGTH + _PREFIX.unpack_from(self._buffer)[0] - len(self._buffer)

    def _read_large(self, missing):
        pieces = []
        while missing > 0:
            piece = read(self.number, min(missing, _LARGE))
            if not piece:
                return b""
            pieces.append(piece)
            missing -= len(piece)
        return b"".join(pieces)

    def buffered(self):
        """Whether `take` may have something without anything being read."""
        return len(self._buffer) >= _PREFIX.size and self._missing() <= 0

    def take(self):
        """The next frame if all of it was read, else None."""
        buffer = self._buffer
        if len(buffer) < _PREFIX.size:
            return None
        length, kind, call, head = _PREFIX.unpack_from(buffer)
        end = _PREFIX.size - _HEAD_LENGTH + length
        if len(buffer) < end:
            return None
        body = _PREFIX.size + head
        self._buffer = buffer[end:] if len(buffer) > end else b""
        return kind, call, buffer[_PREFIX.size : body], buffer[body:end]

    # Writing

    def send(self, kind, call, head, body=b""):
        """Write a frame; ``head`` is a dict, or JSON as bytes. Does nothing in a forked child, or when the front is gone."""
        if self._dead:
            return
        if not isinstance(head, bytes):
            head = dumps(head).encode()
        start = _PREFIX.pack(_HEAD_LENGTH + len(head) + len(body), kind, call, len(head)) + head
        frames = (start + body,) if len(body) <= _JOINED else (start, body)
        with self.lock:
            self._later.extend(frames)
            if self._writing:
                # We have interrupted ourselves in the middle of a frame: whoever is writing sends this one, too.
                return
            self._writing = True
            try:
                while self._later:
                    self._write(self._later.popleft())
            finally:
                self._writing = False

    def _write(self, data):
        try:
            written = write(self.number, data)
            if written == len(data):
                return
            view = memoryview(data)
            while written < len(data):
                written += write(self.number, view[written:])
        except OSError:
            # The front is gone; the thread that reads `control` notices, and ends the process.
            self._dead = True

    def abandon(self):
        """Close this descriptor for good; nothing is written any more, whatever file gets its number next."""
        self._dead = True
        number, self.number = self.number, -1
        with contextlib.suppress(OSError):
            os.close(number)


def is_fork():
    """Whether this process is a child of the worker rather than the worker."""
    return _forked


def _after_fork():
    global _forked  # noqa: PLW0603 - a fact about the process
    _forked = True
    # A child that kept them open would hide the worker's end from the front.
    for channel in _channels:
        channel.abandon()


def watch_forks():
    """See to it that children which the model forks do not hold our sockets."""
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=_after_fork)
        return
    fork = os.fork  # Python 3.6

    def fork_without_channels():
        pid = fork()
        if pid == 0:
            _after_fork()
        return pid

    os.fork = fork_without_channels
