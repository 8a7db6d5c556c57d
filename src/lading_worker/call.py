"""One prediction as the worker runs it, and the place where it runs."""

import threading
from json import loads
from time import perf_counter

from lading_worker import cancel, channel, ending, loading, scope
from lading_worker.channel import CHUNK, DONE, INVALID, METRIC, SHARED
from lading_worker.output import Destination


class Call:
    """One prediction: what was asked, and how its answer is sent.

    ``head`` is PREDICT's, ``body`` bytes as they came. ``began`` is when the model's own code did, as `time.perf_counter` tells, None if
    it did not. ``canceled`` tells that its cancelation was asked for, and has reached or will reach the model.
    """

    __slots__ = ("_channel", "_guard", "began", "body", "canceled", "head", "number", "output")

    def __init__(self, channel, guard, number, head, body):
        self._channel, self._guard = channel, guard
        self.number, self.head, self.body = number, head, body
        self.output = Destination(channel, number)
        self.began = None
        self.canceled = False

    def expose(self):
        """Let a cancelation interrupt this thread from here on; see `cancel`."""
        if self._guard is not None:
            self._guard.expose()

    def shield(self):
        """Let none interrupt it from here on."""
        if self._guard is not None:
            self._guard.shield()

    def more(self):
        """The next frame of the client's stream; see `Channel.more`."""
        return self._channel.more(self.number)

    def chunk(self, index, value):
        """Send one piece of output, JSON (or a message) as bytes."""
        self._send(CHUNK, b'{"index":%d}' % index, value)

    def metric(self, name, value, mode):
        """Send a metric. Called by the model's code, in any thread."""
        with cancel.Shield():
            self._channel.send(METRIC, self.number, {"name": name, "value": value, "mode": mode})

    def invalid(self, detail):
        """The input does not fit: the prediction is over, and has never begun."""
        self._send(INVALID, {"detail": detail})

    def succeeded(self, body):
        """The prediction is over, and ``body`` its output as JSON."""
        self.done(b'{"status":"succeeded","metrics":{},"predict_time":%.9f}' % (perf_counter() - self.began), body)

    def failed(self, error, text=None):
        """The prediction is over by an exception. ``text`` goes to the log, by default the exception's one line."""
        self.report(error, text)
        head = {"status": "failed", "error": loading.message(error) or loading.one_line(error), "metrics": {}}
        if self.began is not None:
            head["predict_time"] = perf_counter() - self.began
        self.done(head)

    def stopped(self):
        """The prediction was canceled, and is over."""
        self.done(b'{"status":"canceled","metrics":{}}')

    def report(self, error, text=None):
        """Print an exception that ended the prediction."""
        if channel.is_fork():
            ending.end_fork(error)
        self.output.write("stderr", (text or loading.one_line(error) + "\n").encode("utf-8", "backslashreplace"))

    def done(self, head, body=b""):
        """The prediction is over; ``head`` is DONE's, as a dict or as JSON."""
        self._send(DONE, head, body)

    def _send(self, kind, head, body=b""):
        if channel.is_fork():
            # A child that the model has forked and let run into our code: it has no one to answer.
            ending.end_fork(None)
        self.output.close()
        self._channel.send(kind, self.number, head, body)


class Slot:
    """A place where one prediction runs at a time, with its socket, and the memory through which large bodies come, or None.

    ``views``: whether such a body may be looked at where it lies.
    """

    views = False

    def __init__(self, channel, region=None):
        self.channel, self.region = channel, region
        self.guard = None
        self.running = None
        self._gate = threading.Lock()

    def begin(self, frame, was_canceled):
        """Make the call that runs here from now on; ``was_canceled(number)`` tells whether it was canceled while on its way."""
        call = self.make(frame)
        with self._gate:
            self.running = call
            call.canceled = was_canceled(call.number)
        return call

    def make(self, frame):
        """The call of a frame, which nothing runs yet."""
        kind, number, head, body = frame
        if kind == SHARED:
            size = int.from_bytes(body, "big")
            body = self.region.view(size) if self.views else self.region.take(size)
        return Call(self.channel, self.guard, number, loads(head.decode()), body)

    def finish(self):
        """Nothing runs here now."""
        with self._gate:
            self.running = None
            if self.guard is not None:
                self.guard.forget()

    def strike(self, number):
        """Interrupt the call of this number if it runs here; False if not. Called by another thread."""
        with self._gate:
            call = self.running
            if call is None or call.number != number:
                return False
            if not call.canceled:
                call.canceled = True
                self.guard.strike()
            return True


def enter(call):
    """Make ``call`` the prediction that runs in this thread or task; see `scope.enter`."""
    return scope.enter(call.metric, call.head.get("context"), call)
