"""Calls of several threads, answered by one call of a model: what TensorFlow Serving did for Cortex's ``server_side_batching``."""

import threading
from time import monotonic


class _Batch:
    """The inputs that are gathered until ``until``, by their places, and what came of them. One of their calls leads, or none yet."""

    def __init__(self, lock, until):
        self.until = until
        self.items, self.places = {}, 0
        self.leader = None
        self.over = False
        self.results, self.error = {}, None
        self.changed = threading.Condition(lock)


class Gather:
    """Gathers up to ``size`` calls, or those that come within ``seconds`` of the first.

    ``run(items)`` answers a list of inputs with a list of as many outputs; it is called in the thread of one of them. If that one is
    interrupted (its client has left), another takes its place, and ``run`` is called again without its input.
    """

    def __init__(self, size, seconds, run):
        self._size, self._seconds, self._run = size, seconds, run
        self._lock = threading.Lock()
        self._open = None

    def __call__(self, item):
        """The output for one input.

        Raises:
            Exception: what ``run`` raises, for each call of the batch.
        """
        batch, place = self._join(item)
        try:
            if self._is_leader(batch, place):
                self._lead(batch)
        except BaseException:
            self._leave(batch, place)
            raise
        if batch.error is not None:
            raise batch.error
        return batch.results[place]

    def _join(self, item):
        with self._lock:
            if self._open is None:
                self._open = _Batch(self._lock, monotonic() + self._seconds)
            batch = self._open
            place, batch.places = batch.places, batch.places + 1
            batch.items[place] = item
            if len(batch.items) >= self._size:
                self._close(batch)
        return batch, place

    def _close(self, batch):
        """Take no more calls into a batch. Whoever calls this holds the lock."""
        if self._open is batch:
            self._open = None
            batch.changed.notify_all()

    def _is_leader(self, batch, place):
        """Wait until the batch is over, or nobody leads it; then this call does."""
        with self._lock:
            while not batch.over and batch.leader is not None:
                batch.changed.wait()
            if not batch.over:
                batch.leader = place
            return not batch.over

    def _lead(self, batch):
        with self._lock:
            while self._open is batch and monotonic() < batch.until:
                batch.changed.wait(batch.until - monotonic())
            self._close(batch)
            items = dict(batch.items)
        results, error = {}, None
        try:
            results = dict(zip(items, self._run(list(items.values()))))
        except Exception as raised:
            error = raised
        with self._lock:
            batch.results, batch.error, batch.over = results, error, True
            batch.changed.notify_all()

    def _leave(self, batch, place):
        """This call is interrupted, and it alone."""
        with self._lock:
            batch.items.pop(place, None)
            if not batch.items:
                self._close(batch)
            if batch.leader == place:
                batch.leader = None
                batch.changed.notify_all()
