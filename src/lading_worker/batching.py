"""Serving a predictor that takes many calls at once: goes at once when idle, gathers while it is busy."""

import threading
from select import POLLIN, poll
from time import perf_counter

from lading_worker import ending, scope

_PATIENCE = 0.25  # a batch waits for calls that are likely to come for at most this part of what a batch takes


class Batch:
    """The calls that one call of the model answers. Those that are open have no answer yet."""

    def __init__(self, members, guard):
        self.members = members
        self._guard = guard
        self._open = {call.number: call for call in members}
        self._lock = threading.RLock()
        self.output = _Everybody(members)

    def settle(self, call):
        """Whether ``call`` is still to be answered; from now on it is not."""
        with self._lock:
            return self._open.pop(call.number, None) is not None

    def cancel(self, number):
        """Cancel one call: it is answered now, and the others go on; the last one that is open is interrupted. Called by another thread."""
        with self._lock:
            call = self._open.get(number)
            if call is None:
                return False
            call.canceled = True
            if any(not other.canceled for other in self._open.values()):
                del self._open[number]
                call.stopped()
            else:
                self._guard.strike()
            return True

    def metric(self, name, value, mode):
        """A metric of the batch is one of each call."""
        for call in self.left():
            call.metric(name, value, mode)

    def left(self):
        """The calls that are still to be answered."""
        with self._lock:
            return list(self._open.values())

    def expose(self):
        """See `cancel`."""
        self._guard.expose()

    def shield(self):
        """See `cancel`."""
        self._guard.shield()


class _Everybody:
    """What the model prints during a batch belongs to each of its calls."""

    def __init__(self, members):
        self._members = members

    def write(self, source, data):
        for call in self._members:
            call.output.write(source, data)

    def flush(self):
        for call in self._members:
            call.output.flush()


class Batches:
    """The main thread's life with such a predictor. ``batching`` is LOAD's: ``max_batch_size``, ``max_latency`` in seconds.

    ``running`` is the batch that runs, None between two.
    """

    def __init__(self, engine, batching):
        self._engine, self._slot = engine, engine.slots[0]
        self._channel = self._slot.channel
        self._size, self._latency = batching["max_batch_size"], batching["max_latency"]
        self._readable = poll()
        self._readable.register(self._channel.number, POLLIN)
        self._arrived = []
        self._likely = 1
        self._cost = 0.0
        self.running = None
        self._lock = threading.Lock()

    def next(self):
        """The frames of the next batch; waits for the first."""
        frames, self._arrived = self._arrived, []
        if not frames:
            frame = self._channel.read()
            if frame is None:
                ending.front_is_gone()
            frames.append(frame)
        self._engine.busy()
        until = perf_counter() + min(self._latency, self._cost * _PATIENCE)
        while len(frames) < self._size:
            frame = self._channel.take()
            if frame is not None:
                frames.append(frame)
                continue
            left = until - perf_counter() if len(frames) < self._likely else 0.0
            if not self._fill(left):
                break
        self._arrived = frames[self._size :]
        return frames[: self._size]

    def _fill(self, seconds):
        """Read what is there, or comes within so many seconds; False if nothing does."""
        if not self._readable.poll(max(0.0, seconds) * 1000):
            return False
        if not self._channel.fill():
            ending.front_is_gone()
        return True

    def _look(self):
        """Take what has come meanwhile, without waiting."""
        while len(self._arrived) < self._size and (self._channel.buffered() or self._fill(0.0)):
            frame = self._channel.take()
            if frame is not None:
                self._arrived.append(frame)

    def run(self, frames):
        """Run one batch; returns what is to be run after it, or None."""
        guard = self._slot.guard
        members = [self._slot.make(frame) for frame in frames]
        batch = Batch(members, guard)
        with self._lock:
            self.running = batch
        for call in members:
            if self._engine.take_early(call.number) and batch.settle(call):
                call.stopped()
        running = scope.enter(batch.metric, None, batch)
        began = perf_counter()
        after = self._engine.style.answer_batch(batch, self._look)
        self._cost += 0.3 * (perf_counter() - began - self._cost)
        self._likely = min(self._size, len(frames) + len(self._arrived))
        scope.leave(running)
        with self._lock:
            self.running = None
            guard.forget()
        return after

    def strike(self, number):
        """Cancel a call of the batch that runs; False if it is in none. Called by another thread."""
        with self._lock:
            return self.running is not None and self.running.cancel(number)

    def open_calls(self):
        """The calls whose output is still to be flushed."""
        return [] if self.running is None else self.running.members
