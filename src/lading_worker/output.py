"""What the model prints, told to the front with the prediction that printed it.

``sys.stdout`` and ``sys.stderr`` are replaced once, before anything of the model is imported, by streams that find out at
each write which prediction it belongs to: handlers of ``logging`` that keep a stream are right for every later prediction. Text is sent
by whole lines, and when a stream is flushed or the prediction ends.
"""

# ruff: noqa: D102 - the streams' methods mean what they mean in `io`

import contextlib
import io
import os
import sys

from lading_worker import cancel, scope
from lading_worker.channel import LOG, is_fork

_HELD = 8 * 1024  # bytes of an unfinished line
_PIECE = 256 * 1024  # bytes in one frame
_HEADS = {"stdout": b'{"source":"stdout"}', "stderr": b'{"source":"stderr"}'}


class Destination:
    """Where the text of one call goes (call 0: what belongs to none), with what is held back of its last line.

    A signal handler of the model may print in the middle of a write that it interrupts; its text follows that write's.
    """

    __slots__ = ("_channel", "_held", "_later", "_source", "_writing", "call")

    def __init__(self, channel, call=0):
        self._channel, self.call = channel, call
        self._held, self._source = b"", "stdout"
        self._writing, self._later = False, []

    def write(self, source, data):
        """Take bytes; send them if they end a line."""
        with self._channel.lock:
            self._later.append((source, data))
            if self._writing:
                return
            self._writing = True
            try:
                while self._later:
                    self._add(*self._later.pop(0))
            finally:
                self._writing = False

    def _add(self, source, data):
        if source != self._source:
            # The two streams stay in the order of their writes.
            self._send(len(self._held))
            self._source = source
        self._held = held = self._held + data
        if b"\n" in data or len(held) > _HELD:
            self._send(_whole(held, len(held)))

    def flush(self):
        """Send what is held, but for half a character."""
        if self._held:
            with self._channel.lock:
                if not self._writing:
                    self._send(_whole(self._held, len(self._held)))

    def close(self):
        """The call is over: send the rest, also what a stream of the model's own in front of ours still has."""
        _flush_streams()
        if self._held:
            with self._channel.lock:
                self._send(len(self._held))

    def _send(self, size):
        data, self._held = self._held, self._held[size:]
        start = 0
        while start < size:
            end = size if size - start <= _PIECE else _whole(data, start + _PIECE)
            self._channel.send(LOG, self.call, _HEADS[self._source], data[start:end])
            start = end


def _flush_streams():
    for stream in (sys.stdout, sys.stderr):
        if stream.__class__ is not TextOutput and stream is not None:
            with contextlib.suppress(Exception):  # it is the model's
                stream.flush()


def _whole(data, end):
    """Where the last whole character before ``end`` ends: a frame is decoded for itself."""
    for back in range(1, min(4, end) + 1):
        byte = data[end - back]
        if byte & 0xC0 != 0x80:
            size = 1 if byte < 0x80 else 2 if byte >> 5 == 6 else 3 if byte >> 4 == 14 else 4 if byte >> 3 == 30 else 1
            return end - back if size > back else end
    return end


def _write_raw(number, data):
    while data:
        data = data[os.write(number, data) :]


class _Router:
    """Finds the destination of a write, and keeps cancelation out of it."""

    def __init__(self, outside):
        self._outside = outside

    def write(self, source, data):
        if is_fork():
            _write_raw(1 if source == "stdout" else 2, data)
            return
        with cancel.Shield():
            self._destination().write(source, data)

    def flush(self):
        if not is_fork():
            with cancel.Shield():
                self._destination().flush()

    def _destination(self):
        call = scope.current().call
        return self._outside if call is None else call.output


class BinaryOutput(io.BufferedIOBase):
    """``sys.stdout.buffer``."""

    def __init__(self, source, number, router):
        self._source, self._number, self._router = source, number, router
        self.name = f"<{source}>"
        self.mode = "wb"

    def write(self, data):
        data = memoryview(data).tobytes()
        self._router.write(self._source, data)
        return len(data)

    def flush(self):
        self._router.flush()

    def close(self):
        """Stays open, as the model's later predictions need it."""
        self.flush()

    @property
    def raw(self):
        return self

    def writable(self):
        return True

    def fileno(self):
        return self._number

    def isatty(self):
        return False


class TextOutput(io.TextIOBase):
    """``sys.stdout`` or ``sys.stderr``: always UTF-8, and never fails for what is printed."""

    encoding = "utf-8"
    errors = "backslashreplace"
    newlines = None
    line_buffering = True
    write_through = False
    mode = "w"

    def __init__(self, source, number, router):
        self.buffer = BinaryOutput(source, number, router)
        self.name = f"<{source}>"
        self._source, self._number, self._router = source, number, router

    def write(self, text):
        if not isinstance(text, str):
            raise TypeError(f"write() argument must be str, not {type(text).__name__}")
        self._router.write(self._source, text.encode("utf-8", "backslashreplace"))
        return len(text)

    def flush(self):
        self._router.flush()

    def close(self):
        """Stays open, as the model's later predictions need it."""
        self.flush()

    def detach(self):
        """The binary stream; this one goes on working."""
        self.flush()
        return self.buffer

    def reconfigure(self, **_options):
        """Accepted, without effect: what is printed reaches the front as UTF-8 whatever happens."""
        self.flush()

    def writable(self):
        return True

    def fileno(self):
        return self._number

    def isatty(self):
        return False


class Outputs:
    """The two streams, in place of Python's own. ``outside`` is where goes what no prediction prints."""

    def __init__(self, channel, numbers):
        self.outside = Destination(channel)
        router = _Router(self.outside)
        # The old ones are kept, not closed.
        self._before = (sys.stdout, sys.stderr, sys.__stdout__, sys.__stderr__)
        streams = [TextOutput(source, number, router) for source, number in zip(("stdout", "stderr"), numbers)]
        # A model that puts back `sys.__stdout__` gets the same stream.
        sys.stdout, sys.stderr = sys.__stdout__, sys.__stderr__ = streams
