"""Calls of several threads, answered by one call of a model: what TensorFlow Serving did for Cortex's ``server_side_batching``."""

import threading
from time import monotonic


class _Batch:
    """The inputs that are gathered, and what came of them."""

    def __init__(self):
        self.items = []
        self.over = threading.Event()
        self.results, self.error = None, None


class Gather:
    """Gathers up to ``size`` calls, or those that come within ``seconds`` of the first.

    ``run(items)`` answers a list of inputs with a list of as many outputs; it is called in the thread of the first of them.
    """

    def __init__(self, size, seconds, run):
        self._size, self._seconds, self._run = size, seconds, run
        self._changed = threading.Condition()
        self._open = None

    def __call__(self, item):
        """The output for one input.

        Raises:
            Exception: what ``run`` raises, for each call of the batch.
        """
        with self._changed:
            first = self._open is None
            batch = self._open = self._open or _Batch()
            place = len(batch.items)
            batch.items.append(item)
            if len(batch.items) == self._size:
                self._open = None
                self._changed.notify_all()
        if first:
            self._lead(batch)
        batch.over.wait()
        if batch.error is not None:
            raise batch.error
        return batch.results[place]

    def _lead(self, batch):
        until = monotonic() + self._seconds
        try:
            with self._changed:
                while self._open is batch and monotonic() < until:
                    self._changed.wait(until - monotonic())
                if self._open is batch:
                    self._open = None
            batch.results = self._run(batch.items)
        except BaseException as error:
            batch.error = error
        finally:
            if self._open is batch:
                self._open = None
            if batch.results is None and batch.error is None:
                batch.error = RuntimeError("the call that ran the batch was interrupted")
            batch.over.set()
